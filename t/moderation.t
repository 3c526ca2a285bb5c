#!/usr/bin/perl

# What moderators do in a room: deleting, pinning, slow mode, by fcchat.v1 and as
# messages of old pages; numbered with the messages, and kept from nobody who
# comes back.
#
# S10 of SECURITY.md.

use warnings;
use strict;
use utf8;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER spread /;
use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

binmode Test::More->builder->$_(), ':utf8' for qw/ output failure_output /;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(50);

my $site = FC::Site->new($t, workers => 2,
                         location => "$WORKER fcchat_history 10;");
my $pg = $site->pg;

my %id = map { $_ => $site->django->user($_) } qw/ alice reader mod owner /;

$id{boss} = $site->django->user('boss', is_staff => 1);

my $room = $pg->sql("select id from chat_chatroom where name = 'stream_1'");

$pg->sql("alter table streaming_stream add column owner_id integer;"
         . " update streaming_stream set owner_id = $id{owner};"
         . " insert into fcchat_moderator values ($room, $id{mod})");
$t->run();

my @v1 = (protocol => 'fcchat.v1');
my ($here, $there) = spread($site, $t, 1, @v1);
my $old = $site->join('reader');
my %ws = map { $_ => $site->join($_, @v1) } qw/ alice mod owner boss /;

# roles

is(join(' ', map { welcome($_)->{you}{role} } qw/ alice mod owner boss /),
   'member moderator owner moderator', 'roles in welcome');

$_->recv_json() for $here, $there;

my $n = 1;
my ($epoch, $first, %seq, %row);

for my $user (qw/ alice mod owner boss /) {
    my $ack = ask($user, { type => 'message', text => "by $user" });

    ($seq{$user}, $row{$user}) = @$ack{qw/ seq id /};
    $n++;
}

is(join(' ', map { next_of($there, 'message')->{user}{role} } 1 .. 4),
   'member moderator owner moderator', 'in messages');
$old->recv_until(sub { $_[0]{message} eq 'by boss' });

# who may not

is(ask('alice', { type => 'delete', id => $row{alice} })->{code}, 'forbidden',
   'a member may not');
is(ask('mod', { type => 'delete', id => $row{owner} })->{code}, 'forbidden',
   'nor one with somebody above');
is(ask('mod', { type => 'delete', id => 999999 })->{code}, 'not_found',
   'not found');
is(ask('mod', { type => 'delete' })->{code}, 'bad_request', 'bad request');
is(ask('mod', { type => 'pin', seq => 2, until => 1 })->{code}, 'bad_request',
   'until the past');
is(ask('mod', { type => 'ban', username => 'alice', scope => 'tenant' })
       ->{code}, 'forbidden', 'nor in all rooms');

# pins

my $ack = ask('mod', { type => 'pin', seq => $seq{alice}, seconds => 600,
                       reason => 'hear' });

is_deeply([ @$ack{qw/ type seq id /} ], [ 'ack', ++$n, $row{alice} ], 'a pin');

my $event = next_of($there, 'moderation');
my $at = delete $event->{at};
my $until = delete $event->{until};

is_deeply($event, {
    type   => 'moderation',
    seq    => $n,
    action => 'pin',
    by     => { id => $id{mod}, username => 'mod', role => 'moderator' },
    target => { seq => $seq{alice}, id => $row{alice}, text => 'by alice',
                user => { id => $id{alice}, username => 'alice' } },
    reason => 'hear',
}, 'on the other worker');
like($at, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'when');
cmp_ok(abs($until / 1000 - time() - 600), '<', 30, 'until');
is_deeply($old->recv_json(), { username => 'mod', timestamp => undef,
                               message_type => 'moderation',
                               message => 'メッセージがピン留めされました。' },
          'an old page');

$site->join('alice', @v1) for 1 .. 2;

my ($pin) = @{fresh()->{pins}};

delete $pin->{at};
is_deeply($pin, { type => 'message', seq => $seq{alice}, id => $row{alice},
                  user => { id => $id{alice}, username => 'alice',
                            role => 'member' },
                  text => 'by alice', until => $until }, 'in welcome');

ask('boss', { type => 'pin', id => $row{boss} });
$n++;
ok(pinned('by alice by boss'), 'two of them');
is(ask('mod', { type => 'unpin', id => $row{boss} })->{seq}, ++$n, 'unpin');
ok(pinned('by alice'), 'one left');
next_of($there, 'moderation') for 1 .. 2;

ask('mod', { type => 'pin', id => $row{boss}, seconds => 1 });
$n++;
ok(wait_for(sub { @{fresh()->{pins}} == 1 }), 'a pin ends by itself');
next_of($there, 'moderation');

# deleting

$epoch = fresh()->{epoch};
is(ask('mod', { type => 'delete', seq => $seq{alice}, cid => 'd1' })->{seq},
   ++$n, 'delete');
is(ask('mod', { type => 'delete', seq => $seq{alice}, cid => 'd1' })->{seq},
   $n, 'once for the same cid');
$event = next_of($there, 'moderation');
is_deeply([ $event->{action}, $event->{target}{seq}, $event->{seq} ],
          [ 'delete', $seq{alice}, $n ], 'the event');
ok(wait_for(sub { !@{fresh()->{pins}} }), 'is no pin any more');

# from the log in memory, and from PostgreSQL

is(told('boss', 0), 'deleted: by mod by owner by boss', 'resumed in memory');
is($first->{user}, undef, 'in its place');
is(shown($ack->{seq}), '', 'no pin shows it');

my $page = $site->join('alice', @v1);

$page->send_json({ type => 'history' });
$page = $page->recv_until(sub { $_[0]{type} eq 'history' });
is(join(' ', map { $_->{message_type} // $_->{text} // $_->{action} }
             @{$page->{messages}}),
   'state deleted by mod by owner by boss pin pin unpin pin delete',
   'history');
is($page->{messages}[3]{user}{role}, 'owner', 'with roles');

my $joined = $site->join('alice');

is(join(' ', map { $joined->recv_json()->{message} } 1 .. 3),
   'by mod by owner by boss', 'an old page that joins');

# one that is too short for what takes its place

for my $text ('x', 'y' x 200, 'あ' x 300) {
    my $said = ask('owner', { type => 'message', text => $text });

    ask('owner', { type => 'delete', id => $said->{id} });
    is_deeply(resumed($said->{seq} - 1),
              { type => 'message', seq => $said->{seq}, id => $said->{id},
                user => undef, text => '', message_type => 'deleted' },
              length($text) . ' characters deleted');
    $n += 2;
}

# in Django's admin

my $said = ask('owner', { type => 'message', text => 'by hand' });

$n++;
$pg->sql("update chat_chatmessage set is_pinned = true where id = $said->{id}");
$event = seen($there, sub { ($_[0]{action} // '') eq 'pin'
                                  && $_[0]{seq} == $n + 1 });
$n++;
is_deeply([ $event->{by}, $event->{target}{text} ], [ undef, 'by hand' ],
          'pinned by hand');
ok(wait_for(sub {
    ((map { $_->{text} } @{fresh()->{pins}})[0] // '') eq 'by hand'
}), 'in welcome');
$pg->sql("update chat_chatmessage set is_deleted = true where id = $said->{id}");
$event = seen($there, sub { ($_[0]{action} // '') eq 'delete'
                                  && $_[0]{seq} == $n + 1 });
$n++;
is($event->{target}{seq}, $said->{seq}, 'deleted by hand');
is(resumed($said->{seq} - 1)->{message_type}, 'deleted', 'gone from the log');

# slow mode is told

is(ask('mod', { type => 'slow', seconds => 30 })->{seq}, ++$n, 'slow');
is_deeply(seen($there, sub { ($_[0]{action} // '') eq 'slow' })->{modes},
          { slow => 30 }, 'told');
ok(wait_for(sub { fresh()->{modes}{slow} == 30 }), 'in welcome');
ok($old->recv_until(sub {
    ($_[0]{message} // '') eq '低速モード: 発言は 30 秒に 1 回までです。';
}), 'in Japanese');

# a moderator by a row, while the socket is open

$pg->sql("insert into fcchat_moderator values ($room, $id{alice})");
$n++;
is(next_of($ws{alice}, 'moderation', 'state')->{seq}, $n, 'told');
ok(wait_for(sub { (ask('alice', { type => 'slow', seconds => 0 })->{type})
                  eq 'ack' }), 'who may by now');
$n++;
is(ask('alice', { type => 'message', text => 'm' })->{seq}, ++$n, 'speaks');
is(seen($there, sub { ($_[0]{text} // '') eq 'm' })->{user}{role},
   'moderator', 'as one');

# one log

my @seqs = map { $_->[0] } $pg->sql("select seq from fcchat_event"
                                    . " where room_id = $room order by seq");

is("@seqs", join(' ', 1 .. $n), 'numbered without holes');
is(join(' ', @{$there->{got}}), join(' ', 2 .. $n),
   'and all of them came');

is($pg->sql("select string_agg(action, ' ' order by id) from fcchat_audit"
            . " where user_id = $id{mod}"), 'pin unpin pin delete slow',
   'the audit');

# without sql/003

$pg->sql("create schema bare");
$site->django->tables('bare');
$pg->apply('bare', map { FC::Util::top() . "/sql/$_.sql" }
                   qw/ 001_fcchat 002_fcchat_viewers /);
$site->django->user('boss', is_staff => 1, schema => 'bare');
$site->django->room('stream_1', schema => 'bare');
$site->write(http => '', location => 'fcchat_tenant bare;');
kill 'HUP', $t->read_file('nginx.pid');

my $cookie = $site->django->session('boss', schema => 'bare');
my $bare;

ok(wait_for(sub { $bare = $site->join('boss', @v1, cookie => $cookie);
                  $bare->status() == 101 }), 'a schema without sql/003');
$bare->send_json({ type => 'message', text => 'hi', cid => 'h' });
is($bare->recv_until(sub { $_[0]{type} eq 'ack' })->{seq}, 1, 'chats');
$bare->send_json({ type => 'slow', seconds => 3, cid => 's' });
is($bare->recv_until(sub { $_[0]{type} eq 'error' })->{code}, 'unavailable',
   'without moderation');
like($t->read_file('error.log'),
     qr{schema "bare" lacks .* apply sql/003_fcchat_moderation\.sql},
     'and the log says why');


sub welcome {
    my ($user) = @_;

    return $ws{$user}->recv_json();
}


sub fresh {
    return $site->join('alice', @v1)->recv_json();
}


# the other worker hears of it a moment later

sub pinned {
    my ($texts) = @_;

    return wait_for(sub {
        join(' ', map { $_->{text} } @{fresh()->{pins}}) eq $texts;
    });
}


# the answer to what the user asks for

sub ask {
    my ($user, $m) = @_;

    my $ws = $ws{$user};

    $m->{cid} //= 'c' . ++$ws->{asked};
    $ws->send_json($m);

    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/
                                 && ($_[0]{cid} // '') eq $m->{cid} });
}


# the next of a type, of those of a socket that have numbers

sub next_of {
    my ($ws, $type, $action) = @_;

    return seen($ws, sub {
        return $_[0]{type} eq $type
               && (!defined $action || $_[0]{action} eq $action);
    });
}


# what comes until then, with the numbers noted

sub seen {
    my ($ws, $want) = @_;

    return $ws->recv_until(sub {
        push @{$ws->{got}}, $_[0]{seq} if $_[0]{seq} && $_[0]{type} ne 'ack';

        return $want->($_[0]);
    });
}


# the messages that somebody gets who had that number

sub told {
    my ($user, $since) = @_;

    my $ws = $site->join($user, @v1, query => "since=$epoch:$since");
    my @all;

    $ws->recv_until(sub {
        my ($m) = @_;

        push @all, $m if $m->{type} eq 'message';
        $first = $m if $m->{type} eq 'message' && !$first;

        return ($m->{seq} // 0) >= $n;
    });

    return join ' ', map { ($_->{message_type} // '') eq 'deleted'
                           ? 'deleted:' : $_->{text} } @all;
}


# What that pin shows to who comes back.

sub shown {
    my ($pin) = @_;

    my $text;

    wait_for(sub {
        my $since = $pin - 1;
        my $ws = $site->join('boss', @v1, query => "since=$epoch:$since");

        $text = $ws->recv_until(sub { $_[0]{type} eq 'moderation' })
                    ->{target}{text};
        $ws->drop();

        return $text eq '';
    }, 3);

    return $text;
}


# What is deleted in one worker is so in the other a moment later.

sub resumed {
    my ($since) = @_;

    my $m;

    wait_for(sub {
        my $ws = $site->join('boss', @v1, query => "since=$epoch:$since");

        $m = $ws->recv_until(sub { $_[0]{type} eq 'message' });
        $ws->drop();

        return ($m->{message_type} // '') eq 'deleted';
    }, 3);

    delete $m->{at};

    return $m;
}
