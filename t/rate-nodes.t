#!/usr/bin/perl

# What a user may send, over two nodes: what was taken on one is taken on the
# other within a moment, once, whichever of its workers is asked.
#
# S30 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER spread /;
use FC::Site;
use FC::Util qw/ log_lines wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(22 + 2);
my $t2 = Test::Nginx->new();

# with a rate this low no token comes back while the test runs

my $slow = 'fcchat_rate 1r/m burst=6; fcchat_reaction_rate 1r/m burst=3;';
my $site = FC::Site->new($t, workers => 2, location => $WORKER, rate => $slow);
my $site2 = FC::Site->new($t2, listen => 8081, workers => 2, rate => $slow,
                          location => $WORKER, pg => $site->pg,
                          redis => $site->redis, django => $site->django);
my $bus = $site->redis->client();
my ($n, @users) = (0, qw/ alice bob carol dave erin /);

my %id = map { $_ => $site->django->user($_) } @users;

$site->django->user('boss', is_staff => JSON::PP::true);
$site->cookie($_) for @users, 'boss';
$site2->{cookies} = $site->{cookies};
$bus->cmd('SUBSCRIBE', 'fcchat:rates');
$t->run();
$t2->run();

ok(wait_for(sub {
    return $site->redis->cmd('PUBSUB', 'NUMSUB', 'fcchat:rates')->[1] == 5;
}), 'all listen');

# alice, in each worker

my @here = spread($site, $t, 1, user => 'alice', protocol => 'fcchat.v1');
my @there = spread($site2, $t2, 1, user => 'alice', protocol => 'fcchat.v1');

is(join(' ', map { told($_) } @here, $here[0]), 'ack ack ack', 'on one node');
heard(3);

is(join(' ', map { told($_) } @there, @there), 'ack ack ack rate_limited',
   'what is left on the other');
heard(3);
is(join(' ', map { told($_) } @here), 'rate_limited rate_limited',
   'and nothing on the first');

# a retry is told by when

my $r = said($there[0]);

is($r->{code}, 'rate_limited', 'refused');
cmp_ok($r->{retry_after_ms}, '<=', 60000, 'no token was taken twice');
cmp_ok($r->{retry_after_ms}, '>', 40000, 'nor came back');

# what is refused costs nothing anywhere

my ($bob, $bob2) = map { $_->join('bob', protocol => 'fcchat.v1') } $site,
                                                                    $site2;

is(join(' ', map { told($bob) } 1 .. 8),
   'ack ack ack ack ack ack rate_limited rate_limited', 'another user');
heard(6);
$r = said($bob2);
is($r->{code}, 'rate_limited', 'on both');
cmp_ok($r->{retry_after_ms}, '<=', 60000, 'after a minute, as here');

# reactions, and the same text again

my ($carol, $carol2) = map { $_->join('carol', protocol => 'fcchat.v1') }
                           $site, $site2;

$carol->send_json({ type => 'reaction', stamp_id => 1 }) for 1 .. 2;
heard(2);
$carol2->send_json({ type => 'reaction', stamp_id => 1, cid => "r$_" })
    for 1 .. 2;
$r = $carol2->recv_until(sub { $_[0]{type} eq 'error' });
is("$r->{code} $r->{cid}", 'rate_limited r2', 'reactions');

is(told($carol, 'twice', 'c1'), 'ack', 'a text');
heard(2);
is(told($carol2, 'twice', 'c2'), 'duplicate', 'is the same on another node');
is(told($carol2, 'twice', 'c1'), 'ack', 'or the same message once more');
is(told($carol2, 'other', 'c3'), 'ack', 'but not another one');

# staff is free, and not told of

my $boss = $site->join('boss', protocol => 'fcchat.v1');

is(join(' ', map { told($boss) } 1 .. 8), join(' ', ('ack') x 8), 'staff');

# what nobody sends

$site->redis->cmd('PUBLISH', 'fcchat:rates', $_)
    for '{"v":1,"w":"0123456789abcdef","t":"spent","node":1,"n":0,"spent":[]}',
        '{"v":1,"w":"0123456789abcdef","t":"spent","node":1,"n":1,"spent":['
        . '["localhost",1,3,1,0,0],["",1,0,1,0,0],[],7,["localhost",0,0,1,0,0],'
        . '["localhost",1,0,9e15,0,0],["localhost",1,0,-1,0,0]]}',
        '{"v":1,"w":"0123456789abcdef","t":"viewers","count":5}', 'x';

my ($dave, $dave2) = map { $_->join('dave', protocol => 'fcchat.v1') } $site,
                                                                      $site2;

is(told($dave), 'ack', 'it goes on');

# without Redis limits are of a node

my $ups = ups();

$site->redis->kill9();
is(join(' ', map { told($dave) } 1 .. 6),
   'ack ack ack ack ack rate_limited', 'on one, without Redis');
is(join(' ', map { told($dave2) } 1 .. 2), 'ack ack', 'not on the other');
$site->redis->start();
ok(wait_for(sub { ups() >= $ups + 4 }), 'Redis is back');
$bus = $site->redis->client();
$bus->cmd('SUBSCRIBE', 'fcchat:rates');

my ($erin, $erin2) = map { $_->join('erin', protocol => 'fcchat.v1') } $site,
                                                                      $site2;

is(join(' ', map { told($erin) } 1 .. 6), 'ack ack ack ack ack ack', 'on one');
heard(6, $id{erin});
is(told($erin2), 'rate_limited', 'and not on the other, as before');


# So often has a worker got its Redis.

sub ups {
    return scalar(map { log_lines($_, qr/fcchat redis \S+ is up/) } $t, $t2);
}


# That many things that were sent, by this user if any, are told of by now, and
# Redis has handed them to all who listen.

sub heard {
    my ($want, $user) = @_;

    while ($want > 0) {
        my (undef, $data) = $bus->message(5) or die "nothing is told\n";

        $want -= grep { !$user || $_->[1] == $user }
                 @{FC::WS->json()->decode($data)->{spent}};
    }

    my $clients = $site->redis->client();

    wait_for(sub { $clients->cmd('CLIENT', 'LIST') !~ /omem=[1-9]/ });
    select undef, undef, undef, 0.05;

    return;
}


sub said {
    my ($ws, $text, $cid) = @_;

    $n++;
    $cid //= "c$n";
    $ws->send_json({ type => 'message', text => $text // "text $n",
                     cid => $cid });

    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/
                                 && $_[0]{cid} eq $cid });
}


sub told {
    my ($r) = said(@_);

    return $r->{code} // $r->{type};
}
