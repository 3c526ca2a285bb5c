#!/usr/bin/perl

# auth_request in front: its answer counts, and the socket works behind it.  The
# API as what is asked leaves nothing behind in the request that asks.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use IO::Socket::INET;
use Test::Nginx;

use FC::Api;
use FC::Queries;
use FC::Site;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http auth_request rewrite/)->plan(17);

my ($backend, $nobody) = map {
    IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1:0')
        or die "no listener: $!\n"
} 1, 2;

my $conf = <<'EOF';
        location /report {
            auth_request /api/stream_1/history;
            proxy_pass http://127.0.0.1:BACKEND;
        }

        location /api/ {
            fcchat_api;
            fcchat_session_cache 60s;
            fcchat_handshake_timeout 1s;
        }

        location /silent/ {
            fcchat_api;
            fcchat_postgres "host=127.0.0.1 port=NOBODY" timeout=5s;
            fcchat_handshake_timeout 1s;
        }

        location /asked/ {
            auth_request /auth;
            fcchat;

            location /asked/attached/ {
                auth_request /auth;
                auth_request_set $name $upstream_http_x_room;
                fcchat_room $name;
                fcchat_detach off;
                fcchat;
            }
        }

        location = /auth {
            internal;
            proxy_pass http://127.0.0.1:8081/auth;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }
    }

    server {
        listen 127.0.0.1:8081;

        location / {
            add_header X-Room stream_2 always;

            if ($http_x_status = 401) {
                return 401;
            }

            if ($http_x_status = 403) {
                return 403;
            }

            if ($http_x_status = 500) {
                return 500;
            }

            return 204;
        }
EOF

$conf =~ s/BACKEND/$backend->sockport()/e;
$conf =~ s/NOBODY/$nobody->sockport()/e;

my $site = FC::Site->new($t, http => 'fcchat_session_cache 0;',
                         more => $conf);

my $queries = FC::Queries->new($site->pg());

$t->run();

sub enter {
    my ($status, $path, %o) = @_;

    return $site->join('alice', path => $path // '/asked/stream_1/',
                       headers => [ "X-Status: $status" ], %o);
}

for my $status (401, 403) {
    $queries->since();
    is(enter($status)->status(), $status, "refused with $status");
    is($queries->count(qr/FROM django_session/), 0, 'nothing was asked');
}

is(enter(500)->status(), 500, 'broken');

my $ws = enter(204);

ok($ws->accepted(), 'let in');
$ws->send_json({ message => 'hi' });
is($ws->recv_json()->{message}, 'hi', 'a message');

is(enter(204, undef, cookie => 'a' x 32)->status(), 401,
   'let in, but not by us');

# a variable of the subrequest names the room

my $two = $site->join('bob', room => 'stream_2');
$ws = enter(204, '/asked/attached/stream_1/');

ok($ws->accepted(), 'with detach off');
$ws->send_json({ message => 'to two' });
is($two->recv_json()->{message}, 'to two', 'the room of auth_request_set');
is($ws->recv_json()->{message}, 'to two', 'and its own');
is_deeply([ $ws->close(1000) ], [ 1000, '' ], 'closed');

# frames with the handshake wait for the subrequest as well

$ws = enter(204, undef, first => FC::WS::frame(payload =>
                                               '{"message":"early"}'));
is($ws->recv_json()->{message}, 'early', 'a frame with the handshake');

# what the API waited with is over with its answer: the request that asked it
# may take longer than that, and its client as well

my $api = FC::Api->new(cookie => $site->cookie('alice'));

is($api->get('/api/stream_1/history')->{status}, 200, 'the API, alone');

my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(8080));
my $body = 'x' x (16 * 1024 * 1024);

print $s $api->request('/report', headers => { Connection => 'close' });

my $up = Test::Nginx::within(10, sub { $backend->accept() });
my $request = Test::Nginx::within(10, sub { local $/ = "\r\n\r\n"; <$up> });

like($request, qr{^GET /report }, 'let through by a subrequest');
is($api->get('/silent/stream_1/history')->{status}, 503,
   'one that came later had its time');

# nginx takes the whole of it, while its client takes none

print $up "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n"
          . $body;
close $up;

my $answer = Test::Nginx::within(30, sub { local $/; <$s> });

is(length(($answer // '') =~ s/^.*?\r\n\r\n//sr), length $body,
   'the whole of its answer');
