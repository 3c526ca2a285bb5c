#!/usr/bin/perl

# Reload and stop, with clients in the middle of it: an old worker takes no more
# input, acknowledges what it took, says Close 1012 and leaves; a new one serves.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Crowd qw/ gather sends texts /;
use FC::Site;
use FC::Util qw/ slow slurp wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(47);

my $site = FC::Site->new($t, workers => 2, more => <<'EOF');
        location ~ ^/kept/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_detach off;
        }

        location /echo { fcchat_echo; }
EOF

my $pg = $site->pg;
my @v1 = (protocol => 'fcchat.v1');
my ($rooms, $n) = (0, 0);

$site->django->user($_) for qw/ alice bob /;
$site->django->room("stream_$_") for 1 .. 20;
$t->run();

sending($_) for '/ws/chat', '/kept';
silent();
again_and_again();
at_the_door();
held('absent', 3, 1);

$site->write(main => 'worker_shutdown_timeout 100ms;');
renewed();

held('100ms', 2, 0);
stopped('QUIT');

$t->run();
stopped('TERM');
$t->run();


# A reload; returns the workers that were there before.

sub renewed {
    wait_for(sub { workers($t) == 2 });

    my @old = workers($t);

    $t->reload();

    # for a moment both take connections

    wait_for(sub {
        my @now = workers($t);

        return @now == 2 && !grep { my $w = $_; grep { $w == $_ } @now } @old;
    });

    return @old;
}


sub alive {
    return grep { -e "/proc/$_" } @_;
}


# What a socket sees to its end: its acknowledgements and how it was closed.

sub to_the_end {
    my ($ws, $seconds) = @_;

    my (@acks, @rest);
    my $end = time() + ($seconds // 5) * slow();

    while (my $m = $ws->recv_message($end - time())) {
        if ($m->{op} == 8) {
            my @close = unpack 'n a*', $m->{payload};

            $ws->{close} = "@close";
            $ws->send_close(1012);
            last;
        }

        my $data = FC::WS::decoded($m);

        push @acks, $data->{cid} if $data->{type} eq 'ack';
        push @rest, $data if $data->{type} eq 'error';
    }

    return (\@acks, \@rest);
}


# Eight clients that send all the time.

sub sending {
    my ($path) = @_;

    my $room = 'stream_' . ++$rooms;
    my @all = map { $site->join('alice', path => "$path/$room/", @v1) } 1 .. 8;
    my @old = workers($t);

    sends(\@all, 30);
    kill 'HUP', split ' ', slurp($t->testdir() . '/nginx.pid');

    my $k = 0;

    # on, until the socket itself says no

    wait_for(sub {
        $k++;

        for my $i (0 .. 7) {
            $all[$i]->send_json({ type => 'message', text => "more $i-$k",
                                  cid => "more$i-$k" });
        }

        FC::WS->poll(\@all, sub {
            my ($ws, $m) = @_;

            push @{$ws->{acks}}, $m->{cid} if ($m->{type} // '') eq 'ack';
            push @{$ws->{bad}}, $m if ($m->{type} // '') eq 'error';

            if ($m->{op} && $m->{op} == 8) {
                my @close = unpack 'n a*', $m->{payload};
                $ws->{close} = "@close";
            }
        }, 0.05);

        return !grep { !$_->{close} } @all;
    }, 6, 0);

    is(join(',', map { $_->{close} // 'none' } @all),
       join(',', ('1012 restart') x 8), "$path: told");

    # what comes now is read by nobody

    $_->send_close(1012) for @all;
    is(join('', map { $_->recv_eof() } @all), '1' x 8, "$path: the end");
    ok(wait_for(sub { !alive(@old) }, 3), "$path: the old workers have left");

    my @acks = sort map { @{$_->{acks} || []} } @all;
    my @stored = map { $_->[0] }
                 $pg->sql('select cid from fcchat_event e join chat_chatroom r'
                          . " on r.id = e.room_id where r.name = '$room'"
                          . ' order by cid collate "C"');

    cmp_ok(scalar(@stored), '>', 100, "$path: some were stored");
    is(join(' ', @acks), join(' ', @stored),
       "$path: acknowledged is stored, and stored acknowledged");
    is(scalar(map { @{$_->{bad} || []} } @all), 0, "$path: nothing refused");

    my $new = $site->join('bob', path => "$path/$room/", @v1);

    is($new->recv_json()->{head}, scalar(@stored), "$path: the head");
    $new->send_json({ type => 'message', text => 'new', cid => 'n' });
    is($new->recv_until(sub { $_[0]{type} eq 'ack' })->{seq}, @stored + 1,
       "$path: the new worker goes on");

    return;
}


# Clients that never answer: they are not waited for long.

sub silent {
    my @all = map { $site->join('alice') } 1 .. 4;

    push @all, $site->join('alice', path => '/echo'),
               $site->join('alice', path => '/kept/stream_1/');

    my @old = workers($t);
    my $start = time();

    $t->reload();
    ok(wait_for(sub { !alive(@old) }, 3), 'silent clients are left');
    note('in ' . (time() - $start));
    is(join(',', map { join ' ', $_->recv_close() } @all),
       join(',', ('1012 restart') x 6), 'but told');

    return;
}


# Ten in a row, with a client that comes back each time.

sub again_and_again {
    my $room = 'stream_' . ++$rooms;
    my $reader = $site->join('bob', room => $room, @v1);
    my (@closed, @acks);

    for my $k (1 .. 10) {
        my $ws = $site->join('alice', room => $room, @v1);

        $ws->send_json({ type => 'message', text => "m$k", cid => "m$k" });
        $ws->recv_until(sub { $_[0]{type} eq 'welcome' });
        renewed();

        my ($acks) = to_the_end($ws);

        push @acks, @$acks;
        push @closed, $ws->{close};
    }

    is(join(',', @closed), join(',', ('1012 restart') x 10),
       'ten reloads, each told');
    is($pg->sql('select count(*) from fcchat_event e join chat_chatroom r'
                . " on r.id = e.room_id where r.name = '$room'"),
       scalar(@acks), 'what was acknowledged is there');
    ok(wait_for(sub { workers($t) == 2 && children() == 2 }, 5),
       'no old worker is left');

    $reader->drop();

    return;
}


sub children {
    my $master = slurp($t->testdir() . '/nginx.pid') + 0;

    return split ' ', slurp("/proc/$master/task/$master/children");
}


# One that has not been told yet whether it may come in is let in, and out again:
# nothing else would keep the worker.

sub at_the_door {
    my $cookie = $site->django->session('bob');
    my $lock = FC::Crowd->lock($pg, 'django_session');
    my $ws = FC::WS->connect(port => port(8080), nowait => 1, @v1,
                             path => '/ws/chat/stream_1/', cookie => $cookie);

    ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'a handshake waits');

    my @old = renewed();

    $lock->release();
    $ws->handshake();
    is($ws->status(), 101, 'it is answered by the worker that leaves');
    to_the_end($ws);
    is($ws->{close}, '1012 restart', 'which then says goodbye');
    ok(wait_for(sub { !alive(@old) }, 3), 'and has left');

    return;
}


# With a message whose transaction waits: so does the worker, as long as it may.

sub held {
    my ($timeout, $seconds, $release) = @_;

    my $name = "worker_shutdown_timeout $timeout";
    my $room = 'stream_' . ++$rooms;
    my @all = map { $site->join('alice', path => "$_/$room/", @v1) }
              '/ws/chat', '/kept';
    my $lock = FC::Crowd->lock($pg, 'fcchat_head');

    $_->send_json({ type => 'message', text => 'held', cid => 'c' . ++$n })
        for @all;
    ok(wait_for(sub { FC::Crowd->blocked($pg) }), "$name: a batch waits");

    my $start = time();
    my @old = renewed();

    $lock->release() if $release;

    my @ends = map { [ to_the_end($_, $seconds) ] } @all;

    is(join(',', map { $_->{close} // 'none' } @all), '1012 restart,1012 restart',
       "$name: told");
    ok(wait_for(sub { !alive(@old) }, $seconds), "$name: left");
    cmp_ok(time() - $start, '<', $seconds * slow(), "$name: in time");
    note('in ' . (time() - $start));

    is(scalar(map { @{$_->[0]} } @ends), $release ? 2 : 0,
       "$name: acknowledged");

    $lock->release();

    my $new = $site->join('bob', room => $room, @v1);

    $new->send_json({ type => 'message', text => 'new', cid => 'n' });
    ok($new->recv_until(sub { $_[0]{type} eq 'ack' }), "$name: goes on");

    # without an answer it may be there or not, but not twice

    my $stored = $pg->sql('select count(*) from fcchat_event e'
                          . ' join chat_chatroom r on r.id = e.room_id'
                          . " where r.name = '$room'");

    ok($release ? $stored == 3 : $stored >= 1 && $stored <= 3,
       "$name: nothing twice");

    return;
}


# The whole server ends, at once or in order.

sub stopped {
    my ($signal) = @_;

    my @all = map { $site->join('alice', path => "$_/stream_1/", @v1) }
              '/ws/chat', '/kept', '/ws/chat', '/kept';

    push @all, $site->join('alice', path => '/echo');

    my $file = $t->testdir() . '/nginx.pid';
    my $start = time();

    kill $signal, slurp($file) + 0;

    is(join(',', map { to_the_end($_); $_->{close} // 'none' } @all),
       join(',', ('1012 restart') x 5), "$signal: told");
    is(join('', map { $_->recv_eof() } @all), '11111', "$signal: the end");
    ok(wait_for(sub { !-e $file }, 5), "$signal: it has left");
    cmp_ok(time() - $start, '<', 3 * slow(), "$signal: soon");
    note('in ' . (time() - $start));
    $t->stop();

    return;
}
