#!/usr/bin/perl

# The example for other tests, and the first thing to look at when all fail:
# nginx starts with the module loaded, PostgreSQL and Redis answer, and Django
# has made a user with a session.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Django;
use FC::Pg;
use FC::Redis;
use FC::Util qw/ log_lines wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(12);

my $pg = FC::Pg->new();
my $redis = FC::Redis->new();
my $django = FC::Django->new(pg => $pg);

$t->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            return 200 "plain\n";
        }
    }
}

EOF

$t->run();

like(http_get('/'), qr/ 200 .*\x0d\x0a\x0d\x0aplain$/ms, 'a plain location');
ok(wait_for(sub { workers($t) == 2 }), 'two workers');

is($pg->sql('select 1'), 1, 'PostgreSQL');
is($pg->sql("select :'v'", v => "it's"), "it's", 'a variable is quoted');
is($redis->cmd('PING'), 'PONG', 'Redis');

my $id = $django->user('alice');
my $cookie = $django->session('alice');

like($cookie, qr/^[a-z0-9]{32}$/, 'a session key');
is($pg->sql('select username from accounts_user where id = ' . $id),
   'alice', 'a user');
is($pg->sql('select count(*) from django_session'), 1, 'a session');
is($pg->sql("select count(*) from chat_chatroom where name = 'stream_1'"), 1,
   'a room');

my $ws = FC::WS->connect(port => port(8080), path => '/');

is($ws->status(), 200, 'no upgrade at a plain location');
is($ws->body(), "plain\n", 'its body');

$t->stop();

is(join('', log_lines($t, qr/\[(?:warn|error|crit|alert|emerg)\]/)), '',
   'a clean error log');
