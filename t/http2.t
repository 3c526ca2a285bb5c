#!/usr/bin/perl

# HTTP/2: nginx has no WebSockets over it (RFC 8441).  It says so to nobody, and
# whoever asks all the same gets a status, never a stream that hangs, and does
# not disturb the WebSockets of the same port.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use IO::Socket::INET;

use Test::Nginx;

use FC::Util qw/ log_lines /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_v2/)->plan(9);

$t->write_file_expand('nginx.conf', <<'EOF')->run();

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 http2;
        server_name  localhost;

        location / {
            fcchat_echo;
        }
    }
}

EOF

use constant { DATA => 0, HEADERS => 1, RESET => 3, SETTINGS => 4,
               GOAWAY => 7 };

my $neighbour = FC::WS->connect(port => port(8080), path => '/');

# what a WebSocket is in HTTP/1.1; there "Connection" may not be sent at all

my @upgrade = ('sec-websocket-key' => 'dGhlIHNhbXBsZSBub25jZQ==',
               'sec-websocket-version' => 13, origin => 'http://localhost');
my @place = (':scheme' => 'http', ':path' => '/', ':authority' => 'localhost');

my ($settings, $get) = request(':method' => 'GET', @place, @upgrade);

ok(!exists $settings->{8}, 'extended CONNECT is not announced');
is($get->{status}, 400, 'GET');
is($get->{body}, "a WebSocket handshake is HTTP/1.1\n", 'its body');

(undef, my $upgrade) = request(':method' => 'GET', @place, @upgrade,
                               upgrade => 'websocket');

is($upgrade->{status}, 400, 'with Upgrade');

(undef, my $post) = request(':method' => 'POST', @place, @upgrade);

is($post->{status}, 405, 'POST');

(undef, my $connect) = request(':method' => 'CONNECT', ':protocol' =>
                               'websocket', @place, @upgrade);

is($connect->{status}, 400, 'extended CONNECT');

$neighbour->send_text('x');
is($neighbour->recv_message()->{payload}, 'x', 'the WebSocket beside it');

my $ws = FC::WS->connect(port => port(8080), path => '/');

ok($ws->accepted(), 'and a new one');

is(join('', log_lines($t, qr/\[(?:error|crit|emerg)\]/)), '', 'a clean log');


# One request on a connection of its own: the server's settings, and what came
# of the stream.

sub request {
    my $s = IO::Socket::INET->new(Proto => 'tcp', PeerHost => '127.0.0.1',
                                  PeerPort => port(8081), Timeout => 5)
        or die "can't connect: $!\n";

    my $block = '';

    while (my ($name, $value) = splice @_, 0, 2) {
        $block .= "\0" . join '', map { pack('C', length $_) . $_ }
                                      $name, $value;
    }

    my (%settings, %got);

    $got{body} = '';

    syswrite $s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(SETTINGS, 0, 0, '')
                 . frame(HEADERS, 5, 1, $block);

    local $SIG{ALRM} = sub { die "no end of the stream\n" };
    alarm 10;

    while (defined(my $head = take($s, 9))) {
        my ($high, $low, $type, $flags, $stream) = unpack 'C n C C N', $head;
        my $payload = take($s, ($high << 16) + $low) // last;

        if ($type == SETTINGS && !($flags & 1)) {
            %settings = (%settings, unpack '(n N)*', $payload);
            syswrite $s, frame(SETTINGS, 1, 0, '');

        } elsif ($type == HEADERS) {
            $got{status} = status($payload);

        } elsif ($type == DATA) {
            $got{body} .= $payload;

        } elsif ($type == RESET) {
            $got{reset} = unpack 'N', $payload;
        }

        last if $type == RESET || $type == GOAWAY
                || $stream == 1 && $flags & 1;
    }

    alarm 0;

    return (\%settings, \%got);
}


sub frame {
    my ($type, $flags, $stream, $payload) = @_;

    return pack('C n C C N', 0, length $payload, $type, $flags, $stream)
           . $payload;
}


sub take {
    my ($s, $n) = @_;

    my $data = '';

    while (length $data < $n) {
        sysread($s, $data, $n - length $data, length $data) or return undef;
    }

    return $data;
}


# RFC 7541: an entry of the static table, or a literal whose name is ":status".

sub status {
    my ($block) = @_;

    my $first = ord $block;
    my @static = (200, 204, 206, 304, 400, 404, 500);

    return $static[($first & 0x7f) - 8] if $first & 0x80;

    my $len = ord substr $block, 1;

    return substr $block, 2, $len if !($len & 0x80);

    # Huffman's digits have 5 bits for 0, 1 and 2, and 6 for the others

    my $bits = unpack 'B*', substr $block, 2, $len & 0x7f;
    my $digits = '';

    while ($bits =~ s/^(?:000(00|01|10)|0(11001|11010|11011|11100|11101|11110
                        |11111))//x)
    {
        $digits .= defined $1 ? oct "0b$1" : oct("0b$2") - 25 + 3;
    }

    return $digits;
}
