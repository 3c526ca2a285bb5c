#!/usr/bin/perl

# How sockets end: the answer to a client's Close, and each code that the
# server closes with of its own accord.
#
# S10 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Time::HiRes qw/ time /;

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(68);

my $site = FC::Site->new($t, more => <<'EOF');
        location /quick/ {
            fcchat;
            fcchat_ping 300ms;
            fcchat_timeout 2s;
        }

        location /kept/ {
            fcchat;
            fcchat_detach off;
        }
EOF

$site->django->room('closing');

$t->run();

my $neighbour = $site->join('bob');

# RFC 6455 5.5.1: the answer has the same code, and then the stream ends

for my $kept (0, 1) {
    my @at = $kept ? (path => '/kept/stream_1/') : ();
    my $name = $kept ? 'request kept: ' : '';

    for my $code (1000, 1001, 1003, 1011, 3000, 4999) {
        my $ws = $site->join('alice', @at);

        $ws->send_close($code, 'bye');

        my $frame = $ws->recv();

        is_deeply($frame, { op => 8, fin => 1, rsv => 0, masked => 0,
                            payload => pack 'n', $code },
                  "${name}answer to $code");
        ok($ws->recv_eof(), "${name}and the end after $code");
    }

    my $ws = $site->join('alice', @at);

    $ws->send_close();
    is_deeply($ws->recv(), { op => 8, fin => 1, rsv => 0, masked => 0,
                             payload => '' }, "${name}answer to no code");
    ok($ws->recv_eof(), "${name}and the end");

    # what was said before it is not lost, what follows it is not read

    $ws = $site->join('alice', @at);
    $ws->send_raw(FC::WS::frame(payload => qq({"message":"bye$kept"}))
                  . FC::WS::frame(op => 8, payload => pack 'n', 1000)
                  . FC::WS::frame(payload => '{"message":"never"}'));

    is(($ws->recv_close())[0], 1000, "${name}Close behind a message");
    is($neighbour->recv_json()->{message}, "bye$kept",
       "${name}which is sent");
}

is_deeply([ $neighbour->recv_all(0.2) ], [], 'nothing after a Close is read');

# the client's faults

my @faults = (
    [ 1002, 'frame is not masked', { payload => '{}', mask => undef } ],
    [ 1003, 'text only', { op => 2, payload => '{}' } ],
    [ 1007, 'text is not UTF-8', { payload => "\xff" } ],
    [ 1009, 'message is too big', { announce => 1 << 20 } ],
    [ 1008, 'too many fragments', { op => 1, fin => 0 },
      ({ op => 0, fin => 0 }) x 64 ],
    [ 1008, 'too many control frames', ({ op => 9 }) x 11 ],
);

for my $case (@faults) {
    my ($code, $reason, @frames) = @$case;
    my $ws = $site->join('alice');

    $ws->{auto_pong} = 0;
    $ws->send_raw(join '', map { FC::WS::frame(%$_) } @frames,
                                { payload => '{"message":"late"}' });

    is_deeply([ $ws->recv_close() ], [ $code, $reason ], "$code $reason");
    ok($ws->recv_eof(), "$code: and our side ends");
}

# the server does not wait for a client that never answers

{
    my $ws = $site->join('alice');
    my $start = time();

    $ws->send_binary('x');
    $ws->recv_close();
    $ws->send_raw('x' x 100000);

    ok(wait_for(sub { $ws->send_raw('x') == 0 }, 6, 0.1), 'no answer: cut off');
    cmp_ok(time() - $start, '>', 1, 'not at once, so that the Close arrives');
}

is_deeply([ $neighbour->recv_all(0.1) ], [], 'the neighbour has seen nothing');

# 4012: a ping, and nothing comes back

{
    my $start = time();
    my $mute = $site->join('alice', path => '/quick/stream_1/',
                           auto_pong => 0);
    my $alive = $site->join('alice', path => '/quick/stream_1/');
    my $talks = $site->join('alice', path => '/quick/stream_1/',
                            auto_pong => 0);

    is_deeply($mute->recv(), { op => 9, fin => 1, rsv => 0, masked => 0,
                               payload => '' }, 'a ping');
    cmp_ok(time() - $start, '>=', 0.3, 'after fcchat_ping');

    $mute->{in} = '';
    $talks->send_pong('') ;

    my @all = ($mute, $alive, $talks);
    my ($closed, $pings) = ({}, 0);

    FC::WS->poll(\@all, sub {
        my ($ws, $frame) = @_;

        $pings++ if $ws == $talks && ($frame->{op} // 0) == 9;
        $talks->send_text('x') if $ws == $talks && ($frame->{op} // 0) == 9;
        $closed->{$ws} = unpack 'n a*', $frame->{payload}
            if ($frame->{op} // 0) == 8;
    }, 5, sub { $closed->{$mute} });

    is($closed->{$mute}, 4012, '4012 no pong');
    cmp_ok(time() - $start, '>=', 2, 'after fcchat_timeout');

    FC::WS->poll([ $alive, $talks ], sub {
        my ($ws, $frame) = @_;

        $talks->send_text('x') if $ws == $talks && ($frame->{op} // 0) == 9;
        $closed->{$ws} = 1 if ($frame->{op} // 0) == 8;
    }, 2.5);

    ok(!$closed->{$alive}, 'who answers stays');
    ok(!$closed->{$talks}, 'and who says anything');
}

# 4404: the room is closed while somebody is in it

{
    my $old = $site->join('alice', room => 'closing');
    my $new = $site->join('bob', room => 'closing', protocol => 'fcchat.v1');

    $site->django->room('closing', is_active => 0);

    $old->send_json({ message => 'anybody?' });

    is($old->recv_json()->{code}, 'room_gone', 'no message any more');
    is_deeply([ $old->recv_close(10) ], [ 4404, 'room gone' ], '4404, old');
    is_deeply([ $new->recv_close(10) ], [ 4404, 'room gone' ], '4404, v1');
    is($site->join('alice', room => 'closing')->status(), 404, 'then 404');

    $site->django->room('closing', is_active => 1);

    ok(wait_for(sub {
        $site->join('alice', room => 'closing')->status() == 101
    }), 'and open again');
}

# 1012: the worker leaves

{
    my $kept = $site->join('alice', path => '/kept/stream_1/');
    my @many = map { $site->join('alice') } 1 .. 3;

    $neighbour->send_json({ message => 'last words', cid => 'last' });
    is($neighbour->recv_json()->{type}, 'ack', 'a message is committed');

    $t->reload();

    is_deeply([ $_->recv_close(5) ], [ 1012, 'restart' ], '1012 at a reload')
        for $neighbour, $kept, @many;

    my $next = $site->join('alice');

    $next->send_close(1000);
    is(($next->recv_close())[0], 1000, 'the next worker serves');

    $next = $site->join('alice');
    $t->stop();
    is_deeply([ $next->recv_close(5) ], [ 1012, 'restart' ],
              '1012 when nginx quits');
}

is(join('', log_lines($t, qr/\[(?:error|crit|emerg)\]/)), '', 'a clean log');
