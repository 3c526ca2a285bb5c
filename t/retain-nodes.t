#!/usr/bin/perl

# fcchat_retention on two nodes: the advisory lock of a schema lets one worker of
# the cluster alone delete, and what the nodes count is what there was.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd;
use FC::Metrics;
use FC::Queries;
use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(15 + 2);
my $t2 = Test::Nginx->new();

my @retain = (workers => 2, http => 'fcchat_retention 1m;',
              more => 'location = /status { fcchat_status; }');
my $site = FC::Site->new($t, @retain);
my $site2 = FC::Site->new($t2, listen => 8081, @retain, pg => $site->pg,
                          redis => $site->redis, django => $site->django);
my $pg = $site->pg;
my $queries = FC::Queries->new($pg);

$site->django->user('ann');

# what is deleted, and whether by who has the lock; and the runs

$pg->sql(<<'EOS');
create table localhost.witness (n bigint, locked boolean);
create function localhost.witness() returns trigger language plpgsql as $$
begin
    insert into localhost.witness
    select count(*),
           exists (select from pg_locks l
                    where l.locktype = 'advisory' and l.granted
                      and l.pid = pg_backend_pid()
                      and l.classid::bigint
                          = hashtext('fcchat_retention') & 4294967295
                      and l.objid::bigint
                          = hashtext('localhost') & 4294967295)
      from gone;
    return null;
end
$$;
create trigger witness after delete on localhost.chat_chatmessage
    referencing old table as gone
    for each statement execute function localhost.witness();
create table localhost.runs (ended timestamptz);
create function localhost.ran() returns trigger language plpgsql as $$
begin
    insert into localhost.runs values (new.ended);
    return null;
end
$$;
create trigger ran after update on localhost.fcchat_retention
    for each row when (new.ended > old.ended)
    execute function localhost.ran();
EOS

my %old = (message => 300, event => 300, reaction => 200, ban => 3);

fill();

# another session has the lock: all four workers ask, and none deletes

my $lock = FC::Crowd->psql($pg->dsn());

$lock->say('do $$ begin perform pg_advisory_lock('
           . "hashtext('fcchat_retention'), hashtext('localhost'));"
           . ' end $$;');
$queries->since();
$t->run();
$t2->run();

ok(wait_for(sub { $queries->backends(qr/fcchat_retain\(/) == 4 }, 15, 0.1),
   'each worker of both nodes has asked');
is(left(), '300 300 200 3', 'nothing is deleted');
is(told('runs'), 0, 'nor told');

# it lets go

$lock->release();

ok(wait_for(sub { left() eq '0 0 0 0' }, 20, 0.2), 'then one does');
is(deleted($_, $old{$_}), $old{$_}, "both nodes together: $_")
    for sort keys %old;

# once more, now that nobody is kept from it

fill();

ok(wait_for(sub { left() eq '0 0 0 0' }, 20, 0.2), 'other old rows');
is(deleted($_, 2 * $old{$_}), 2 * $old{$_}, "both together, again: $_")
    for sort keys %old;

ok(wait_for(sub {
    my $n = $pg->sql('select count(*) from localhost.runs');

    return $n >= 2 && told('runs') == $n;
}), 'and the runs');
is($pg->sql("select sum(n) || ' ' || bool_and(locked)"
            . ' from localhost.witness'), 2 * $old{message} . ' true',
   'each deleted once, under the lock');


sub fill {
    $pg->sql(<<"EOS");
begin;
insert into chat_chatmessage (room_id, user_id, content, message_type,
                              is_deleted, is_pinned, created_at)
select 1, 1, 'm' || i, 'message', false, false, now() - interval '1 hour'
  from generate_series(1, $old{message}) i;
insert into streaming_streamreaction (stream_id, user_id, stamp_id, created_at)
select 1, 1, 1, now() - interval '1 hour'
  from generate_series(1, $old{reaction}) i;
set local fcchat.numbering = off;
insert into fcchat_ban (user_id, expires)
select i, now() - interval '1 hour' from generate_series(1, $old{ban}) i;
commit;
EOS
}


sub left {
    my ($row) = $pg->sql('select'
        . ' (select count(*) from chat_chatmessage),'
        . ' (select count(*) from fcchat_event),'
        . ' (select count(*) from streaming_streamreaction),'
        . ' (select count(*) from fcchat_ban)');

    return "@$row";
}


# of both nodes

sub told {
    my ($what) = @_;

    my $n = 0;

    for (8080, 8081) {
        my $m = FC::Metrics->read(port($_), '/status');

        $n += $m->get("fcchat_retention_${what}_total")
              // $m->get(qq(fcchat_retention_deleted_total{kind="$what"}));
    }

    return $n;
}


# A worker counts a step when its answer has come, after its commit.

sub deleted {
    my ($kind, $want) = @_;

    my $n = 0;

    wait_for(sub { ($n = told($kind)) >= $want });

    return $n;
}
