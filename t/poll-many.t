#!/usr/bin/perl

# More open rooms than one question for heads may name, without Redis, and a
# PostgreSQL that takes longer to answer than it is from one look to the next:
# the last rooms have their turn, too.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Pg;
use FC::Proxy;
use FC::Site;
use FC::Util qw/ asan /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

use constant ROOMS => 4096 + 64;

plan(skip_all => 'too slow with sanitizers') if asan();

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(5);
my $pg = FC::Pg->new(private => 1, fsync => 0);
my $proxy = FC::Proxy->new(to => '127.0.0.1:' . $pg->port());
my $dsn = $pg->dsn('tcp') =~ s/port=\d+/'port=' . $proxy->port()/er;

my $site = FC::Site->new($t, pg => $pg, database => 0, bus => 0, http =>
                         qq(fcchat_postgres "$dsn sslmode=disable )
                         . 'gssencmode=disable";');

$site->cookie('alice');
$pg->sql('insert into streaming_stream (id, title)'
         . " select i, 'stream' from generate_series(3, " . ROOMS . ') i;'
         . ' insert into chat_chatroom (name, stream_id, is_active, created_at)'
         . " select 'stream_' || i, i, true, now()"
         . ' from generate_series(3, ' . ROOMS . ') i');

(my $conf = $t->read_file('nginx.conf'))
    =~ s/worker_connections \d+;/worker_connections 8192;/;
$t->write_file('nginx.conf', $conf);
$t->run();

my @ws;

for (my $i = 3; $i <= ROOMS; $i += 256) {
    my $last = $i + 255 < ROOMS ? $i + 255 : ROOMS;

    push @ws, map { $site->join('alice', room => "stream_$_", nowait => 1,
                                protocol => 'fcchat.v1') } $i .. $last;
    $_->handshake() for @ws[$i - 3 .. $last - 3];
}

is(scalar(grep { $_->status() == 101 } @ws), ROOMS - 2, 'more rooms than are asked for at once');

# no answer comes in the longest time between two looks, 150 ms; and each room
# is asked for by itself now and then, through a proxy that is not fast

$proxy->set(delay => 0.15);

for my $at (0, 2048, $#ws, $#ws - 32) {
    my $room = $at + 3;

    $pg->sql('insert into chat_chatmessage (room_id, user_id, content,'
             . ' message_type, is_deleted, is_pinned, created_at)'
             . " select id, null, 'late', 'message', false, false, now()"
             . " from chat_chatroom where name = 'stream_$room'");
    ok($ws[$at]->recv_until(sub { ($_[0]{text} // '') eq 'late' },
                            40), "a row in room $room");
}
