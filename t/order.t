#!/usr/bin/perl

# Several senders at once on two nodes of two workers: what every reader sees is
# the ledger, numbers 1 to N without holes, repetition or inversion, and each
# acknowledgement says what the ledger says.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER gather sends spread texts /;
use FC::Site;
use FC::Util qw/ slow /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(10 + 2);
my $t2 = Test::Nginx->new();

my $site = FC::Site->new($t, workers => 2, location => $WORKER);
my $site2 = FC::Site->new($t2, listen => 8081, workers => 2,
                          location => $WORKER, pg => $site->pg,
                          redis => $site->redis, django => $site->django);

my %ids = map { $_ => $site->django->user($_) } qw/ reader alice bob carol /;

$site->django->room('stream_1');
$t->run();
$t2->run();

my @v1 = (protocol => 'fcchat.v1');
my @readers = (spread($site, $t, 1, @v1), spread($site2, $t2, 1, @v1));
my @senders = (spread($site, $t, 1, @v1, user => 'alice'),
               spread($site2, $t2, 1, @v1, user => 'bob'),
               spread($site, $t, 1, user => 'carol'));
my @all = (@readers, @senders);
my $n = @senders * 100;

sends(\@senders, 50);
gather(\@all, $n / 10);
sends(\@senders, 50);

# the second half has the names of the first: for those with a cid it is one

my $new = @senders * 50 + 2 * 50;

ok(gather(\@all, $new), 'all have come');

my $numbers = join ',', 1 .. $new;

is(join(' ', map { join(',', @{$_->{seqs}}) eq $numbers ? 1 : 0 } @readers),
   '1 1 1 1', 'numbers without holes, repetition or inversion');

my @ledger = $site->pg->sql(<<'EOF_SQL');
select e.seq, m.content, u.username, e.message_id
  from fcchat_event e
  join chat_chatmessage m on m.id = e.message_id
  join accounts_user u on u.id = m.user_id
  join chat_chatroom r on r.id = e.room_id and r.id = m.room_id
 where r.name = 'stream_1'
 order by e.seq
EOF_SQL

is(join(',', map { $_->[0] } @ledger), $numbers, 'the ledger');

my $order = join ',', map { $_->[1] } @ledger;

is(join(' ', map { join(',', texts($_)) eq $order ? 1 : 0 } @all),
   join(' ', (1) x @all), 'every reader sees the ledger');
is($site->pg->sql('select count(*) from chat_chatmessage'), $new,
   'no message without a number');
is($site->pg->sql('select last_seq from fcchat_head'), $new, 'the head');

# the messages may have come before the answers to those that were repeated

my @v1_senders = grep { $_->{protocol} } @senders;

FC::WS->poll(\@v1_senders, \&FC::Crowd::note_message, 10 * slow(), sub {
    return !grep { my $ws = $_;
                   100 > grep { $_->{type} eq 'ack' } @{$ws->{others} || []} }
            @v1_senders;
});

my %seq = map { $_->[1] => $_ } @ledger;
my (@wrong, $acks);

for my $ack (grep { $_->{type} eq 'ack' } map { @{$_->{others} || []} } @senders)
{
    my $row = $seq{$ack->{cid}};

    $acks++;
    push @wrong, $ack if $row->[0] != $ack->{seq} || $row->[3] != $ack->{id};
}

is($acks, 4 * 100, 'acknowledgements, also of what came again');
is(scalar(@wrong), 0, 'which say what the ledger says');

my %users = (s0 => 'alice', s2 => 'bob', s4 => 'carol');

is(join(' ', map { my $s = $_; my ($row) = grep { $_->[1] =~ /^$s-/ } @ledger;
                   $row->[2] } sort keys %users),
   'alice bob carol', 'the authors');
is(join(' ', map { my $s = $_; join(',', grep { /^$s-/ } split /,/, $order)
                   eq join(',', map { "$s-$_" } 1 .. 50) ? 1 : 0 } 's0' .. 's3'),
   '1 1 1 1', "each sender's order");
