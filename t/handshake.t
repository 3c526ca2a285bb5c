#!/usr/bin/perl

# RFC 6455 4.2 to the letter: which handshakes are taken, what the answer has,
# and what may come before and after it on the same connection.
#
# S17 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(113);

my $site = FC::Site->new($t, server => 'client_header_timeout 20s;',
                         more => <<'EOF');
        location /echo {
            fcchat_echo;
        }

        location /plain {
            return 200 "plain\n";
        }
EOF

$t->run();

{
    package FC::WS::Bytes;

    our @ISA = qw/ FC::WS /;

    sub send_raw {
        my ($self, $bytes) = @_;

        $self->SUPER::send_raw($_) for split //, $bytes;
    }
}

sub hello {
    return FC::WS->connect(port => port(8080), path => '/echo', @_);
}

# Echoed means that the connection is a WebSocket, and no byte was lost.

sub echoes {
    my ($ws, @want) = @_;

    for my $want (@want) {
        my $frame = $ws->recv() or return 0;

        return 0 if $frame->{payload} ne $want || $frame->{op} != 1;
    }

    $ws->send_text('end');

    return ($ws->recv() // { payload => '' })->{payload} eq 'end';
}

# S17: what is not asked for in the configuration is not agreed on

for my $to ([ echo => '/echo' ],
            [ chat => '/ws/chat/stream_1/', cookie => $site->cookie('bob') ])
{
    my ($name, $path, @cookie) = @$to;

    my $ws = hello(path => $path, @cookie, extensions => 'permessage-deflate'
                   . '; client_max_window_bits, x-webkit-deflate-frame');

    is_deeply([ $ws->status(), $ws->header('Sec-WebSocket-Extensions') ],
              [ 101 ], "S17: no extension, $name");
    $ws->send_frame(op => 1, rsv => 4, payload => "\xf2\x48\xcd\xc9\xc9\x07\x00");
    is(($ws->recv_close())[0], 1002, "S17: nor is one used, $name");
}

# the answer

my $ws = hello(key => 'dGhlIHNhbXBsZSBub25jZQ==');

is($ws->status(), 101, 'status');
like($ws->head(), qr/^HTTP\/1\.1 101 Switching Protocols\r\n/, 'status line');
is($ws->header('Sec-WebSocket-Accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
   "the RFC's own key");
is($ws->header('Upgrade'), 'websocket', 'Upgrade');
is(lc $ws->header('Connection'), 'upgrade', 'Connection');
is($ws->header('Sec-WebSocket-Extensions'), undef, 'no extension');
is($ws->header('Sec-WebSocket-Protocol'), undef, 'no subprotocol');
is($ws->header('Content-Length'), undef, 'no Content-Length');
is($ws->header('Transfer-Encoding'), undef, 'no Transfer-Encoding');
ok(echoes($ws), 'a WebSocket');

# lists of tokens, names in any case

for my $case ([ 'keep-alive, Upgrade', 'websocket' ],
              [ 'UPGRADE', 'WebSocket' ],
              [ "keep-alive ,\t upgrade ,", 'websocket' ],
              [ 'Upgrade', 'h2c, websocket' ])
{
    $ws = hello(connection => $case->[0], upgrade => $case->[1]);
    ok($ws->accepted() && echoes($ws), "$case->[0] / $case->[1]");
}

$ws = hello(headers => [ 'Connection: keep-alive' ]);
ok($ws->accepted(), 'several Connection headers');

$ws = hello(connection => 'close', headers => [ 'Connection: Upgrade' ]);
ok($ws->accepted() && echoes($ws), 'with "close" among them');

$ws = hello(upgrade => 'h2c', headers => [ 'Upgrade: websocket' ]);
ok($ws->accepted(), 'several Upgrade headers');

for my $case ([ connection => undef ], [ connection => 'keep-alive' ],
              [ connection => 'Upgrades' ], [ connection => 'close' ],
              [ upgrade => undef ], [ upgrade => 'h2c' ],
              [ upgrade => 'websockets' ], [ upgrade => '' ],
              [ upgrade => 'websocket/13' ])
{
    my $name = "$case->[0]: " . ($case->[1] // 'none');

    $ws = hello(@$case);
    is($ws->status(), 400, $name);
    is($ws->body(), "this is a WebSocket endpoint\n", "body, $name");
}

# the key

for my $case ([ undef, 'none' ], [ '', 'empty' ], [ 'abc', 'short' ],
              [ 'dGhlIHNhbXBsZSBub25jZQ=', '15 bytes and a bit' ],
              [ 'dGhlIHNhbXBsZSBub25jZTE=', '17 bytes' ],
              [ 'dGhlIHNhbXBsZSBub25j', '15 bytes' ],
              [ 'dGhlIHNhbXBsZSBub2_jZQ==', 'not of the alphabet' ],
              [ '========================', 'padding alone' ])
{
    $ws = hello(key => $case->[0]);
    is($ws->status(), 400, "key: $case->[1]");
}

$ws = hello(headers => [ 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' ]);
is($ws->status(), 400, 'two keys');
is($ws->body(), "bad Sec-WebSocket-Key\n", 'its body');

# the version

for my $version (undef, '', 0, 8, 12, 14, 130, '13, 8', '013', '+13') {
    my $name = 'version ' . ($version // 'none');

    $ws = hello(version => $version);
    is($ws->status(), 426, $name);
    is($ws->header('Sec-WebSocket-Version'), 13, "$name: names ours");
}

is($ws->header('Upgrade'), 'websocket', '426 has Upgrade');
is($ws->body(), "the WebSocket version must be 13\n", 'its body');

$ws = hello(headers => [ 'Sec-WebSocket-Version: 8' ]);
is($ws->status(), 426, 'two versions');

# subprotocols: by the chat's own location

my $alice = { cookie => $site->cookie('alice'), path => '/ws/chat/stream_1/' };

for my $case ([ undef, undef ], [ 'chat, superchat', undef ],
              [ 'fcchat.v1', 'fcchat.v1' ], [ 'FCCHAT.V1', undef ],
              [ 'fcchat.v2', undef ], [ 'x,fcchat.v1,y', 'fcchat.v1' ],
              [ "a , ,\tfcchat.v1", 'fcchat.v1' ])
{
    my ($offer, $want) = @$case;
    my $name = $offer // 'no offer';

    $ws = hello(%$alice, protocol => $offer);
    is_deeply([ $ws->header('Sec-WebSocket-Protocol') ],
              [ defined $want ? $want : () ], "answer to: $name");

    $ws->send_text('{');
    is($ws->recv_until(sub { $_[0]{code} })->{$want ? 'type'
                                                    : 'message_type'},
       $want ? 'error' : 'system', "spoken: $name");
}

$ws = hello(%$alice, protocol => 'chat',
            headers => [ 'Sec-WebSocket-Protocol: fcchat.v1' ]);
is($ws->header('Sec-WebSocket-Protocol'), 'fcchat.v1', 'in several headers');

for my $offer ('', ',', 'a b', 'fcchat.v1; q=1', '"fcchat.v1"', 'fcchat/1') {
    $ws = hello(%$alice, protocol => $offer);
    is($ws->status(), 400, "no list of tokens: $offer");
}

# methods, versions, bodies

$ws = hello(method => 'POST');
is($ws->status(), 405, 'POST');
is($ws->header('Allow'), 'GET', 'Allow');
is(hello(method => 'OPTIONS')->status(), 405, 'OPTIONS');

$ws = hello(method => 'HEAD', nowait => 1);
$ws->fill(5);
like($ws->{in}, qr/^HTTP\/1\.1 405 .*\r\n\r\n\z/s, 'HEAD, and no body');

$ws = hello(http => 'HTTP/1.0');
is($ws->status(), 400, 'HTTP/1.0');
is($ws->body(), "a WebSocket handshake is HTTP/1.1\n", 'its body');

is(hello(headers => [ 'Content-Length: 5' ], first => 'hello')->status(), 400,
   'a body');
is(hello(headers => [ 'Transfer-Encoding: chunked' ],
         first => "0\r\n\r\n")->status(), 400, 'a chunked one');

$ws = hello(headers => [ 'Content-Length: 0' ]);
ok($ws->accepted() && echoes($ws), 'a body of nothing');

is(hello(headers => [ 'X-Folded: a', ' b' ])->status(), 400, 'obs-fold');
is(FC::WS->connect(port => port(8080), path => '/plain')->status(), 200,
   'elsewhere the same is a GET');

# frames in the handshake's own packet, also when it is a big one

my $frames = FC::WS::frame(payload => 'one') . FC::WS::frame(payload => 'two');

$ws = hello(first => $frames);
ok($ws->accepted() && echoes($ws, 'one', 'two'), 'frames with the handshake');

$ws = hello(first => substr $frames, 0, 12);
$ws->send_raw(substr $frames, 12);
ok(echoes($ws, 'one', 'two'), 'one and a half of them');

$ws = hello(first => $frames, headers => [ map { "X-Big: " . 'b' x 900 }
                                           1 .. 5 ]);
ok(echoes($ws, 'one', 'two'), 'in large_client_header_buffers');

$ws = hello(%$alice, first => FC::WS::frame(payload => '{"message":"early"}'));
is($ws->recv_json()->{message}, 'early', 'while the session is looked up');

# one byte at a time

$ws = FC::WS::Bytes->connect(port => port(8080), path => '/echo',
                             first => $frames);
ok($ws->accepted() && echoes($ws, 'one', 'two'), 'byte by byte');

# other requests on the connection, before it and after a refusal

$ws = hello(version => 8);
$ws->{version} = 13;
$ws->send_raw($ws->request());
$ws->handshake();
ok($ws->accepted() && echoes($ws), 'a handshake after a refusal');

$ws = hello(method => 'POST', headers => [ 'Content-Length: 5' ],
            first => 'hello');
is($ws->status(), 405, 'POST with a body');
$ws->{method} = 'GET';
$ws->{headers} = [];
$ws->send_raw($ws->request());
$ws->handshake();
ok($ws->accepted() && echoes($ws), 'which is read before the next');

$ws = hello(nowait => 1, first => $frames, method =>
            "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\nGET");

while ($ws->{in} !~ s/^.* 200 .*plain\n(?=HTTP\/1\.1 101 .*?\r\n\r\n)//s) {
    last if !$ws->fill(5);
}

$ws->handshake();
ok($ws->accepted() && echoes($ws, 'one', 'two'), 'after a pipelined GET');
