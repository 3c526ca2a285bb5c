#!/usr/bin/perl

# fcchat_append() has a short way for a batch of one: it must end as the batch
# does, whatever the item.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use FC::Django;
use FC::Pg;

my $pg = FC::Pg->new();
my $django = FC::Django->new(pg => $pg);

my $alice = $django->user('alice');
my $gone = $django->user('gone');

$pg->sql("update accounts_user set is_active = false where id = $gone");

my $room = $pg->sql("select id from chat_chatroom where name = 'stream_1'");
my $closed = $pg->sql("select id from chat_chatroom where name = 'stream_2'");

$pg->sql("update chat_chatroom set is_active = false where id = $closed");

my $other = $django->room('other');

my $last = 0;
my $n = 0;

# each by itself, and between two others

for my $batch (0, 1) {
    my $name = $batch ? 'in a batch' : 'alone';

    is_deeply(one($batch, $room, $alice, "new$batch"), [ 'ok', ++$last, 1 ],
              "new $name");
    is_deeply(one($batch, $room, $alice, "new$batch"), [ 'again', $last, 1 ],
              "the same cid $name");
    is_deeply(one($batch, $room, $alice, undef), [ 'ok', ++$last, 1 ],
              "without a cid $name");
    is_deeply(one($batch, $room, $gone, "c$batch"), [ 'user', 0, 0 ],
              "an inactive user $name");
    is_deeply(one($batch, $room, 999999, "c$batch"), [ 'user', 0, 0 ],
              "no user $name");
    is_deeply(one($batch, $closed, $alice, "c$batch"), [ 'room', 0, 0 ],
              "an inactive room $name");
    is_deeply(one($batch, 999999, $alice, "c$batch"), [ 'room', 0, 0 ],
              "no room $name");
}

is($pg->sql("select last_seq from fcchat_head where room_id = $room"), $last,
   'the head');
is($pg->sql("select string_agg(seq::text, ',' order by seq) from fcchat_event "
            . "where room_id = $room"), join(',', 1 .. $last), 'the numbers');
is($pg->sql('select count(*) from fcchat_event e join chat_chatmessage m '
            . 'on m.id = e.message_id and m.room_id = e.room_id and '
            . 'm.user_id = e.user_id '
            . "where m.content = 'hello' and m.created_at = e.at"), $last + $n,
   'the messages');

# what the trigger would have numbered a second time

is($pg->sql('select count(*) from fcchat_event'), $last + $n,
   'no other events');
is($pg->sql("select coalesce(current_setting('fcchat.numbering', true), '')"),
   '', 'the setting is left alone');

done_testing();


# [ status, seq, has an id ]

sub one {
    my ($batch, $to, $user, $cid) = @_;

    $cid = defined $cid ? "'$cid'" : 'null';

    my @items = ([ $to, $user, $cid ]);

    if ($batch) {
        unshift @items, [ $other, $alice, "'n" . ++$n . "'" ];
        push @items, [ $other, $alice, "'n" . ++$n . "'" ];
    }

    my $list = sub { join(',', map { $_[0]->($_) } @items) };
    my @rows = $pg->sql('select status, seq, id from fcchat_append(array['
        . $list->(sub { $_[0][0] }) . ']::bigint[], array['
        . $list->(sub { $_[0][1] }) . ']::bigint[], array['
        . $list->(sub { $_[0][2] }) . ']::text[], array['
        . $list->(sub { "'hello'" }) . ']::text[], true) order by item');

    my $row = $rows[$batch ? 1 : 0];

    return [ $row->[0], $row->[1], $row->[2] > 0 ? 1 : 0 ];
}
