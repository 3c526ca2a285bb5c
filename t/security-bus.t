#!/usr/bin/perl

# Redis is not trusted: with fcchat_redis_secret_file nothing is shown that a
# worker of the site has not sealed; and without it nothing that PostgreSQL
# would have to know.  S38 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(26 + 2);
my $t2 = Test::Nginx->new();

my %secret = (new => 'n' x 32, old => 'o' x 32);

for my $node ($t, $t2) {
    for my $name (keys %secret) {
        $node->write_file($name, "$secret{$name}\n");
        chmod 0600, $node->testdir() . "/$name";
    }
}

my $key = 'fcchat_redis_secret_file';
my $site = FC::Site->new($t, http => "$key %%TESTDIR%%/old;");
my $site2 = FC::Site->new($t2, listen => 8081, http => "$key %%TESTDIR%%/old;",
                          pg => $site->pg, redis => $site->redis,
                          django => $site->django);

$site->django->room($_) for qw/ stream_1 stream_2 /;
$t->run();
$t2->run();

my (%channel, $bus);

sub joined {
    my ($s, $user, $room) = @_;

    my $ws = $s->join($user, room => $room // 'stream_1',
                      protocol => 'fcchat.v1');

    $ws->recv_until(sub { $_[0]{type} eq 'welcome' });

    return $ws;
}

# the next message, and what its envelope on the bus was

sub said {
    my ($ws, $text) = @_;

    $ws->send_json({ type => 'message', text => $text, cid => $text });
    $ws->recv_until(sub {
        push @{$ws->{had}}, $_[0]{text} if $_[0]{type} eq 'message';
        return $_[0]{type} eq 'ack';
    });

    while (my (undef, $data) = $bus->message(5)) {
        return $data if $data =~ /"\Q$text\E"/;
    }

    return '';
}

sub next_text {
    my ($ws) = @_;

    return shift @{$ws->{had}} if @{$ws->{had} || []};
    return ($ws->recv_until(sub { $_[0]{type} eq 'message' }) // {})->{text};
}

sub forge { $site->redis->cmd('PUBLISH', $channel{+shift}, @_) }

# a reload, and only its workers take connections

sub renew {
    my ($node) = @_;

    my %old = map { $_ => 1 } workers($node);

    $node->reload();
    wait_for(sub { !grep { $old{$_} } workers($node) });

    return;
}

sub complaints {
    my ($node, @pids) = @_;

    my $by = @pids ? '(?:' . join('|', @pids) . ')#' : '';

    return scalar(my @l = log_lines($node, qr/$by.*have no seal of ours/));
}

my $alice = joined($site, 'alice');

wait_for(sub {
    ($channel{stream_1})
        = @{$site->redis->cmd('PUBSUB', 'CHANNELS', '*:room:*')};
});
$bus = $site->redis->client();
$bus->cmd('SUBSCRIBE', $channel{stream_1});

my $bob = joined($site2, 'bob');
my $other = joined($site2, 'bob', 'stream_2');

wait_for(sub {
    my $all = $site->redis->cmd('PUBSUB', 'CHANNELS', '*:room:*');

    ($channel{stream_2}) = grep { $_ ne $channel{stream_1} } @$all;
    return $channel{stream_2}
           && ($site->redis->cmd('PUBSUB', 'NUMSUB', $channel{stream_1}))->[1]
              == 3;
});

my $sealed = said($alice, 'one');

like($sealed, qr/^\{"v":1,"w":"[0-9a-f]{16}","m":"[0-9a-f]{64}","t":"events"/,
     'S38: what goes over Redis has a seal');
is(next_text($alice), 'one', 'S38: to this node');
is(next_text($bob), 'one', 'S38: and to the other');
is(complaints($t) + complaints($t2), 0, 'S38: which has taken it');

# the next number, in the best of forms: without a seal, with that of another
# envelope, of another channel, of another secret

my $forged = $sealed =~ s/"events":\[\[1,/"events":[[2,/r
                     =~ s/"one"/"forged"/r =~ s/"w":"./"w":"f/r;

for my $case ([ 'no seal', $forged =~ s/"m":"\w+",//r ],
              [ 'the seal of another', $forged ],
              [ 'a seal of zeros', $forged =~ s/"m":"\w+"/'"m":"' . 0 x 64 . '"'
                                               /er ],
              [ 'a seal that is none', $forged =~ s/"m":"\w+"/"m":""/r ],
              [ 'no JSON', 'x' x 200 ],
              [ 'the seal twice', $sealed =~ s/("m":"\w+",)/$1$1/r
                                          =~ s/\[\[1,/[[2,/r ])
{
    my ($name, $envelope) = @$case;
    is(forge('stream_1', $envelope), 3, "$name: all have got it");
}

is(forge('stream_2', $sealed), 1, 'the seal of another room');

# a real one afterwards has the number, and nobody has seen another

my $second = said($alice, 'two');

like($second, qr/"events":\[\[2,/, 'S38: the number was not taken');
is(next_text($bob), 'two', 'S38: nothing forged was shown');
is(next_text($alice), 'two', 'S38: on no node');
is_deeply([ grep { ($_->{type} // '') eq 'message' } $other->recv_all(0.3) ],
          [], 'S38: in no room');
cmp_ok(complaints($t2), '>=', 1, 'S38: the log has told it');

# a replay is what everybody has

forge('stream_1', $sealed);
said($alice, 'three');
is(next_text($bob), 'three', 'S38: a replay is dropped');

# what moderators do is sealed as well: a real one, with other seconds and the
# next number

$site->django->user('boss', is_staff => 1);

my $boss = joined($site, 'boss');

$boss->send_json({ type => 'slow', seconds => 0, cid => 'slow' });
$boss->recv_until(sub { $_[0]{type} eq 'ack' });

my $slow = '';

while ($slow !~ /"slow"/) {
    (undef, $slow) = $bus->message(5) or last;
}

ok($slow =~ s/\[\[(\d+)/'[[' . ($1 + 1)/e
   && $slow =~ s/(seconds\\u0022: )0/${1}600/ && $slow =~ s/"w":"./"w":"f/,
   'S38: an event of a moderator') or diag($slow);
forge('stream_1', $slow);
forge('stream_1', $slow =~ s/"m":"\w+",//r);
said($alice, 'still fast');
said($alice, 'and again');

my @got;

$bob->recv_until(sub { push @got, $_[0];
                       ($_[0]{text} // '') eq 'and again' });
is(join(', ', map { $_->{text} // "slow $_->{modes}{slow}" }
              grep { $_->{type} =~ /^m/ } @got), 'slow 0, still fast, and again',
   'S38: nobody moderates over Redis');

# another secret: the new one is known first, then it seals

$site->write(http => "$key %%TESTDIR%%/old %%TESTDIR%%/new;");
$site2->write(http => "$key %%TESTDIR%%/new %%TESTDIR%%/old;");
renew($_) for $t, $t2;
($alice, $bob) = (joined($site, 'alice'), joined($site2, 'bob'));

said($alice, 'four');
said($bob, 'five');
is(join(' ', map { next_text($_) } $alice, $alice, $bob, $bob),
   'four five four five', 'S38: two secrets, from both nodes');
is(complaints($t, workers($t)) + complaints($t2, workers($t2)), 0,
   'S38: over Redis');

# a node that has none yet: it reads what is sealed, and is heard by way of
# PostgreSQL

$site2->write(http => '');
renew($t2);
$bob = joined($site2, 'bob');

said($alice, 'six');
is(next_text($bob), 'six', 'S38: a node without a secret reads');
unlike(said($bob, 'seven'), qr/"m":/, 'S38: it seals nothing');
is(next_text($alice), 'six', 'S38: and is heard');
is(next_text($alice), 'seven', 'S38: in order');

# without a secret: what is too far ahead is asked for

forge('stream_1', $sealed =~ s/"events":\[\[1,/"events":[[20,/r
                          =~ s/"one"/"from nowhere"/r =~ s/"w":"./"w":"f/r);
said($bob, 'eight');
is(join(' ', map { next_text($bob) } 1 .. 2), 'seven eight',
   'S38: PostgreSQL knows nothing of it');
