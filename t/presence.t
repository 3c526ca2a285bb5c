#!/usr/bin/perl

# fcchat_presence: who came and went, told once a user however many sockets it
# has, with a time of grace, and not at all in a large room.
#
# S22 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use Time::HiRes qw/ time /;

use FC::Crowd qw/ $WORKER spread /;
use FC::Site;
use FC::Util qw/ forgive slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(30 + 2);
my $t2 = Test::Nginx->new();
my $presence = 'fcchat_guests read; fcchat_presence on limit=16 grace=1s;'
               . ' fcchat_timeout 10m;';

my $site = FC::Site->new($t, workers => 2, location => "$WORKER $presence",
                         main => 'worker_shutdown_timeout 1s;');
my $site2 = FC::Site->new($t2, listen => 8081, workers => 2,
                          location => "$WORKER $presence", pg => $site->pg,
                          redis => $site->redis, django => $site->django);
my %id = map { $_ => $site->django->user($_) }
             "fi\x{202e}rst", qw/ reader alice bob carol dave erin /;

$site->django->room($_) for qw/ stream_1 stream_2 /;
$site->cookie($_) for keys %id;
$site2->{cookies} = $site->{cookies};
$t->run();
$t2->run();

# a reader of each protocol in each worker

my @v1 = (spread($site, $t, 1, protocol => 'fcchat.v1'),
          spread($site2, $t2, 1, protocol => 'fcchat.v1'));
my @old = (spread($site, $t, 1), spread($site2, $t2, 1));
my @all = (@v1, @old);

is(scalar(@all), 8, 'readers');

# they were there before some of the workers knew the room

my $first = $site->join("fi\x{202e}rst");

ok(came("fi\x{fffd}rst"),
   'S22: who comes to them, by a name that turns no direction');
begin();

# one user, many sockets

my @alice = map { $_->join('alice') } $site, $site2, $site, $site2;

is(grep({ $_->status() == 101 } @alice), 4, 'sockets of one user');
ok(came('alice'), 'it has come');
is_deeply(told($v1[0], 'alice'),
          { type => 'join', user => { id => $id{alice}, username => 'alice',
                                      role => 'member' } }, 'as told in v1');
is_deeply(told($old[0], 'alice'),
          { username => 'alice', message => 'joined the chat',
            message_type => 'join', timestamp => undef }, 'and to old pages');

# another one of which it is known when nothing more would come of the first

my $bob = $site2->join('bob');

ok(came('bob'), 'another one');
is(counts('alice'), '1 1 1 1 1 1 1 1', 'the first was told of once');

# a reload of its page

begin();
$_->drop() for @alice;
@alice = ($site2->join('alice'));
$bob->close();

ok(left('bob'), 'who goes has gone');
is(counts('bob'), '1 1 1 1 1 1 1 1', 'once');
is(counts('alice'), '0 0 0 0 0 0 0 0', 'who came back has not');
is_deeply(told($v1[3], 'bob'),
          { type => 'leave', user => { id => $id{bob}, username => 'bob',
                                       role => 'member' } }, 'in v1');
is_deeply(told($old[3], 'bob'),
          { username => 'bob', message => 'left the chat',
            message_type => 'leave', timestamp => undef }, 'in an old page');

# nobody is told of guests, nor of who has never been in this room

begin();

my $guest = $site2->join(undef);
my $other = $site->join('carol', room => 'stream_2');

is($guest->status(), 101, 'a guest');

my $dave = $site->join('dave');

ok(came('dave'), 'a user');
is(join(' ', map { "$_->[0]{type} $_->[1]" }
             grep { $_->[1] && $_->[1] ne 'dave' }
             map { [ $_, name($_) ] } map { @{$_->{others}} } @v1),
   '', 'nobody else');

# what a worker says of those who have just left it, where somebody comes, and
# where nobody is there any more

{
    my $room = $site->django->room('stream_3');
    my $carol = $site->join('carol', room => 'stream_3');
    my $channel = wait_for(sub {
        $site->redis->cmd('PUBSUB', 'CHANNELS', "*:room:*:$room")->[0];
    });
    my $spy = $site->redis->client();

    $spy->cmd('SUBSCRIBE', $channel);

    my $bob = at('bob', $carol->header('X-Worker'), 'stream_3');
    my ($worker, %seen) = says($spy, qr//, sub {
        return here('carol', @_) && here('bob', @_);
    });

    ok($worker, 'users of a worker');
    $bob->close();

    my $dave = at('dave', $carol->header('X-Worker'), 'stream_3');

    (undef, %seen) = says($spy, qr/^$worker$/, sub { return here('dave', @_) });
    ok($seen{bob}, 'who has left is not there when somebody comes');
    $_->close() for $carol, $dave;
    ok(says($spy, qr/^$worker$/, sub { my %seen = @_;
                                       return $seen{carol} && $seen{dave} }),
       'nor when nobody is there any more');
}

# a worker is killed, and its users are at another one, or away

begin();

my ($pid) = workers($t);
my @there = grep { ($_->{worker} // 0) == $pid } @all;
my @rest = grep { ($_->{worker} // 0) != $pid } @all;
my $erin = at('erin', $pid);

$dave->drop();
$dave = at('dave', $pid);
ok(came('erin', @rest), 'a user in that worker');
begin();

my $killed = time();

kill 'KILL', $pid;
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { $_ == $pid } @now }), 'it is killed');
$dave = $site->join('dave');

ok(left('erin', @rest), 'who was there has gone');

# and as much again as a busy machine may take to tell

cmp_ok(time() - $killed, '<', (5 + 1) * 1.5 * slow(),
       'within 5 s and the grace');
is(counts('dave', @rest), '0 0 0 0 0 0', 'who came back has not');
forgive($t, qr/exited on signal 9/);

# a large room, whose count is told as time goes, not as they come

begin();

my $came = time();
my @many = map { $site2->join($_ % 2 ? 'carol' : undef) } 1 .. 12;

ok(wait_for(sub {
    return !grep { viewers($_) <= 16 } grep { $_->{protocol} } @rest;
}, 10), 'a large room, as all know');

my @told = grep { ($_->{type} // '') eq 'viewers' } @{$v1[2]{others}};

cmp_ok(scalar @told, '<=', time() - $came + 2, 'once a second');
fence(@rest);
begin();

my $late = $site->join('bob');

fence(@rest);
$_->drop() for @many;
ok(wait_for(sub { viewers($v1[2]) <= 12 }, 10), 'a small one again');

# what would have been told of before is told before this

my ($n, @new) = (0);

ok(wait_for(sub {
    my $name = 'new' . $n++;

    push @new, $site2->join($name);

    return hears('join', $name, 3, @rest);
}, 30), 'where it goes on');
is(counts('bob', @rest) . ' ' . counts('carol', @rest),
   join(' ', (0) x 12), 'nobody was told of in between');
$guest->send_ping('there');

my $pong;

1 while ($pong = $guest->recv_message()) && $pong->{op} != 10;

is(($pong // {})->{payload}, 'there', 'the guest is there');


sub name {
    my ($m) = @_;

    my $type = $m->{type} // $m->{message_type} // '';

    return $type =~ /^(?:join|leave)$/ ? $m->{username}
                                         // $m->{user}{username} : '';
}


sub begin {
    $_->{others} = [] for @all;

    return;
}


# Whether all, or these, are told so.

sub hears {
    my ($type, $user, $seconds, @ws) = @_;

    @ws = @all if !@ws;

    return FC::WS->poll(\@ws, \&FC::Crowd::note_message, $seconds * slow(), sub {
        return !grep { !grep { name($_) eq $user
                               && ($_->{type} // $_->{message_type}) eq $type }
                            @{$_->{others}} } @ws;
    });
}


sub came { return hears('join', shift, 10, @_) }

sub left { return hears('leave', shift, 10, @_) }


# All that was told before has come.

sub fence {
    my (@ws) = @_;

    my $text = 'fence ' . rand;

    $ws[0]->send_json($ws[0]{protocol} ? { type => 'message', text => $text }
                                       : { message => $text });

    return FC::WS->poll(\@ws, \&FC::Crowd::note_message, 10 * slow(), sub {
        return !grep { ((FC::Crowd::texts($_))[-1] // '') ne $text } @ws;
    });
}


sub told {
    my ($ws, $user) = @_;

    return (grep { name($_) eq $user } @{$ws->{others}})[-1];
}


sub counts {
    my ($user, @ws) = @_;

    return join ' ', map {
        scalar grep { name($_) eq $user } @{$_->{others}}
    } @ws ? @ws : @all;
}


sub viewers {
    my ($ws) = @_;

    FC::WS->poll([ $ws ], \&FC::Crowd::note_message, 0.1);

    my @n = grep { ($_->{type} // '') eq 'viewers' } @{$ws->{others}};

    return @n ? $n[-1]{count} : 0;
}


# What such a worker says on the bus at last: itself, and how many milliseconds
# ago it saw each user.

sub says {
    my ($spy, $worker, $condition) = @_;

    while (my (undef, $envelope) = $spy->message(5 * slow())) {
        my $m = FC::WS::json()->decode($envelope);

        next if $m->{t} ne 'present' || $m->{w} !~ $worker;

        my %seen = map { $_->[1] => $_->[4] } @{$m->{users}};

        return ($m->{w}, %seen) if $condition->(%seen);
    }

    return;
}


sub here {
    my ($user, %seen) = @_;

    return defined $seen{$user} && $seen{$user} == 0;
}


# A socket in that worker.

sub at {
    my ($user, $worker, $room) = @_;

    for (1 .. 200) {
        my $ws = $site->join($user, room => $room // 'stream_1');

        return $ws if $ws->header('X-Worker') == $worker;
        $ws->drop();
    }

    die "no socket in $worker\n";
}
