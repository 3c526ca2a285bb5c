#!/usr/bin/perl

# "fcchat_api": what can be read, by whom, and what is refused how.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Site;
use FC::Util qw/ slurp wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http auth_request rewrite/)->plan(105);

my $site = FC::Site->new($t, http => <<'EOF', more => <<'EOF2');
    log_format api '$status $fcchat_room/$fcchat_user/$fcchat_protocol';
EOF
        location /api/chat/ {
            fcchat_api;
            fcchat_api_rate off;
            access_log %%TESTDIR%%/api.log api;
        }

        location /guests/ {
            fcchat_api;
            fcchat_guests read;
        }

        location /slow/ {
            fcchat_api;
            fcchat_api_rate 6r/m burst=2;
            fcchat_guests read;
        }

        location ~ ^/rooms/(?<name>\w+)/chat {
            fcchat_api;
            fcchat_room stream_$name;
        }

        location = /checked {
            auth_request /api/chat/stream_1/viewers;
            alias %%TESTDIR%%/checked;
        }

        location /status {
            fcchat_status;
        }
EOF2

my ($pg, $django) = ($site->pg(), $site->django());
my $ann = $django->user('ann');

$django->user('mia', is_staff => 1);

$t->write_file('checked', 'ok');

$t->run();

my $BASE = '/api/chat/stream_1';
my $api = FC::Api->new(cookie => $site->cookie('ann'));

sub got {
    my ($path, %o) = @_;

    return $api->get($path =~ m{^/\w+/\w+/} ? $path : "$BASE$path", %o);
}

# the code of an error with this status

sub code {
    my ($status, $r) = @_;

    return "$r->{status} " . ($r->{body} // '') if $r->{status} != $status;
    return $r->{json}{error}{code};
}

sub seqs { return [ map { $_->{seq} } @{$_[0]{json}{messages}} ] }

# an empty room

my $r = got('');

is($r->{status}, 200, 'the state');
is($r->{json}{room}, 'stream_1', 'its name');
is($r->{json}{head}, 0, 'no message');
is($r->{json}{viewers}, 0, 'no viewer');
is_deeply($r->{json}{modes}, { slow => 0 }, 'no slow mode');

my $epoch = $r->{json}{epoch};

like($epoch, qr/^[0-9a-f-]{36}$/, 'its epoch');
is($r->{header}{'content-type'}, 'application/json', 'type');
is($r->{header}{'cache-control'}, 'private, no-cache', 'private');
is($r->{header}{vary}, 'Cookie', 'Vary');

$r = got('/history');
is_deeply($r->{json}, { room => 'stream_1', epoch => $epoch, head => 0,
                        messages => [], prev => undef, next => undef },
          'no history');
is_deeply(got("/history?$_")->{json}{messages}, [], "none $_")
    for 'before=1', 'after=0', 'after=7', 'before=0';

# messages

sub message {
    my ($text, $user, $type) = @_;

    return scalar $pg->sql(
        "insert into localhost.chat_chatmessage (room_id, user_id,"
        . " content, message_type, is_deleted, is_pinned, created_at)"
        . " select id, :u, :'t', :'y', false, false, now()"
        . " from localhost.chat_chatroom where name = 'stream_1' returning id",
        t => $text, u => $user // $ann, y => $type // 'message');
}

my @id = map { message("message $_") } 1 .. 9;
push @id, message('<script>alert("&")</script>');

$r = got('/history');
is_deeply(seqs($r), [ 1 .. 10 ], 'all of them');
is_deeply([ @{$r->{json}}{qw/ head prev next /} ], [ 10, undef, undef ],
          'nothing before or after');
is_deeply({ %{$r->{json}{messages}[2]}, at => '' },
          { type => 'message', seq => 3, id => $id[2], at => '',
            user => { id => $ann, username => 'ann', role => 'member' },
            text => 'message 3' }, 'a message');
is($r->{json}{messages}[9]{text}, '<script>alert("&")</script>', 'a script');
unlike($r->{body}, qr/[<>&]/, 'harmless inside of HTML');

# pages, back and forth

$r = got('/history?limit=4');
is_deeply(seqs($r), [ 7 .. 10 ], 'the newest');
is($r->{json}{next}, undef, 'nothing newer');
is($r->{json}{prev}, '?before=7&limit=4', 'older ones');

$r = got("/history$r->{json}{prev}");
is_deeply(seqs($r), [ 3 .. 6 ], 'those before');
is($r->{json}{next}, '?after=6&limit=4', 'newer ones');

$r = got("/history$r->{json}{prev}");
is_deeply(seqs($r), [ 1, 2 ], 'the oldest');
is($r->{json}{prev}, undef, 'nothing older');
is($r->{json}{next}, '?after=2&limit=4', 'and back');

$r = got("/history$r->{json}{next}");
is_deeply(seqs($r), [ 3 .. 6 ], 'those after');
is($r->{json}{prev}, '?before=3&limit=4', 'and before');

$r = got('/history?after=10');
is_deeply(seqs($r), [], 'none after the head');
is($r->{json}{prev}, '?before=11&limit=50', 'but before');
is_deeply(seqs(got('/history?before=1000&limit=1')), [ 10 ], 'far before');
is_deeply(seqs(got('/history/?limit=1')), [ 10 ], 'with a slash');

# one message

$r = got('/history/3');
is($r->{json}{id}, $id[2], 'by its number');
is($r->{json}{text}, 'message 3', 'its text');
is_deeply(got("/messages/$id[2]")->{json}, $r->{json}, 'by its id');
is(code(404, got($_)), 'not_found', "none: $_")
    for '/history/11', '/messages/999999999', '/history/0';

# what is deleted

my $etag = got('/history')->{header}{etag};
my $one = got('/history/3')->{header}{etag};
my %none = (headers => { 'If-None-Match' => $etag });

$r = got('/history', %none);
is($r->{status}, 304, 'not modified');
is($r->{header}{etag}, $etag, 'the same ETag');
is(got('/history', headers => { 'If-None-Match' => "\"x\", W/$etag",
                                'If-Modified-Since' =>
                                'Thu, 01 Jan 1970 00:00:00 GMT' })->{status},
   304, 'one of several');
is(got('/history?limit=99', %none)->{status}, 304, 'the same content');
is(got('/history?limit=9', %none)->{status}, 200, 'another page');

$pg->sql("update localhost.chat_chatmessage set is_deleted = true"
         . " where id = $id[2]");

$r = got('/history', %none);
is($r->{status}, 200, 'a deletion modifies');
is($r->{json}{messages}[2]{message_type}, 'deleted', 'it is told');
is($r->{json}{messages}[2]{text}, '', 'without its text');
unlike($r->{body}, qr/message 3/, 'nowhere');
is(got('/history/3', headers => { 'If-None-Match' => $one })->{status}, 200,
   'alone as well');
is(got("/messages/$id[2]")->{json}{text}, '', 'by its id as well');

$r = $r->{json}{messages}[10];
is("$r->{type} $r->{action} $r->{target}{id}", "moderation delete $id[2]",
   'an event of its own');
is(got('/history/11')->{json}{action}, 'delete', 'by its number');

message('system', 'null', 'system');
$r = got('/history/12');
is($r->{json}{user}, undef, 'nobody\'s');
is($r->{json}{message_type}, 'system', 'its type');
is(got('')->{json}{head}, 12, 'the head');

# viewers

my $ws = $site->join('mia', protocol => 'fcchat.v1');
$ws->recv_json();
ok(wait_for(sub { got('/viewers')->{json}{viewers} == 1 }), 'a viewer');
is(got('')->{json}{viewers}, 1, 'in the state as well');
$ws->drop();

# long messages make a short page: each is 6 bytes a character

message('<' x 16000) for 1 .. 12;
$r = got('/history?limit=12');
my @seqs = @{seqs($r)};
cmp_ok(scalar @seqs, '<', 12, 'a short page');
is($seqs[-1], 24, 'the newest of them');
cmp_ok(length $r->{body}, '<', 1024 * 1024 + 4096, 'bounded');
is($r->{json}{prev}, "?before=$seqs[0]&limit=12", 'goes on where it ends');
$r = got('/history?after=12&limit=12');
@seqs = @{seqs($r)};
cmp_ok(scalar @seqs, '<', 12, 'forwards as well');
is($seqs[0], 13, 'the oldest of them');
is($r->{json}{next}, "?after=$seqs[-1]&limit=12", 'goes on');

# HEAD

$r = $api->head("$BASE/history?limit=2");
is($r->{status}, 200, 'HEAD');
my $len = $r->{header}{'content-length'};
is($len, length got('/history?limit=2')->{body}, 'its length');

# who may

is(code(401, got('', cookie => undef)), 'login_required', 'no session');
is(code(401, got('', cookie => 'x' x 32)), 'login_required', 'unknown one');
is(got('/guests/stream_1/history', cookie => undef)->{status}, 200,
   'a guest');
is(got('/guests/stream_1/history', cookie => 'x' x 32)->{status}, 200,
   'with an old cookie');

# what is wrong

is(code(404, got('/api/chat/nowhere/')), 'not_found', 'no such room');
is(code(404, got("$BASE/nonsense")), 'not_found', 'no such resource');
is(code(400, got('/api/chat/a.b/')), 'bad_request', 'no name of a room');
is(code(400, got("/history?$_")), 'bad_request', "bad $_")
    for 'limit=0', 'limit=101', 'limit=x', 'limit=', 'before=-1', 'before=x',
        'after=1e3', 'before=1&after=1', 'before=9007199254740993';

for my $method (qw/ POST PUT DELETE PATCH OPTIONS /) {
    $r = $api->call("$BASE/history", method => $method, body => '');
    is(code(405, $r), 'method_not_allowed', $method);
    is($r->{header}{allow}, 'GET, HEAD', 'what is allowed')
        if $method eq 'PUT';
}

$r = got("$BASE/publish");
is(code(405, $r) . " $r->{header}{allow}", 'method_not_allowed POST', 'POST');

# the room by a variable

is_deeply(seqs(got('/rooms/1/chat/history?limit=1')), [ 24 ], 'a variable');

# a body that nobody wants, then the next request of the connection

my $s = $api->socket();
is(got('/history?limit=1', body => 'x' x 100)->{status}, 200, 'a body');
is($api->socket(), $s, 'the same connection');

# pipelined

print $s $api->request("$BASE/history/1") . $api->request("$BASE/viewers")
         . $api->request("$BASE/history/2");
my @got = map { $api->answer($s)->{body} } 1 .. 3;
like($got[0], qr/"seq":1,/, 'pipelined');
like($got[1], qr/"viewers":/, 'in order');
like($got[2], qr/"seq":2,/, 'all of them');

# as a subrequest

is($api->exchange($api->request('/checked'))->{status}, 200,
   'auth_request: allowed');
is($api->exchange($api->request('/checked', cookie => undef))->{status}, 401,
   'auth_request: refused');

# too often: a user has one bucket for all the locations, and ann asked another
# that has a rate a moment ago

my @mia = (cookie => $site->cookie('mia'));

is(got('/slow/stream_1/', @mia)->{status}, 200, "fast $_") for 1, 2;
$r = got('/slow/stream_1/', @mia);
is(code(429, $r), 'rate_limited', 'too fast');
cmp_ok($r->{header}{'retry-after'}, '<=', 10, 'when again');
is(got('/slow/stream_1/', cookie => undef)->{status}, 200,
   'a guest is another');

# told

my $answers = $api->exchange($api->request('/status?format=prometheus'))
              ->{body};
like($answers, qr/fcchat_api_answers_total\{status="304"\} 3\n/, 'counted');
like($answers, qr/fcchat_api_answers_total\{status="405"\} 6\n/, 'all');
like(slurp($t->testdir() . '/api.log'), qr{^200 stream_1/ann/api$}m,
     'variables');
