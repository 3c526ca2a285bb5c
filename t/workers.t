#!/usr/bin/perl

# Four workers: what is said on any socket of a room reaches every socket of
# that room once, in one order, whichever worker has it; other rooms hear
# nothing of it.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER gather sends spread texts /;
use FC::Site;
use FC::Util qw/ wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(13);

my $site = FC::Site->new($t, workers => 4, location => $WORKER);

$site->django->user('reader');
$site->django->room($_) for qw/ stream_1 stream_2 /;
$t->run();

my @new = spread($site, $t, 1, protocol => 'fcchat.v1');
my @old = spread($site, $t, 1);
my @other = spread($site, $t, 1, protocol => 'fcchat.v1', room => 'stream_2');
my @all = (@new, @old);

my %pids = map { $_->{worker} => 1 } @all;

is(keys %pids, 4, 'sockets in each worker');

sends(\@all, 20);

ok(gather(\@all, 160), 'all came everywhere');

my @order = texts($all[0]);
my %once = map { $_ => 1 } @order;

is(scalar(@order), 160, 'and no more');
is(keys %once, 160, 'each once');
is(join(' ', map { join(',', texts($_)) eq join(',', @order) ? 1 : 0 } @all),
   '1 1 1 1 1 1 1 1', 'in one order');
is(join(' ', map { join(',', @{$_->{seqs}}) eq join(',', 1 .. 160) ? 1 : 0 }
             @new),
   '1 1 1 1', 'numbered from 1');

for my $i (0, 5) {
    is(join(' ', grep { /^s$i-/ } @order), join(' ', map { "s$i-$_" } 1 .. 20),
       "a sender's own order, $i");
}

is(join(' ', map { my @acks = grep { $_->{type} eq 'ack' } @{$_->{others}};
                   scalar @acks } @new),
   '20 20 20 20', 'every message acknowledged');

# The other room: what comes first there is its own first message.

$other[0]->send_json({ type => 'message', text => 'other', cid => 'o' });

ok(gather(\@other, 1), 'a message in the other room');
is(join(' ', map { join ',', texts($_) } @other), 'other other other other',
   'the only one there');
is(join(' ', map { @{$_->{seqs}} } @other), '1 1 1 1', 'its number');

# A fence: had anything come twice, it would stand before this.

$old[0]->send_json({ message => 'fence' });
gather(\@all, 161);

is(join(' ', map { (texts($_))[160] . (texts($_) - 161) } @all),
   join(' ', ('fence0') x 8), 'nothing twice and nothing of the other room');
