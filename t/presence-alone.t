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

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(9);
my $presence = 'fcchat_presence on grace=4s;';
my $site = FC::Site->new($t, workers => 2, location => "$WORKER $presence",
                         bus => 0, main => 'worker_shutdown_timeout 1s;',
                         more => <<'EOF');
        location /off/ {
            fcchat;
        }
EOF

$site->django->user($_) for qw/ reader alice bob carol /;
$site->cookie($_) for qw/ reader alice bob carol /;
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

$carol->close();
ok(hears('leave', 'carol', @all), 'it goes');

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


sub name {
    my ($m) = @_;

    return $m->{type} =~ /^(?:join|leave)$/ ? $m->{user}{username} : '';
}


sub hears {
    my ($type, $user, @ws) = @_;

    return FC::WS->poll(\@ws, \&FC::Crowd::note_message, 12 * slow(), sub {
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
