#!/usr/bin/perl

# fcchat_echo: each message comes back as it was, and the location needs
# neither database nor bus nor login.

use warnings;
use strict;
use utf8;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Util qw/ log_lines wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(39);

$t->write_file_expand('nginx.conf', <<'EOF')->run();

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  echo  "$uri $status $fcchat_protocol $fcchat_messages";
    access_log  %%TESTDIR%%/echo.log echo;
    fcchat_log  %%TESTDIR%%/chat.log;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /echo {
            fcchat_echo;
        }

        location /kept {
            fcchat_echo;
            fcchat_detach off;
        }

        location /tiny {
            fcchat_echo;
            fcchat_message_length 1;
        }

        location /if {
            fcchat_echo;

            if ($arg_x) {
                set $y 1;
            }
        }
    }
}

EOF

sub hello {
    return FC::WS->connect(port => port(8080), path => '/echo', @_);
}

my $ws = hello();

ok($ws->accepted(), 'without a cookie');
ok(hello(origin => undef)->accepted(), 'and without an Origin');
ok(hello(origin => 'https://elsewhere.example')->accepted(), 'or any');
ok(hello(path => '/if?x=1')->accepted(), 'inside "if"');
is(FC::WS->connect(port => port(8080), path => '/echo', version => 8)
   ->status(), 426, 'a handshake it must be');

# what comes back

for my $n (0, 1, 125, 126, 127, 128, 5000) {
    my $text = 'x' x $n;

    $ws->send_text($text);
    is_deeply($ws->recv(), { op => 1, fin => 1, rsv => 0, masked => 0,
                             payload => $text }, "text of $n");
}

$ws->send_binary("\x00\xff\x80");
is_deeply($ws->recv(), { op => 2, fin => 1, rsv => 0, masked => 0,
                         payload => "\x00\xff\x80" }, 'binary stays binary');

$ws->send_text('κόσμε こんにちは 😀');
is($ws->recv_message()->{payload}, 'κόσμε こんにちは 😀', 'UTF-8');

$ws->send_fragments(1, 'a', '', 'b' x 300, 'c');
is($ws->recv()->{payload}, 'a' . 'b' x 300 . 'c', 'fragments become one');

$ws->send_fragments(2, '', '');
is_deeply($ws->recv(), { op => 2, fin => 1, rsv => 0, masked => 0,
                         payload => '' }, 'an empty one of fragments');

$ws->send_frame(op => 1, fin => 0, payload => 'one ');
$ws->send_ping('in between');
is_deeply([ @{$ws->recv()}{qw/ op payload /} ], [ 10, 'in between' ],
          'a pong in the middle of a message');
$ws->send_frame(op => 0, payload => 'two');
is($ws->recv()->{payload}, 'one two', 'which goes on');

$ws->send_pong('unasked');
$ws->send_ping('p' x 125);
is($ws->recv()->{payload}, 'p' x 125, 'a ping of 125; a pong is no question');

# many at once, in order

my @texts = map { "$_ " . 'y' x ($_ * 7 % 300) } 1 .. 500;

$ws->send_raw(join '', map { FC::WS::frame(payload => $_) } @texts);
is_deeply([ map { $ws->recv()->{payload} } @texts ], \@texts, 'in order');

# at any cut

my $bytes = join '', FC::WS::frame(payload => 'cut'),
            FC::WS::frame(op => 1, fin => 0, payload => 'é' x 100),
            FC::WS::frame(op => 9, payload => 'p'),
            FC::WS::frame(op => 0, payload => "\x{1f600}");

for my $byte (split //, $bytes) {
    $ws->send_raw($byte);
}

is($ws->recv()->{payload}, 'cut', 'byte by byte: text');
is($ws->recv()->{op}, 10, 'a pong');
is($ws->recv_message()->{payload}, 'é' x 100 . "\x{1f600}",
   'a character in every cut');

# the size limit is that of a chat message: 12 bytes a character and some

my $tiny = hello(path => '/tiny');

$tiny->send_text('z' x 1036);
is(length $tiny->recv()->{payload}, 1036, 'as big as it may be');
$tiny->send_text('z' x 1037);
is_deeply([ $tiny->recv_close() ], [ 1009, 'message is too big' ], 'bigger');

$tiny = hello(path => '/tiny');
$tiny->send_fragments(1, 'z' x 1000, 'z' x 37);
is_deeply([ $tiny->recv_close() ], [ 1009, 'message is too big' ],
          'in fragments');

# a client that sends and does not read is not waited for: its memory is ours

my $deaf = hello(rcvbuf => 4096);
my ($text, $sent) = (FC::WS::frame(payload => 'd' x 5000), 0);

ok(wait_for(sub {
    $deaf->{timeout} = 0.05;
    $sent += my $n = $deaf->send_raw($text);
    return $n < length $text || $sent > 64 << 20;
}, 20, 0), 'a deaf one is closed or not read');
cmp_ok($sent, '<', 64 << 20, 'long before 64 MB');

$ws->send_text('alive');
is($ws->recv()->{payload}, 'alive', 'the neighbour is served');

# the logs

is(($ws->close(1000))[0], 1000, 'Close');

my $kept = hello(path => '/kept');

$kept->send_text("$_") for 1 .. 3;
$kept->recv() for 1 .. 3;
$kept->close();

ok(wait_for(sub {
    $t->read_file('echo.log') =~ m{^/kept 101 old 3$}m
}), 'access log at the end, fcchat_detach off');
like($t->read_file('echo.log'), qr{^/echo 101 old 0$}m,
     'and at the upgrade otherwise');

ok(wait_for(sub {
    $t->read_file('chat.log') =~ m{"messages":3,[^\n]*"code":1000\}$}m
}), 'fcchat_log');

my ($line) = $t->read_file('chat.log') =~ m{^(.*"messages":3,.*)$}m;
my $data = FC::WS::json()->decode($line);

is_deeply([ sort keys %$data ],
          [qw/ addr bytes_in bytes_out code duration_ms messages protocol
               time /], 'its keys');
is($data->{protocol}, 'echo', 'protocol');
is($data->{bytes_in}, 3 * 7 + 8, 'bytes in');
is($data->{bytes_out}, 3 * 3 + 4, 'bytes out');
is($data->{addr}, '127.0.0.1', 'address');

is(join('', log_lines($t, qr/\[(?:error|crit|emerg)\]/)), '', 'a clean log');
