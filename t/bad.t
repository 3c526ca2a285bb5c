#!/usr/bin/perl

# Input that no honest client sends.  Each has one exact close code or error,
# and a neighbour on the same worker, in the same room, sees nothing of it.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines rss slow wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(156);

my $site = FC::Site->new($t, more => <<'EOF');
        location /echo {
            fcchat_echo;
        }
EOF

$t->run();

my $neighbour = $site->join('bob');
my ($worker) = workers($t);

# frames, of FC::WS::frame() or in bytes, and the code they end in

my $over = 12 * 500 + 1024 + 1;
my $head = pack 'C2', 0x81, 0x80 | 127;
my $mask = "\0\0\0\0";

sub data { return { op => 1, payload => @_ } }
sub part { return { op => 1, fin => 0, payload => @_ } }
sub more { return { op => 0, fin => 0, payload => @_ } }
sub last_part { return { op => 0, payload => @_ } }
sub control { return { op => shift, payload => shift // '', @_ } }
sub goodbye { return { op => 8, payload => pack 'n a*', @_ } }

my @frames = (
    # S18

    [ 'no mask',                    1002, data('{}', mask => undef) ],
    [ 'no mask, a ping',            1002, control(9, '', mask => undef) ],
    [ 'no mask, a Close',           1002, control(8, '', mask => undef) ],
    (map { [ "reserved bits $_",    1002, data('{}', rsv => $_) ] } 1 .. 7),
    [ 'a reserved bit of a ping',   1002, control(9, '', rsv => 4) ],
    [ 'one in a continuation',      1002, part('{'),
                                          last_part('}', rsv => 4) ],
    (map { [ sprintf('opcode %x', $_), 1002, data('', op => $_) ] }
         3 .. 7, 11 .. 15),
    [ 'a ping of 126',              1002, control(9, 'p' x 126) ],
    [ 'a pong of 126',              1002, control(10, 'p' x 126) ],
    [ 'a Close of 126',             1002, goodbye(1000, 'p' x 124) ],
    [ 'a fragmented ping',          1002, control(9, '', fin => 0) ],
    [ 'a fragmented Close',         1002, control(8, '', fin => 0) ],
    [ 'a fragmented pong',          1002, control(10, '', fin => 0) ],
    [ 'a continuation of nothing',  1002, last_part('{}') ],
    [ 'after a whole message',      1002, data(' '), more('{}') ],
    [ 'text inside of a text',      1002, part('{'), data('{}') ],
    [ 'binary inside of a text',    1002, part('{'), data('', op => 2) ],
    [ '16 bits for 125',            1002, data('x' x 125, len => 16) ],
    [ '16 bits for 0',              1002, data('', len => 16) ],
    [ '64 bits for 125',            1002, data('x' x 125, len => 64) ],
    [ '64 bits for 126',            1002, data('x' x 126, len => 64) ],
    [ '64 bits for 65535',          1002, data('x' x 65535, len => 64) ],
    [ 'the top bit of 64',          1002, $head . "\x80" . "\0" x 7 . $mask ],
    [ 'all 64 bits',                1002, $head . "\xff" x 8 . $mask ],
    [ '2^63 - 1 bytes',             1009, $head . "\x7f" . "\xff" x 7
                                          . $mask ],
    [ '2^32 bytes',                 1009, data('', announce => 2 ** 32) ],
    # S13, S14, S16: as the length is announced; fragments; control frames

    [ 'one byte too many',          1009, data('', announce => $over) ],
    [ 'too many over fragments',    1009, part('x' x 4000), more('x' x 3000),
                                          last_part('', announce =>
                                                    $over - 7000) ],
    [ '2^63 - 1 after some',        1009, part('x'), pack('C2', 0, 0xff)
                                          . "\x7f" . "\xff" x 7 . $mask ],
    [ '65 fragments',               1008, part('x'), (more('x')) x 64 ],
    [ '65 empty ones',              1008, part(''), (more('')) x 64 ],
    [ 'binary',                     1003, data("\0", op => 2) ],
    [ 'binary, empty',              1003, data('', op => 2) ],
    [ 'binary, unfinished',         1003, data('x', op => 2, fin => 0) ],
    [ 'a ping flood',               1008, (control(9, 'x')) x 11 ],
    [ 'a pong flood',               1008, (control(10)) x 11 ],

    # S19, UTF-8: at the byte that is wrong, not at the end of the frame

    (map { [ 'UTF-8 ' . unpack('H*', $_), 1007, data($_) ] }
         "\xff", "\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf",
         "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80",
         "\xe3\x81", "{\"message\":\"\xe3\"}"),
    [ 'cut off by a fragment',      1007, part("\xe3\x81"), last_part('') ],
    [ 'wrong in the next one',      1007, part("\xe3"), more("\x28") ],
    [ 'wrong, and the rest to come', 1007, data("\xff", announce => 3000) ],

    # Close

    [ 'a Close of one byte',        1002, control(8, "\3") ],
    (map { [ "Close $_",            1002, goodbye($_) ] }
         0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535),
    [ 'Close, reason not UTF-8',    1007, goodbye(1000, "\xff") ],
    [ 'Close, reason cut off',      1007, goodbye(1000, "ok \xe3\x81") ],
);

my @pieces;

for my $case (@frames) {
    my ($name, $code, @parts) = @$case;
    my $ws = $site->join('alice', auto_pong => 0);
    my $bytes = join('', map { ref $_ ? FC::WS::frame(%$_) : $_ } @parts);

    $ws->send_raw($bytes . FC::WS::frame(payload => '{"message":"after it"}'));

    is(($ws->recv_close())[0], $code, $name);
    $ws->drop();

    next if length $bytes > 400;

    # and so it is where all comes byte by byte

    $ws = $site->join('alice', auto_pong => 0);
    $ws->send_raw($_) for split //, $bytes;

    my ($got) = $ws->recv_close();

    push @pieces, "$name: " . ($got // 'none') if ($got // 0) != $code;
    $ws->drop();
}

is(join(', ', @pieces), '', 'the same byte by byte');
is_deeply([ $neighbour->recv_all(0.1) ], [],
          'the neighbour has seen none of them');

# handshakes: no session, no room and no reader comes of these

my $key = 'dGhlIHNhbXBsZSBub25jZQ==';

for my $case ([ 'no key', 400, key => undef ], [ 'a short key', 400, key => 'x' ],
              [ 'two keys', 400, headers => [ "Sec-WebSocket-Key: $key" ] ],
              (map { [ "version $_", 426, version => $_ ] } 8, 12, 14),
              [ 'two versions', 426,
                headers => [ 'Sec-WebSocket-Version: 8' ] ],
              [ 'HTTP/1.0', 400, http => 'HTTP/1.0' ],
              [ 'an empty Host', 400, host_header => '' ],
              [ 'two Hosts', 400, headers => [ 'Host: localhost' ] ],
              [ 'two Origins', 400, headers => [ 'Origin: http://evil' ] ],
              [ 'no upgrade', 400, connection => 'keep-alive' ],
              [ 'obs-fold', 400, headers => [ 'X-Folded: a', ' b' ] ],
              [ 'a NUL in a header', 400, headers => [ "X-Nul: a\0b" ] ],
              [ 'a body', 400, headers => [ 'Content-Length: 5' ],
                first => 'hello' ],
              [ 'a cookie of 9 KB', 400, cookies => 'a=' . 'b' x 9000 ],
              [ 'a session of 4 KB', 401, cookie => 'k' x 4000 ])
{
    my ($name, $status, %o) = @$case;
    my $ws = $site->join('alice', %o);

    is($ws->status(), $status, $name);
    is($ws->header('Sec-WebSocket-Version'), 13, "$name: names ours")
        if $status == 426;
    $ws->drop();
}

# and these are good; what follows them is read as frames, once

for my $case ([ 'a list in Connection', connection => 'keep-alive, Upgrade' ],
              [ '100 cookies', cookies => join '; ',
                (map { "c$_=1" } 1 .. 99),
                'sessionid=' . $site->cookie('alice') ])
{
    my ($name, %o) = @$case;
    my $ws = $site->join('alice', %o, first => FC::WS::frame(
                         payload => qq({"message":"$name"})));

    is($ws->recv_json()->{message}, $name, $name);
    $ws->send_json({ message => 'next' });
    is($ws->recv_json()->{message}, 'next', "$name: once");
    is(join(' ', map { $neighbour->recv_json()->{message} } 1, 2),
       "$name next", "$name: for the neighbour");
    $ws->drop();
}

# S20, S21, S26.  JSON: an error each, the same socket goes on

my $fun = '{"message":"x","y":';

my @json = (
    [ 'nothing',            'bad_json',    '' ],
    [ 'blanks',             'bad_json',    " \n\t" ],
    [ 'a bare scalar',      'bad_json',    'true' ],
    [ 'a bare string',      'bad_json',    '"x"' ],
    [ 'a bare number',      'bad_json',    '1' ],
    [ 'an array',           'bad_json',    '[]' ],
    [ 'trailing bytes',     'bad_json',    '{"message":"x"}}' ],
    [ 'two values',         'bad_json',    '{"message":"x"} {}' ],
    [ 'a byte order mark',  'bad_json',    "\xef\xbb\xbf{\"message\":\"x\"}" ],
    [ 'a NUL byte',         'bad_json',    "{\"message\":\"\0\"}" ],
    [ 'a NUL at the end',   'bad_json',    "{\"message\":\"x\"}\0" ],
    [ 'a control character', 'bad_json',   "{\"message\":\"\n\"}" ],
    [ 'single quotes',      'bad_json',    "{'message':'x'}" ],
    [ 'a comment',          'bad_json',    '{"message":"x"/**/}' ],
    [ 'a trailing comma',   'bad_json',    '{"message":"x",}' ],
    [ 'duplicate keys',     'bad_json',    '{"message":"x","message":"x"}' ],
    [ 'in different words', 'bad_json',
      '{"message":"x","\\u006dessage":"x"}' ],
    [ 'a lone surrogate',   'bad_json',    '{"message":"\\ud800"}' ],
    [ 'the wrong half',     'bad_json',    '{"message":"\\udc00\\ud800"}' ],
    [ 'depth 9',            'bad_json',    $fun . '[' x 8 . ']' x 8 . '}' ],
    [ 'depth 6000',         'bad_json',    '[' x 6000 ],
    [ 'depth 1000, {',      'bad_json',    '{"a":' x 1000 ],
    [ '1e400',              'bad_json',    $fun . '1e400}' ],
    [ '30 digits',          'bad_json',    $fun . '1' x 30 . '}' ],
    [ 'NaN',                'bad_json',    $fun . 'NaN}' ],
    [ 'a leading zero',     'bad_json',    $fun . '01}' ],
    [ 'an escaped NUL',     'bad_text',    '{"message":"\\u0000"}' ],
    [ 'one in a key',       'bad_text',    '{"message":"x","\\u0000":1}' ],
    [ 'a stamp of -0',      'bad_request', '{"type":"reaction","stamp_id":-0}' ],
    [ 'a stamp of 2^63 - 1', 'bad_request',
      '{"type":"reaction","stamp_id":9223372036854775807}' ],
    [ 'a stamp of 1e0',     'bad_request',
      '{"type":"reaction","stamp_id":1e0}' ],
    [ 'a stamp of 2^53',    'unknown_stamp',
      '{"type":"reaction","stamp_id":9007199254740992}' ],
    [ '500 keys, no message', 'bad_request',
      '{' . join(',', map { qq("$_":0) } 1 .. 500) . '}' ],
    [ 'an object for a text', 'bad_request', '{"message":{"message":"x"}}' ],
    [ 'a huge cid',         'bad_request',
      '{"message":"x","cid":"' . 'c' x 5000 . '"}' ],
);

{
    my $ws = $site->join('alice');

    for my $case (@json) {
        my ($name, $code, $text) = @$case;

        $ws->send_text($text);
        is(($ws->recv_json() // {})->{code}, $code, $name);
    }

    is_deeply([ $neighbour->recv_all(0.1) ], [],
              'the neighbour has seen nothing of all that');

    # S24: what looks odd and is not wrong

    for my $case ([ 'S25: SQL', q{'); drop table chat_chatmessage; --} ],
                  [ 'formats', '%s%n%V$1{{7*7}}' ],
                  [ 'a CR and a LF', "\r\nSet-Cookie: a=b" ],
                  [ 'the last character', "\x{10fffd}" ],
                  [ 'a mark that turns the direction', "\x{202e}abc" ])
    {
        my ($name, $text) = @$case;

        $ws->send_json({ message => $text });
        $ws->recv_json();

        my $want = $text =~ s/'/&#x27;/gr;

        is($neighbour->recv_json()->{message}, $want, "$name are a text");
    }
}

# sockets that end anywhere in a frame

my $frame = FC::WS::frame(payload => '{"message":"' . 'x' x 200 . '"}');

for my $reset (0, 1) {
    for my $cut (1 .. 14, 100, length($frame) - 1) {
        my $ws = $site->join('alice');

        $ws->send_raw(substr $frame, 0, $cut);
        $ws->drop($reset);
    }
}

# endless: neither fragments nor bytes that never make a message cost memory

my $memory = rss($worker);

for (1 .. 20) {
    my $ws = $site->join('alice');

    $ws->send_raw(FC::WS::frame(op => 1, fin => 0, payload => 'x' x 6000));
    $ws->send_raw('y' x 300000);
    $ws->drop();
}

cmp_ok(rss($worker) - $memory, '<', 8192 * slow(), 'no memory is left behind');

# and after all of it

my $ws = $site->join('alice');

$ws->send_json({ message => 'still there?' });
is($ws->recv_json()->{message}, 'still there?', 'the room works');
is($neighbour->recv_json()->{message}, 'still there?', 'for the neighbour');
$neighbour->send_json({ message => 'yes' });
is($ws->recv_json()->{message}, 'yes', 'in both directions');
is(join(' ', workers($t)), $worker, 'the same worker');
is(join('', log_lines($t, qr/\[(?:error|crit|emerg)\]/)), '', 'a clean log');
