#!/usr/bin/perl

# Sessions as Django makes them, and what must not pass for one.
#
# S04, S05, S06 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Queries;
use FC::Signing qw/ $COOKIE $MODEL login signed /;
use FC::Site;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(42);

# nothing is cached: each socket asks anew

my $site = FC::Site->new($t, http => 'fcchat_session_cache 0;',
                         more => <<"EOT");
        location /cached/ {
            fcchat;
            fcchat_session_engine cached_db;
        }

        location /signed/ {
            fcchat;
            fcchat_session_engine signed_cookies;
        }

        location /day/ {
            fcchat;
            fcchat_session_engine signed_cookies;
            fcchat_session_age 1d;
        }

        location /rotated/ {
            fcchat;
            fcchat_secret_key_file %%TESTDIR%%/new %%TESTDIR%%/secret;

            location /rotated/signed/ {
                fcchat;
                fcchat_session_engine signed_cookies;
            }
        }

        location /new/ {
            fcchat;
            fcchat_secret_key_file %%TESTDIR%%/new;
        }

        location /backends/ {
            fcchat;
            fcchat_auth_backends site.backends.Ldap $MODEL;
        }

        location /ldap/ {
            fcchat;
            fcchat_auth_backends site.backends.Ldap;
        }
EOT

my $pg = $site->pg();
my $django = $site->django();
my $queries = FC::Queries->new($pg);

$django->secret_file($t->testdir() . '/new', 'the new key');

my $alice = $django->user('alice');

$t->run();

sub enter {
    my ($path, $cookie) = @_;

    my $ws = FC::WS->connect(
        port => port(8080), path => "$path/stream_1/",
        defined $cookie ? (cookie => $cookie) : ());
    my $status = $ws->status();

    $ws->drop();

    return $status == 401 ? "401 " . $ws->body() : $status;
}

my $REFUSED = "401 no valid session\n";

# the three engines

my %cookie = map { $_ => $django->session('alice', engine => $_) }
             qw/ db cached_db signed_cookies /;

is(enter('/ws/chat', $cookie{db}), 101, 'db');
is(enter('/cached', $cookie{cached_db}), 101, 'cached_db');
is(enter('/cached', $cookie{db}), 101, 'cached_db is the same row as db');
is(enter('/signed', $cookie{signed_cookies}), 101, 'signed_cookies');
is(enter('/signed', $cookie{db}), $REFUSED, 'a key is no signed cookie');
is(enter('/ws/chat', $cookie{signed_cookies}), $REFUSED,
   'a signed cookie is no key');
is(enter('/ws/chat', undef), "401 no session\n", 'no cookie');

# who it is

my $welcome = $site->join('alice', cookie => $cookie{db},
                          protocol => 'fcchat.v1')->recv_json();

is_deeply($welcome->{you}, { id => $alice, username => 'alice',
                             role => 'member' }, 'a member');

my $boss = $django->user('boss', is_staff => \1);
$welcome = $site->join('boss', protocol => 'fcchat.v1')->recv_json();

is_deeply($welcome->{you}, { id => $boss, username => 'boss',
                             role => 'moderator' }, 'a moderator');

# time: the database's, and what a signed cookie says itself

is(enter('/ws/chat', $django->session('alice', age => -2)), $REFUSED,
   'expired');

my $key = $django->session('alice');

expire($key, "now() + interval '1 hour'");
is(enter('/ws/chat', $key), 101, 'an hour to live');
expire($key, "now()");
is(enter('/ws/chat', $key), $REFUSED, 'expired by the clock of the database');

my %days = map {
    $_ => signed($COOKIE, login($pg, 'alice'), age => $_ * 86400)
} 13, 15;

is(enter('/signed', $days{13}), 101, 'a signed cookie of 13 days');
is(enter('/signed', $days{15}), $REFUSED, 'a signed cookie of 15 days');
is(enter('/day', $days{13}), $REFUSED, 'fcchat_session_age');

# gone

is(enter('/ws/chat', $key = $django->session('alice')), 101, 'logged in');
$django->logout($key);
is(enter('/ws/chat', $key), $REFUSED, 'logged out');
is(enter('/ws/chat', 'a' x 32), $REFUSED, 'an unknown key');

# nothing is asked for what can't be a key

$queries->since();

is(enter('/ws/chat', $_), $REFUSED, "no key: $_")
    for ('a' x 7, 'a' x 41, 'A' x 32, 'a' x 31 . '_', "a' or '1'='1",
         'x' x 4000);
is(enter('/signed', $_), $REFUSED, "no signed cookie: $_")
    for ('a', ':', '::', 'a:b:c', '.:1usrxo:x', 'x' x 4000);
is($queries->count(qr/./), 0, 'no query for any of them');

for my $length (8, 40) {
    $queries->since();
    enter('/ws/chat', 'a' x $length);
    is($queries->count(qr/FROM django_session/), 1,
       "one for a key of $length");
}

# SECRET_KEY_FALLBACKS

my $old = $django->session('alice');
my $new = $django->session('alice', secret => 'the new key');

is_deeply([ map { enter($_, $old) } qw{/ws/chat /rotated /new} ],
          [ 101, 101, $REFUSED ], 'a session of the old key');
is_deeply([ map { enter($_, $new) } qw{/ws/chat /rotated /new} ],
          [ $REFUSED, 101, 101 ], 'a session of the new key');
is(enter('/rotated/signed', $cookie{signed_cookies}), 101,
   'a signed cookie of the old key');

# AUTHENTICATION_BACKENDS

is_deeply([ map { enter($_, $old) } qw{/ws/chat /backends /ldap} ],
          [ 101, 101, $REFUSED ], 'backends');

# the user

my $carol = $django->user('carol');

$key = $django->session('carol');
$django->set_password('carol', 'another');
is(enter('/ws/chat', $key), $REFUSED, 'a changed password');

is(enter('/ws/chat', $key = $django->session('carol')), 101, 'a new session');
$django->user('carol', is_active => \0);
is(enter('/ws/chat', $key), $REFUSED, 'an inactive user');
$django->user('carol', is_active => \1);
is(enter('/ws/chat', $key), 101, 'active again');
$pg->sql("delete from accounts_user where id = $carol");
is(enter('/ws/chat', $key), $REFUSED, 'a deleted user');


sub expire {
    my ($key, $when) = @_;

    $pg->sql("update django_session set expire_date = $when "
             . "where session_key = :'k'", k => $key);
}
