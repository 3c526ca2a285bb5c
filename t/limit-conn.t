#!/usr/bin/perl

# limit_conn: counts sockets whose request is kept, and only those.

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

my $t = Test::Nginx->new()->has(qw/http limit_conn rewrite/)->plan(15);

my $site = FC::Site->new(
    $t, http => 'limit_conn_zone $server_port zone=conn:64k;',
    location => 'limit_conn conn 2;', more => <<'EOF');
        location /attached/ {
            fcchat;
            fcchat_detach off;
            limit_conn conn 2;
        }
EOF

$t->run();

sub enter {
    my ($path) = @_;

    return $site->join('alice', path => "$path/stream_1/");
}

# detached: the request is over

my @all = map { enter('/ws/chat') } 1 .. 5;

is(grep({ $_->status() == 101 } @all), 5, 'detach on: not counted');

# attached: the request is the socket

my @kept = map { enter('/attached') } 1 .. 2;

is(grep({ $_->status() == 101 } @kept), 2, 'detach off: up to the limit');
is(enter('/attached')->status(), 503, 'detach off: counted');
is(enter('/ws/chat')->status(), 503, 'for all locations of the zone');

$kept[0]->send_json({ message => 'hi' });
is($kept[1]->recv_json()->{message}, 'hi', 'they chat');

# released, however it ends

sub free {
    return wait_for(sub {
        my $ws = enter('/attached');
        my $status = $ws->status();

        $ws->close() if $status == 101;

        return $status == 101;
    }, 5);
}

is_deeply([ $kept[0]->close(1000) ], [ 1000, '' ], 'a close');
ok(free(), 'frees');

for my $how ([ 'the end', sub { $_[0]->drop() } ],
             [ 'a reset', sub { $_[0]->drop(1) } ],
             [ 'an error', sub { $_[0]->send_frame(op => 3);
                                 $_[0]->recv_close();
                                 $_[0]->drop() } ])
{
    my ($name, $end) = @$how;
    my $ws;

    wait_for(sub { ($ws = enter('/attached'))->status() == 101 });
    is(enter('/attached')->status(), 503, "$name: full before");
    $end->($ws);
    ok(free(), "$name frees");
}

# refused handshakes count for nothing

my $bad = 'a' x 32;

FC::WS->connect(port => port(8080), path => '/attached/stream_1/',
                cookie => $bad) for 1 .. 10;
ok(free(), 'after refusals');

$_->recv_all(0.1) for @all;
$all[0]->send_json({ message => 'x' });
is(join(' ', map { ($_->recv_json() // {})->{message} // '' } @all),
   'x x x x x', 'the detached ones are there');
