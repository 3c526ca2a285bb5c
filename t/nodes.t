#!/usr/bin/perl

# Two nginx instances, each with two workers, on one PostgreSQL and one Redis:
# one chat.  The viewers are counted over both.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER gather sends spread texts /;
use FC::Site;
use FC::Util qw/ slow wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(14 + 2);
my $t2 = Test::Nginx->new();

my $site = FC::Site->new($t, workers => 2, location => $WORKER);
my $site2 = FC::Site->new($t2, listen => 8081, workers => 2,
                          location => $WORKER, pg => $site->pg,
                          redis => $site->redis, django => $site->django);

$site->django->user('reader');
$site->django->room($_) for qw/ stream_1 stream_2 /;
$t->run();
$t2->run();

my @v1 = (protocol => 'fcchat.v1');
my @here = (spread($site, $t, 1, @v1), spread($site, $t, 1));
my @there = (spread($site2, $t2, 1, @v1), spread($site2, $t2, 1));
my @all = (@here, @there);
my @new = grep { $_->{protocol} } @all;
my @other = (spread($site, $t, 1, @v1, room => 'stream_2'),
             spread($site2, $t2, 1, @v1, room => 'stream_2'));

my %pids = map { $_->{worker} => 1 } @all;

is(keys %pids, 4, 'four workers on two nodes');

my @welcome = map { $_->recv_json() } @new;

is(join(' ', map { $_->{type} } @welcome), 'welcome welcome welcome welcome',
   'welcome');
is(join(' ', map { $_->{epoch} eq $welcome[0]{epoch} ? 1 : 0 } @welcome),
   '1 1 1 1', 'one epoch');

# Counts travel once a second.

sub viewers {
    my ($n, @ws) = @_;

    my $last = sub {
        my ($ws) = @_;

        my @all = grep { $_->{type} eq 'viewers' } @{$ws->{others}};

        return @all ? $all[-1]{count} : -1;
    };

    FC::WS->poll(\@ws, \&FC::Crowd::note_message, 8 * slow(), sub {
        return !grep { $last->($_) != $n } @ws;
    });

    return join ' ', map { $last->($_) } @ws;
}

is(viewers(8, @new), '8 8 8 8', 'viewers on both nodes');
is(viewers(4, @other), '4 4 4 4', 'viewers of the other room');

sends(\@all, 20);

ok(gather(\@all, 160), 'all came everywhere');

my @order = texts($all[0]);
my %once = map { $_ => 1 } @order;

is(keys %once, 160, 'each once');
is(join(' ', map { join(',', texts($_)) eq join(',', @order) ? 1 : 0 } @all),
   '1 1 1 1 1 1 1 1', 'in one order');
is(join(' ', map { join(',', @{$_->{seqs}}) eq join(',', 1 .. 160) ? 1 : 0 }
             @new),
   '1 1 1 1', 'numbered from 1');

$other[0]->send_json({ type => 'message', text => 'other' });

ok(gather(\@other, 1), 'a message in the other room');
is(join(' ', map { join ',', texts($_) } @other), 'other other other other',
   'the only one there');

# A node that goes takes its viewers along, and the other goes on.

$t2->stop();

is(viewers(4, @new[0, 1]), '4 4', 'viewers without the node');

$here[0]->send_json({ type => 'message', text => 'alone' });

ok(gather(\@here, 161), 'the node that is left');
is(join(' ', map { (texts($_))[-1] } @here), 'alone alone alone alone',
   'serves its own');
