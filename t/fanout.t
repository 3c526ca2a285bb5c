#!/usr/bin/perl

# A room of 1600 sockets in one worker, half of either protocol: all get each
# message, once and in order, and a small room beside it is not held up.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Crowd qw/ gather texts /;
use FC::Site;
use FC::Util qw/ slow /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(11);

# the debug log of so many would be all that the worker does

my $site = FC::Site->new($t, http =>
                         'error_log %%TESTDIR%%/error.log info;');

my @names = map { "user$_" } 0 .. 15;
my @cookies = $site->django->sessions(16);

$site->django->user('alice');
$site->django->room($_) for qw/ stream_1 stream_2 /;
$t->run();

my (@old, @new);

for (1 .. 8) {
    my $many = sub {
        my (%o) = @_;

        return FC::WS->connect_many(100, sub {
            (cookie => $cookies[$_[0] % 16])
        }, port => port(8080), path => '/ws/chat/stream_1/', %o);
    };

    push @old, $many->();
    push @new, $many->(protocol => 'fcchat.v1');
}

my @all = (@old, @new);

is(scalar(grep { $_ && $_->status() == 101 } @all), 1600, 'all are in');

my $alice = $site->join('alice', room => 'stream_2', protocol => 'fcchat.v1');
my $sender = $site->join('alice');

# One message, by the time that the last has it.

$sender->send_json({ message => 'one <b>' });

ok(gather([@all, $sender], 1), 'a message');
is(join(',', uniq(map { texts($_) } @old)), 'one &lt;b&gt;',
   'as the old protocol has it');
is(join(',', uniq(map { texts($_) } @new)), 'one <b>', 'and the new');

# Forty, and meanwhile one in the other room, while nobody here reads.

$sender->send_json({ message => "m$_" }) for 1 .. 40;

my $start = time();

$alice->send_json({ type => 'message', text => 'small', cid => 'c' });

my $ack = $alice->recv_until(sub { $_[0]{type} eq 'ack' });
my $small = $alice->recv_until(sub { $_[0]{type} eq 'message' });
my $took = time() - $start;

is($ack->{seq}, 1, 'a message in a small room');
is($small->{text}, 'small', 'delivered');
cmp_ok($took, '<', 4 * slow(), 'not held up');
note("small room: $took s");

ok(gather([@all, $sender], 41, 20), 'forty messages to all');
is(join(' ', uniq(map { join ',', (texts($_))[1 .. texts($_) - 1] } @all)),
   join(',', map { "m$_" } 1 .. 40), 'in order, each once');

# A room that empties at once, and goes on for who is left.

$_->drop() for @old;
$sender->send_json({ message => 'last' });

ok(gather([@new, $sender], 42, 20), 'half of the room left');
is(join(' ', uniq(map { (texts($_))[41] } @new)), 'last', 'the rest goes on');


sub uniq {
    my %seen;

    return sort grep { !$seen{$_}++ } @_;
}
