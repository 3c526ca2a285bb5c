#!/usr/bin/perl

# fcchat_moderate(): who may do what, what becomes of it in the tables, and the
# numbers of it all in the room's log; and what is changed by hand.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use JSON::PP;

use FC::Django;
use FC::Pg;

my $pg = FC::Pg->new();
my $django = FC::Django->new(pg => $pg);

my %id = map { $_ => $django->user($_) } qw/ alice bob mod owner all /;

$id{staff} = $django->user('staff', is_staff => 1);
$id{other} = $django->user('other', is_staff => 1);
$django->user('gone', is_active => 0);

my $room = $pg->sql("select id from chat_chatroom where name = 'stream_1'");
my $quiet = $django->room('quiet');

$pg->sql("alter table streaming_stream add column owner_id integer;"
         . " update streaming_stream set owner_id = $id{owner}");
$pg->sql("insert into fcchat_moderator values ($room, $id{mod}),"
         . " (0, $id{all})");

is(join(' ', map { scalar $pg->sql("select fcchat_rank($room, $id{$_})") }
             qw/ alice mod owner all staff /), '1 2 3 4 5', 'ranks');
is(scalar $pg->sql("select fcchat_rank($room, 999999) is null"), 't', 'of nobody');
is($pg->sql("set fcchat.owner = 'select $id{bob} where \$1 = $room';"
            . " select fcchat_rank($room, $id{bob})"), 3, 'another owner');
is(head(0), 1, 'the moderator of all rooms is an event of all rooms');
is(head($room), 1, 'that of the room one of the room');

# messages

my %said = map { $_ => say($_, "by $_") } qw/ alice mod owner staff /;

is(act('alice', 'delete', id => $said{mod}), 'forbidden', 'a member');
is(act('mod', 'delete', id => $said{owner}), 'forbidden', 'of higher rank');
is(act('mod', 'delete', id => 999999), 'not_found', 'no such message');
is(act('mod', 'delete', id => $said{alice}, room => $quiet), 'forbidden',
   'of another room');
is(act('staff', 'delete', id => $said{alice}, room => $quiet), 'not_found',
   'a message of another room');
is(act('staff', 'delete', id => $said{alice}, room => 0), 'bad', 'of all');
is(act('staff', 'delete', id => $said{alice}, room => 999999), 'room',
   'no room');
is(head($room), 5, 'none of these has a number');

is(act('mod', 'pin', id => $said{owner}, secs => 60, why => 'so'), 'ok',
   'pinned');
is_deeply([ $pg->sql("select is_pinned, expires - made_at from fcchat_pin"
                     . " join chat_chatmessage on id = message_id") ],
          [ [ 't', '00:01:00' ] ], 'in both tables');
is(last_event($room), "6 pin $id{mod} $said{owner}", 'an event');

my $detail = detail($room);

cmp_ok(delete $detail->{until}, '>', time() * 1000, 'with its end');
is(delete $detail->{at},
   $pg->sql('select floor(extract(epoch from created_at) * 1000)'
            . " from chat_chatmessage where id = $said{owner}"), 'its time');
is_deeply($detail, { id => $said{owner}, seq => 4, user_id => $id{owner},
                     username => 'owner', role => 'owner', seconds => 60,
                     reason => 'so' },
          'and what it says');

is(act('mod', 'unpin', id => $said{alice}), 'not_found', 'is not pinned');
is(act('mod', 'unpin', seq => 4), 'ok', 'unpinned by its number');
is(scalar $pg->sql('select count(*) from fcchat_pin'), 0, 'no pin');

is(act('mod', 'delete', seq => 2, cid => 'd1'), 'ok', 'deleted');
is(act('mod', 'delete', seq => 2, cid => 'd1'), 'again', 'the same cid');
is(act('mod', 'delete', seq => 2), 'not_found', 'is deleted');
is(act('mod', 'delete', id => $said{mod}), 'ok', "one's own");
is(act('mod', 'pin', seq => 2), 'not_found', 'no pin of what is deleted');
is(scalar $pg->sql("select string_agg(content, ',' order by id)"
            . " from chat_chatmessage where not is_deleted"),
   'by owner,by staff', 'what is left');

is(scalar $pg->sql("select string_agg(concat_ws(':', user_id, action, target_message,"
            . " target_user), ',' order by id) from fcchat_audit"
            . " where room_id = $room"),
   join(',', "$id{mod}:pin:$said{owner}:$id{owner}",
        "$id{mod}:unpin:$said{owner}:$id{owner}",
        "$id{mod}:delete:$said{alice}:$id{alice}",
        "$id{mod}:delete:$said{mod}:$id{mod}"), 'the audit');

# ten pins

my @pins = map { say('bob', "pin $_") } 1 .. 11;

is(join(' ', map { act('mod', 'pin', id => $_) } @pins),
   join(' ', ('ok') x 10, 'full'), 'ten pins');
is(act('mod', 'pin', id => $pins[0]), 'ok', 'once more');
$pg->sql("update fcchat_pin set expires = now() where message_id = $pins[1]");
is(act('mod', 'pin', id => $pins[10]), 'ok', 'one that has ended makes room');
is(scalar $pg->sql("select count(*) from chat_chatmessage where is_pinned"), 10,
   'still ten');
is(act('mod', 'delete', id => $pins[2]), 'ok', 'a pinned one');
is(scalar $pg->sql("select count(*) from chat_chatmessage where is_pinned"), 9,
   'is no pin any more');

# bans

is(act('alice', 'ban', user => $id{bob}), 'forbidden', 'no ban by a member');
is(act('mod', 'ban', user => $id{mod}), 'forbidden', 'nor of oneself');
is(act('mod', 'ban', user => $id{owner}), 'forbidden', 'nor of the owner');
is(act('staff', 'ban', user => $id{other}), 'forbidden', 'nor among staff');
is(act('mod', 'ban', user => $id{bob}, room => 0), 'forbidden',
   'nor from all rooms');
is(act('mod', 'ban', user => 999999), 'not_found', 'nobody');
is(act('mod', 'ban', name => 'nobody'), 'not_found', 'nobody by name');
is(act('mod', 'ban'), 'bad', 'whom');
is(act('mod', 'timeout', user => $id{bob}), 'bad', 'how long');
is(act('mod', 'ban', user => $id{bob}, secs => -1), 'bad', 'no time');
is(act('mod', 'ban', name => 'bob', secs => 60, why => 'spam'), 'ok',
   'by name');
is_deeply(without(detail($room), 'until'),
          { user_id => $id{bob}, username => 'bob', seconds => 60,
            reason => 'spam' }, 'the event says whom');
is(act('owner', 'ban', user => $id{bob}), 'ok', 'and for ever');
is_deeply([ $pg->sql('select kind, by_user, expires is null from fcchat_ban') ],
          [ [ 'ban', $id{owner}, 't' ] ], 'one row');
is(act('mod', 'timeout', user => $id{bob}, secs => 5), 'ok', 'a timeout, too');
is(act('mod', 'unban', user => $id{bob}), 'ok', 'unban');
is(scalar $pg->sql('select count(*) from fcchat_ban'), 0, 'undoes both');
is(act('mod', 'unban', user => $id{bob}), 'not_found', 'nothing to undo');
is(act('all', 'ban', user => $id{owner}, room => 0), 'ok',
   'all rooms know no owner');
is(act('mod', 'unban', user => $id{bob}, room => 0), 'forbidden',
   'nor a moderator of one');
is(act('all', 'unban', user => $id{owner}, room => 0), 'ok', 'unban of all');

for my $addr ('', 'x', '10.0.0.0/33', '0.0.0.0/0', '::/0', "1.2.3.4'") {
    is(act('mod', 'ban', addr => $addr), 'bad', "address \"$addr\"");
}

is(act('mod', 'timeout', addr => '1.2.3.4', secs => 5), 'bad',
   'no timeout of an address');
is(act('mod', 'ban', addr => '10.1.2.3/16'), 'ok', 'an address');
is(detail($room)->{address}, '10.1.0.0/16', 'as a network');
is(act('mod', 'unban', addr => '10.1.0.0/16'), 'ok', 'unban of it');

# slow mode

is(act('mod', 'slow', secs => 10), 'ok', 'slow');
is(act('mod', 'slow', secs => 0), 'ok', 'and not');
is(act('mod', 'slow', secs => 86401), 'bad', 'too slow');
is(act('mod', 'slow'), 'bad', 'how slow');
is(act('alice', 'slow', secs => 10), 'forbidden', 'a member');
is(act('staff', 'slow', secs => 10, room => 0), 'bad', 'no slow of all');
is(act('mod', 'nothing'), 'bad', 'no such action');
is(act('gone', 'slow', secs => 1), 'user', 'an inactive user');

# the site itself

is(act(undef, 'ban', user => $id{staff}, cid => 's'), 'ok', 'the site may all');
is(act(undef, 'unban', user => $id{staff}, cid => 's'), 'again',
   'once for a cid');
is(act(undef, 'unban', user => $id{staff}, cid => 't'), 'ok', 'and undo it');

# by hand

my $n = head($room);

$pg->sql("update chat_chatmessage set is_pinned = true where id in"
         . " ($pins[3], $said{staff})");
is(head($room), $n + 1, 'one was pinned already');
is(last_event($room), ++$n . " pin \x02 $said{staff}", 'a pin by hand');
$pg->sql("update chat_chatmessage set is_pinned = false"
         . " where id = $said{staff}");
is(last_event($room), ++$n . " unpin \x02 $said{staff}", 'an unpin');
$pg->sql("update chat_chatmessage set is_deleted = true, is_pinned = false"
         . " where id in ($pins[3], $pins[4], $said{staff})");
is(head($room), $n += 3, 'three deleted');
is(scalar $pg->sql("select string_agg(kind, ',' order by seq) from fcchat_event"
            . " where room_id = $room and seq > $n - 3"),
   'delete,delete,delete', 'a delete each');
$pg->sql("update chat_chatmessage set content = content || '!'");
$pg->sql("set fcchat.numbering to off; update chat_chatmessage"
         . " set is_deleted = true where id = $pins[5]");
is(head($room), $n, 'another change is none, nor one that says so');
$pg->sql("begin; insert into fcchat_ban (room_id, user_id)"
         . " values ($room, $id{bob}), ($room, $id{alice});"
         . " delete from fcchat_moderator where room_id = $room; commit");
is(last_event($room), ++$n . " state \x02 \x02", 'one event for all of it');
is(act('mod', 'slow', secs => 1), 'forbidden', 'no moderator any more');

# the state as a worker reads it

my @state = $pg->sql("select what, id, usr, body from"
                     . " fcchat_state(array[$room, 0]) where place = $room"
                     . " order by what, usr, id");

is_deeply([ map { [ @$_[0 .. 2], $_->[0] eq 'pin' ? $_->[3] : () ] } @state ],
          [ [ 'ban', undef, $id{alice} ], [ 'ban', undef, $id{bob} ],
            [ 'head', $id{owner}, undef ],
            map { [ 'pin', $pins[$_], $id{bob}, 'pin ' . ($_ + 1) . '!' ] }
                0, 6 .. 10 ],
          'the state');

is(scalar $pg->sql("select string_agg(seq::text, ',' order by seq) from fcchat_event"
            . " where room_id = $room"), join(',', 1 .. $n), 'without holes');

# safe to run again

$pg->apply();
is(scalar $pg->sql('select count(*) from fcchat_moderator'), 1, 'applied once more');

done_testing();


sub say {
    my ($user, $text) = @_;

    return scalar $pg->sql("select id from fcchat_append(array[$room]::bigint[],"
                    . " array[$id{$user}]::bigint[], array[null]::text[],"
                    . " array['$text'], true)");
}


sub act {
    my ($user, $act, %o) = @_;

    my $actor = defined $user
                ? "(select id from accounts_user where username = '$user')"
                : 'null';
    my @args = map { defined $o{$_} ? "'" . $o{$_} =~ s/'/''/gr . "'"
                                    : 'null' }
               qw/ id seq user name addr secs why cid /;
    my $place = $o{room} // $room;

    return scalar $pg->sql("select status from fcchat_moderate($place, $actor,"
                    . " '$act', " . join(', ', @args) . ')');
}


sub head {
    my ($place) = @_;

    return scalar $pg->sql("select last_seq from fcchat_head where room_id = $place");
}


sub last_event {
    my ($place) = @_;

    my ($row) = $pg->sql('select seq, kind, user_id, message_id from'
                         . " fcchat_event where room_id = $place"
                         . ' order by seq desc limit 1');

    return join ' ', map { $_ // "\x02" } @$row;
}


sub detail {
    my ($place) = @_;

    return decode_json(scalar $pg->sql('select detail from fcchat_event where'
                                . " room_id = $place order by seq desc"
                                . ' limit 1'));
}


sub without {
    my ($hash, $key) = @_;

    delete $hash->{$key};

    return $hash;
}
