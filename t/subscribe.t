#!/usr/bin/perl

# Who comes misses nothing of what is committed meanwhile: a room's channel is
# subscribed, the confirmation waited for, and then the head is read; and who
# comes back is one for whom the log is kept up, before PostgreSQL is asked for
# what it missed.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Proxy;
use FC::Queries;
use FC::Redis;
use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(22 + 2);
my $t2 = Test::Nginx->new();

# one node is at both servers, the other behind proxies

my $site = FC::Site->new($t);
my $pg = $site->pg();
my $bus = FC::Proxy->new(to => '127.0.0.1:' . $site->redis->port(),
                         filter => \&confirm);
my $log = FC::Proxy->new(to => $pg->host() . '/.s.PGSQL.' . $pg->port(),
                         filter => \&answer);
my $site2 = FC::Site->new($t2, listen => 8081, pg => $pg, database => 0,
                          redis => $site->redis, bus => 0,
                          django => $site->django, http =>
                          'fcchat_redis redis://127.0.0.1:' . $bus->port() . ';'
                          . 'fcchat_postgres "host=127.0.0.1 port='
                          . $log->port() . ' user=' . $pg->user() . ' dbname='
                          . $pg->name() . ' sslmode=disable gssencmode=disable'
                          . '";');

$site->django->user('alice');

my %id = map { $_ => $site->django->room($_) } map { "stream_$_" } 1 .. 5;

$site->cookie('alice');
$site2->{cookies} = $site->{cookies};

my $queries = FC::Queries->new($pg);
my $cid = 0;

$t->run();
$t2->run();

# a room that is open already is asked for by each tick, with all others: a
# question for another one alone is that of its confirmation

my @v1 = (protocol => 'fcchat.v1');
my $first = $site2->join('alice', @v1);

ok(told($bus, "confirmed $id{stream_1}"), 'a room is subscribed');

# one of them may be asked for in the very turn of a tick

my $alone = 0;

for my $room (map { "stream_$_" } 2 .. 4) {
    my $ws = $site->join('alice', @v1, room => $room);

    $bus->set(hold => 1);

    my $reader = $site2->join('alice', @v1, room => $room);

    is($reader->recv_json()->{head}, 0, "$room: a reader");
    ok(told($bus, "held $id{$room}"), "$room: the confirmation is held back");

    # what is published meanwhile is lost

    said($ws, 1);
    ok(told($bus, "lost $id{$room}"), "$room: and the message lost");

    $queries->since();
    $bus->set(hold => 0, flush => 1);
    ok(told($bus, "confirmed $id{$room}"), "$room: confirmed");
    is(seqs($reader, 1), '1', "$room: the reader has it");
    $alone++ if wait_for(sub { alone($id{$room}) }, 0.5);
}

cmp_ok($alone, '>=', 2, 'the head is read after the confirmation');

# what comes while PostgreSQL is asked for what was before

my $ws = $site->join('alice', @v1, room => 'stream_5');
my $epoch = $ws->recv_json()->{epoch};

said($ws, 5);
$log->set(hold => 1);

my $back = $site2->join('alice', @v1, room => 'stream_5',
                        query => "since=$epoch:2");

is($back->recv_json()->{head}, 5, 'one comes back');
ok(told($log, 'held'), 'PostgreSQL is asked');
ok(told($bus, "confirmed $id{stream_5}"), 'the room is subscribed');
said($ws, 3);
ok(told($bus, "passed $id{stream_5}", 3), 'more come');
$log->set(hold => 0, flush => 1);
is(seqs($back, 6), '3 4 5 6 7 8', 'it has all of them');


# Whether a proxy has told that, so many times.

sub told {
    my ($proxy, $line, $n) = @_;

    return wait_for(sub { ($n // 1) <= grep { $_ eq $line } $proxy->lines() });
}


# One after the other, each of which is published for itself.

sub said {
    my ($ws, $n) = @_;

    for (1 .. $n) {
        $ws->send_json({ type => 'message', text => 'm', cid => 'c' . ++$cid });
        $ws->recv_until(sub { $_[0]{type} eq 'ack' });
    }

    return;
}


sub seqs {
    my ($ws, $n) = @_;

    return join ' ', map {
        my $m = $ws->recv_until(sub { $_[0]{type} =~ /^(?:message|reset)$/ });

        $m->{seq} // $m->{reason} // 'none';
    } 1 .. $n;
}


# Whether the head of this room was asked for alone.

sub alone {
    my ($id) = @_;

    return $queries->log() =~ /DETAIL:  parameters: \$1 = '\{$id\}'/;
}


# In the proxies' processes.  Confirmations of rooms are held back, and messages
# there are lost meanwhile.

sub confirm {
    my ($way, $bytes, $state, $set) = @_;

    return $bytes if $way eq 'up';

    $state->{in} .= $bytes;

    my $out = '';

    # *3 $N kind $N channel, and :N or $N payload

    while ($state->{in} =~ s/^(\*3\r\n\$\d+\r\n(\w+)\r\n\$\d+\r\n(\S+)\r\n
                              (?::\d+|\$\d+\r\n[^\r\n]*)\r\n)//x)
    {
        my ($frame, $kind, $channel) = ($1, $2, $3);
        my ($id) = $channel =~ /:room:\w+:(\d+)$/;

        if ($id && $kind eq 'subscribe') {
            FC::Proxy::tell("held $id") if $set->{hold};
            $state->{held}{$id} = $frame;

        } elsif ($id && $state->{held}{$id}) {
            FC::Proxy::tell("lost $id");

        } else {
            FC::Proxy::tell("passed $id") if $id && $frame =~ /"events"/;
            $out .= $frame;
        }
    }

    # any other answer is none of a subscriber

    if ($state->{in} !~ /^\*3\r/) {
        $out .= $state->{in};
        $state->{in} = '';
    }

    return $out if $set->{hold};

    for my $id (keys %{$state->{held}}) {
        $out .= delete $state->{held}{$id};
        FC::Proxy::tell("confirmed $id");
    }

    return $out;
}


# The answer to who asks for what was before a number, and all behind it.

sub answer {
    my ($way, $bytes, $state, $set) = @_;

    if ($way eq 'up') {
        if ($set->{hold} && $bytes =~ /l\.seq < \$2/) {
            $state->{held} //= '';
            FC::Proxy::tell('held');
        }

        return $bytes;
    }

    return $bytes if !defined $state->{held};

    $state->{held} .= $bytes;

    return $set->{hold} ? () : delete $state->{held};
}
