#!/usr/bin/perl

# A client that goes, at every stage of its way: nobody else notices, what it
# said is stored and delivered, and no connection, descriptor or viewer stays.
#
# S27 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Crowd qw/ gather texts /;
use FC::Site;
use FC::Util qw/ fds wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_stub_status rewrite/)->plan(74);

my $site = FC::Site->new($t, location => 'fcchat_session_cache 1ms;',
                         more => <<'EOF');
        location /stub { stub_status; }

        location ~ ^/kept/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_detach off;
            fcchat_session_cache 1ms;
        }
EOF

my $pg = $site->pg;
my @v1 = (protocol => 'fcchat.v1');

$site->django->user($_) for qw/ alice bob gone /;
$site->django->room("stream_$_") for 1 .. 20;
$t->run();

my $alice = $site->join('alice', @v1);
my $bob = $site->join('bob', @v1);
my @stay = ($alice, $bob);
my ($said, $rooms) = (0, 1);

# made before anything is locked, as all that the worker connects to once

$site->cookie('gone');

speak();

wait_for(sub { workers($t) == 1 });

my ($pid) = workers($t);
my $active = active();
my $fds = fds($pid);

for my $path ('/ws/chat', '/kept') {
    for my $reset (0, 1) {
        waiting($path, $reset);
        open_ones($path, $reset);
    }
}

in_a_batch($_) for 0, 1;
in_a_fanout();


sub speak {
    $alice->send_json({ type => 'message', text => 'here' });
    gather(\@stay, ++$said);

    return;
}


sub active {
    return http_get('/stub') =~ /^Active connections: (\d+)/m ? $1 : -1;
}


sub gone {
    my ($path, %o) = @_;

    my $room = delete $o{room} // 'stream_1';

    return $site->join('gone', path => "$path/$room/", @v1, %o);
}


# The others go on, and all is given back.

sub settled {
    my ($name) = @_;

    speak();

    is(join(' ', map { scalar texts($_) } @stay), "$said $said",
       "$name: the others go on");
    ok(wait_for(sub { active() == $active && fds($pid) == $fds }),
       "$name: nothing stays")
        or diag(active() . " of $active, " . fds($pid) . " of $fds");

    return;
}


# While the database is asked for the session, and for the room.

sub waiting {
    my ($path, $reset) = @_;

    for my $table ('django_session', 'chat_chatroom') {
        my $name = "$path $table" . ($reset ? ' reset' : '');
        my $room = 'stream_' . ($rooms++ % 19 + 2);
        my ($asked, $left, @ws);

        # who waits for 2.5 seconds is refused, which is another matter

        for (1 .. 3) {
            my $start = time();
            my $lock = FC::Crowd->lock($pg, $table);

            @ws = map {
                gone($path, room => $room, nowait => 1, first => FC::WS::frame(
                     payload => '{"type":"message","text":"lost"}'))
            } 1 .. 3;

            $asked = wait_for(sub { FC::Crowd->blocked($pg) });
            $ws[0]->drop($reset);
            $ws[1]->drop($reset);
            $left = wait_for(sub { active() == $active + 1 });
            $lock->release();

            $ws[2]->handshake();
            last if $ws[2]->status() == 101 || time() - $start < 2.5;

            $_->drop() for @ws;
            wait_for(sub { active() == $active });
        }

        ok($asked, "$name: is asked for");
        ok($left, "$name: two have gone");
        is($ws[2]->status(), 101, "$name: another gets in");
        is($ws[2]->recv_until(sub { $_[0]{type} eq 'ack' })->{seq}, 1,
           "$name: and is alone");
        $ws[2]->drop($reset);
        settled($name);
    }

    return;
}


# Right after the 101, in the middle of a frame, and while closing.

sub open_ones {
    my ($path, $reset) = @_;

    my $name = $path . ($reset ? ' reset' : '');
    my $piece = substr FC::WS::frame(payload => '{"type":"message"}'), 0, 9;

    gone($path, nowait => 1)->drop($reset) for 1 .. 20;
    gone($path)->drop($reset) for 1 .. 20;

    for my $bytes ($piece, substr($piece, 0, 1),
                   FC::WS::frame(fin => 0, payload => '{"mess'),
                   FC::WS::frame(op => 8, payload => pack('n', 1000)),
                   FC::WS::frame(op => 8),
                   FC::WS::frame(mask => undef, payload => 'bad'),
                   FC::WS::frame(op => 9, payload => 'ping') x 5)
    {
        for (1 .. 3) {
            gone($path, first => $bytes, nowait => 1)->drop($reset);

            my $ws = gone($path);

            $ws->send_raw($bytes);
            $ws->drop($reset);
        }
    }

    settled($name);

    return;
}


# With a message that waits for its transaction.

sub in_a_batch {
    my ($reset) = @_;

    my $text = "last words $reset";
    my $ws = gone('/ws/chat');
    my $lock = FC::Crowd->lock($pg, 'fcchat_head');

    $ws->send_json({ type => 'message', text => $text, cid => "c$reset" });
    ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'a batch waits');
    $ws->drop($reset);
    ok(wait_for(sub { active() == $active }), 'gone with a message');

    $lock->release();
    $said++;

    ok(gather(\@stay, $said), 'the message is delivered');
    is(join(' / ', map { (texts($_))[-1] } @stay), "$text / $text",
       'to the others');
    is($pg->sql("select count(*) from chat_chatmessage where content = :'t'",
                t => $text), 1, 'and stored once');
    settled('batch');

    return;
}


# Half of a room goes while it is sent to.

sub in_a_fanout {
    my @go = map { gone('/ws/chat') } 1 .. 50;
    my @rest = map { gone('/ws/chat') } 1 .. 50;

    for my $k (1 .. 10) {
        $bob->send_json({ type => 'message', text => "fan $k" });
        $said++;
        $_->drop(1) for splice @go, 0, 5;
    }

    ok(gather([@stay, @rest], 0) && gather(\@rest, 10), 'a fan-out');

    my %seen = map { join(',', texts($_)) => 1 } @rest;

    is(join(' ', keys %seen), join(',', map { "fan $_" } 1 .. 10),
       'to all who stay');

    $_->drop(1) for @rest;
    gather(\@stay, $said);
    settled('fan-out');

    return;
}
