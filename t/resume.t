#!/usr/bin/perl

# Coming back: ?since=EPOCH:SEQ brings exactly what was missed and then what
# comes, from the worker's log or from PostgreSQL; "reset" where that can't be.
# Old pages are sent the last messages with fcchat_history.
#
# S33 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(32);

my $site = FC::Site->new($t, location => 'fcchat_history 3;', pg => {},
    http => 'error_log %%TESTDIR%%/error.log info;');

$t->run();


sub v1 {
    my ($user, $since) = @_;

    return $site->join($user, protocol => 'fcchat.v1',
                       defined $since ? (query => "since=$since") : ());
}

sub seqs {
    my ($ws, $n) = @_;

    my @seqs;

    while (@seqs < $n) {
        my $m = $ws->recv_until(sub { $_[0]{type} =~ /^(?:message|reset)$/ })
            or last;
        push @seqs, $m->{type} eq 'reset' ? "reset $m->{reason}" : $m->{seq};
    }

    return join(' ', @seqs);
}

sub say_all {
    my ($ws, @texts) = @_;

    $ws->send_json({ type => 'message', text => $_, cid => $_ }) for @texts;
    $ws->recv_until(sub { $_[0]{type} eq 'ack' && $_[0]{cid} eq $texts[-1] });
}


my $alice = v1('alice');
my $epoch = $alice->recv_json->{epoch};

say_all($alice, map { "a$_" } 1 .. 10);

# from the log that this worker has kept

my $ws = v1('bob', "$epoch:7");
my $welcome = $ws->recv_json;

is($welcome->{type}, 'welcome', 'welcome comes first');
is($welcome->{head}, 10, 'with the head');
is(seqs($ws, 3), '8 9 10', 'what was missed');

say_all($alice, 'b1', 'b2');
is(seqs($ws, 2), '11 12', 'and then what comes');

$ws = v1('bob', "$epoch:12");
$ws->recv_json;
say_all($alice, 'c1');
is(seqs($ws, 1), 13, 'nothing was missed');

$ws = v1('bob', "$epoch:0");
is(seqs($ws, 13), join(' ', 1 .. 13), 'from the beginning');

# what can't be

$ws = v1('bob', "00000000-0000-0000-0000-000000000000:3");
is($ws->recv_json->{type}, 'welcome', 'welcome comes before a reset');
my $reset = $ws->recv_json;
is_deeply($reset, { type => 'reset', reason => 'epoch', epoch => $epoch,
                    head => 13 }, 'another epoch');
say_all($alice, 'd1');
is(seqs($ws, 1), 14, 'live after a reset');

is(seqs(v1('bob', $_->[0]), 1), "reset $_->[1]", "$_->[1]: $_->[0]")
    for [ 'x', 'malformed' ], [ "$epoch:x", 'malformed' ],
        [ 'y' x 100, 'malformed' ], [ "$epoch:99", 'ahead' ];

# old pages

my $old = $site->join('bob');
is(join(' ', map { $old->recv_json->{message} } 1 .. 3), 'b2 c1 d1',
   'the last messages for an old page');
say_all($alice, 'e1');
is($old->recv_json->{message}, 'e1', 'and then what comes');

# a worker that has kept nothing asks PostgreSQL, once for all who come

my @old_pids = workers_list();

$t->reload();
wait_for(sub { my @p = workers_list(); @p == 1 && $p[0] != $old_pids[0] });

my @many = map { v1('bob', "$epoch:" . (5 + $_)) } 0 .. 4;

is(seqs($many[$_], 10 - $_), join(' ', 6 + $_ .. 15), "from PostgreSQL: $_")
    for 0 .. 4;

$alice = v1('alice');
$alice->recv_json;
say_all($alice, 'f1');
is(seqs($many[0], 1), 16, 'live after PostgreSQL');

# more than one answer's worth, and more than the bound

insert(1300);

is(seqs($many[0], 1300), join(' ', 17 .. 1316), 'rows of others arrive');

$ws = v1('bob', "$epoch:16");
is(seqs($ws, 1300), join(' ', 17 .. 1316), 'a long way back');

insert(4000);
$many[0]->recv_until(sub { ($_[0]{seq} // 0) == 5316 }, 20);
is(seqs(v1('bob', "$epoch:16"), 1), 'reset too_old', 'too far back');
is(seqs(v1('bob', "$epoch:315"), 1), 'reset too_old', 'S33: by 5001');
is(seqs(v1('bob', "$epoch:316"), 5000), join(' ', 317 .. 5316),
   'S33: 5000 are sent again');

# the log went back, as after restoring a dump: the epoch is renewed, and
# readers are told

$site->pg->sql("update fcchat_head set last_seq = 5000");
$site->pg->sql("delete from fcchat_event where seq > 5000");

$reset = $many[0]->recv_until(sub { $_[0]{type} eq 'reset' });

is($reset->{reason}, 'epoch', 'the log went back');
is($reset->{head}, 5000, 'head of the log that went back');
isnt($reset->{epoch}, $epoch, 'it has another epoch');

say_all($alice, 'g1');
is(seqs($many[0], 1), 5001, 'live in the new epoch');
is(seqs(v1('bob', "$reset->{epoch}:5000"), 1), 5001, 'and resumed there');
is(seqs(v1('bob', "$epoch:5000"), 1), 'reset epoch', 'not from the old one');


sub insert {
    my ($n) = @_;

    $site->pg->sql("insert into chat_chatmessage (room_id, user_id, content, "
        . "message_type, is_deleted, is_pinned, created_at) "
        . "select r.id, u.id, 'x' || n, 'message', false, false, now() "
        . "from chat_chatroom r, accounts_user u, generate_series(1, $n) n "
        . "where r.name = 'stream_1' and u.username = 'alice'");
}


sub workers_list {
    my $pid = $t->read_file('nginx.pid') + 0;
    return split ' ', `cat /proc/$pid/task/$pid/children`;
}
