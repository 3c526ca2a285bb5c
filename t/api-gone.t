#!/usr/bin/perl

# The HTTP API while PostgreSQL takes its time: clients that go, too many of
# them, a reload, and the end of the worker.
#
# S27, S33 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use IO::Select;
use Time::HiRes qw/ time /;

use FC::Api;
use FC::Crowd;
use FC::Site;
use FC::Util qw/ wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(29);

$t->write_file('api_secret', "the site's secret\n");
chmod 0600, $t->testdir() . '/api_secret';

my $site = FC::Site->new($t, pg => { private => 1 }, more => <<'EOF');
        location /api/chat/ {
            fcchat_api;
            fcchat_api_rate off;
            fcchat_api_secret_file api_secret;
        }
EOF

my ($pg, $django) = ($site->pg(), $site->django());

$t->run();

my $BASE = '/api/chat/stream_1';
my %bearer = (headers => { Authorization => "Bearer the site's secret" });
my $cookie = $site->cookie('ann');
my $api = FC::Api->new(cookie => $cookie);

# a request on a connection of its own, and its answer later

sub begin {
    my ($path, %o) = @_;

    my $one = FC::Api->new(cookie => $cookie);
    my $s = $one->socket();

    print $s $one->request($path =~ m{^/a} ? $path : "$BASE$path", %o);

    return $one;
}

sub ended { my ($one) = @_; return $one->answer($one->socket()) }

sub readable { return IO::Select->new($_[0]->socket())->can_read(0) }

sub publish {
    my ($text) = @_;

    return begin('/publish', method => 'POST', %bearer,
                 json => { text => $text, cid => $text });
}

sub locked {
    my ($table, $code) = @_;

    my $lock = FC::Crowd->lock($pg, "localhost.$table");
    my @rc = $code->();

    $lock->release();
    return @rc;
}

sub blocked { return wait_for(sub { FC::Crowd->blocked($pg) }) }

$api->get($BASE);
my $ws = $site->join('ann', protocol => 'fcchat.v1');
$ws->recv_json();

# clients that go while they wait: for the session, the room, and the answer

for my $case ([ django_session => '/viewers', 'x' x 31 ],
              [ chat_chatroom => '/api/chat/stream_2/viewers', $cookie ],
              [ fcchat_event => '/history', $cookie ],
              [ fcchat_event => '/history/1', $cookie ],
              [ fcchat_head => '', $cookie ],
              [ streaming_streamreaction => '/reactions', $cookie ])
{
    my ($table, $path, $key) = @$case;

    my @went = locked($table, sub {
        my @all = map { begin($path, cookie => $key . ($key eq $cookie
                                                       ? '' : $_)) } 1 .. 3;
        my $ok = blocked();

        close $_->socket() for @all;
        return $ok;
    });

    ok($went[0], "asked, and gone: $table");
}

is($api->get($BASE)->{status}, 200, 'the worker lives');
ok(wait_for(sub { $api->get("$BASE/reactions")->{status} == 200 }),
   'and asks for totals again');

# who publishes and goes is heard all the same

my $lock = FC::Crowd->lock($pg, 'localhost.fcchat_head');
my $one = publish('gone');
ok(blocked(), 'published');
close $one->socket();
$lock->release();
is($ws->recv_until(sub { $_[0]{type} eq 'message' })->{text}, 'gone',
   'and heard');
is(publish('gone') && $api->get("$BASE/history/1")->{json}{text}, 'gone',
   'stored once');

# with half of the body, none of which is kept

$one = begin('/publish', method => 'POST', body => '{"te',
             headers => { %{$bearer{headers}}, 'Content-Length' => 100 });
close $one->socket();
is($api->get($BASE)->{status}, 200, 'half a body');

# too many under way; who waits for 2.5 seconds is refused, which is another
# matter

my (@busy, $room);

for (1 .. 3) {
    my $start = time();

    $lock = FC::Crowd->lock($pg, 'localhost.fcchat_event');

    my @many = map { begin('/history') } 1 .. 300;

    wait_for(sub { 44 <= (@busy = grep { readable($_) } @many) });

    my $took = time() - $start;

    @busy = map { ended($_) } @busy;
    close $_->socket() for @many;
    $lock->release();
    $room = wait_for(sub { $api->get("$BASE/history")->{status} == 200 });

    last if $took < 2;
}

is_deeply([ map { $_->{status} } @busy ], [ (503) x 44 ], '256 are asked');
like($busy[0]{body}, qr/"unavailable".*busy/, 'the others are refused');
is($busy[0]{header}{'retry-after'}, 1, 'when again');
ok($room, 'there is room again');

# locked for long: it is given up

$lock = FC::Crowd->lock($pg, 'localhost.fcchat_event');
my $r = $api->get("$BASE/history");
is($r->{status}, 503, 'given up');
is($r->{json}{error}{code}, 'unavailable', 'in a word');
$lock->release();

# a reload: the old worker answers what it was asked

my ($old) = workers($t);

$lock = FC::Crowd->lock($pg, 'localhost.fcchat_event');
my @three = (begin('/history'), begin('/history/1'), publish('late'));
ok(blocked(), 'under way');
$t->reload();
ok(wait_for(sub { grep { $_ != $old } workers($t) }), 'another worker');
$lock->release();
is_deeply([ map { ended($_)->{status} } @three ], [ 200, 200, 200 ],
          'the old one answers');
ok(wait_for(sub { !kill 0, $old }), 'and leaves');
is($api->get("$BASE/history?limit=1")->{json}{messages}[0]{text}, 'late',
   'what it stored');

# PostgreSQL goes while it is asked

$lock = FC::Crowd->lock($pg, 'localhost.fcchat_event');
$one = begin('/history');
ok(blocked(), 'asked');
$pg->stop('immediate');
is(ended($one)->{status}, 503, 'gone');
$pg->start();
ok(wait_for(sub { $api->get("$BASE/history")->{status} == 200 }), 'back');

# the end, at once, with requests of each kind under way

$lock = FC::Crowd->lock($pg, 'localhost.fcchat_event');
@three = (begin('/history'), begin('/reactions'), publish('x'), begin(''));
ok(blocked(), 'at the end');
($old) = workers($t);
kill 'TERM', $old;
ok(wait_for(sub { !kill 0, $old }), 'the worker ends');
$lock->release();
ok(wait_for(sub { $api->get($BASE)->{status} == 200 }), 'another one serves');
