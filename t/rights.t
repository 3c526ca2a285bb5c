#!/usr/bin/perl

# The session of an open socket: a logout, another password, an end of the
# session or of the user closes it within fcchat_session_cache, with every
# session engine; and what this costs.
#
# S08 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use MIME::Base64 qw/ decode_base64 /;
use Time::HiRes qw/ sleep time /;

use FC::Queries;
use FC::Site;
use FC::Util qw/ slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(39);
my $site = FC::Site->new($t, http => <<'EOF2', more => <<'EOF3');
    fcchat_session_cache 1s;
    fcchat_session_redis %%REDIS%% db=3;
EOF2
        location /cached_db/ {
            fcchat;
            fcchat_session_engine cached_db;
        }

        location /cache/ {
            fcchat;
            fcchat_session_engine cache;
        }

        location /signed/ {
            fcchat;
            fcchat_session_engine signed_cookies;
        }

        location /brief/ {
            fcchat;
            fcchat_session_engine signed_cookies;
            fcchat_session_age 2s;
        }

        location /off/ {
            fcchat;
            fcchat_session_cache 0;
        }

        location /many/ {
            fcchat;
            fcchat_session_cache 1500ms;
        }

        location /patient/ {
            fcchat;
            fcchat_ping 40s;
            fcchat_timeout 80s;
        }

        location /aged/ {
            fcchat;
            fcchat_session_cache 8s;
            fcchat_ping 40s;
            fcchat_timeout 80s;
        }
EOF3

(my $http = $site->{http}) =~ s/%%REDIS%%/$site->redis->unix_url()/e;
$site->write(http => $http);

my $pg = $site->pg();
my $django = $site->django();
my $queries = FC::Queries->new($pg);
my $client = $site->redis->client();

$client->cmd('SELECT', 3);
$t->run();

my $ENDED = '4401 session ended';
my $FORBIDDEN = '4403 not allowed';

# every engine: what happens to a session, and how its socket ends

my @engines = qw/ db cached_db cache signed_cookies /;
my %in;

for my $engine (@engines) {
    my %ws = map { $_ => enter($engine, "$engine-$_") }
                 qw/ stays logout password away gone /;

    is(join(' ', map { $_->{ws}->status() } values %ws),
       '101 101 101 101 101', "$engine: enters");

    $in{$engine} = \%ws;
}

my $end = time() + 2;
my $old = $site->join('old', path => '/off/stream_1/',
                      cookie => $django->session('old', age => 2));
my $signed = enter('brief', 'signed', 'signed_cookies')->{ws};

for my $engine (@engines) {
    my $ws = $in{$engine};

    put($ws->{stays}{key}, data => { cart => 1 }) if $engine eq 'cache';

    logout($engine, $ws->{logout}{key});
    $django->set_password("$engine-password", 'another');
    $django->user("$engine-away", is_active => JSON::PP::false);
    $site->pg->sql("delete from accounts_user "
                   . "where username = '$engine-gone'");
}

for my $engine (@engines) {
    my $ws = $in{$engine};

    is(join(' ', $ws->{logout}{ws}->recv_close(3 * slow())), $ENDED,
       "$engine: a logout") if $engine ne 'signed_cookies';
    is(join(' ', $ws->{password}{ws}->recv_close(3 * slow())), $ENDED,
       "$engine: another password");
    is(join(' ', $ws->{away}{ws}->recv_close(3 * slow())), $FORBIDDEN,
       "$engine: not active any more");
    is(join(' ', $ws->{gone}{ws}->recv_close(3 * slow())), $ENDED,
       "$engine: no user any more");
    ok(alive($ws->{stays}{ws}), "$engine: another one stays");
}

# the time of a session

is(join(' ', $old->recv_close(6 * slow())), $ENDED, 'an expired session');
cmp_ok(time(), '>', $end - 1, 'which is then');

is(join(' ', $signed->recv_close(6 * slow())), $ENDED, 'an old cookie');

# a message that is not finished puts nothing off

my $part = enter('patient', 'part', 'db');
my $message = FC::WS::frame(payload => '{"message":"whole"}');

$part->{ws}->send_raw($message . substr $message, 0, 9);
is($part->{ws}->recv_json()->{message}, 'whole', 'a message and a half');
$django->logout($part->{key});
is(join(' ', $part->{ws}->recv_close(3 * slow())), $ENDED,
   'a logout before the rest');

# what a session says may change, and who is staff as well

my $key = $django->session('writer');
my $writer = $site->join('writer', cookie => $key, protocol => 'fcchat.v1');

$pg->sql("update localhost.django_session d set session_data = s.session_data"
         . " from localhost.django_session s where d.session_key = '$key'"
         . " and s.session_key = '"
         . $django->session('writer', data => { cart => 1 }) . "'");
$django->user('writer', is_staff => JSON::PP::true);

my $cid = 0;

ok(wait_for(sub {
    $writer->send_json({ type => 'message', text => 'hi ' . ++$cid });

    my $m = $writer->recv_until(sub { ($_[0]{type} // '') eq 'message' });

    return $m->{user}{role} eq 'moderator';
}, 5, 0.2), 'staff from now on');

# in the cache from now on, for later

my $aged = enter('aged', 'aged', 'db');
my $then = time() + 7;

# many sockets, one question

my @keys = $django->sessions(30, 'many');
my @many = map { my $key = $_; map { $site->join('', cookie => $key,
                                                 path => '/many/stream_1/') }
                                   1, 2 } @keys;

is(grep({ $_->status() == 101 } @many), 60, 'many sockets');

# those questions that began when all were in; the first of them may not know
# of one whose handshake was answered a moment ago

$queries->since();

my $begin = time();
my @asked;

ok(wait_for(sub { (@asked = asked($keys[0])) >= 4 }, 20), 'are asked for');
cmp_ok(time() - $begin, '>', 1, 'once a while');
is(join(' ', map { scalar(my @all = split /,/) } @asked[1 .. 3]), '30 30 30',
   'each session once');

$_->drop() for @many;

# an answer from the cache that is older than the worker and has to be asked for
# again by now

my ($worker) = workers($t);
my $left = $then - time();

sleep($left) if $left > 0;
$django->logout($aged->{key});
$t->reload();
ok(wait_for(sub { my @now = workers($t); @now == 1 && $now[0] != $worker }),
   'a reload');

SKIP: {
    my $ws = $site->join('aged', cookie => $aged->{key},
                         path => '/aged/stream_1/');

    skip 'not in the cache any more', 1 if $ws->status() == 401;

    is(join(' ', $ws->recv_close(3 * slow())), $ENDED, 'a logout before it');
}

# two of the engines do without a table of sessions

%in = map { my $engine = $_;
            $engine => { map { $_ => enter($engine, "$engine-no-$_") }
                             qw/ password away / } } qw/ cache signed_cookies /;
$pg->sql('drop table django_session');

for my $engine (sort keys %in) {
    my $ws = $in{$engine};

    $django->set_password("$engine-no-password", 'another');
    $django->user("$engine-no-away", is_active => JSON::PP::false);
    is(join(' ', $ws->{password}{ws}->recv_close(3 * slow())), $ENDED,
       "$engine without a table: another password");
    is(join(' ', $ws->{away}{ws}->recv_close(3 * slow())), $FORBIDDEN,
       "$engine without a table: not active any more");
}


# the keys of each question for the rights of sockets that has this one; what
# a handshake asks for is one key without braces

sub asked {
    my ($key) = @_;

    return grep { /$key/ } $queries->log() =~ /\$1 = '\{(.*?)\}'/g;
}


sub enter {
    my ($path, $name, $engine) = @_;

    my $key = $django->session($name, engine => $engine // $path);
    my %paths = (db => '/ws/chat', signed_cookies => '/signed');

    put($key) if $path eq 'cache';

    my $ws = $site->join($name, cookie => $key,
                         path => ($paths{$path} // "/$path") . '/stream_1/');

    return { ws => $ws, key => $key };
}


sub put {
    my ($key, %o) = @_;

    my $cached = $django->cached($key, %o);

    return $client->cmd('SET', $cached->{key},
                        decode_base64($cached->{value}));
}


sub logout {
    my ($engine, $key) = @_;

    return $client->cmd('DEL', ":1:django.contrib.sessions.cache$key")
        if $engine eq 'cache';

    return $django->logout($key) if $engine ne 'signed_cookies';

    return;
}


sub alive {
    my ($ws) = @_;

    $ws->send_json({ message => 'here ' . rand });

    my $m = $ws->recv_until(sub { ($_[0]{message} // '') =~ /^here/ }, 2);

    return $m && !$m->{code};
}
