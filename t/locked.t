#!/usr/bin/perl

# Tables of one tenant that are locked, as DDL does it: its own viewers stay
# and are told, and the chat of another tenant goes on over the same
# connections to PostgreSQL, within a second or two.

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

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(17);

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

$eve->send_json({ type => 'message', text => 'meanwhile', cid => 'c2' });

my @new = map { east($east[0], nowait => 1) } 1 .. 5;
my ($rounds, %worst, $told) = (0, map { $_ => 0 } qw/ ack row join /);
my $end = time() + 20 * slow();

while (!$told && time() < $end) {
    $rounds++;
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

# what waits for a lock when the worker leaves goes with it

$lock = FC::Crowd->lock($pg, 'east.django_session');
$ed = east($east[1], nowait => 1);
ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'one more is asked for');
$t->stop();
$lock->release();


sub message { return $_[0]{type} eq 'message' }


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
