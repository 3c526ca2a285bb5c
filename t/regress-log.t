#!/usr/bin/perl

# A room's log under those who read it slowly and those who come back: what is
# put before it, what falls off its end, and who has to go when it is full.

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

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(17);

# the buffers of 8082 are full soon

my $site = FC::Site->new($t, server => 'listen 127.0.0.1:8082 sndbuf=16k;',
                         location => 'fcchat_history 50;',
                         more => <<'EOF_MORE');
        location ~ ^/patient/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_lag 4m;
        }

        location ~ ^/long/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_lag 64k;
            fcchat_message_length 6000;
            fcchat_log %%TESTDIR%%/sessions.log;
        }
EOF_MORE

$site->django->user($_) for qw/ alice bob carol /;
$site->django->room($_) for qw/ both half full /;
$t->run();

my @v1 = (protocol => 'fcchat.v1', timeout => 10 * slow());
my @tight = (port => port(8082), rcvbuf => 4096);

both();
half_sent();
full();


# Logs of two encodings begin at different places; one that is filled downwards
# for those who wait for it leaves the other without a hole.

sub both {
    my ($bob, $epoch) = enter('bob', '/ws/chat/both/');
    my $old = $site->join('alice', room => 'both');

    say($bob, map { "message $_" } 1 .. 100);

    my $other = $site->join('carol', room => 'both');

    is(join(' ', map { $other->recv_json()->{message} } 1 .. 50),
       join(' ', map { "message $_" } 51 .. 100), 'an old page has history');

    my ($back) = enter('alice', '/ws/chat/both/', $epoch, 60);

    is(join(' ', seqs($back, 40)), join(' ', 61 .. 100),
       'then another one comes back');

    ($back) = enter('alice', '/ws/chat/both/', $epoch, 0);

    is(join(' ', seqs($back, 100)), join(' ', 1 .. 100),
       'and another from the beginning');

    say($bob, 'live');
    is(join(' ', seqs($back, 1)), 101, 'who goes on');
    is(join(' ', map { $old->recv_json()->{message} } 1 .. 101),
       join(' ', (map { "message $_" } 1 .. 100), 'live'),
       'the first old page has all');

    return;
}


# A reader stands inside a frame where the log's oldest would be dropped; what
# is put before that later begins where a frame does.

sub half_sent {
    my ($bob, $epoch) = enter('bob', '/patient/half/');
    my ($slow) = enter('alice', '/patient/half/', undef, undef, @tight);
    my @slow;

    for my $round (1 .. 9) {
        say($bob, map { ($round * 100 + $_) . ' ' . 'x' x 380 } 1 .. 100);

        push @slow, seqs($slow, 35) if $round > 3;
    }

    my ($back) = enter('carol', '/patient/half/', $epoch, 0);

    is(join(' ', seqs($back, 900)), join(' ', 1 .. 900),
       'one that comes back has all');
    is($back->{broken} // 0, 0, 'in whole frames');

    push @slow, seqs($slow, 900 - @slow);
    is(join(' ', @slow), join(' ', 1 .. 900), 'and so has the slow one');
    is($slow->{broken} // 0, 0, 'in whole frames');

    return;
}


# A log as large as it may get, because of one who came back and does not read:
# only that one has to go.

sub full {
    my ($bob, $epoch) = enter('bob', '/long/full/');
    my ($carol) = enter('carol', '/long/full/');
    my @carol;

    for my $k (0 .. 33) {
        say($bob, map { ($k * 10 + $_) . ' ' . 'x' x 5900 } 1 .. 10);
        push @carol, seqs($carol, 10);
    }

    my ($slow) = enter('alice', '/long/full/', $epoch, 0, @tight);

    my @slow = seqs($slow, 1);

    is($slow[0], 1, 'one comes back, to the beginning');

    for my $k (34 .. 37) {
        ok(say($bob, map { ($k * 10 + $_) . ' ' . 'x' x 5900 } 1 .. 10),
           "the sender goes on, $k");
        push @carol, seqs($carol, 10);
    }

    is(join(' ', @carol), join(' ', 1 .. 380), 'the other reader has all');

    push @slow, seqs($slow, 379);

    # nginx waits for five seconds until it reads that, and not for ever

    ok(wait_for(sub {
        return $t->read_file('sessions.log') =~ /"room":"full".*"code":4008/;
    }), 'the one that did not read has to go');
    is(join(' ', @slow), join(' ', 1 .. @slow), 'after whole frames');

    return;
}


# Returns the socket and the epoch.

sub enter {
    my ($user, $path, $epoch, $since, @more) = @_;

    my $query = defined $epoch ? "?since=$epoch:$since" : '';
    my $ws = $site->join($user, @v1, path => "$path$query", @more);

    # what the slow one has not read yet is not to be read for it

    return $ws if grep { $_ eq 'rcvbuf' } @more;

    return ($ws, $ws->recv_json()->{epoch});
}


# All at once; true when all are acknowledged.

sub say {
    my ($ws, @texts) = @_;

    my $n = 0;

    while (my @some = splice @texts, 0, 25) {
        $ws->send_json({ type => 'message', text => $_,
                         cid => substr $_, 0, 20 }) for @some;

        for (@some) {
            $ws->recv_until(sub { $_[0]{type} eq 'ack' }) or return 0;
        }
    }

    $ws->recv_all(0);

    return !$ws->eof();
}


# The next numbers; anything but a message of this protocol is broken.

sub seqs {
    my ($ws, $n) = @_;

    my @seqs;

    while (@seqs < $n) {
        my $m = $ws->recv_json() // last;

        push @seqs, $m->{seq} if ($m->{type} // '') eq 'message';
        $ws->{broken}++ if !defined $m->{type};
    }

    return @seqs;
}
