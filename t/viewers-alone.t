#!/usr/bin/perl

# Viewers without Redis: two nodes of two workers each tell their counts by way
# of PostgreSQL.  A worker that was killed is forgotten; what a schema lacks, or
# a server that can't be written to, harms nobody; and counts that come both
# ways, when Redis goes and comes back, are not added up.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER spread /;
use FC::Site;
use FC::Util qw/ forgive log_lines slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(21);
my $t2 = Test::Nginx->new();

my @alone = (workers => 2, location => $WORKER, bus => 0);

my $site = FC::Site->new($t, @alone);
my $site2 = FC::Site->new($t2, @alone, listen => 8081, pg => $site->pg,
                          redis => $site->redis, django => $site->django);
my $pg = $site->pg();

$site->django->user('reader');
$site->django->room($_) for qw/ stream_1 stream_2 /;
$t->run();
$t2->run();

my @v1 = (protocol => 'fcchat.v1');
my @ws = (spread($site, $t, 1, @v1), spread($site2, $t2, 1, @v1));
my @other = spread($site2, $t2, 1, @v1, room => 'stream_2');

is(viewers(4, @ws), '4 4 4 4', 'viewers on both nodes');
is(viewers(2, @other), '2 2', 'viewers of the other room');

my $more = $site->join('reader', @v1);

is(viewers(5, @ws), '5 5 5 5', 'one comes');

$more->drop();

is(viewers(4, @ws), '4 4 4 4', 'and goes');

# the last reader of a worker goes: its count is told at once

my $last = pop @other;

$last->drop();

is(viewers(1, @other), '1', 'the last of a worker goes');

# killed

my ($dead, @left) = @ws;

kill 'KILL', $dead->{worker};

is(viewers(3, @left), '3 3 3', 'a worker is killed');
wait_for(sub { workers($t) == 2 });
is(forgive($t, qr/\[alert\].*exited on signal 9/), 1, 'its death is logged');

my @all = grep { $_->{worker} != $dead->{worker} } @left;

# leftovers are swept up, not at each call

$pg->sql("insert into localhost.fcchat_viewers select 9, 'gone' || n, 1, "
         . "now() - interval '2 minutes' from generate_series(1, 50) n");

ok(wait_for(sub {
       !$pg->sql(q{select count(*) from localhost.fcchat_viewers
                    where room_id = 9 and (select count(*) from
                    generate_series(1, 20) g, localhost.fcchat_viewers('me',
                    (array[9 + g - g])::bigint[], '{0}')) is not null
                      and worker <> 'me'});
   }), 'what was left is swept up');

# a table that is locked, or that nobody may write to, holds up no message

my $lock = FC::Crowd->lock($pg, 'localhost.fcchat_viewers');

says('locked');
$lock->release();

# what the killed one had is in the table until it is five seconds old

my $rows = '';

wait_for(sub {
    $rows = join ' ', map { @$_ }
            $pg->sql("begin read only; "
                     . "select viewers from localhost.fcchat_viewers('me', "
                     . "array[(select id from localhost.chat_chatroom "
                     . "where name = 'stream_1')], '{7}'); commit");

    return $rows eq '1 1 1';
});

is($rows, '1 1 1', 'a server that is read-only is read');

# without the function, as an older site has it: one line, and chat goes on

$pg->sql('drop function localhost.fcchat_viewers(text, bigint[], bigint[])');

ok(wait_for(sub { log_lines($t, qr/\[error\]/) }), 'the function is gone');
says('without it');

my @lines = log_lines($t, qr/\[error\]/);

cmp_ok(scalar @lines, '<=', 2, 'one line of a worker');
like($lines[0] // '', qr{"localhost".*apply sql/002_fcchat_viewers\.sql},
     'it names the file');

$_->drop() for @all, @other;

$t->stop();
$t2->stop();
$pg->apply('localhost');

# what the workers that are gone had is believed for four seconds

$pg->sql('truncate localhost.fcchat_viewers');

# the bus, that goes and comes back

for my $site ($site, $site2) {
    $site->write(bus => 1);
}

$t->run();
$t2->run();

@ws = map { $_->join('reader', @v1) } ($site, $site2) x 2;

is(viewers(4, @ws), '4 4 4 4', 'by the bus');

$site->redis->kill9();

my $first = $site->join('reader', @v1);

is(viewers(5, @ws), '5 5 5 5', 'the bus is away');

$first->drop();
is(viewers(4, @ws), '4 4 4 4', 'and one goes');

$site->redis->start();
$first = $site->join('reader', @v1);
is(viewers(5, @ws), '5 5 5 5', 'the bus is back');

my %seen = map { $_->{count} => 1 }
           grep { $_->{type} eq 'viewers' } map { @{$_->{others}} } @ws;

is(join(' ', sort grep { $_ > 5 } keys %seen), '', 'nobody counted twice');


sub viewers {
    my ($n, @ws) = @_;

    my $last = sub {
        my ($ws) = @_;

        my @all = grep { $_->{type} eq 'viewers' } @{$ws->{others}};

        return @all ? $all[-1]{count} : -1;
    };

    FC::WS->poll(\@ws, \&FC::Crowd::note_message, 15 * slow(), sub {
        return !grep { $last->($_) != $n } @ws;
    });

    return join ' ', map { $last->($_) } @ws;
}


sub says {
    my ($text) = @_;

    my $has = sub { grep { $_ eq $text } @{$all[-1]{texts} || []} };

    $all[0]->send_json({ type => 'message', text => $text });
    FC::WS->poll(\@all, \&FC::Crowd::note_message, 5 * slow(), $has);

    ok($has->(), "$text: messages go on");

    return;
}
