#!/usr/bin/perl

# Transactions of several rooms: workers that store in the same rooms, and a site
# that takes them the other way round, wait for each other, and none is ended
# for it.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER spread /;
use FC::Site;
use FC::Util qw/ slow slurp /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(5);

my $site = FC::Site->new($t, workers => 2, location => $WORKER,
                         pg => { private => 1, fsync => 0 });
my $pg = $site->pg;
my @rooms = map { "room_$_" } 1 .. 4;

$site->django->user($_) for qw/ alice reader /;
$site->django->room($_) for @rooms;
$t->run();

# in each worker one for each room

my %in = map { ($_ => [ spread($site, $t, 1, room => $_, user => 'alice',
                               protocol => 'fcchat.v1') ]) } @rooms;
my @all = map { @$_ } values %in;
my ($n, $acks, $rows) = (0, 0, 0);

for my $round (1 .. 30) {

    # the site holds the last room and wants the first

    my $psql = FC::Crowd->psql($pg->dsn());

    $psql->say('begin;', insert($rooms[-1]));

    for my $i (0, 1) {
        for my $room ($i ? reverse @rooms : @rooms) {
            for (1 .. 3) {
                my $id = 'm' . ++$n;

                $in{$room}[$i]->send_json({ type => 'message', text => $id,
                                            cid => $id });
            }
        }
    }

    $psql->say(insert($rooms[0]), 'commit;');
    $psql->release();
    $rows += 2;
}

my @others;

FC::WS->poll(\@all, sub {
    my ($ws, $m) = @_;

    $acks++ if ($m->{type} // '') eq 'ack';
    push @others, $m->{code} if ($m->{type} // '') eq 'error';
}, 20 * slow(), sub { $acks + @others >= $n });

is("$acks @others", "$n ", 'all messages are acknowledged');
is($pg->sql('select count(*) from chat_chatmessage'), $n + $rows,
   'and stored, with those of the site');
is($pg->sql('select count(*) from (select from fcchat_event group by room_id'
            . ' having count(*) <> max(seq)) t'), 0, 'without a hole');
cmp_ok($pg->sql('select count(*) from (select from fcchat_event where'
                . ' cid is not null group by xmin::text'
                . ' having count(distinct room_id) > 1) t'), '>', 10,
       'often several rooms at once');
unlike(slurp($pg->host() . '/log'), qr/deadlock/, 'no deadlock');


sub insert {
    my ($room) = @_;

    return 'insert into chat_chatmessage (room_id, user_id, content,'
           . ' message_type, is_deleted, is_pinned, created_at) select id,'
           . " null, 'by the site', 'message', false, false, now()"
           . " from chat_chatroom where name = '$room';";
}
