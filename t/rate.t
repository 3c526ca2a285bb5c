#!/usr/bin/perl

# fcchat_rate and fcchat_reaction_rate: a bucket for each user and tenant, over
# all sockets, rooms and workers; what is refused is told and stored nowhere.
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
use FC::Util qw/ forgive wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(30);

# with a rate this low no token comes back while the test runs

my $slow = 'fcchat_rate 1r/m burst=4; fcchat_reaction_rate 1r/m burst=2;';
my $site = FC::Site->new($t, workers => 2, location => $WORKER, rate => $slow,
                         main => 'worker_shutdown_timeout 1s;');

$site->django->user($_) for qw/ alice bob carol dave erin /;
$site->django->user('boss', is_staff => 1);
$site->django->room($_) for qw/ stream_1 stream_2 /;
$site->cookie($_) for qw/ alice bob carol dave erin boss /;
$t->run();

my $n = 0;

# over two workers

my @ws = spread($site, $t, 1, user => 'alice', protocol => 'fcchat.v1');

my @acks = map { said($ws[$_ % 2]) } 0 .. 3;

is(join(' ', map { $_->{type} } @acks), 'ack ack ack ack',
   'a burst over two workers');

my ($first, $second) = map { said($_) } @ws;

is("$first->{code} $second->{code}", 'rate_limited rate_limited',
   'then no more in either');
is($second->{cid}, "c$n", 'it names the message');
cmp_ok($second->{retry_after_ms}, '>', 40000, 'a minute for a token');
cmp_ok($second->{retry_after_ms}, '<=', 60000, 'at most');
is(again($ws[0], 1)->{code}, 'rate_limited', 'nor of what was stored before');

my $other = $site->join('alice', protocol => 'fcchat.v1', room => 'stream_2');

is(told($other), 'rate_limited', 'in another room as well');
is(told($site->join('bob', protocol => 'fcchat.v1')), 'ack',
   'another user has a bucket of its own');
is($site->pg->sql('select count(*) from localhost.chat_chatmessage'), 5,
   'what was refused is not stored');

# reactions have one of their own

my $carol = $site->join('carol', protocol => 'fcchat.v1');
my $r;

$carol->send_json({ type => 'reaction', stamp_id => 1, cid => "r$_" })
    for 1 .. 3;
$r = $carol->recv_until(sub { $_[0]{type} eq 'error' });
is("$r->{code} $r->{cid}", 'rate_limited r3', 'reactions');
cmp_ok($r->{retry_after_ms}, '>', 40000, 'and when again');
is(told($carol), 'ack', 'messages of the same user go on');

# the old protocol

my $old = $site->join('dave');

$old->send_json({ message => "m$_" }) for 1 .. 5;
$r = $old->recv_until(sub { $_[0]{message_type} eq 'system' });
is($r->{code}, 'rate_limited', 'the old protocol');
cmp_ok($r->{retry_after_ms}, '>', 40000, 'with the time');

# moderators

my $boss = $site->join('boss', protocol => 'fcchat.v1');

is(join(' ', map { told($boss) } 1 .. 8), join(' ', ('ack') x 8),
   'staff are free');

# what was sent outlives a worker and a reload

my @old = workers($t);

kill 'KILL', $old[0];
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { $_ == $old[0] } @now }),
   'a worker is killed');
@ws = spread($site, $t, 1, user => 'alice', protocol => 'fcchat.v1');
is(join(' ', map { told($_) } @ws), 'rate_limited rate_limited',
   'the others and the new one know');
forgive($t, qr/exited on signal 9/);

@old = workers($t);
$site->write(rate => 'fcchat_rate 5r/s burst=1; fcchat_reaction_rate off;');
kill 'HUP', $t->read_file('nginx.pid');
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { my $p = $_; grep { $_ == $p } @old }
                                @now }), 'a reload');

# a minute would be the time of the old rate: the bucket is never emptier than
# the new one can be

my $alice = $site->join('alice', protocol => 'fcchat.v1');

$r = said($alice);
is($r->{code}, 'rate_limited', 'known after a reload');
cmp_ok($r->{retry_after_ms}, '<=', 200, 'by the new rate');

# exactly when it says

select undef, undef, undef, $r->{retry_after_ms} / 1000;
is(told($alice), 'ack', 'after that time there is a token');
ok(wait_for(sub { ($r = again($alice, 1))->{type} eq 'ack' }),
   'for what was stored before as well');
is($r->{seq}, $acks[0]{seq}, 'which is the same message');

# off

$carol = $site->join('carol', protocol => 'fcchat.v1');
$carol->send_json({ type => 'reaction', stamp_id => 1 }) for 1 .. 60;
$carol->send_json({ type => 'reaction', stamp_id => 999, cid => 'x' });
$r = $carol->recv_until(sub { $_[0]{type} eq 'error' });
is($r->{code}, 'unknown_stamp', 'reactions without a limit');

# what there is without the directives

@old = workers($t);
$site->write(rate => '');
kill 'HUP', $t->read_file('nginx.pid');
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { my $p = $_; grep { $_ == $p } @old }
                                @now }), 'a reload to the defaults');

my $erin = $site->join('erin', protocol => 'fcchat.v1');

$erin->send_json({ type => 'message', text => "e$_", cid => "e$_" })
    for 1 .. 30;
$r = $erin->recv_until(sub { $_[0]{type} eq 'error' });
is($r->{code}, 'rate_limited', 'limited by default');
like($r->{cid}, qr/^e1[1-9]$/, 'from the eleventh on');
cmp_ok($r->{retry_after_ms}, '<=', 200, 'to 5 a second');
$erin->send_json({ type => 'reaction', stamp_id => 1, cid => "r$_" })
    for 1 .. 60;
$r = $erin->recv_until(sub { $_[0]{type} eq 'error'
                             && $_[0]{cid} =~ /^r/ });
like($r->{cid}, qr/^r2\d$/, 'reactions from the twenty-first on');
cmp_ok($r->{retry_after_ms}, '<=', 100, 'to 10 a second');


# the answer to one more message

sub said {
    my ($ws) = @_;

    return again($ws, ++$n);
}


sub again {
    my ($ws, $i) = @_;

    $ws->send_json({ type => 'message', text => "text $i", cid => "c$i" });

    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/
                                 && $_[0]{cid} eq "c$i" });
}


sub told {
    my ($r) = said(@_);

    return $r->{code} // $r->{type};
}
