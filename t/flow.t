#!/usr/bin/perl

# Flow control: a sender that floods is read only as fast as its messages are
# stored; a queue that is full says so, to be tried again; and a worker's memory
# has a bound.
#
# S33 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ gather sends texts /;
use FC::Site;
use FC::Util qw/ asan rss slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(19);

my $site = FC::Site->new($t, location => 'fcchat_message_length 16384;',
                         http => 'error_log %%TESTDIR%%/error.log info;',
                         server => 'listen 127.0.0.1:8082 sndbuf=16k '
                                   . 'rcvbuf=16k;', more => <<'EOF');
        location /brief/ {
            fcchat;
            fcchat_ping 500ms;
            fcchat_timeout 1s;
        }
EOF
my $pg = $site->pg;

$site->django->user($_) for qw/ alice bob /;
$site->django->room("stream_$_") for 1 .. 3;
$t->run();

wait_for(sub { workers($t) == 1 });

my ($pid) = workers($t);

# Two thousand messages without reading one acknowledgement.

my $bob = $site->join('bob', protocol => 'fcchat.v1');
my $alice = $site->join('alice', protocol => 'fcchat.v1');

$bob->send_json({ type => 'message', text => 'first' });
gather([$bob], 1);

my $before = rss($pid);

sends([$alice], 2000, 100);

ok(gather([$bob], 2001, 20), 'a flood is delivered');

my $grown = rss($pid) - $before;

is(join("\n", texts($bob)),
   join("\n", 'first', map { "s0-$_" . '.' x (97 - length $_) } 1 .. 2000),
   'once and in order');
is($pg->sql("select count(*) from chat_chatmessage where content like 's0-%'"),
   2000, 'stored once each');

gather([$alice], 2001);

my @acks = grep { $_->{type} eq 'ack' } @{$alice->{others}};

is(join(',', map { "$_->{cid}:$_->{seq}" } @acks),
   join(',', map { "s0-$_:" . ($_ + 1) } 1 .. 2000), 'and acknowledged');

SKIP: {
    skip 'the sanitizers have a heap of their own', 1 if asan();

    cmp_ok($grown, '<', 8 * 1024, 'in bounded memory');
}

# While nothing can be stored the sender is not read: its own buffers and ours
# fill up, and it has to wait.

my $flood = $site->join('alice', room => 'stream_2', protocol => 'fcchat.v1',
                        port => port(8082), timeout => 0.5);
my $lock = FC::Crowd->lock($pg, 'fcchat_head');
my $frame = FC::WS::frame(payload => FC::WS::json()->encode(
                          { type => 'message', text => 'y' x 2000 }));
my $sent = 0;

setsockopt($flood->socket(), Socket::SOL_SOCKET(), Socket::SO_SNDBUF(),
           pack('i', 16384));

for (1 .. 2000) {
    my $n = $flood->send_raw($frame);

    $sent += $n;
    last if $n < length $frame;
}

cmp_ok($sent, '<', 200 * length $frame, 'a sender is not read on and on');
cmp_ok($sent, '>', 60 * length $frame, 'but has its share');

$lock->release();

my $all = int($sent / length $frame);

ok(gather([$flood], $all, 15), 'and goes on');
is(join(',', @{$flood->{seqs} || []}), join(',', 1 .. $all),
   'with nothing lost');
is(scalar(grep { $_->{type} eq 'error' } @{$flood->{others}}), 0,
   'nor refused');

$flood->drop();

# Meanwhile the time of a message that is not finished stands still, too.

my @brief = map { $site->join('alice', path => '/brief/stream_2/',
                              protocol => 'fcchat.v1', auto_pong => 0) } 1, 2;

$lock = FC::Crowd->lock($pg, 'fcchat_head');

my @whole = map { FC::WS::frame(payload => FC::WS::json()->encode(
                  { type => 'message', text => $_, cid => "b$_" })) } 1 .. 65;
my $rest = substr $whole[64], 9, length $whole[64], '';

$brief[0]->send_raw(join '', @whole);
$brief[1]->send_ping('from now on');
is(($brief[1]->recv_close())[0], 4012, 'so much time');
$lock->release();
$brief[0]->send_raw($rest);
ok($brief[0]->recv_until(sub { $_[0]{type} eq 'ack' && $_[0]{cid} eq 'b65' }),
   'is not what it took');
$_->drop() for @brief;

# The queue of a worker holds 1 MiB.  What does not fit is refused at once, and
# can be said again; what fits is stored, in order.

my $carol = $site->join('alice', room => 'stream_3', protocol => 'fcchat.v1');
my $reader = $site->join('bob', room => 'stream_3', protocol => 'fcchat.v1');

$lock = FC::Crowd->lock($pg, 'fcchat_head');

for my $k (1 .. 40) {
    $carol->send_json({ type => 'message', cid => "c$k",
                        text => "$k " . "\x{1f600}" x 15000 });
}

my $error = $carol->recv_until(sub { $_[0]{type} eq 'error' });

(my $k = $error->{cid}) =~ s/^c//;

is_deeply($error, { type => 'error', code => 'unavailable', cid => "c$k",
                    message => 'The server is busy, try again.',
                    retry_after_ms => 1000 }, 'the queue is full');
is($k, 18, 'at 1 MiB');

my @refused = ($k);

for (19 .. 40) {
    my $m = $carol->recv_until(sub { $_[0]{type} eq 'error' });

    push @refused, $m->{cid} =~ /(\d+)/;
}

is(join(' ', @refused), join(' ', 18 .. 40), 'for all that came then');

$lock->release();

ok(gather([$reader], 17, 20), 'what was taken is delivered');
is(join(' ', map { /^(\d+)/ } texts($reader)), join(' ', 1 .. 17), 'in order');

# room again

$carol->send_json({ type => 'message', text => 'again', cid => 'c18' });

is($carol->recv_until(sub { $_[0]{type} eq 'ack' && $_[0]{cid} eq 'c18' })
         ->{seq}, 18, 'said again');
is($pg->sql('select count(*) from fcchat_event e join chat_chatroom r'
            . " on r.id = e.room_id where r.name = 'stream_3'"), 18,
   'stored once');
