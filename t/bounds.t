#!/usr/bin/perl

# What is bounded: just as much, and one more.  The numbers are those of
# SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Time::HiRes qw/ sleep time /;

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines slow /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(57);
my $site = FC::Site->new($t, server => <<'EOS', more => <<'EOF');
        listen 127.0.0.1:8081 sndbuf=8k;
EOS
        location /short/ {
            fcchat;
            fcchat_ping 500ms;
            fcchat_timeout 1500ms;
        }

        location /long/ {
            fcchat;
            fcchat_ping 5m;
            fcchat_timeout 10m;
        }

        location /large/ {
            fcchat;
            fcchat_message_length 16384;
            fcchat_lag 2m;
        }

        location /echo {
            fcchat_echo;
        }
EOF

$site->cookie('alice');
$site->django->room('stream_1');
$t->run();

my $neighbour = $site->join('bob');
my $unfinished = $site->join('alice', path => '/long/stream_1/');

$unfinished->send_raw(FC::WS::frame(op => 1, fin => 0, payload => '{'));

my ($fills, $last) = (0, 0);

sub alice { return $site->join('alice', auto_pong => 0, @_) }

# what becomes of some bytes: the text that came of them, or the code

sub outcome {
    my ($ws, @frames) = @_;

    $ws->send_raw(join '', map { FC::WS::frame(%$_) } @frames);

    my $m = $ws->recv_until(sub { defined $_[0]{message} }, 3 * slow());

    return $m->{code} // $m->{message} if $m;
    return ($ws->recv_close(2 * slow()))[0] // 'nothing';
}

sub whole { return { op => 1, payload => $_[0] } }

# fragments

my $text = '{"message":"pieces"}';
my @pieces = (map({ { op => $_ ? 0 : 1, fin => 0,
                      payload => $_ < length $text ? substr($text, $_, 1)
                                                   : '' } } 0 .. 62));

is(outcome(alice(), @pieces, { op => 0, payload => '' }), 'pieces',
   'S14: 64 fragments');
is(outcome(alice(), @pieces, { op => 0, fin => 0, payload => '' },
           { op => 0, payload => '' }), 1008, 'S14: 65');
my $ws = alice();

$ws->send_raw(FC::WS::frame(op => 1, fin => 0, payload => ''));
$ws->send_raw("\x00\x80\0\0\0\0" x 100000) for 1 .. 10;
is(($ws->recv_close(5 * slow()))[0], 1008, 'S14: a million empty ones');

# control frames

my @pings = map { { op => 9, payload => "p$_" } } 1 .. 10;

is(outcome(alice(), @pings, whole('{"message":"ten"}')), 'ten',
   'S16: ten control frames in a second');
is(outcome(alice(), @pings, { op => 10 }, whole('{"message":"no"}')), 1008,
   'S16: eleven');

$ws = alice();
$ws->send_raw(join '', map { FC::WS::frame(%$_) } @pings);
sleep 1.1;
is(outcome($ws, @pings, whole('{"message":"later"}')), 'later',
   'S16: ten more in the next one');

# who does not read: of many pings the last one is answered, when it reads again

my $fill = $site->join('bob', path => '/large/stream_1/');
my $deaf = $site->join('alice', port => port(8081), rcvbuf => 4096,
                       auto_pong => 0, path => '/large/stream_1/');

$deaf->{timeout} = 30 * slow();
$fill->send_json({ message => "f" x 16000 }) for 1 .. 40;
ok($neighbour->recv_until(sub { ($_[0]{message} // '') =~ /^f/ && ++$fills == 40
                              }, 10 * slow()), 'S16: a socket is full');

$deaf->send_raw(join '', map { FC::WS::frame(%$_) } @pings[0 .. 8],
                whole('{"message":"not reading"}'));
ok($neighbour->recv_until(sub { $_[0]{message} eq 'not reading' }),
   'S16: nine pings of who does not read');

my @pongs;

while (my $frame = $deaf->recv()) {
    push @pongs, $frame->{payload} if $frame->{op} == 10;
    last if @pongs && $frame->{payload} =~ /not reading/
            || $frame->{op} == 8;
    $last = 1 if $frame->{payload} =~ /not reading/;
    last if @pongs && $last;
}

is("@pongs", 'p9', 'S16: the last one is answered');

$deaf->send_ping('now');
is(($deaf->recv() // {})->{payload}, 'now', 'S16: and the next one');
$deaf->drop();
$fill->drop();

my $flood = $site->join('alice', port => port(8081), rcvbuf => 4096,
                        auto_pong => 0);

$flood->send_raw(join '', map { FC::WS::frame(op => 9, payload => 'x' x 125) }
                          1 .. 20000);
is(($flood->recv_close(10 * slow()))[0], 1008,
   'S16: a flood of pings, and no pong is read');

# answers that are not read: 256 KB of them, and what the kernel has taken

my $probe = alice();

$probe->send_text('x');

my $fit = int 256 * 1024 / (4 + length $probe->recv()->{payload});

for my $n ($fit, 10 * $fit) {
    $deaf = $site->join('alice', port => port(8081), rcvbuf => 4096,
                        auto_pong => 0, timeout => 10 * slow());
    $deaf->send_raw(FC::WS::frame(payload => 'x') x $n);
    $neighbour->send_json({ message => "all $n are read" });
    $neighbour->recv_until(sub { $_[0]{message} eq "all $n are read" });

    my $got = 0;

    while ($got < $n && $deaf->recv_until(sub { $_[0]{code} })) {
        $got++;
    }

    if ($n == $fit) {
        is($got, $n, "S33: $n answers wait for who does not read");

    } else {
        cmp_ok($got, '<', 2 * $fit, "S33: $n do not");
        ok($deaf->eof(), 'S33: that is the end of the socket');
    }
}

# an unfinished message, however busily it is sent

$ws = alice(path => '/short/stream_1/');

my $begun = time();
my $code;

$ws->send_raw(substr FC::WS::frame(payload => 'x' x 1000,
                                   mask => "\0" x 4), 0, 8);

while (time() - $begun < 8 * slow()) {
    $ws->send_raw('x');
    ($code) = $ws->recv_close(0.1) and last;
}

is($code, 1008, 'S15: a message that is not finished');
cmp_ok(time() - $begun, '>', 1.4, 'S15: not before its time');
cmp_ok(time() - $begun, '<', 4 * slow(), 'S15: but then');

$ws = alice(path => '/short/stream_1/');
$ws->send_raw(FC::WS::frame(op => 1, fin => 0, payload => '{"message":'));
sleep 0.7;
is(outcome($ws, { op => 0, payload => '"in time"}' }), 'in time',
   'S15: one that is');

# which is 30 seconds where a socket may be silent for longer

is(($unfinished->recv_close(45 * slow()))[0], 1008, 'S15: 30 seconds at most');

# bytes of a message, of its text, of its parts

my $max = 12 * 500 + 1024;

is(outcome(alice(), whole('{"message":"all"' . ' ' x ($max - 17) . '}')), 'all',
   'S13: as many bytes as there may be');
is(outcome(alice(), whole('{"message":"all"' . ' ' x ($max - 16) . '}')), 1009,
   'S13: one more');
is(outcome(alice(), whole('{"message":"' . '\ud83d\ude00' x 500 . '"}')),
   "\x{1f600}" x 500, 'S22: 500 characters, of twelve bytes each');
is(outcome(alice(), whole('{"message":"' . 'x' x 501 . '"}')), 'too_long',
   'S22: 501');
is(outcome(alice(), whole('{"message":"cid","cid":"' . 'c' x 64 . '"}')),
   'cid', 'a cid of 64');
is(outcome(alice(), whole('{"message":"cid","cid":"' . 'c' x 65 . '"}')),
   'bad_request', 'of 65');

# depth

for my $case ([ 7, 'deep' ], [ 8, 'bad_json' ], [ 6000, 'bad_json', 1009 ]) {
    my ($depth, @want) = @$case;
    my $got = outcome(alice(), whole('{"message":"deep","x":' . '[' x $depth
                                     . (']' x $depth) . '}'));

    ok(scalar(grep { $got eq $_ } @want),
       'S20: depth ' . ($depth + 1) . ": $got");
}

is(outcome(alice(), whole('{"message":"keys",' . join(',', map { qq("$_":0) }
                                                      1 .. 800) . '}')),
   'keys', 'S20: 800 keys that nobody knows');
is(outcome(alice(), whole('{' . join(',', map { qq("$_":0) } 1 .. 100000)
                          . '}')), 1009, 'S20: 100000');

# the same where a message may have 192 KB

for my $case ([ 'depth 100000', 'bad_json',
                '{"message":"x","x":' . '[' x 100000 . '}' ],
              [ '100000 bytes of keys', 'many',
                '{"message":"many",' . join(',', map { qq("k$_":0) } 1 .. 9999)
                . '}' ],
              [ 'a million keys', 1009,
                '{' . join(',', map { qq("$_":0) } 1 .. 1000000) . '}' ])
{
    my ($name, $want, $text) = @$case;

    is(outcome(alice(path => '/large/stream_1/'), whole($text)), $want,
       "S20: $name");
}

# names of rooms

is($site->join('alice', room => 'r' x 255)->status(), 404, 'a room of 255');
is($site->join('alice', room => 'r' x 256)->status(), 400, 'of 256');

# headers, which nginx bounds: large_client_header_buffers is 4 of 8k

my $good = $site->cookie('alice');

is(alice(cookies => join('; ', map({ "c$_=" . 'v' x 20 } 1 .. 100),
                         "sessionid=$good"))->status(), 101, '100 cookies');

my $cookies = "sessionid=$good; big=";
my $bytes = 8192 - length "Cookie: $cookies\r\n";

is(alice(cookies => $cookies . 'b' x $bytes)->status(), 101,
   'a line Cookie of 8 KB');
is(alice(cookies => $cookies . 'b' x ($bytes + 1))->status(), 400,
   'one byte more');
is(alice(cookies => "sessionid=" . 'k' x 7900)->status(), 401,
   'a session of 8 KB');
is(alice(headers => [ map { "X-Test-$_: " . 'h' x 900 } 1 .. 40 ])->status(),
   400, '36 KB of headers');
is(alice(headers => [ map { "Cookie: c$_=1" } 1 .. 100 ])->status(), 101,
   '100 headers of cookies');

for my $hosts ('', "Host: localhost\r\nHost: localhost\r\n",
               "Host: a b\r\n")
{
    my $raw = alice(nowait => 1, method => 'GET /echo HTTP/1.1' . "\r\n"
                    . $hosts . join("\r\n", 'Upgrade: websocket',
                                    'Connection: Upgrade',
                                    'Sec-WebSocket-Version: 13',
                                    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j'
                                    . 'ZQ==', '', 'X'));

    $raw->handshake();
    is($raw->status(), 400, 'no Host, two, a bad one');
}

# what comes after a Close is nothing

$ws = alice();
$ws->send_raw(FC::WS::frame(op => 8, payload => pack 'n', 1000)
              . FC::WS::frame(payload => '{"message":"after the Close"}'));
is(($ws->recv_close())[0], 1000, 'a Close is answered');
ok($ws->recv_eof(), 'and is the end');

# the rates: what is exempt from nothing

is(alice(query => 'since=' . 'x' x 5000, protocol => 'fcchat.v1')
   ->recv_until(sub { $_[0]{type} eq 'reset' })->{reason}, 'malformed',
   'S34: a "since" of 5000 bytes');
is(alice(query => 'since=' . '9' x 30, protocol => 'fcchat.v1')
   ->recv_until(sub { $_[0]{type} eq 'reset' })->{reason}, 'malformed',
   'S26: one without an epoch');

my $epoch = alice(protocol => 'fcchat.v1')->recv_json()->{epoch};

for my $n ('9223372036854775808', '9' x 25, '-1', '0x1', '1.5', '') {
    is(alice(query => "since=$epoch:$n", protocol => 'fcchat.v1')
       ->recv_until(sub { $_[0]{type} eq 'reset' })->{reason}, 'malformed',
       "S26: since number \"$n\"");
}

# and nobody else has noticed

my $after = 0;

$neighbour->send_json({ message => 'the neighbour' });
ok($neighbour->recv_until(sub { $after = 1 if $_[0]{message} =~ /after the/;
                                $_[0]{message} eq 'the neighbour' }),
   'the neighbour');
is($after, 0, 'has not seen what came after a Close');
is(join('', log_lines($t, qr/\[(?:error|crit|emerg)\]/)), '', 'a clean log');
