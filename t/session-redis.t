#!/usr/bin/perl

# "fcchat_session_engine cache": sessions that Django keeps in Redis, in the
# formats of RedisCache and of django-redis.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use Compress::Zlib ();
use MIME::Base64 qw/ decode_base64 /;

use FC::Redis;
use FC::Site;
use FC::Util qw/ log_lines wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(33);

my $redis = FC::Redis->new();
my ($unix, $url) = ($redis->unix_url(), $redis->url());

my $site = FC::Site->new($t, http => <<"EOF", more => <<"EOF2");
    fcchat_session_engine cache;
    fcchat_session_redis $unix db=3;
EOF
        location /fresh/ {
            fcchat;
            fcchat_session_cache 0;
        }

        location /prefix/ {
            fcchat;
            fcchat_session_redis $url/4;
            fcchat_session_key_prefix "my site";
            fcchat_session_key_version 7;
        }

        location /refused/ {
            fcchat;
            fcchat_session_redis $url/99;
        }

        location /db/ {
            fcchat;
            fcchat_session_engine db;
        }
EOF2

my $django = $site->django();
my $client = $redis->client();

# the key of a session of ann's, and its pickle as Django writes it

my $key = $django->session('ann', engine => 'cache');
my $cached = $django->cached($key);
my $value = decode_base64($cached->{value});

is($cached->{key}, ":1:django.contrib.sessions.cache$key", 'the key');

sub put {
    my ($value, %o) = @_;

    my $name = $o{name} // join '', map { ('a' .. 'z')[rand 26] } 1 .. 32;

    $client->cmd('SELECT', $o{db} // 3);
    $client->cmd('SET', ($o{prefix} // ':1') . ":django.contrib.sessions.cache"
                        . $name, $value, 'EX', $o{age} // 1000);

    return $name;
}

sub who {
    my ($key, $path) = @_;

    my $ws = FC::WS->connect(port => port(8080), cookie => $key,
                             path => ($path // '/ws/chat') . '/stream_1/',
                             protocol => 'fcchat.v1');
    my $is = $ws->status() == 101 ? $ws->recv_json()->{you}{username}
                                  : $ws->status() . ' ' . $ws->body();

    $ws->drop();

    return $is;
}

my $NONE = "401 no valid session\n";
my $AWAY = "503 the chat is not available\n";

put($value, name => $key);

$t->run();

is(who($key), 'ann', 'a session');
is(who($key, '/prefix'), $NONE, 'not in another database');
is(who($key, '/db'), $NONE, 'nor in django_session');
is(who(put($value, db => 4, prefix => 'my site:7'), '/prefix'), 'ann',
   'by a prefix and a version');
is(who(put($value, db => 4)), $NONE, 'another database');
is(who(put($value, prefix => ':2')), $NONE, 'another version');
is(who(put(Compress::Zlib::compress($value))), 'ann', 'compressed');
is(who('x' x 32), $NONE, 'no such key');
is(who('x*' x 16), $NONE, 'no key of Django\'s');

# what is no session

is(who(put(substr $value, 0, -1)), $NONE, 'cut');
is(who(put('')), $NONE, 'empty');
is(who(put('{"_auth_user_id": "1"}')), $NONE, 'JSON');
is(who(put("\x80\x04cposix\nsystem\n\x8c\x02id\x85R.")), $NONE, 'a program');
is(who(put("\x80\x04}.")), $NONE, 'anonymous');
is(who(put($value . 'x' x 100000)), $NONE, 'a long one');

(my $other = $value) =~ s/([0-9a-f]{64})/'0' x 64/e;
is(who(put($other)), $NONE, 'another hash');

$client->cmd('SELECT', 3);
$client->cmd('LPUSH', ':1:django.contrib.sessions.cache' . 'l' x 32, 1);
is(who('l' x 32), $AWAY, 'a list');
is(scalar(my @l = log_lines($t, qr/\[error\].*refuses GET: WRONGTYPE/)), 1,
   'which is told');

is(who($key, '/refused'), $AWAY, 'a database that is not there');
ok(scalar(my @r = log_lines($t, qr/\[error\].*session redis.*DB index/)),
   'which is told, too');

# a logout, and a password that changes

my $gone = put($value);

is(who($gone, '/fresh'), 'ann', 'still there');
$client->cmd('SELECT', 3);
$client->cmd('DEL', ":1:django.contrib.sessions.cache$gone");
is(who($gone, '/fresh'), $NONE, 'logged out');

# Redis stalls, and goes away: what was checked goes on

my $new = put($value);

is(who($key), 'ann', 'checked');

$redis->pause();
is(who($new), $AWAY, 'stalled');
is(who($key), 'ann', 'stalled, but checked before');
$redis->resume();
ok(wait_for(sub { who($new) eq 'ann' }), 'it goes on');

$redis->kill9();
is(who('z' x 32), $AWAY, 'away');
is(who($key), 'ann', 'away, but checked before');
$redis->start();
ok(wait_for(sub { who('y' x 32) eq $NONE }), 'back');

$client = $redis->client();
is(who(put($value)), 'ann', 'and used');
is($django->set_password('ann', 'new'), 1, 'a new password');
is(who(put($value), '/fresh'), $NONE, 'ends sessions');
