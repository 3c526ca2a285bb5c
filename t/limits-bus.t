#!/usr/bin/perl

# Of how many users of a room, and of how many other workers, what the bus tells
# of them is kept: as many as there may be, and one more.
#
# S33 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ slow wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

use constant USERS   => 512;
use constant WORKERS => 256;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(10);

# with a rate this low no token comes back while the test runs

my $site = FC::Site->new($t, location => 'fcchat_presence on grace=1m;',
                         rate => 'fcchat_rate 1r/m burst=6;'
                                 . ' fcchat_connections user=off ip=off;');
my @names = qw/ reader alice bob first again last second still /;
my %id = map { $_ => $site->django->user($_) } @names;

$site->django->room($_) for qw/ stream_1 stream_2 /;
$site->cookie($_) for @names;
$t->run();

my $reader = $site->join('reader', protocol => 'fcchat.v1');
my ($channel, @heard);

ok(wait_for(sub {
    ($channel) = @{$site->redis->cmd('PUBSUB', 'CHANNELS', '*:room:*')};
    $channel && $site->redis->cmd('PUBSUB', 'NUMSUB', 'fcchat:rates')->[1];
}), 'the room and the rates are listened to');

# With the reader that is one less than there may be, all of whom were there
# before; and one more, who comes.

publish($channel, 1, '"present","users":['
        . join(',', map { '[' . (1000 + $_) . ",\"u$_\",\"member\",100000,0]" }
               1 .. USERS - 2) . ']');

my $alice = $site->join('alice');

# Meanwhile, other workers: each has told something, the first that nothing is
# left of a user's messages.

spent(1, 'first');
spent($_) for 2 .. WORKERS;
fence();
is(told('first'), 'rate_limited', 'S33: what a worker has told is heard');

spent(1, 'again');
spent(WORKERS, 'last');
fence();
is(told('again'), 'ack', 'S33: once, with 256 of them');
is(told('last'), 'ack', 'S33: the last of them as well');

# the first has told something since: the second is the one to be forgotten

spent(WORKERS + 1);
spent(2, 'second');
spent(1, 'still');
fence();
is(told('second'), 'rate_limited', 'S33: one more: one is forgotten');
is(told('still'), 'ack', 'S33: and no other');

# 512 users, and one more; after which all who are there are known anew, and the
# first of those who come then is told of

ok(hears('alice', 10), 'S33: with 512 users one is told of');

my $bob = $site->join('bob');

ok(!hears('bob', 0.5), 'S33: of one more one is not');

my @new;

ok(wait_for(sub {
    push @new, $site->join('new' . @new);
    return hears('new', 0.5);
}, 20), 'S33: another one is told of');
is(join(' ', grep { !/^join new/ } @heard), 'join reader join alice',
   'S33: and nobody before');


sub publish {
    my ($to, $worker, $rest) = @_;

    $site->redis->cmd('PUBLISH', $to,
                      sprintf '{"v":1,"w":"%016x","t":%s}', $worker, $rest);

    return;
}


# The first envelope of another node's worker: all that this user may say.

sub spent {
    my ($worker, $user) = @_;

    publish('fcchat:rates', $worker, '"spent","node":7,"n":1,"spent":['
            . ($user ? "[\"localhost\",$id{$user},0,360000000,0,0]" : '') . ']');

    return;
}


# What was published before has been heard.

sub fence {
    publish($channel, WORKERS + 2, '"reactions","reactions":[[1,"x",1]]');
    next_is(sub { $_[0]{type} eq 'reactions' }, 10)
        or die "no reaction\n";

    return;
}


sub told {
    my ($user) = @_;

    my $ws = $site->join($user, protocol => 'fcchat.v1', room => 'stream_2');

    $ws->send_json({ type => 'message', text => 'm', cid => 'c' });

    my $r = $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ });

    return $r->{code} // $r->{type};
}


sub hears {
    my ($name, $seconds) = @_;

    return next_is(sub { $_[0]{type} eq 'join'
                         && $_[0]{user}{username} =~ /^$name/ }, $seconds);
}


# Reads on until that comes; who came and went is kept.

sub next_is {
    my ($want, $seconds) = @_;

    return $reader->recv_until(sub {
        push @heard, "$_[0]{type} $_[0]{user}{username}"
            if $_[0]{type} =~ /^(?:join|leave)$/;
        return $want->($_[0]);
    }, $seconds * slow());
}
