#!/usr/bin/perl

# What is in the database after a message, and what comes of rows that others
# put there.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(29);

my $site = FC::Site->new($t, more => <<'EOF');
        location /naive/ {
            fcchat;
            fcchat_tenant naive;
        }
EOF

my ($pg, $django) = ($site->pg(), $site->django());

# a schema as the seed's SQL makes it: times without a zone, with defaults

$django->tables('naive');
$pg->sql('alter table naive.chat_chatmessage alter created_at '
         . 'type timestamp, alter created_at set default current_timestamp, '
         . "alter message_type set default 'x', "
         . 'alter is_pinned set default true');
$pg->apply('naive');
$pg->sql("alter role postgres in database " . $pg->name()
         . " set timezone = 'Asia/Tokyo'");

my $alice = $django->user('alice');

$t->run();

my $room = $pg->sql("select id from chat_chatroom where name = 'stream_1'");
my $old = $site->join('alice');
my $new = $site->join('alice', protocol => 'fcchat.v1');

my $epoch = $new->recv_json()->{epoch};

# one row, as Django would have made it

$new->send_json({ type => 'message', text => 'first', cid => 'c1' });

my $ack = $new->recv_until(sub { $_[0]{type} eq 'ack' });
my $told = $new->recv_until(sub { $_[0]{type} eq 'message' });

is_deeply([ $pg->sql('select id, room_id, user_id, content, message_type, '
                     . 'is_deleted, is_pinned from chat_chatmessage') ],
          [ [ $ack->{id}, $room, $alice, 'first', 'message', 'f', 'f' ] ],
          'the row');
is($pg->sql("select to_char(created_at at time zone 'UTC', "
            . q('YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') . ') from chat_chatmessage'),
   $told->{at}, 'its time is as told');
is($pg->sql("select created_at between now() - interval '1 min' and now() "
            . 'from chat_chatmessage'), 't', 'its time is now');
is_deeply([ $pg->sql('select room_id, seq, message_id, user_id, kind, cid '
                     . 'from fcchat_event') ],
          [ [ $room, 1, $ack->{id}, $alice, 'message', 'c1' ] ],
          'its number');
is_deeply([ $pg->sql('select room_id, epoch, last_seq from fcchat_head '
                     . "where room_id = $room") ],
          [ [ $room, $epoch, 1 ] ], 'the head');
is($old->recv_json()->{message}, 'first', 'and it was delivered');

# times without a zone are in UTC, as Django with USE_TZ off and TIME_ZONE UTC

$django->user('nora', schema => 'naive');

my $nora = FC::WS->connect(
    port => port(8080), path => '/naive/stream_1/', protocol => 'fcchat.v1',
    cookie => $django->session('nora', schema => 'naive'));

$nora->send_json({ type => 'message', text => 'x' });
$told = $nora->recv_until(sub { $_[0]{type} eq 'message' });
is_deeply([ $pg->sql(q(select to_char(created_at,
                       'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), message_type,
                       is_pinned from naive.chat_chatmessage)) ],
          [ [ $told->{at}, 'message', 'f' ] ], 'a column without a zone');
ok(abs($pg->sql("select extract(epoch from now() - '$told->{at}'"
                . '::timestamptz)')) < 60, 'the time is now');

# the text as it was sent

my @texts = (
    q(it's "quoted"), 'back\\slash \\n \\\\', "two\nlines\ttab",
    "\x{3053}\x{3093}", "\x{1F600}\x{200D}\x{1F525}", '<script>&amp;',
    '{"a": [1, null]}', q({NULL,"x",\\"}), "a\x{301}", '%s $1 :x', ' lead',
    "\x{202e}rtl", "\x01\x7f", 'NULL', '\\x41',
);

for my $text (@texts) {
    $new->send_json({ type => 'message', text => $text });

    my $ack = $new->recv_until(sub { $_[0]{type} eq 'ack' });
    my $hex = unpack 'H*', do { my $s = $text; utf8::encode($s); $s };

    is($pg->sql("select encode(convert_to(content, 'UTF8'), 'hex') "
                . 'from chat_chatmessage where id = ' . $ack->{id}), $hex,
       'stored: ' . join ' ', unpack '(H8)*', pack 'H*', substr $hex, 0, 24);
}

# a burst keeps its order

$old->recv_all(0.2);
$old->send_raw(join '', map {
    FC::WS::frame(op => 1, payload => qq({"message": "burst $_"}))
} 1 .. 100);

my @got = map { ($old->recv_json() // {})->{message} } 1 .. 100;

is_deeply(\@got, [ map { "burst $_" } 1 .. 100 ], 'a burst as it is told');
is($pg->sql("select string_agg(substr(m.content, 7), ' ' order by e.seq) "
            . 'from fcchat_event e join chat_chatmessage m '
            . "on m.id = e.message_id where m.content like 'burst %'"),
   join(' ', 1 .. 100), 'and as it is numbered');

# rows of others

my $head = head();

$new->recv_all(0.2);
$pg->sql("insert into chat_chatmessage (room_id, user_id, content, "
         . 'message_type, is_deleted, is_pinned, created_at) values '
         . "($room, $alice, 'by Django', 'message', false, false, now()), "
         . "($room, null, 'by a task', 'system', false, false, now())");

is(head(), $head + 2, 'they have numbers');

my @new = map { $new->recv_until(sub { $_[0]{type} eq 'message' }) } 1 .. 2;

is_deeply([ map { [ @$_{qw/ seq user text message_type /} ] } @new ],
          [ [ $head + 1, { id => $alice, username => 'alice',
                           role => 'member' }, 'by Django', undef ],
            [ $head + 2, undef, 'by a task', 'system' ] ],
          'they are delivered, fcchat.v1');
is_deeply([ map { $old->recv_json() } 1 .. 2 ],
          [ { username => 'alice', message => 'by Django',
              message_type => 'message', timestamp => undef },
            { username => '', message => 'by a task',
              message_type => 'system', timestamp => undef } ],
          'they are delivered');

is($pg->sql('select max(seq) = count(*) and min(seq) = 1 from fcchat_event '
            . "where room_id = $room"), 't', 'no number is missing');


sub head {
    return $pg->sql("select last_seq from fcchat_head where room_id = $room");
}
