#!/usr/bin/perl

# One of the two connections to Redis goes silent while the other is well: the
# one that publishes, or the one that listens.  It is noticed, since a beat goes
# out by the one and comes back by the other; and a message that the bus loses
# or that overtakes another costs no more than the next look at PostgreSQL.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Crowd qw/ $WORKER gather spread texts /;
use FC::Proxy;
use FC::Queries;
use FC::Redis;
use FC::Site;
use FC::Util qw/ log_lines slow wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(1 + 2 * 5 + 1 + 6);

my $redis = FC::Redis->new();
my $proxy = FC::Proxy->new(to => '127.0.0.1:' . $redis->port(),
                           filter => \&filter);
my $site = FC::Site->new($t, workers => 2, location => $WORKER,
                         redis => $redis, bus => 0,
                         http => 'fcchat_redis redis://127.0.0.1:'
                                 . $proxy->port() . ';');

$site->django->user('reader');
$site->django->room('stream_1');

my $queries = FC::Queries->new($site->pg);
my $asked = qr/seq > \$2/;

$t->run();

# one speaks, the other is in the other worker

my ($from, $to) = spread($site, $t, 1, protocol => 'fcchat.v1');
my $n = 0;

ok(wait_for(sub { ups() == 2 && subscribed() == 2 }), 'the bus is up');

mute('publishes', 'cmd');
mute('listens', 'sub');

# The bus is well.  What others held back, or never came, is known by what came
# after it: PostgreSQL is asked 20 ms later, and not at the next look, which is
# up to a second away.

said('settled');
$queries->since();

my $took = pair(lose => 1);

is_deeply($to->{seqs}, [ 1 .. $n ], 'what was lost is told in order');
cmp_ok($took, '<', 0.4 * slow(), "soon: $took s");
like($queries->count($asked), qr/^[12]$/, 'PostgreSQL was asked');

# What only comes out of turn is waited for.  The look of each second may be in
# between, which is not what is meant.

for (1 .. 5) {
    $queries->since();
    pair(swap => 1);
    last if $queries->count($asked) == 0;
}

is($queries->count($asked), 0, 'nor for what is late by less');
is_deeply($to->{seqs}, [ 1 .. $n ], 'it is put in order');
is(scalar(grep { $_->eof() } $from, $to), 0, 'nobody was disconnected');


sub mute {
    my ($name, $which) = @_;

    my ($lost, $up) = (losses(), ups());
    my $start = time();

    $proxy->set(mute => $which);
    ok(wait_for(sub { losses() == $lost + 2 }), "who $name is lost");
    $took = time() - $start;

    # a beat each half second, and a second and a half to come back

    cmp_ok($took, '<=', 3 * slow(), "who $name: within 3 s: $took");
    said("who $name is mute");
    $proxy->set(mute => '');
    ok(wait_for(sub { ups() == $up + 2 && subscribed() == 2 }),
       "who $name is found again");
    is(losses(), $lost + 2, "who $name: said once");

    return;
}


sub losses { return scalar(my @l = log_lines($t, qr/redis .* is lost/)) }

sub ups { return scalar(my @l = log_lines($t, qr/redis .* is up/)) }


sub subscribed {
    my ($room) = grep { /:room:/ } @{$redis->cmd(qw/ PUBSUB CHANNELS * /)};

    return $room ? $redis->cmd('PUBSUB', 'NUMSUB', $room)->[1] : 0;
}


sub say_one {
    $n++;
    $from->send_json({ type => 'message', text => "m$n", cid => "m$n" });
    gather([$from], $n);

    return;
}


sub said {
    my ($name) = @_;

    say_one();
    ok(gather([$to], $n), "$name: heard");

    return;
}


# Two messages, one after the other; how long the second was on its way.

sub pair {
    $proxy->set(@_);
    say_one() for 1, 2;

    my $start = time();

    gather([$to], $n);

    my $took = time() - $start;

    $proxy->set(lose => 0, swap => 0);

    return $took;
}


# In the proxy's process.  A connection is what it is used for; a mute
# one passes nothing on, and keeps nothing.

sub filter {
    my ($way, $bytes, $state, $set) = @_;

    if ($way eq 'up' && $bytes =~ /\b(PUBLISH|SUBSCRIBE)\b/) {
        $state->{kind} //= $1 eq 'PUBLISH' ? 'cmd' : 'sub';
    }

    my $mute = $set->{mute} // '';
    my $kind = $state->{kind} // '';

    return () if $kind ne '' && $mute eq $kind
                 && $way eq ($kind eq 'cmd' ? 'up' : 'down');
    return $bytes if $way eq 'up' || $kind ne 'sub';

    # *3 $7 message $N channel $N payload, of a room: of each two the first
    # never comes, or comes after the second

    $bytes =~ s{(\*3\r\n\$7\r\nmessage\r\n\$\d+\r\n\S+:room:\S+\r\n
                 \$\d+\r\n[^\r]*"m\d+"[^\r]*\r\n)}{hurt($1, $state, $set)}xge;

    return $bytes;
}


sub hurt {
    my ($message, $state, $set) = @_;

    return $message if !$set->{lose} && !$set->{swap};

    if ($state->{n}++ % 2 == 0) {
        $state->{later} = $set->{swap} ? $message : '';
        return '';
    }

    return $message . $state->{later};
}
