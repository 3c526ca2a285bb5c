#!/usr/bin/perl

# Several Redis servers: each room is at one of them, at the same one for every
# worker and after a reload, and one that is away delays its own rooms alone.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER gather spread texts /;
use FC::Redis;
use FC::Site;
use FC::Util qw/ log_lines wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(14);

my @redis = map { FC::Redis->new() } 1, 2;
my $site = FC::Site->new($t, workers => 2, location => $WORKER,
                         redis => $redis[0], bus => 0,
                         http => 'fcchat_redis '
                                 . join(' ', map { $_->unix_url() } @redis)
                                 . ';');
my @rooms = map { "stream_$_" } 1 .. 8;

$site->django->user('reader');
$site->django->room($_) for @rooms;
$site->django->stamp(1, ':smile:', '/media/stamps/01_smile.svg');
$t->run();

my %in = enter();
my $map = settled();

like($map, qr/^(?=.*0)(?=.*1)[01]{8}$/, 'each room is at one of two servers');
is(said('first'), '2 2 2 2 2 2 2 2', 'and heard in both workers');

my @old = workers($t);

$t->reload();
$_->drop() for map { @$_ } values %in;
wait_for(sub { !grep { -e "/proc/$_" } @old }) or die "old workers stay\n";
%in = enter();

is(settled(), $map, 'after a reload at the same one');

# one goes: its rooms are told by PostgreSQL, the others by the other one

my ($published, $up) = (publishes(), scalar ups());

$redis[1]->kill9();
ok(wait_for(sub { log_lines($t, qr/fcchat redis .* is lost/) == 2 }),
   'one server is away');
is(said('without'), '2 2 2 2 2 2 2 2', 'all rooms go on');

# a reaction goes over the bus alone: PostgreSQL is not asked for it

is(reacted(), 0, 'those of the other server wait for no PostgreSQL');

my $there = () = $map =~ /0/g;

cmp_ok(publishes() - $published, '>=', $there,
       'the other server has had its own');
is(join('', channels(0)), join('', map { $_ eq '0' ? 2 : 0 } split //, $map),
   'and no more');

$redis[1]->start();
ok(wait_for(sub { ups() == $up + 2 }), 'it is back');
is(settled(), $map, 'with its rooms');
is(said('again'), '2 2 2 2 2 2 2 2', 'all rooms go on');

my @errors = log_lines($t, qr/\[(?:error|crit|alert|emerg)\]/);

is(scalar(grep { /\Q$redis[1]{dir}\E/ } @errors), 2,
   'a line of each worker for the one');
is(scalar(grep { /\Q$redis[0]{dir}\E/ } @errors), 0, 'none for the other');
is(scalar(@errors), 2, 'and nothing else');


sub enter {
    return map { ($_ => [ spread($site, $t, 1, room => $_,
                                 protocol => 'fcchat.v1') ]) } @rooms;
}


# The subscribers that each room has at a server.

sub channels {
    my ($i) = @_;

    my %n = eval { @{$redis[$i]->cmd('PUBSUB', 'NUMSUB',
                                     map { channel($_) } @rooms)} };

    return map { $n{channel($_)} // 0 } @rooms;
}


sub channel {
    my ($room) = @_;

    my $id = $site->{ids}{$room} //= $site->pg->sql(
        "select id from chat_chatroom where name = '$room'");

    return "fcchat:room:localhost:$id";
}


# Where each room is, once both workers have subscribed it at one.

sub settled {
    my $map = '';

    wait_for(sub {
        my @n = map { [ channels($_) ] } 0, 1;

        $map = join '', map {
            my $both = "$n[0][$_] $n[1][$_]";

            $both eq '2 0' ? 0 : $both eq '0 2' ? 1 : 'x'
        } 0 .. $#rooms;

        return $map !~ /x/;
    });

    return $map;
}


# A message in each room; how many of its two sockets have it.

sub said {
    my ($text) = @_;

    for my $room (@rooms) {
        my $ws = $in{$room}[0];

        $ws->send_json({ type => 'message', text => $text, cid => $text });
        gather($in{$room}, 1 + texts($ws));
    }

    return join ' ', map { scalar grep { (texts($_))[-1] eq $text } @{$in{$_}} }
                     @rooms;
}


# A reaction in each room of the first server; how many of them the other worker
# has not heard of.

sub reacted {
    my @here = map { $rooms[$_] } grep { substr($map, $_, 1) eq '0' }
               0 .. $#rooms;
    my $missing = 0;

    for my $room (@here) {
        my ($from, $to) = @{$in{$room}};

        $from->send_json({ type => 'reaction', stamp_id => 1 });

        my $told = $to->recv_until(sub { $_[0]{type} eq 'reactions' });

        $missing++ if !$told || $told->{counts}{1} != 1;
    }

    return $missing;
}


# Those of beats are not of rooms.

sub publishes {
    return $redis[0]->cmd('INFO', 'commandstats')
           =~ /cmdstat_publish:calls=(\d+)/ ? $1 : 0;
}


sub ups {
    my @up = log_lines($t, qr/fcchat redis .* is up/);

    return @up;
}
