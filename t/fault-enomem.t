#!/usr/bin/perl

# Memory runs out: in each of a dozen scenarios each allocation of the worker is
# made to fail, one after the other, and then forty in a row from there on.
# Whoever it hits is refused or closed; the worker lives, a neighbour goes on,
# what follows works, and the log is told a few times at most.
#
# A short run visits every index of the short scenarios, and of each long one
# some, spread evenly; with FC_FAULT_SECONDS it is every index of all.  FC_FAULT_ONLY picks the
# scenarios by a pattern; FC_FAULT_REPORT names a file for the figures.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use JSON::PP;
use List::Util qw/ min /;
use Test::Nginx;
use Time::HiRes qw/ time sleep /;

use FC::Pg;
use FC::Site;
use FC::Util qw/ asan fds forgive log_lines run_quiet slurp top wait_for
                 workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

plan(skip_all => 'the sanitizers have their own malloc(): plain build only')
    if asan();

my @v1 = (protocol => 'fcchat.v1');
my ($room, $serial, $calm, $told_why) = (1, 0, 0, 0);
my ($welcome, $near, $ws);

# Each has what goes before, what is to happen while memory is short, which
# returns when it is known how that ended, and what comes after.

my %open = (before => sub { $ws = enter() }, after => \&leave);
my ($signed, $uncached, $pg, $redis);

my @scenarios = (
    [ 'a handshake with the database' => act =>
      sub { enter(path => '/db/stream_1/', cookie => $uncached) } ],
    [ 'a handshake with the cache' => act => sub { enter(protocol => undef) } ],
    [ 'a handshake with signed cookies' => act =>
      sub { enter(path => '/signed/stream_1/', cookie => $signed) } ],
    [ 'joining a room that is not open' => visits => 16, act =>
      sub { enter(room => 'r' . $room++) } ],
    [ 'joining where one left' => act =>
      sub { enter(query => "since=$welcome->{epoch}:1") } ],
    [ 'an old page with its history' => act =>
      sub { enter(path => '/old/stream_1/', protocol => undef) } ],
    [ 'a message' => visits => 8, %open, act => sub { said('hello') } ],
    [ 'a message in two parts' => visits => 6, at_first => 1, %open,
      act => \&parts ],
    [ 'messages that fill a log' => visits => 5,
      before => sub { $ws = enter(room => 'r' . $room++) },
      act => sub { said('x' x 480) for 1 .. 12 },
      after => \&leave ],
    [ 'a reaction' => visits => 12, %open, act => sub {
          says(type => 'reaction', stamp_id => 1);
          answer('reactions');
      } ],
    [ 'stamps that are read again' => %open, act => sub {
          says(type => 'reaction', stamp_id => 77, cid => 's');
          answer('error');
      } ],
    [ 'a page of history' => visits => 12, %open, act => sub {
          says(type => 'history');
          answer('history');
      } ],
    [ 'what others insert' => visits => 3, %open, act => sub {
          insert();
          answer('message');
      } ],
    [ 'a slow reader' => visits => 3,
      before => sub { $ws = enter(port => Test::Nginx::port(8085),
                                  rcvbuf => 4096) },
      act => sub { insert(160, 450); sleep 0.05; answer('message') },
      after => \&leave ],
    [ 'PostgreSQL that comes back' => visits => 4, act => sub {
          $pg->drop_connections();
          return enter();
      } ],
);

# hiredis before 1.0 has abort() for that, which nobody can catch

my $hiredis = slurp('/usr/include/hiredis/hiredis.h')
              =~ /define HIREDIS_MAJOR (\d+)/ ? $1 : 0;

diag("hiredis $hiredis ends the process without memory: no Redis here")
    if !$hiredis;

push @scenarios, [ 'Redis that comes back' => act => sub {
          $redis->cmd('CLIENT', 'KILL', 'TYPE', 'pubsub');
          wait_for(sub { $redis->cmd('CLIENT', 'LIST', 'TYPE', 'pubsub')
                         =~ /id=/ }, 5);
          return;
      } ] if $hiredis;

push @scenarios, [ 'a reload' => visits => 4, %open, act => \&renew ];

my $only = $ENV{FC_FAULT_ONLY} // '';

@scenarios = grep { $_->[0] =~ /(?:$only)/ } @scenarios;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(@scenarios * 2 + 3);

$pg = FC::Pg->new();

my $site = FC::Site->new($t, pg => $pg, database => 0, bus => $hiredis,
                         http => 'fcchat_postgres "' . $pg->dsn()
                                 . '" timeout=1s;',
                         location => 'fcchat_lag 64k;',
                         server => 'listen 127.0.0.1:8085 sndbuf=16k;',
                         more => <<'EOF');
        location /db/ {
            fcchat;
            fcchat_session_cache 0;
        }

        location /signed/ {
            fcchat;
            fcchat_session_engine signed_cookies;
            fcchat_session_cache 0;
        }

        location /old/ {
            fcchat;
            fcchat_history 20;
        }
EOF

my $django = $site->django();
my $lib = $t->testdir() . '/enomem.so';
my $page = $t->testdir() . '/enomem';

$redis = $site->redis();

run_quiet({}, 'gcc', '-O2', '-shared', '-fPIC', '-fno-builtin', '-o', $lib,
          top() . '/t/fault/enomem.c');
arm(0, 0, 0);

$django->user($_) for qw/ alice neighbour /;
$django->room('stream_1');
$django->stamp(1, ':smile:', '/media/stamps/01_smile.svg');
$pg->sql(q{insert into localhost.chat_chatroom
           select (jsonb_populate_record(r, jsonb_build_object(
                      'id', 1000 + n, 'name', 'r' || n,
                      'stream_id', null))).*
             from localhost.chat_chatroom r, generate_series(1, 9000) n
            where r.name = 'stream_1'});

# a cookie that the other locations put into the cache would be found there

$signed = $django->session('alice', engine => 'signed_cookies');
$uncached = $django->session('alice');

$site->cookie($_) for qw/ alice neighbour /;

{
    local @ENV{qw/ LD_PRELOAD FC_ENOMEM /} = ($lib, $page);
    $t->run();
}

my $full = defined $ENV{FC_FAULT_SECONDS};
my $told = 0;
my $parts = grep { $_->[0] =~ /two parts/ } @scenarios;

wait_for(sub { workers($t) == 1 });

my ($pid) = workers($t);

healthy('at first') for 1 .. 3;
insert(20);
healthy('with a log');

my $probe = enter();

$welcome = $probe->{welcome};
$probe->drop();

for my $s (@scenarios) {
    my ($name, %s) = @$s;
    my @bad;

    # what is made once for all is made by the first two

    $calm = 1;
    run_one(\%s, 0, 0) for 1 .. 2;

    my $n = run_one(\%s, 0, 0);

    $calm = 0;
    my @all = map { my $times = $_; map { [ $_, $times ] } 1 .. $n } 1, 40;
    my $visits = $full ? @all : min(scalar @all, $s{visits} // 32);
    my $step = $s{at_first} ? 1 : @all / $visits;
    my @visits = map { $all[$_ * $step] } 0 .. $visits - 1;

    my $before = fds($pid);
    my $began = time();
    my $visited = 0;

    said_so_far();

    for my $at (@visits) {
        my $failed = eval { run_one(\%s, @$at); 1 } ? '' : $@;

        $failed .= eval { healthy('after that'); 1 } ? '' : $@;
        $failed .= 'the worker is gone' if ((workers($t))[0] // 0) != $pid;

        my @said = said_so_far();

        $failed .= "it says too much:\n@said" if @said > 8;
        push @bad, "index $at->[0], $at->[1] times: $failed" if $failed ne '';
        $visited++;

        last if @bad > 5 || !kill 0 => $pid;
    }

    is(join('', @bad), '', "$name: $visited of " . @all);
    report(sprintf '%s: %d allocations, %d of %d visited, %.1f s', $name, $n,
           $visited, scalar @all, time() - $began);
    ok(wait_for(sub { fds($pid) <= $before + 2 }, 5),
       "$name: no descriptor is left");
}

ok($told_why || !$parts, 'a part without memory: Close 1011');
is((workers($t))[0], $pid, 'the worker lived through it');

# of nginx's own, when a worker that leaves unloads us

forgive($t, qr/\[alert\].*dlclose\(\) failed/);

my @lines = grep { !/\[emerg\].*\(.*\) failed \(12: / && !/fcchat/ }
            log_lines($t, qr/\[(?:emerg|alert|crit|error)\]/);

is(join('', splice @lines, 0, 5), '', 'nothing else in the log');


sub report {
    my ($line) = @_;

    note($line);
    return if !$ENV{FC_FAULT_REPORT};

    open my $fh, '>>', $ENV{FC_FAULT_REPORT} or die "report: $!\n";
    print $fh "$line\n";

    return;
}


# What our lines in the log say since the last time.

sub said_so_far {
    open my $fh, '<', $t->testdir() . '/error.log' or die "error.log: $!\n";
    seek $fh, $told, 0;

    my @lines = grep { /\[(?:emerg|alert|crit|error|warn)\].*fcchat/
                       && !/\(12: / } <$fh>;

    $told = tell $fh;

    return @lines;
}


sub arm {
    if (!-e $page) {
        open my $new, '>', $page or die "$page: $!\n";
    }

    open my $fh, '+<', $page or die "$page: $!\n";
    syswrite $fh, pack('q<5', @_, 0, 0);

    return;
}


sub counted {
    open my $fh, '<', $page or die "$page: $!\n";
    sysread $fh, my $bytes, 40;

    return (unpack 'q<5', $bytes)[3];
}


sub run_one {
    my ($s, $at, $times) = @_;

    $s->{before}->() if $s->{before};
    arm($pid, $at, $times);

    my $one = eval { $s->{act}->() };
    my $failed = $@;
    my $n = counted();

    arm(0, 0, 0);

    $one->drop() if ref $one eq 'FC::WS';
    $s->{after}->() if $s->{after};
    die $failed if $failed;

    return $n;
}


# A socket, or nothing where it is refused, with a status or by the end.

sub enter {
    my (%o) = @_;

    my $one = eval { $site->join('alice', @v1, timeout => 7, %o) };

    die "refused without need\n"
        if $calm && (!$one || ($one->status() // 0) != 101);

    return if !$one;

    if (($one->status() // 0) != 101) {
        die "no answer\n" if !defined $one->status() && !$one->eof();
        return;
    }

    if (!exists $o{protocol}) {
        $one->{welcome} = $one->recv_json(7);
        die "neither welcome nor end\n" if !$one->{welcome} && !ended($one);
    }

    return $one;
}


sub ended {
    my ($one) = @_;

    return $one->eof() || $one->{closing};
}


sub leave {
    $ws->drop() if $ws;
    undef $ws;

    return;
}


sub says {
    my (%m) = @_;

    $ws->send_json(\%m) if $ws;

    return;
}


sub answer {
    my ($type) = @_;

    return if !$ws;

    my $m = $ws->recv_until(sub { ($_[0]{type} // '') =~ /^(?:$type|error)$/ },
                            9);

    die "neither $type nor end\n" if !$m && !ended($ws);

    return;
}


sub said {
    my ($text) = @_;

    says(type => 'message', text => $text, cid => 'c' . $serial++);

    return answer('ack');
}


# The worker that is short of memory is the one that leaves.

sub renew {
    my $old = $pid;

    $t->reload();
    answer('nothing');

    $_ && $_->drop() for $ws, $near;
    undef $near;

    wait_for(sub { !-e "/proc/$old" }, 12) or die "the worker stays\n";
    wait_for(sub { workers($t) == 1 });

    ($pid) = workers($t);

    return;
}


# The pong says that the first part has been read, which has none of the text.

sub parts {
    return if !$ws;

    my $frame = FC::WS::frame(op => 1, payload => encode_json(
                    { type => 'message', text => 'two', cid => 'h' }));
    my $m;

    $ws->send_raw(FC::WS::frame(op => 9, payload => '')
                  . substr $frame, 0, 4);

    do {
        $m = $ws->recv(7);
        die "neither pong nor end\n" if !$m && !ended($ws);
    } while ($m && $m->{op} != 10 && $m->{op} != 8);

    if ($m && $m->{op} == 8) {
        $ws->{closing} = $m;

    } elsif ($m) {
        $ws->send_raw(substr $frame, 4);
        answer('ack');
    }

    $told_why ||= $ws->{closing}
                  && unpack('n', $ws->{closing}{payload}) == 1011;

    return;
}


sub insert {
    my ($n, $size) = (@_, 1, 1);

    $pg->sql('insert into localhost.chat_chatmessage (room_id, user_id, '
             . 'content, message_type, is_deleted, is_pinned, created_at) '
             . "select r.id, u.id, repeat('x', $size), 'message', "
             . 'false, false, now() '
             . 'from localhost.chat_chatroom r, localhost.accounts_user u, '
             . "generate_series(1, $n) where r.name = 'stream_1' "
             . "and u.username = 'alice'");

    return;
}


# Somebody joins and speaks, and the neighbour hears it; the neighbour may have
# been closed, if it was told so.  A connection to PostgreSQL that libpq has lost
# track of costs fcchat_postgres's timeout.

sub healthy {
    my ($when) = @_;

    my $text = 't' . ++$serial;

    for (1 .. 120) {
        my $one = enter();

        if (!$one || !$one->{welcome}) {
            sleep 0.1;
            next;
        }

        if (!$near || ended($near)) {
            $near = $site->join('neighbour', @v1);
            $near->recv_json();
        }

        $one->send_json({ type => 'message', text => $text });

        my $got = $near->recv_until(sub { ($_[0]{text} // '') eq $text }, 9);

        $one->drop();

        return 1 if $got;
        die "$when: the neighbour hears nothing\n" if !ended($near);
    }

    die "$when: nobody can join\n";
}
