#!/usr/bin/perl

# The subprotocol fcchat.v1: welcome, message, ack, error, viewers, and the
# counts of reactions.
#
# S23 of SECURITY.md.

use warnings;
use strict;
use utf8;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Time::HiRes qw/ time /;

use Test::Nginx;

use FC::Site;
use FC::Util qw/ asan /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

binmode Test::More->builder->$_(), ':utf8' for qw/ output failure_output /;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(41);

my $site = FC::Site->new($t);
my $id = $site->django->user('alice');
my $boss = $site->django->user('boss', is_staff => 1);

$site->django->room('lonely', stream => 0);

$t->run();

sub enter {
    my ($user, %o) = @_;

    return $site->join($user, protocol => 'fcchat.v1', %o);
}

sub is_type {
    my ($type) = @_;

    return sub { ($_[0]{type} // '') eq $type };
}

# Nobody is told of viewers but the next second: that may come in between.

sub answer {
    my ($ws) = @_;

    return $ws->recv_until(sub { $_[0]{type} ne 'viewers' });
}

my $alice = enter('alice');

is($alice->header('Sec-WebSocket-Protocol'), 'fcchat.v1', 'agreed');

my $hello = $alice->recv_json();
my $epoch = delete $hello->{epoch};
my $clock = delete $hello->{server_time};

is_deeply($hello, {
    type    => 'welcome',
    room    => 'stream_1',
    head    => 0,
    you     => { id => $id, username => 'alice', role => 'member' },
    modes   => { slow => 0 },
    pins    => [],
    viewers => 1,
}, 'welcome');

like($epoch, qr/^[\w-]{1,64}$/, 'epoch');
cmp_ok(abs($clock / 1000 - time()), '<', 5, 'server_time in milliseconds');

# a message

my $text = qq{<b>&"' \\ \x{2028}\x{2029}\x{1f600}};

$alice->send_json({ type => 'message', text => $text, cid => 'c1' });

my $ack = answer($alice);
my $frame;

do { $frame = $alice->recv_message()->{payload} }
while $frame =~ /^\{"type":"viewers"/;

my ($row, $at) = @{($site->pg->sql(
    "select id, to_char(created_at at time zone 'UTC',"
    . q{ 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')}
    . ' from chat_chatmessage'))[0]};

is_deeply($ack, { type => 'ack', cid => 'c1', seq => 1, id => $row },
          'the ack comes first');

my $event = {
    type => 'message',
    seq  => 1,
    id   => $row,
    user => { id => $id, username => 'alice', role => 'member' },
    text => $text,
    at   => $at,
};

is_deeply(FC::WS::json()->decode($frame), $event, 'message');
unlike($frame, qr/[<>&\x{2028}\x{2029}]/, 'S23: harmless in a script');

my $old = $site->join('bob');
my $bob = enter('bob');

is($bob->recv_json()->{head}, 1, 'head of the next one');

# the same cid is the same message

my $again = enter('alice');

$again->recv_json();
$again->send_json({ type => 'message', text => 'else', cid => 'c1' });

is_deeply(answer($again), $ack, 'the same ack for the same cid');

$bob->send_json({ type => 'message', text => 'mine', cid => 'c1' });

is_deeply([ @{answer($bob)}{qw/ type cid seq /} ], [ 'ack', 'c1', 2 ],
          "another user's cid is another message");
is(answer($bob)->{text}, 'mine', 'the sender gets it');
is(answer($again)->{seq}, 2, 'nobody got the repeated one');
is($old->recv_json()->{message}, 'mine', 'nor by the old protocol');
is($site->pg->sql('select count(*) from chat_chatmessage'), 2, 'two rows');

# without a cid

$bob->send_json({ type => 'message', text => 'x' });

$ack = answer($bob);

is_deeply([ sort keys %$ack ], [qw/ id seq type /], 'an ack without a cid');
is($ack->{seq}, 3, 'its number');

# roles

my $staff = enter('boss');

is_deeply($staff->recv_json()->{you},
          { id => $boss, username => 'boss', role => 'moderator' },
          'staff are moderators');

$staff->send_json({ type => 'message', text => 'order!' });
answer($staff);
is(answer($staff)->{user}{role}, 'moderator', 'in messages, too');

# errors, to the sender alone

my @errors = (
    [ '', 'bad_json' ],
    [ '{"type":"message","text":"a"', 'bad_json' ],
    [ 'null', 'bad_json' ],
    [ '{"message":"a"}', 'bad_request' ],
    [ '{"type":["message"],"text":"a"}', 'bad_request' ],
    [ '{"type":"message","message":"a"}', 'bad_request' ],
    [ '{"type":"message","text":"a","cid":""}', 'bad_request' ],
    [ '{"type":"message","text":"a","cid":"' . 'c' x 65 . '"}',
      'bad_request' ],
    [ '{"type":"message","text":"a","cid":"\\n"}', 'bad_request' ],
    [ '{"type":"reaction","stamp_id":0}', 'bad_request' ],
    [ '{"type":"reaction","stamp_id":1.0}', 'bad_request' ],
    [ '{"type":"welcome"}', 'unknown_type' ],
    [ '{"type":"message","text":"\\u00a0\\t"}', 'empty', 'c9' ],
    [ '{"type":"message","text":"' . 'x' x 501 . '"}', 'too_long', 'c9' ],
    [ '{"type":"message","text":"\\u0000"}', 'bad_text', 'c9' ],
    [ '{"type":"reaction","stamp_id":99}', 'unknown_stamp', 'c9' ],
    [ '{"type":"reaction","stamp_id":98}', 'unknown_stamp', 'c9' ],
);

for my $case (@errors) {
    my ($sent, $code, $cid) = @$case;
    my $want = { type => 'error', code => $code };

    if ($cid) {
        $sent =~ s/\}$/,"cid":"$cid"}/;
        $want->{cid} = $cid;
    }

    $alice->send_text($sent);

    my $error = $alice->recv_until(is_type('error'));

    my $words = delete $error->{message};

    is_deeply([ $error, $words =~ /^[A-Z].*\.$/ ? 1 : $words ], [ $want, 1 ],
              "$code: " . substr $sent, 0, 50);
}

my $lonely = enter('bob', room => 'lonely');

$lonely->recv_json();
$lonely->send_json({ type => 'reaction', stamp_id => 1 });

is_deeply($lonely->recv_json(),
          { type => 'error', code => 'not_allowed',
            message => 'This room has no stream to react to.' },
          'not_allowed: no stream');

# viewers: all that are there, however they speak; one more comes, since a count
# that was told before may have been read by now

my $late = $site->join('bob');

is_deeply(viewers($staff, 6), { type => 'viewers', count => 6 },
          'viewers after joins');

$_->close() for $again, $old, $late;

is_deeply(viewers($staff, 3), { type => 'viewers', count => 3 },
          'and after leaves');


sub viewers {
    my ($ws, $count) = @_;

    return $ws->recv_until(sub { $_[0]{type} eq 'viewers'
                                 && $_[0]{count} == $count });
}

$alice->recv_until(is_type('viewers'));

# reactions: counts of 200 ms, in one frame

$alice->send_json({ type => 'reaction', stamp_id => 2 });

is_deeply($bob->recv_until(is_type('reactions')),
          { type => 'reactions', counts => { 2 => 1 } }, 'a reaction');

my $bytes = join '', map {
    FC::WS::frame(payload => qq({"type":"reaction","stamp_id":$_}))
} (1) x 12, (4) x 3;

$alice->send_raw($bytes);

is_deeply($bob->recv_until(is_type('reactions')),
          { type => 'reactions', counts => { 1 => 12, 4 => 3 } },
          'many in one frame');

is_deeply([ grep { $_->{type} ne 'viewers' } $bob->recv_all(0.3) ], [],
          'and nothing after it');
