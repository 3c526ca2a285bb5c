#!/usr/bin/perl

# Moderation over HTTP: tokens against forgery as Django's, Origin and Referer,
# who may, what it does, and who is banned reads nothing.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl rewrite socket_ssl/)
        ->plan(89);

$t->write_file('api_secret', "the site's secret\n");
chmod 0600, $t->testdir() . '/api_secret';

my $d = $t->testdir();

system('openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost'
       . " -days 2 -keyout $d/key -out $d/crt >/dev/null 2>&1") == 0
    or die "can't make a certificate\n";

my $site = FC::Site->new($t, workers => 2, http => <<'EOF', server => <<'EOF2',
    ssl_certificate crt;
    ssl_certificate_key key;
    fcchat_api_rate off;
    fcchat_api_secret_file api_secret;
EOF
        listen 127.0.0.1:8443 ssl;
EOF2
                         more => <<'EOF3');
        location /api/chat/ {
            fcchat_api;
        }

        location /listed/ {
            fcchat_api;
            fcchat_origin https://front.test .sub.test;
        }

        location /any/ {
            fcchat_api;
            fcchat_origin any;
            fcchat_csrf_cookie token;
        }

        location /guests/ {
            fcchat_api;
            fcchat_guests read;
        }
EOF3

my ($pg, $django) = ($site->pg(), $site->django());
my %id = map { ($_ => $django->user($_)) } qw/ ann bob cat /;

$django->user('mia', is_staff => 1);

$t->run();

my $BASE = '/api/chat/stream_1';
my $c = $django->csrf();
my %cookie = map { ($_ => $site->cookie($_)) } qw/ ann bob cat mia /;
my $api = FC::Api->new(cookie => $cookie{mia}, csrf => $c->{cookie},
                       headers => { 'X-CSRFToken' => $c->{token} });

sub code {
    my ($r) = @_;

    return $r->{status} == 200 ? 200 : "$r->{status} $r->{json}{error}{code}";
}

sub act {
    my ($data, %o) = @_;

    return code($api->post(($o{at} // $BASE) . '/moderation', $data, %o));
}

# whatever passes the checks finds no such message

my $none = { action => 'delete', id => 999999 };
my $PASSES = '404 not_found';
my $FAILS = '403 csrf_failed';

sub header { my (%h) = @_; return (headers => \%h) }

# tokens

my $other = $django->csrf();

for my $cookie (qw/ cookie plain /) {
    is(act($none, csrf => $c->{$cookie}, header('X-CSRFToken' => $c->{$_})),
       $PASSES, "$cookie and $_") for qw/ token plain cookie /;
    is(act($none, csrf => $c->{$cookie},
           header('X-CSRFToken' => $other->{$_})), $FAILS,
       "$cookie and another $_") for qw/ token plain /;
    is(act($none, csrf => $c->{$cookie}, header('X-CSRFToken' => $_)), $FAILS,
       "$cookie and " . ($_ // 'none')) for undef, '', 'x', 'x' x 64;
}

is(act($none, csrf => undef), $FAILS, 'no cookie');
is(act($none, csrf => '', header('X-CSRFToken' => '')), $FAILS, 'both empty');
is(act({ %$none, csrfmiddlewaretoken => $c->{token} },
       header('X-CSRFToken' => undef)), $FAILS, 'a token in the body');
is(act($none, at => '/any/stream_1', csrf => undef,
       header(Cookie => "sessionid=$cookie{mia}; token=$c->{cookie}")),
   $PASSES, 'another name of the cookie');

# who it is comes first, where that costs nothing

is(act($none, cookie => undef), '401 login_required', 'no session');
is(act($none, cookie => 'x' x 32), '401 login_required', 'an unknown one');
is(act($none, cookie => 'x' x 32, at => '/guests/stream_1'),
   '401 login_required', 'a guest');
is(act($none, cookie => undef, at => '/guests/stream_1'),
   '401 login_required', 'a guest without a cookie');

# the Origin

for my $case ([ 'http://localhost' => $PASSES ],
              [ 'HTTP://LOCALHOST' => $PASSES ],
              [ 'http://localhost:80' => $PASSES ],
              [ 'https://localhost' => $FAILS ],
              [ 'http://localhost:81' => $FAILS ],
              [ 'http://localhost.test' => $FAILS ],
              [ 'http://front.test' => $FAILS ], [ 'null' => $FAILS ],
              [ '' => $FAILS ])
{
    is(act($none, header(Origin => $case->[0])), $case->[1],
       "Origin: $case->[0]");
}

is(act($none, at => '/listed/stream_1', header(Origin => $_)), $PASSES,
   "listed: $_") for 'https://front.test', 'http://a.sub.test',
                     'http://localhost';
is(act($none, at => '/listed/stream_1', header(Origin => $_)), $FAILS,
   "not listed: $_") for 'http://front.test', 'https://xsub.test';
is(act($none, at => '/any/stream_1',
       header(Origin => 'http://evil.test',
              Cookie => "sessionid=$cookie{mia}; token=$c->{cookie}")),
   $PASSES, 'any');

# without a Host, as over HTTP/3: the one that the request is for

for my $case ([ 'http://localhost' => 404 ], [ 'http://localhost:80' => 404 ],
              [ 'http://localhost:81' => 403 ],
              [ 'http://localhost.test' => 403 ], [ '' => 403 ],
              [ 'http://localhost' => 403, 'localhost.test' ])
{
    my ($for, $status, $host) = @$case;
    my $request = $api->request("$BASE/moderation", method => 'POST',
                                json => $none,
                                headers => { %{$api->{headers}},
                                             Origin => 'http://localhost' });
    my $line = defined $host ? "Host: $host\r\n" : '';

    $request =~ s{ (/.*) HTTP/1\.1\r\n.*\r\n}{ $for$1 HTTP/1.0\r\n$line};
    is($api->exchange($request)->{status}, $status,
       "for '$for', Host: " . ($host // 'none'));
}

# over TLS, without an Origin: the Referer

my $http = $api;

$api = FC::Api->new(%$http, s => undef, tls => 1, port => port(8443));

for my $case ([ undef, $FAILS ], [ 'https://localhost/x?y' => $PASSES ],
              [ 'https://localhost' => $PASSES ],
              [ 'http://localhost/x' => $FAILS ],
              [ 'https://localhost.test/' => $FAILS ],
              [ 'https://localhost:444/' => $FAILS ],
              [ 'https://x@localhost/' => $FAILS ], [ 'x' => $FAILS ])
{
    is(act($none, header(Referer => $case->[0])), $case->[1],
       'Referer: ' . ($case->[0] // 'none'));
}

is(act($none, header(Origin => 'https://localhost')), $PASSES,
   'TLS: an Origin is enough');
is(act($none, header(Origin => 'http://localhost',
                     Referer => 'https://localhost/')), $FAILS,
   'TLS: a wrong one is not mended');
is(act($none, at => '/listed/stream_1',
       header(Referer => 'https://front.test/x')), $PASSES, 'TLS: listed');
is(act($none, at => '/listed/stream_1',
       header(Referer => 'http://a.sub.test/x')), $FAILS, 'TLS: insecure');

$api = $http;

# who may, and what it says

is(act($none, cookie => $cookie{ann}), '403 forbidden', 'a member');
is(act($_->[1]), $_->[0], JSON::PP->new->canonical->encode($_->[1]))
    for [ '400 bad_request' => {} ],
        [ '400 bad_request' => { action => 1 } ],
        [ '400 unknown_type' => { action => 'state' } ],
        [ '400 unknown_type' => { action => 'message', text => 'x' } ],
        [ '400 bad_request' => { action => 'delete' } ],
        [ '400 bad_request' => { action => 'ban' } ],
        [ '404 not_found' => { action => 'ban', username => 'nobody' } ],
        [ '404 not_found' => { action => 'unban', user_id => $id{ann} } ],
        [ '400 bad_request' => { action => 'ban', user_id => $id{ann},
                                 until => 1 } ];

# what it does, for all who look on

my $ws = $site->join('ann', protocol => 'fcchat.v1');
my $bob = $site->join('bob', protocol => 'fcchat.v1');

$_->recv_json() for $ws, $bob;
$ws->send_json({ type => 'message', text => 'first', cid => 'a' });
$ws->send_json({ type => 'message', text => 'second', cid => 'b' });

my ($first, $second) = map { $_->{id} }
    map { $bob->recv_until(sub { $_[0]{type} eq 'message' }) } 1, 2;

my $r = $api->post("$BASE/moderation", { action => 'pin', id => $second,
                                         cid => 'p' });
is($r->{json}{type}, 'ack', 'pinned');
is($r->{json}{seq}, 3, 'its number');
is_deeply($api->post("$BASE/moderation", { action => 'pin', id => $second,
                                           cid => 'p' })->{json},
          $r->{json}, 'the same cid is the same event');

$r = $bob->recv_until(sub { $_[0]{type} eq 'moderation' });
is("$r->{action} $r->{by}{username} $r->{target}{text}", 'pin mia second',
   'it is told');
is(act({ action => 'slow', seconds => 30 }), 200, 'slow mode');
ok(wait_for(sub {
    $r = $api->get($BASE)->{json};
    return $r->{modes}{slow} == 30 && @{$r->{pins}} == 1;
}), 'the state has both');
is($r->{pins}[0]{text}, 'second', 'what is pinned');

my $etag = $api->get("$BASE/history")->{header}{etag};

is(act({ action => 'delete', seq => 1, reason => 'spam' }), 200, 'deleted');
$r = $api->get("$BASE/history", headers => { 'If-None-Match' => $etag });
is($r->{status}, 200, 'history has changed');
unlike($r->{body}, qr/first/, 'without it');
is($api->get("$BASE/messages/$first")->{json}{message_type}, 'deleted',
   'nor by its id');

# a ban: the socket closes, and reading ends

is(act({ action => 'ban', user_id => $id{bob}, seconds => 600,
         reason => 'spam' }), 200, 'banned');
is(($bob->recv_close())[0], 4403, 'closed');
ok(wait_for(sub {
    3 == grep { code($api->get("$BASE/history", cookie => $cookie{bob}))
                eq '403 banned' } 1 .. 3;
}), 'may not read');
is($api->get("/api/chat/stream_2", cookie => $cookie{bob})->{status}, 200,
   'but in another room');
is_deeply([ $pg->sql("select action, detail ->> 'reason', u.username"
                     . ' from localhost.fcchat_audit a join'
                     . ' localhost.accounts_user u on u.id = a.user_id'
                     . " where action = 'ban'") ],
          [ [ 'ban', 'spam', 'mia' ] ], 'and who did it is known');
is(act({ action => 'unban', user_id => $id{bob} }), 200, 'unbanned');
ok(wait_for(sub {
    $api->get($BASE, cookie => $cookie{bob})->{status} == 200;
}), 'may read again');

# the site itself, in all rooms

my %site = (cookie => undef, csrf => undef,
            headers => { Authorization => "Bearer the site's secret",
                         'X-CSRFToken' => undef });

is(act({ action => 'ban', username => 'cat', scope => 'tenant' }, %site), 200,
   'by the site');
ok(wait_for(sub {
    2 == grep {
        code($api->get("/api/chat/$_", cookie => $cookie{cat}))
            eq '403 banned'
    } qw/ stream_1 stream_2 /;
}), 'in all rooms');
