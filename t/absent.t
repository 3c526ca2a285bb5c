#!/usr/bin/perl

# Backends that are away: at the start, and while people chat.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Pg;
use FC::Site;
use FC::Util qw/ log_lines slow slurp wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(31);

# a worker for each of two sockets: what crosses goes by Redis or PostgreSQL

my $site = FC::Site->new(
    $t, workers => 2, pg => { private => 1, fsync => 0 },
    http => 'add_header X-Pid $pid always; fcchat_session_cache 1h;'
            . ' log_format pid $pid; access_log %%TESTDIR%%/pids.log pid;',
    server => 'listen 127.0.0.1:8081 reuseport;');

my ($pg, $redis) = ($site->pg(), $site->redis());

$site->cookie($_) for qw/ alice bob carol /;

# both away at the start

$site->django()->stop();
$pg->stop();
$redis->stop();
$t->run();

my $ws = $site->join('alice');

is($ws->status(), 503, 'PostgreSQL is away');
is($ws->header('Retry-After'), 1, 'Retry-After');
is($ws->body(), "the chat is not available\n", 'the body');
is($site->join('alice', cookie => '?')->status(), 401,
   'what needs no PostgreSQL is answered');

my $cpu = cpu();

select undef, undef, undef, 1;
cmp_ok(cpu() - $cpu, '<', 0.2, 'waiting costs nothing');

$pg->start();

my $start = time();

ok(wait_for(sub { $site->join('alice')->status() == 101 }, 10),
   'PostgreSQL is back');
cmp_ok(time() - $start, '<', 6 * slow(), 'within two seconds or so');

# Redis is still away: the other worker hears of it from PostgreSQL

my ($alice, $bob) = two();

$start = time();
$alice->send_json({ message => 'without Redis' });
is($alice->recv_json()->{message}, 'without Redis', 'chat without Redis');
cmp_ok(time() - $start, '<', 3 * slow(), 'at once');
is(($bob->recv_json(10) // {})->{message}, 'without Redis',
   'to another worker');
cmp_ok(time() - $start, '<', 4 * slow(), 'within a second');

# Redis comes, and goes

$redis->start();
ok(wait_for(sub { ups() >= 2 }), 'Redis came, to both workers');
ok(wait_for(sub { crossing($alice, $bob) < 0.2 * slow() }, 15),
   'delivery is quick');

$redis->restart();
$alice->send_json({ message => 'during the restart' });
is($alice->recv_json()->{message}, 'during the restart', 'Redis restarts');
is(($bob->recv_json(10) // {})->{message}, 'during the restart',
   'to another worker');
ok(wait_for(sub { ups() >= 4 }), 'it is back');
ok(wait_for(sub { crossing($alice, $bob) < 0.2 * slow() }, 15),
   'quick again');
is_deeply([ $alice->recv_all(0.3), $bob->recv_all(0.1) ], [],
          'nothing comes twice');

# PostgreSQL restarts under them

my $carol = $site->join('carol', protocol => 'fcchat.v1');

$carol->recv_until(sub { $_[0]{type} eq 'welcome' });

$pg->stop('immediate');
$carol->send_json({ type => 'message', text => 'in the dark', cid => 'c1' });
$pg->start();

my $end = $carol->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ }, 20);

is($end->{cid}, 'c1', 'the sender is told');

my $stored = $pg->sql("select count(*) from chat_chatmessage "
                      . "where content = 'in the dark'");

if ($end->{type} eq 'ack') {
    is($stored, 1, 'ack: it is stored');
    is(($bob->recv_json(10) // {})->{message}, 'in the dark',
       'ack: it is delivered');

} else {
    is($end->{code}, 'unavailable', 'error: its code');
    is($stored, 0, 'error: it is not stored');
}

$_->recv_all(0.5) for $alice, $bob;
ok(wait_for(sub { crossing($alice, $bob) < 0.5 * slow() }, 15),
   'the chat goes on');
is(join(' ', map { $_->eof() } $alice, $bob, $carol), '0 0 0',
   'nobody was disconnected');

# for long: whoever writes is told, whoever comes is asked to come again

$pg->stop('immediate');
$start = time();
$carol->send_json({ type => 'message', text => 'for long', cid => 'c2' });
$end = $carol->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ }, 30);
is($end->{cid} . ' ' . $end->{code}, 'c2 unavailable', 'an error');
ok($end->{retry_after_ms}, 'with a time');
cmp_ok(time() - $start, '<', 15 * slow(), 'in a bounded time');

$cpu = cpu();
select undef, undef, undef, 1;
cmp_ok(cpu() - $cpu, '<', 0.3, 'waiting costs nothing');

$pg->start();
ok(wait_for(sub { crossing($alice, $bob) < 0.5 * slow() }, 15),
   'and it goes on');
is(join(' ', map { $_->eof() } $alice, $bob, $carol), '0 0 0',
   'nobody was disconnected');
is($pg->sql('select max(seq) = count(*) from fcchat_event where room_id = '
            . "(select id from chat_chatroom where name = 'stream_1')"), 't',
   'no number is missing');
cmp_ok(scalar(log_lines($t, qr/\[(?:warn|error|crit)\]/)), '<', 60,
       'the log is not flooded');


# Two sockets of different workers.

sub two {
    my %by;

    wait_for(sub {
        my $before = () = slurp($t->testdir() . '/pids.log') =~ /\n/g;
        my $ws = $site->join('bob', port => port(8081));
        my @pids;

        return 0 if $ws->status() != 101;

        wait_for(sub {
            @pids = split /\n/, slurp($t->testdir() . '/pids.log');
            return @pids > $before;
        });
        $by{$pids[-1]} //= $ws;

        return keys %by == 2;
    }) or die "one worker has all\n";

    my @two = values %by;

    $_->recv_all(0.1) for @two;

    return @two;
}


# So often has a worker got a Redis.

sub ups {
    return scalar(() = log_lines($t, qr/fcchat redis \S+ is up/));
}


# Seconds from one to the other; a message not stored counts as for ever.

sub crossing {
    my ($from, $to) = @_;

    my $text = 'at ' . time();
    my $start = time();

    $from->send_json({ message => $text });

    my $m = $from->recv_until(sub { $_[0]{message} eq $text || $_[0]{code} },
                              10);

    return 1e9 if !$m || $m->{code};

    $to->recv_until(sub { $_[0]{message} eq $text }, 10) or return 1e9;

    return time() - $start;
}


# Seconds of CPU time of all workers.

sub cpu {
    my $ticks = 0;

    for my $pid (workers($t)) {
        my @f = split ' ', slurp("/proc/$pid/stat") =~ s/^.*\) //r;

        $ticks += $f[11] + $f[12];
    }

    return $ticks / 100;
}
