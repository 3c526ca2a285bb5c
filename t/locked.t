#!/usr/bin/perl

# Tables of one tenant that are locked, as DDL does it: its own viewers stay
# and are told, and the chat of another tenant goes on over the same
# connections to PostgreSQL, within a second or two.  A row of a user or a room
# that is locked, as select_for_update() does it, holds up what needs that row
# alone.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Crowd;
use FC::Site;
use FC::Util qw/ log_lines slow wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(35);

# without Redis, so that delivery asks PostgreSQL, too

my $site = FC::Site->new($t, bus => 0, more => <<'EOC');
        location /east/ {
            fcchat;
            fcchat_tenant east;
            fcchat_session_cache 1ms;
        }
EOC

my ($pg, $django) = ($site->pg, $site->django);
my @v1 = (protocol => 'fcchat.v1');

$pg->make_tables('east');

my @east = map { $django->session($_, schema => 'east') } qw/ eve ed /;

$site->cookie($_) for qw/ alice bob carol /;
$django->room('other');
$t->run();

my $alice = $site->join('alice', @v1);
my $bob = $site->join('bob', @v1);
my $eve = east($east[0]);
my $ed = east($east[1]);

$eve->send_json({ type => 'message', text => 'before', cid => 'c1' });
is($_->recv_until(\&message)->{text}, 'before', 'a tenant') for $eve, $ed;

my $room = $pg->sql("select id from chat_chatroom where name = 'stream_1'");
my $lock = FC::Crowd->lock($pg, map { "east.$_" } qw/
    django_session accounts_user chat_chatroom chat_chatmessage fcchat_event
    fcchat_head /);

my $said = time();

$eve->send_json({ type => 'message', text => 'meanwhile', cid => 'c2' });
say_as($ed, 'as well');

my @new = map { east($east[0], nowait => 1) } 1 .. 5;
my ($rounds, %worst, $told) = (0, map { $_ => 0 } qw/ ack row join /);
my $end = time() + 20 * slow();

while (!$told && time() < $end) {
    push @new, east($east[1], nowait => 1);
    round();
    $told = first($eve, 'error');
}

cmp_ok($rounds, '>=', 2, "$rounds rounds");
cmp_ok($worst{ack}, '<=', 2 * slow(), 'a message of the other: its ack');
cmp_ok($worst{row}, '<=', 2 * slow(), 'a row of the other: its delivery');
cmp_ok($worst{join}, '<=', 2 * slow(), 'a new viewer of the other');
is_deeply([ @$told{qw/ code cid retry_after_ms /} ],
          [ 'unavailable', 'c2', 1000 ], 'the sender is told');
cmp_ok(time() - $said, '>=', 4.9, 'not before the 5 seconds are over');
is((answers($ed, 1))[0]->{code}, 'unavailable', 'and the other');
cmp_ok(time() - $said, '>=', 4.9, 'not before them either');

ok($new[0]->handshake() && $new[0]->status() == 503, 'a new viewer: 503');
is($new[0]->header('Retry-After'), 1, 'and when to come again');

my @lines = log_lines($t, qr/55P03/);

cmp_ok(@lines, '>', 0, 'it is in the log');
cmp_ok(@lines, '<=', time() - $end + 20 * slow() + 2, 'once a second');

$lock->release();

$eve->send_json({ type => 'message', text => 'meanwhile', cid => 'c2' });
is($eve->recv_until(sub { $_[0]{type} eq 'ack' })->{seq}, 2, 'then it is said');
is($ed->recv_until(\&message)->{text}, 'meanwhile', 'and read');
is(east($east[1])->status(), 101, 'new viewers get in');

# a reaction waits for its table, for a while

$lock = FC::Crowd->lock($pg, 'east.streaming_streamreaction');
@lines = log_lines($t, qr/55P03/);
$eve->send_json({ type => 'reaction', stamp_id => 1 });
ok(wait_for(sub { log_lines($t, qr/55P03/) >= @lines + 2 }), 'it is locked');
$lock->release();
ok(wait_for(sub { $pg->sql('select count(*) from east.streaming_streamreaction')
                  == 1 }), 'a reaction is stored then');

# the row of a user, and the log of a room in which the same transaction writes:
# all others go on, also while nobody told that user yet

$django->room($_, schema => 'east') for qw/ aside kept /;

my ($aside, $kept) = map { east($east[1], path => "/east/$_/") }
                     qw/ aside kept /;

$lock = row("accounts_user where username = 'eve'");
$lock->say('insert into east.chat_chatmessage (room_id, user_id, content,'
           . ' message_type, is_deleted, is_pinned, created_at)'
           . " select id, null, 'row', 'message', false, false, now()"
           . " from east.chat_chatroom where name = 'kept';");
say_as($kept, 'kept');
say_as($eve, 'held');
ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'a user is locked');
%worst = map { $_ => 0 } qw/ ack row join /;
round();
is(answer($ed, 'beside')->{type}, 'ack', 'others of the room go on');
is(answer($aside, 'beside it')->{type}, 'ack', 'others of the tenant, too');
is(first($_, 'error'), undef, 'while the locked ones wait') for $eve, $kept;

$told = undef;
$end = time() + 20 * slow();

while (!$told && time() < $end) {
    round();
    $told = first($eve, 'error');
}

cmp_ok($worst{ack}, '<=', 2 * slow(), 'a message of the other: its ack');
is_deeply([ @{$told // {}}{qw/ code cid /} ], [ 'unavailable', 'held' ],
          'that user is told');
is((answers($kept, 1))[0]->{code}, 'unavailable', 'that room, too');
$lock->release();
is(answer($eve, 'held')->{type}, 'ack', 'and may speak then');
is(answer($kept, 'kept')->{type}, 'ack', 'there as well');

# the row of a room: the other rooms go on, and the order of a sender is kept

$lock = row("chat_chatroom where name = 'stream_1'");
say_as($eve, 'one');
ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'a room is locked');
say_as($_, 'two') for $ed, $eve;
%worst = map { $_ => 0 } qw/ ack row join /;
is(answer($aside, 'in another room')->{type}, 'ack', 'the other room goes on');
round();
cmp_ok($worst{ack}, '<=', 2 * slow(), 'a message of the other: its ack');
$lock->release();
is(join(' ', map { "$_->{type} $_->{cid}" } answers($eve, 2)),
   'ack one ack two', 'what waited is stored then, in the order of its sender');
is((answers($ed, 1))[0]->{type}, 'ack', 'and that of another');

# what waits for a lock when the worker leaves goes with it

$lock = FC::Crowd->lock($pg, 'east.django_session');
$ed = east($east[1], nowait => 1);
ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'one more is asked for');
$t->stop();
$lock->release();


sub message { return $_[0]{type} eq 'message' }


# A session of the site that holds rows of the tenant.

sub row {
    my ($rows) = @_;

    my $psql = FC::Crowd->psql($pg->dsn());

    $psql->say('begin;', "do \$\$ begin perform from east.$rows for update;"
                         . ' end $$;');

    return $psql;
}


sub say_as {
    my ($ws, $text) = @_;

    return $ws->send_json({ type => 'message', text => $text, cid => $text });
}


sub answer {
    my ($ws, $text) = @_;

    say_as($ws, $text);

    return (answers($ws, 1))[0];
}


# The next answers to what was said: in the order of its numbers, or so much of
# it as comes.

sub answers {
    my ($ws, $n) = @_;

    my @got = map {
        $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ }, 10 * slow())
            // {}
    } 1 .. $n;

    return sort { ($a->{seq} // 0) <=> ($b->{seq} // 0) } @got;
}


sub east {
    my ($cookie, %o) = @_;

    return FC::WS->connect(port => port(8080), path => '/east/stream_1/',
                           cookie => $cookie, @v1, %o);
}


sub first {
    my ($ws, $type) = @_;

    my ($found) = grep { ($_->{type} // '') eq $type } $ws->recv_all(0.02);

    return $found;
}


# What the other tenant does, and how long it takes.

sub round {
    my $from = time();

    $rounds++;

    $alice->send_json({ type => 'message', text => "said $rounds",
                        cid => "a$rounds" });
    $alice->recv_until(sub { $_[0]{type} eq 'ack' }, 10);
    note_worst('ack', $from);
    $bob->recv_until(sub { ($_[0]{text} // '') eq "said $rounds" }, 10);

    $pg->sql('insert into chat_chatmessage (room_id, user_id, content,'
             . ' message_type, is_deleted, is_pinned, created_at) values'
             . " ($room, null, 'row $rounds', 'message', false, false, now())");
    $from = time();
    $bob->recv_until(sub { ($_[0]{text} // '') eq "row $rounds" }, 10);
    note_worst('row', $from);

    $from = time();
    $site->join('carol', room => 'other', @v1)->drop();
    note_worst('join', $from);

    return;
}


sub note_worst {
    my ($what, $from) = @_;

    my $took = time() - $from;

    $worst{$what} = $took if $took > $worst{$what};

    return;
}
