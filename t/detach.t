#!/usr/bin/perl

# What a socket costs: with fcchat_detach on the HTTP request is freed after the
# upgrade, with off it stays; nginx's counters are right both ways, and so are
# they with a mirror; and nothing is left in a worker by those who came and went.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use IO::Socket::INET;

use FC::Crowd qw/ gather /;
use FC::Site;
use FC::Util qw/ asan fds rss slurp wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_stub_status mirror proxy rewrite/)
    ->plan(29);

my $site = FC::Site->new($t, http =>
                         'error_log %%TESTDIR%%/error.log info;',
                         more => <<'EOF');
        location /stub { stub_status; }

        location ~ ^/kept/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_detach off;
        }

        location = /copy { proxy_pass http://127.0.0.1:8081; }

        location /mirror/ {
            mirror /copy;
            fcchat;
        }

        location /mirror-kept/ {
            mirror /copy;
            fcchat;
            fcchat_detach off;
        }
EOF

my @cookies = $site->django->sessions(16);
my $back = IO::Socket::INET->new(Listen => 5, Timeout => 10, ReuseAddr => 1,
                                 LocalAddr => '127.0.0.1:' . port(8081))
    or die "can't listen: $!\n";

$t->run();

wait_for(sub { workers($t) == 1 });

my ($pid) = workers($t);

# The access log: at the upgrade, and at the end.

for my $case (['detached', '/ws/chat', 1, 1, 0],
              ['kept', '/kept', 0, 4, 3])
{
    my ($name, $path, $logged, $writing) = @$case;

    is(stub(), '1 0 1 0', "$name: nobody");

    my @ws = crowd($path, 3);

    is(stub(), "4 0 $writing 0", "$name: three are in");
    is(access($path), $logged ? 3 : 0, "$name: in the access log");

    is(join(' ', map { $_->close() } @ws), '1000  1000  1000 ',
       "$name: closed");
    ok(wait_for(sub { stub() eq '1 0 1 0' }), "$name: and gone");
    is(access($path), 3, "$name: once in the access log");

    my @gone = crowd($path, 3);

    $_->drop(1) for @gone;
    ok(wait_for(sub { stub() eq '1 0 1 0' }), "$name: gone by a reset");
    is(access($path), 6, "$name: once in the access log too");
}

# A mirror's subrequest is of the same connection, and may be under way.

for my $path ('/mirror', '/mirror-kept') {
    my ($ws) = crowd($path, 1);

    ok(ended($back->accept()), "$path: the copy ends");

    $ws->send_json({ message => "hello $path" });
    ok($ws->recv_until(sub { ($_[0]{message} // '') eq "hello $path" }),
       "$path: the socket works");
    $ws->drop();
    ok(wait_for(sub { stub() eq '1 0 1 0' }), "$path: and gone");
    is(join(' ', workers($t)), $pid, "$path: the worker stays");
}

# Memory.  The first hundred pay for what the worker has once; the sanitizers'
# allocator tells nothing.

SKIP: {
    skip 'the sanitizers have a heap of their own', 5 if asan();

    my $on = cost('/ws/chat');
    my $off = cost('/kept');

    note("bytes a socket: detached $on, kept $off");

    cmp_ok($on, '<', 4096, 'a detached socket');
    cmp_ok($on, '>', 0, 'costs something');
    cmp_ok($off, '>', $on + 2048, 'a kept one costs more');

    my $fds = fds($pid);

    round() for 1 .. 2;

    my $before = rss($pid);

    round() for 1 .. 5;

    my $grown = rss($pid) - $before;

    note("growth after five rounds: $grown KiB");
    cmp_ok($grown, '<', 256, 'who came and went leaves nothing');
    is(fds($pid), $fds, 'and no descriptor');
}


sub crowd {
    my ($path, $n, %o) = @_;

    my @all;

    while ($n > 0) {
        my $part = $n < 200 ? $n : 200;

        push @all, FC::WS->connect_many($part, sub {
            (cookie => $cookies[$_[0] % 16])
        }, port => port(8080), path => "$path/stream_1/", %o);

        $n -= $part;
    }

    return @all;
}


# Answers, if there still is somebody, and waits for the end.

sub ended {
    my ($s) = @_;

    local $SIG{PIPE} = 'IGNORE';

    $s or return 0;
    $s->blocking(0);
    syswrite $s, "HTTP/1.0 200 OK\r\n\r\n";

    return wait_for(sub {
        my $n = sysread $s, my $request, 4096;

        return defined $n ? $n == 0 : !$!{EAGAIN};
    });
}


# Active, reading, writing and waiting; the request that asks is one.

sub stub {
    my $page = http_get('/stub');

    return join ' ', $page =~ /^Active connections: (\d+)/m,
                $page =~ /^Reading: (\d+) Writing: (\d+) Waiting: (\d+)/m;
}


sub access {
    my ($path) = @_;

    my $all = () = slurp($t->testdir() . '/access.log')
                   =~ m{"GET $path/stream_1/ HTTP/1\.1" 101 }g;

    return $all;
}


# In a new worker, or the heap would have room from before.

sub cost {
    my ($path) = @_;

    my $old = $pid;

    $t->reload();
    wait_for(sub { ($pid) = workers($t); !-e "/proc/$old" });

    my @few = crowd($path, 100);
    my $before = rss($pid);
    my @all = crowd($path, 1000);
    my $after = rss($pid);

    $_->drop() for @all, @few;
    wait_for(sub { stub() eq '1 0 1 0' });

    return ($after - $before) * 1024 / 1000;
}


sub round {
    my @all = crowd('/ws/chat', 500);

    $_->send_json({ message => 'hello' }) for @all[0 .. 9];
    gather(\@all, 10);

    # what has come of a message, of a header and of a message in fragments

    $_->send_raw("\x81\xfe\x01\x00abcd" . 'x' x 99) for @all[200 .. 229];
    $_->send_raw("\x81") for @all[230 .. 249];
    $_->send_frame(op => 1, fin => 0, payload => '{"mess') for @all[250 .. 299];
    $_->send_ping() for @all[250 .. 299];
    $_->recv() for @all[250 .. 299];

    $_->send_close(1000) for @all[0 .. 199];
    $_->drop(1) for @all[200 .. 499];
    $_->recv_eof() for @all[0 .. 199];
    $_->drop() for @all[0 .. 199];
    wait_for(sub { stub() eq '1 0 1 0' });

    return;
}
