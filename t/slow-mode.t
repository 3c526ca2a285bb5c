#!/usr/bin/perl

# Slow mode: a member may write once in so many seconds, over all its sockets,
# workers and nodes; whoever moderates may at any time.
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
use FC::Util qw/ wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(29);
my $t2 = Test::Nginx->new();

my $site = FC::Site->new($t, workers => 2, location => $WORKER,
                         main => 'worker_shutdown_timeout 1s;');
my $site2 = FC::Site->new($t2, listen => 8081, workers => 2,
                          location => $WORKER, pg => $site->pg,
                          redis => $site->redis, django => $site->django);

$site->django->user($_) for qw/ alice bob dave erin /;

my $owner = $site->django->user('owner');

$site->django->user('boss', is_staff => 1);
$site->django->room($_) for qw/ stream_1 stream_2 /;
$site2->{cookies} = $site->{cookies} = {};
$site->pg->sql("alter table streaming_stream add column user_id integer;"
               . " update streaming_stream set user_id = $owner");
$t->run();
$t2->run();

my @v1 = (protocol => 'fcchat.v1');
my @here = spread($site, $t, 1, @v1, user => 'alice');
my @there = spread($site2, $t2, 1, @v1, user => 'alice');
my $boss = $site->join('boss', @v1);
my $n;

is(join(' ', map { told($_) } @here, @there), 'ack ack ack ack',
   'no slow mode');

$boss->send_json({ type => 'slow', seconds => 100, cid => 'slow' });

for my $ws (@here, @there) {
    $ws->recv_until(sub { $_[0]{type} eq 'moderation' });
}

is(join(' ', map { told($_) } @here), 'ack slow_mode',
   'once over two workers');

my $error = said($here[1]);

cmp_ok($error->{retry_after_ms}, '>', 90_000, 'when again');
cmp_ok($error->{retry_after_ms}, '<=', 100_000, 'at most');
ok(wait_for(sub { $there[0]->recv_until(sub { ($_[0]{text} // '')
                                               eq 'text 5' }) }),
   'another node has it');
is(join(' ', map { told($_) } @there), 'slow_mode slow_mode',
   'and does not allow another');
is(told($site->join('alice', @v1, room => 'stream_2')), 'ack',
   'another room has its own');
is(told($site->join('bob', @v1)), 'ack', 'as has another user');
is(join(' ', map { told($boss) } 1 .. 3), 'ack ack ack', 'staff are free');

my $mine = $site->join('owner', @v1);

is(join(' ', map { told($mine) } 1 .. 3), 'ack ack ack', 'the owner, too');

my $old = $site->join('bob');

$old->send_json({ message => 'old' });
$error = $old->recv_until(sub { $_[0]{code} });
is($error->{code}, 'slow_mode', 'the old protocol');
cmp_ok($error->{retry_after_ms}, '>', 90_000, 'when again');

# reactions are free, and one that fails gives nothing back

$here[0]->send_json({ type => 'reaction', stamp_id => 1, cid => 'r1' });
$here[0]->send_json({ type => 'reaction', stamp_id => 99, cid => 'r2' });
is($here[0]->recv_until(sub { $_[0]{type} eq 'error' })->{cid}, 'r2',
   'reactions');
is(told($here[0]), 'slow_mode', 'no message in exchange');

# a reload

my @old = workers($t);

kill 'HUP', $t->read_file('nginx.pid');
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { my $p = $_; grep { $_ == $p } @old }
                                @now }), 'a reload');
is(told($site->join('alice', @v1)), 'slow_mode', 'known afterwards');

# what was not stored does not count

my $carol = $site->django->user('carol');
my $c = $site->join('carol', @v1);

$c->recv_json();
$site->pg->sql('alter table chat_chatmessage add constraint no_x'
               . " check (content <> 'x')");
$c->send_json({ type => 'message', text => 'x', cid => 'x' });
is($c->recv_until(sub { $_[0]{type} eq 'error' })->{code}, 'rejected',
   'one that is rejected');
is(told($c), 'ack', 'does not count');

# the last message again, as one does without its ack

$c->send_json({ type => 'message', text => "text $n", cid => "c$n" });

my $again = $c->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ });

is($again->{type}, 'ack', 'the same cid is the same message');
is(told($c), 'slow_mode', 'which gives nothing back');

# nor does one whose sender is not there to be told

my $gone = $site->join('erin', @v1);
my $lock = FC::Crowd->lock($site->pg, 'localhost.chat_chatmessage');

$gone->send_json({ type => 'message', text => 'x' });
is(($gone->close())[0], 1000, 'one whose sender goes first');
$lock->release();

my $erin = $site->join('erin', @v1);

ok(wait_for(sub { told($erin) eq 'ack' }), 'does not count');

# shorter, by when the last one was; dave knows that so much has passed

my $dave = $site->join('dave', @v1);

$boss = $site->join('boss', @v1);
slow(2);
is(told($dave), 'ack', 'a shorter time');
ok(wait_for(sub { told($dave) eq 'ack' }), 'is over');
is(told($c), 'ack', 'for who wrote before it as well');

# longer, likewise

slow(100);
cmp_ok(said($c)->{retry_after_ms} // 0, '>', 90_000, 'a longer time');

# and none

slow(0);
is(join(' ', map { told($c) } 1 .. 3), 'ack ack ack', 'no slow mode');


sub said {
    my ($ws) = @_;

    $n++;
    $ws->send_json({ type => 'message', text => "text $n", cid => "c$n" });

    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/
                                 && ($_[0]{cid} // '') eq "c$n" });
}


sub slow {
    my ($seconds) = @_;

    $boss->send_json({ type => 'slow', seconds => $seconds });
    $c->recv_until(sub { ($_[0]{action} // '') eq 'slow' });

    return;
}


sub told {
    my ($r) = said(@_);

    return $r->{code} // $r->{type};
}
