#!/usr/bin/perl

# fcchat_presence without Redis: the workers of a node tell each other, and one
# that takes the place of another knows who was there.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER spread /;
use FC::Site;
use FC::Util qw/ forgive slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(12);
my $presence = 'fcchat_presence on grace=6s;';
my $site = FC::Site->new($t, workers => 2, location => "$WORKER $presence",
                         bus => 0, main => 'worker_shutdown_timeout 1s;',
                         more => <<'EOF');
        location /off/ {
            fcchat;
        }

        location /long/ {
            fcchat;
            fcchat_presence on grace=1m;
        }
EOF

$site->django->room('stream_2');
$site->django->user($_) for qw/ reader alice bob carol dave /;
$site->cookie($_) for qw/ reader alice bob carol dave /;
$t->run();

my @all = spread($site, $t, 1, protocol => 'fcchat.v1');
my $alice = $site->join('alice');

ok(hears('join', 'alice', @all), 'a user comes');

# where it is off, nobody is told of

my $bob = $site->join('bob', path => '/off/stream_1/');

is($bob->status(), 101, 'one at a location without it');

my $carol = $site->join('carol');

ok(hears('join', 'carol', @all), 'another user');
is(counts('bob', @all), '0 0', 'the one without is not told of');
is(counts('alice', @all), '1 1', 'the first once');

# somebody who is away for longer than others, by another time of grace

my $long = long('reader');
my $dave = long('dave');

ok(hears('join', 'dave', $long), 'a user of another room');
$dave->drop();

$carol->close();
ok(hears('leave', 'carol', @all), 'who goes has gone');

# all workers are others: who is back at once was never away

my @old = workers($t);

kill 'KILL', @old;
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { my $pid = $_;
                                       grep { $_ == $pid } @old } @now }),
   'all workers are killed');
forgive($t, qr/exited on signal 9/);

$alice = $site->join('alice');
@all = spread($site, $t, 1, protocol => 'fcchat.v1');

my $new = $site->join('new');

ok(hears('join', 'new', @all), 'a user comes to the new ones');
is(counts('alice', @all), '0 0', 'who was there is not told of');

$long = long('reader');
$dave = long('dave');
$new = long('newer');

ok(hears('join', 'newer', $long), 'a user comes to the other room');
is(counts('dave', $long), '0', 'who is back in its time is not told of');


sub long {
    my ($user) = @_;

    return $site->join($user, path => '/long/stream_2/',
                       protocol => 'fcchat.v1');
}


sub name {
    my ($m) = @_;

    return $m->{type} =~ /^(?:join|leave)$/ ? $m->{user}{username} : '';
}


sub hears {
    my ($type, $user, @ws) = @_;

    return FC::WS->poll(\@ws, \&FC::Crowd::note_message, 20 * slow(), sub {
        return !grep { !grep { name($_) eq $user && $_->{type} eq $type }
                            @{$_->{others}} } @ws;
    });
}


sub counts {
    my ($user, @ws) = @_;

    return join ' ', map {
        scalar grep { name($_) eq $user } @{$_->{others}}
    } @ws;
}
