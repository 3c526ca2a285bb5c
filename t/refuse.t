#!/usr/bin/perl

# Refusals: the status, its headers and a short body; with "fcchat_refuse
# close" the close code that says the same; error_page; and that what can be
# refused without the database asks it nothing.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ free_port slurp wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(122);

my $dead = 'fcchat_postgres "host=127.0.0.1 port=' . free_port()
           . '" timeout=1s;';

my $site = FC::Site->new($t, more => <<"EOF");
        location /any/ {
            fcchat;
        }

        location /named {
            fcchat;
            fcchat_room \$arg_room;
            fcchat_tenant \$arg_tenant;
        }

        location /close/ {
            fcchat;
            fcchat_refuse close;
        }

        location /dead/ {
            fcchat;
            $dead
        }

        location /dead-close/ {
            fcchat;
            fcchat_refuse close;
            $dead
        }

        location /page/ {
            fcchat;
            error_page 401 404 426 /own.html;
            error_page 403 =302 https://example.com/login;
        }

        location /page-dead/ {
            fcchat;
            $dead
            error_page 503 \@busy;
        }

        location = /own.html {
            return 200 "own page\\n";
        }

        location \@busy {
            return 200 "busy\\n";
        }
EOF

my ($pg, $django) = ($site->pg, $site->django);
my $db = $pg->name();

$django->room('closed', is_active => 0);
$django->tables('tenant2');
$django->room('theirs', schema => 'tenant2');
$pg->sql('create schema bare');

my $good = $django->session('alice');
my %bad = (
    'an unknown session'  => '0' x 32,
    'an expired session'  => $django->session('alice', age => -10),
    'a signed-out one'    => $django->session('alice'),
    'of another key'      => $django->session('alice', secret => 'another'),
    'without a user'      => $django->session('alice',
                                 data => { _auth_user_id => undef }),
    'with a wrong hash'   => $django->session('alice',
                                 data => { _auth_user_hash => 'f' x 64 }),
    'of nobody'           => $django->session('alice',
                                 data => { _auth_user_id => '4711' }),
    'of the inactive'     => $django->session('sleeper'),
    'after a new password' => $django->session('mallory'),
);

$django->logout($bad{'a signed-out one'});
$django->user('sleeper', is_active => JSON::PP::false());
$django->set_password('mallory', 'new');

# from here on the server's log has each statement in this database

$pg->sql("alter database $db set log_statement = 'all'");

$t->run();

sub try_at {
    my ($path, %o) = @_;

    return FC::WS->connect(port => port(8080), path => $path,
                           cookie => $good, %o);
}

sub is_refused {
    my ($ws, $status, $body, $name) = @_;

    is($ws->status(), $status, $name);
    is($ws->body(), "$body\n", "$name: body");

    return $ws;
}

sub statements {
    return scalar grep { / \Q$db\E LOG: +(?:statement|execute)/ }
                  split /^/, slurp($pg->host() . '/log');
}

sub is_closed {
    my ($ws, $code, $name) = @_;
    my $frame = $ws->recv();

    is($ws->status(), 101, "$name: upgraded");
    is($frame && $frame->{op}, 8, "$name: nothing before the Close");
    is(unpack('n', $frame->{payload} // ''), $code, "$name: $code");
    $ws->send_close($code);
    ok($ws->recv_eof(), "$name: and the end");

    return;
}

# without the database

my $before = statements();
my $at = '/ws/chat/stream_1/';

my $ws = is_refused(try_at($at, upgrade => undef), 400,
                    'this is a WebSocket endpoint', 'no Upgrade');

is($ws->header('Content-Type'), 'text/plain', 'type');
is($ws->header('Content-Length'), length $ws->body(), 'length');
is($ws->header('Connection'), 'keep-alive', 'the connection stays');

is_refused(try_at($at, key => 'x'), 400, 'bad Sec-WebSocket-Key', 'key');
is_refused(try_at($at, http => 'HTTP/1.0'), 400,
           'a WebSocket handshake is HTTP/1.1', 'HTTP/1.0');
is_refused(try_at($at, protocol => 'a b'), 400, 'bad Sec-WebSocket-Protocol',
           'subprotocol');
is_refused(try_at($at, headers => [ 'Content-Length: 1' ], first => 'x'), 400,
           'a WebSocket handshake has no body', 'a body');
is_refused(try_at($at, headers => [ 'Origin: http://localhost' ]), 400,
           'more than one Origin', 'two Origins');

$ws = is_refused(try_at($at, method => 'POST'), 405,
                 'a WebSocket handshake is a GET', 'POST');
is($ws->header('Allow'), 'GET', 'Allow');

$ws = is_refused(try_at($at, version => 8), 426,
                 'the WebSocket version must be 13', 'version');
is($ws->header('Sec-WebSocket-Version'), '13', 'Sec-WebSocket-Version');

is_refused(try_at($at, origin => 'http://evil.example'), 403,
           'origin not allowed', 'Origin');
is_refused(try_at($at, origin => undef), 403, 'origin not allowed',
           'no Origin');

is_refused(try_at("/any/$_/"), 400, 'bad room name', "room $_")
    for 'a%20b', 'a.b', '%E3%81%82', '%27', 'a' x 256;
is_refused(try_at('/named?tenant=localhost'), 400, 'bad room name',
           'an empty room name');

is_refused(try_at($at, cookie => undef), 401, 'no session', 'no cookie');

for my $cookie ('', 'abc', 'A' x 32, 'a' x 31 . '_', 'a' x 7, 'a' x 41,
                "' or 1=1;--" . 'a' x 21)
{
    is(try_at($at, cookie => $cookie)->status(), 401, "cookie \"$cookie\"");
}

is_refused(try_at('/named?room=stream_1'), 404, 'no such room',
           'an empty tenant');
is(try_at('/named?room=stream_1&tenant=pg_catalog')->status(), 404,
   'pg_catalog is no tenant');
is(try_at('/named?room=stream_1&tenant=' . 'a' x 64)->status(), 404,
   'too long a tenant');

is_closed(try_at('/close/stream_1/', origin => 'null'), 4403,
          'Origin');
is_closed(try_at('/close/stream_1/', cookie => undef), 4401, 'no cookie');

is(statements(), $before, 'no statement up to here');

# with it

is(try_at($at, cookie => $bad{$_})->status(), 401, $_) for sort keys %bad;

my $after = statements();

cmp_ok($after, '>', $before, 'now the database was asked');

is_refused(try_at($at, cookie => $bad{'an unknown session'}), 401,
           'no valid session', 'the unknown one again');
is(statements(), $after, 'which is known by now');

is(try_at($at, cookie => undef, cookies => "a=b; sessionid=$good")->status(),
   101, 'among cookies');
is(try_at($at, cookie => undef, cookies => "sessionid=$good; sessionid=x")
   ->status(), 401, 'of two cookies the last one counts, as in Django');
is(try_at($at, cookie => undef, cookies => "sessionid=x; sessionid=$good")
   ->status(), 101, 'whichever it is');
is(try_at($at, cookie => undef, cookies => join '; ', "sessionid=$good",
          map { "c$_=x" } 1 .. 100)->status(), 101, 'among 100 of them');
is(try_at($at, cookies => 'c=' . 'x' x 9000 . "; sessionid=$good")->status(),
   400, 'behind one of 9000 bytes');
is(try_at("$at?sessionid=$good", cookie => undef)->status(), 401,
   'a session in the URL is none');

is_refused(try_at('/ws/chat/nowhere/'), 404, 'no such room', 'no such room');
is_refused(try_at('/ws/chat/closed/'), 404, 'no such room',
           'a room that is not active');
is_refused(try_at('/ws/chat/theirs/'), 404, 'no such room',
           "a room of another tenant's");
is_refused(try_at('/named?room=stream_1&tenant=nowhere'), 404,
           'no such room', 'a schema that is none');
is_refused(try_at('/named?room=stream_1&tenant=bare'), 503,
           'the chat is not available', 'a schema without tables');
is(try_at('/named?room=theirs&tenant=tenant2')->status(), 401,
   "another tenant's sessions are its own");

is_closed(try_at('/close/stream_1/', cookie => $bad{'of nobody'}), 4401,
          'session');
is_closed(try_at('/close/nowhere/'), 4404, 'room');
is_closed(try_at('/dead-close/stream_1/'), 4013, 'no database');
is_closed(try_at('/close/a.b/'), 4400, 'room name');

$ws = is_refused(try_at('/dead/stream_1/'), 503, 'the chat is not available',
                 'no database');
like($ws->header('Retry-After'), qr/^[1-9]\d?$/, 'Retry-After');

# the site's own pages

for my $case ([ '/page/stream_1/', 401, 'at once', cookie => undef ],
              [ '/page/stream_1/', 401, 'later', cookie => '1' x 32 ],
              [ '/page/nowhere/', 404, 'later' ],
              [ '/page/stream_1/', 426, 'at once', version => 8 ])
{
    my ($path, $status, $when, @o) = @$case;

    $ws = is_refused(try_at($path, @o), $status, 'own page',
                     "error_page $status, $when");
}

is($ws->header('Sec-WebSocket-Version'), '13', 'with the headers');

$ws = try_at('/page/stream_1/', origin => 'null');
is($ws->status(), 302, 'error_page with another status');
is($ws->header('Location'), 'https://example.com/login', 'Location');

$ws = is_refused(try_at('/page-dead/stream_1/'), 503, 'busy', '@busy');
like($ws->header('Retry-After'), qr/^[1-9]\d?$/, 'Retry-After stays');
