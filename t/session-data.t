#!/usr/bin/perl

# What is in a session: which data are a login, and which signatures are ours.
#
# S05, S07 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use Digest::SHA qw/ hmac_sha1 hmac_sha256 sha1 sha256 /;

use FC::Signing qw/ $COOKIE $DB login signed /;
use FC::Site;
use FC::Util qw/ rss workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(48);

my $site = FC::Site->new($t, http => 'fcchat_session_cache 0;',
                         more => <<'EOF');
        location /signed/ {
            fcchat;
            fcchat_session_engine signed_cookies;
        }
EOF

my ($pg, $django) = ($site->pg(), $site->django());

my $key = $django->session('alice');
my $signed = $django->session('alice', engine => 'signed_cookies');
my $bob = $django->user('bob');

$t->run();

sub enter {
    my ($path, $cookie) = @_;

    my $ws = FC::WS->connect(port => port(8080), path => "$path/stream_1/",
                             cookie => $cookie);
    my $status = $ws->status();

    $ws->drop();

    return $status == 401 ? '401 ' . $ws->body() : $status;
}

# The session with other data.

sub enter_with {
    my ($data) = @_;

    $pg->sql("update django_session set session_data = '$data' "
             . "where session_key = '$key'");

    return enter('/ws/chat', $key);
}

my $REFUSED = "401 no valid session\n";
my $login = login($pg, 'alice');

# Django compresses where that pays

my %size = (
    large => [ 1, $django->session('alice', data => { text => 'x' x 3000 }) ],
    small => [ 1, $django->session('alice', data => { n => "\x{3053}" }) ],
);

for my $size (sort keys %size) {
    my ($compressed, $key) = @{$size{$size}};
    my $stored = $pg->sql("select session_data from django_session "
                          . "where session_key = :'k'", k => $key);

    is($stored =~ /^\./ ? 1 : 0, $compressed, "$size: compressed");
    is(enter('/ws/chat', $key), 101, "$size: accepted");
}

is(enter('/signed', $django->session('alice', engine => 'signed_cookies',
                                     data => { text => 'x' x 3000 })), 101,
   'a large signed cookie');

# what the test signs itself is as good

is(enter_with(signed($DB, $login)), 101, 'plain');
is(enter_with(signed($DB, $login, zlib => 1)), 101, 'compressed');
is(enter_with(signed($DB, $login, age => 86400 * 1000)), 101,
   'an old row: only expire_date counts');
is(enter('/signed', signed($COOKIE, $login)), 101, 'plain: signed_cookies');

# signatures

for my $i (0, 10, -60, -50, -1) {
    my $bad = $signed;
    my $char = substr $bad, $i, 1;

    # the last character of a signature has four bits in use
    substr $bad, $i, 1, $char eq 'A' ? 'Q' : 'A';
    is(enter('/signed', $bad), $REFUSED, "a changed character at $i");
}

# it is the text that counts, not the bytes it stands for

(my $bad = $signed) =~ s/(.)$/chr(ord($1) + 1)/e;
is(enter('/signed', $bad), $REFUSED, 'the unused bits');
is(enter('/signed', "$signed="), $REFUSED, 'padding');
is(enter('/signed', "$signed:x"), $REFUSED, 'a tail');
is(enter('/signed', substr $signed, 0, -1), $REFUSED, 'cut short');
is(enter('/signed', $signed =~ s/:[^:]*$/:/r), $REFUSED, 'no signature');
is(enter('/signed', substr $signed, 1), $REFUSED, 'the dot left out');

is(enter_with(signed($COOKIE, $login)), $REFUSED, 'the salt of cookies');
is(enter('/signed', signed($DB, $login)), $REFUSED, 'the salt of rows');
is(enter_with(signed($DB, $login, secret => 'another')), $REFUSED,
   'signed by somebody else');
is(enter_with(signed($DB, $login, sha1 => 1)), $REFUSED, 'S05: by SHA-1');
is(enter('/signed', signed($COOKIE, $login, sha1 => 1)), $REFUSED,
   'S05: a cookie by SHA-1');
is(enter_with(''), $REFUSED, 'empty');

# of the password's hash as well, as it was before Django 3.1

my $hash = 'django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash';
my $password = $pg->sql("select password from accounts_user"
                        . " where username = 'alice'");

for my $case ([ \&sha256, \&hmac_sha256, 101 ],
              [ \&sha1, \&hmac_sha1, $REFUSED ])
{
    my ($sha, $hmac, $want) = @$case;
    my $made = unpack 'H*', $hmac->($password,
                                    $sha->($hash . $FC::Django::SECRET));

    is(enter_with(signed($DB, login($pg, 'alice', _auth_user_hash => $made))),
       $want, 'S05: the hash of the password, ' . length $made);
}

# what is signed, but no login

my %broken = (
    'not JSON'          => '{"_auth_user_id"',
    'no object'         => '[1]',
    'nobody'            => '{}',
    'no hash'           => login($pg, 'alice', _auth_user_hash => undef),
    'an empty hash'     => login($pg, 'alice', _auth_user_hash => ''),
    'no backend'        => login($pg, 'alice', _auth_user_backend => undef),
    'an id of no kind'  => login($pg, 'alice', _auth_user_id => '1; drop'),
    'a number too long' => login($pg, 'alice', _auth_user_id => '9' x 30),
    'somebody else'     => login($pg, 'alice', _auth_user_id => $bob),
    'nobody we know'    => login($pg, 'alice', _auth_user_id => '999999'),
    'a pickle'          => "(dp0\nV_auth_user_id\np1\nV1\np2\ns.",
    'nothing'           => '',
);

for my $name (sort keys %broken) {
    is(enter_with(signed($DB, $broken{$name})), $REFUSED, $name);
}

# 64 KB and not one byte more, whether it is compressed or not

for my $size (65536, 65537) {
    my $data = login($pg, 'alice', x => '');

    $data = login($pg, 'alice', x => 'x' x ($size - length $data));

    for my $zlib (0, 1) {
        is(enter_with(signed($DB, $data, zlib => $zlib)),
           $size > 65536 ? $REFUSED : 101, "S07: $size bytes, zlib $zlib");
    }
}

# 64 MB of zlib in 64 KB

my ($worker) = workers($t);
my $rss = rss($worker);
my $bomb = login($pg, 'alice', x => 'A' x (64 << 20));

is(enter_with(signed($DB, $bomb, zlib => 1)), $REFUSED, 'a bomb');
cmp_ok(rss($worker) - $rss, '<', 16384, 'took no memory');
is((workers($t))[0], $worker, 'the same worker');
is(enter_with(signed($DB, $login)), 101, 'it works on');
