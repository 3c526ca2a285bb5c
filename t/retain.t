#!/usr/bin/perl

# fcchat_retention: what is old goes, what is pinned stays, the numbers go on;
# by one worker at a time, through reloads, kills and restarts.

use warnings;
use strict;

use List::Util qw/ max /;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER spread /;
use FC::Metrics;
use FC::Pg;
use FC::Site;
use FC::Util qw/ forgive log_lines spawn stop_pid top wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(59);

# a step that is held up waits for longer than the test does for a message

my $pg = FC::Pg->new(private => 1);
my $site = FC::Site->new($t, workers => 2, pg => $pg, database => 0,
    http => 'fcchat_postgres "' . $pg->dsn() . '" timeout=60s;'
            . ' fcchat_retention 1m; fcchat_tenant_tables domains tenants;',
    location => "fcchat_history 20; $WORKER", more => <<'EOF');
        location = /status { fcchat_status; }

        location /by/ {
            fcchat;
            fcchat_tenant $arg_tenant;
        }

        location /domain/ {
            fcchat;
            fcchat_tenant domain;
        }

        location /bare/ {
            fcchat;
            fcchat_tenant bare;
        }
EOF

my $django = $site->django();

$django->user('ann');

# schemas: one of the configuration, one that is in the tenants' table, one that
# somebody asks for, one that has not all of sql/

for my $schema (qw/ listed asked bare /) {
    $django->tables($schema);
    $django->user('ann', schema => $schema);

    if ($schema eq 'bare') {
        $pg->apply($schema, top() . '/sql/001_fcchat.sql');
    } else {
        $pg->apply($schema);
    }
}

$pg->sql('create table public.tenants (id serial, schema_name text);'
         . "insert into public.tenants (schema_name) values ('listed'), ('nowhere')");

# Old and new messages and reactions, so many each, in room 1.  What is new does
# not get old while the test takes its time.

sub fill {
    my ($schema, $old, $new) = @_;

    $pg->sql(<<"EOF");
set search_path = $schema, public;
insert into chat_chatmessage (room_id, user_id, content, message_type,
                              is_deleted, is_pinned, created_at)
select 1, 1, 'm' || i, 'message', false, false,
       now() - case when i <= $old then interval '1 hour' else '-1 day' end
  from generate_series(1, $old + $new) i;
insert into streaming_streamreaction (stream_id, user_id, stamp_id, created_at)
select 1, 1, 1,
       now() - case when i <= $old then interval '1 hour' else '-1 day' end
  from generate_series(1, $old + $new) i;
EOF
}

fill('localhost', 30, 5);
fill('listed', 10, 2);
fill('asked', 10, 2);
fill('bare', 10, 2);

# number 5 is pinned, another table of the site refers to 7, 9 is no message,
# and of 11 only the number is left; three have none

$pg->sql(<<'EOF');
set search_path = localhost, public;
set fcchat.numbering = off;
update chat_chatmessage set is_pinned = true where content = 'm5';
create table complaints (id int primary key, message_id int
    references chat_chatmessage deferrable initially deferred);
insert into complaints select 1, id from chat_chatmessage
 where content = 'm7';
update fcchat_event set kind = 'ban', message_id = null where seq = 9;
delete from chat_chatmessage where content in ('m9', 'm11');
insert into chat_chatmessage (room_id, user_id, content, message_type,
                              is_deleted, is_pinned, created_at)
select 1, 1, 'loose' || i, 'message', false, i = 3, now() - interval '1 day'
  from generate_series(1, 3) i;
EOF

# a new row with an old date is no hole in the log

$pg->sql(<<'EOF');
insert into localhost.chat_chatmessage (room_id, user_id, content, message_type,
                                        is_deleted, is_pinned, created_at)
values (1, 1, 'late', 'message', false, false, now() - interval '1 hour'),
       (1, 1, 'last', 'message', false, false, now() + interval '1 day');
EOF

sub left {
    my ($schema, $what) = @_;

    return scalar $pg->sql('select count(*) from ' . ($schema // 'localhost') . '.'
                    . ($what // 'chat_chatmessage'));
}

is(left(), 38, 'messages there were');

$t->run();

# the run of each schema

ok(wait_for(sub {
    left() == 9 && left(undef, 'streaming_streamreaction') == 5;
}, 15), 'a run has ended');

is($pg->sql(q{select string_agg(content, ' ' order by id)
              from localhost.chat_chatmessage}),
   'm5 m7 m31 m32 m33 m34 m35 loose3 last', 'what is left');
is($pg->sql(q{select string_agg(seq::text, ' ' order by seq)
              from localhost.fcchat_event}),
   '5 7 31 32 33 34 35 36 37', 'and of the log');
is($pg->sql('select last_seq from localhost.fcchat_head where room_id = 1'),
   37, 'the head stays');
is(left(undef, 'streaming_streamreaction'), 5, 'reactions');

ok(wait_for(sub { left('listed') == 2 }, 10), 'a tenant of the table');
is(left('listed', 'fcchat_event'), 2, 'its log');

my $asked = FC::WS->connect(port => port(8080),
                            path => '/by/stream_1/?tenant=asked',
                            cookie => $django->session('ann',
                                                       schema => 'asked'));
is($asked->status(), 101, 'a tenant that is asked for');
ok(wait_for(sub { left('asked') == 2 }, 10), 'is known then');

is(left('bare'), 12, 'without sql/004');
ok(wait_for(sub { log_lines($t, qr{"bare".*apply sql/004_fcchat_retention}) },
            10), 'one line names the file');
is(join('', log_lines($t, qr/\[(?:crit|alert|emerg)\]/)), '', 'no more');

# the status, once the answers to the last steps have been read

my $m;

wait_for(sub {
    $m = FC::Metrics->read(port(8080), '/status');
    return $m->get('fcchat_retention_deleted_total{kind="reaction"}') == 50
           && $m->get('fcchat_retention_runs_total') >= 3;
});

is($m->get(qq(fcchat_retention_deleted_total{kind="$_->[0]"})), $_->[1],
   "the status: $_->[0]")
    for [ message => 29 + 20 ], [ event => 28 + 20 ], [ reaction => 50 ],
        [ ban => 0 ];
cmp_ok($m->get('fcchat_retention_runs_total'), '>=', 3, 'runs');
cmp_ok($m->get('fcchat_retention_kept_total'), '>=', 1, 'kept');
cmp_ok($m->get('fcchat_retention_errors_total'), '>=', 1, 'errors: bare');
cmp_ok(abs(time() - max($m->text() =~
           /^fcchat_retention_last_run_timestamp_seconds\{.*?\} (\d+)$/mg)), '<',
       30, 'the last run');

# whoever comes back

sub v1 {
    my ($since) = @_;

    my $ws = $site->join('ann', protocol => 'fcchat.v1',
                         defined $since ? (query => "since=$since") : ());

    return ($ws, $ws->recv_json());
}

my ($ws, $welcome) = v1();
my $epoch = $welcome->{epoch};

is($welcome->{head}, 37, 'welcome');

for my $case ([ 3, 'gone' ], [ 5, 'gone' ], [ 20, 'gone' ], [ 29, 'gone' ]) {
    my ($since, $reason) = @$case;
    my $reset = (v1("$epoch:$since"))[0]->recv_until(sub {
        $_[0]{type} =~ /reset|message/
    });

    is("$reset->{type} " . ($reset->{reason} // ''), "reset $reason",
       "since $since");
}

my ($back) = v1("$epoch:30");
my @seqs;

$back->recv_until(sub {
    push @seqs, $_[0]{seq} if $_[0]{type} eq 'message';
    return ($_[0]{seq} // 0) >= 37;
});
is("@seqs", '31 32 33 34 35 36 37', 'since 30');

$ws->send_json({ type => 'history', before => 40, limit => 100 });

my $page = $ws->recv_until(sub { $_[0]{type} eq 'history' });

is(join(' ', map { $_->{seq} } @{$page->{messages}}),
   '5 7 31 32 33 34 35 36 37', 'a page');
is((grep { $_->{seq} == 36 } @{$page->{messages}})[0]{message_type}, 'deleted',
   'the late one is deleted');

my $old = $site->join('ann');
my @texts;

$old->recv_until(sub {
    push @texts, $_[0]{message};
    return $_[0]{message} eq 'last';
});
is("@texts", 'm31 m32 m33 m34 m35 last', 'an old page is given what there is');

# A worker that has it all in memory, as somebody is in the room, tells no more
# than PostgreSQL has: of rows with an old date their numbers, if something
# younger came before them.

for my $case ([ 'old', 0 ], [ 'mixed', 1 ]) {
    my ($name, $young) = @$case;
    my $id = $django->room($name);
    my $reader = $site->join('ann', room => $name, protocol => 'fcchat.v1');
    my $since = $reader->recv_json()->{epoch} . ":$young";

    $pg->sql('insert into localhost.chat_chatmessage (room_id, user_id, content,'
             . ' message_type, is_deleted, is_pinned, created_at)'
             . " select $id, 1, 't' || i, 'message', false, false,"
             . " now() - interval '1 hour' * sign(i)"
             . " from generate_series(1 - $young, 3) i");

    my $last = $reader->recv_until(sub { ($_[0]{seq} // 0) == 3 + $young });

    is($last->{text}, 't3', "$name: told when they came");
    ok(wait_for(sub {
        $pg->sql('select count(*) from localhost.chat_chatmessage'
                 . " where room_id = $id") == $young
        && $pg->sql('select count(*) from localhost.fcchat_event'
                    . " where room_id = $id") == 4 * $young;
    }, 15), "$name: deleted");

    my ($late, @told);

    for (1 .. 100) {
        $late = $site->join('ann', room => $name, protocol => 'fcchat.v1',
                            query => "since=$since");
        last if $late->header('X-Worker') == $reader->header('X-Worker');
        $late->drop();
    }

    $late->recv_until(sub {
        my ($m) = @_;

        push @told, $m->{reason} // $m->{message_type} // $m->{text}
            if $m->{type} =~ /^(?:message|reset)$/;
        return @told == ($young ? 3 : 1);
    });
    is("@told", $young ? 'deleted deleted deleted' : 'gone',
       "$name: and who comes back");
    $_->drop() for $reader, $late;
    $pg->sql("delete from localhost.chat_chatmessage where room_id = $id");
}

# "old" by another date, for rows that are there

sub age {
    my ($from, $to) = @_;

    $pg->sql("update localhost.fcchat_event set at = now() - interval '1 hour'"
             . " where room_id = 1 and seq between $from and $to; "
             . 'update localhost.chat_chatmessage m set created_at = e.at'
             . ' from localhost.fcchat_event e where e.message_id = m.id and'
             . " e.room_id = 1 and seq between $from and $to");
}

# Another worker of the cluster is at it, or is dead.  A step that is under way
# would write its own over that.

my $key = "hashtext('fcchat_retention'), hashtext('localhost')";
my $state = 'update localhost.fcchat_retention set ';

$pg->sql("begin; select pg_advisory_xact_lock($key);"
         . " $state worker = 'other', phase = 'next', place = 0,"
         . ' began = now(), seen = clock_timestamp(); commit');
age(31, 32);
ok(!wait_for(sub { left() != 9 }, 3), 'another worker is at it');
$pg->sql("$state seen = now() - interval '31 seconds'");
ok(wait_for(sub { left() == 7 }, 20), 'until nothing is heard of it');

# a step under way somewhere, whose connection is lost

my $psql = spawn({ log => $t->testdir() . '/psql.log' }, 'psql', '-X', '-d',
                 $pg->dsn(), '-c',
                 "select pg_advisory_lock($key), pg_sleep(60)");
my $asleep = "from pg_stat_activity where wait_event = 'PgSleep'";

ok(wait_for(sub { $pg->sql("select count(*) $asleep") }, 5), 'a lock');
age(33, 34);
ok(!wait_for(sub { left() != 7 }, 3), 'nobody else at the same time');
$pg->sql("select pg_terminate_backend(pid) $asleep");
stop_pid($psql);
ok(wait_for(sub { left() == 5 }, 20), 'until its connection is lost');

# Messages do not wait for it: they are said in each worker while the step of one
# is held up.

my @talkers = spread($site, $t, 1, user => 'ann', protocol => 'fcchat.v1');
my $holder = FC::Crowd->psql($pg->dsn());

$pg->sql(<<'EOF');
create function localhost.held() returns trigger language plpgsql as $$
begin
    while not pg_try_advisory_xact_lock(1) loop
        perform pg_sleep(0.01);
    end loop;
    return null;
end
$$;
EOF
$holder->say('do $$ begin perform pg_advisory_lock(1); end $$;');
$pg->sql('create trigger held before delete on'
         . ' localhost.streaming_streamreaction execute function'
         . ' localhost.held()');

ok(wait_for(sub { $pg->sql("select count(*) $asleep") }), 'a step is held up');
$_->send_json({ type => 'message', text => 'y', cid => 'y' }) for @talkers;
is(scalar(grep { $_->recv_until(sub { $_[0]{type} eq 'ack' }) } @talkers), 2,
   'messages do not wait for it');
$holder->release();
$pg->sql('drop trigger held on localhost.streaming_streamreaction');
$_->drop() for @talkers;

# In the middle of a run: a reload, a worker killed, PostgreSQL restarted.
# Somebody talks all the while.

my $room = $django->room('long');
my $n;

sub long {
    return scalar $pg->sql('select count(*) from localhost.chat_chatmessage'
                           . " where room_id = $room");
}

for my $fault (qw/ none reload kill restart /) {
    $pg->sql(<<"EOF");
insert into localhost.chat_chatmessage (room_id, user_id, content, message_type,
                                        is_deleted, is_pinned, created_at)
select $room, 1, 'x', 'message', false, false, now() - interval '1 hour'
  from generate_series(1, 3000) i
EOF

    ok(wait_for(sub { long() < 3000 }, 30), "$fault: it goes on");

    # those 30 seconds are over sooner when they began before

    my $was = $pg->sql('select worker from localhost.fcchat_retention');
    my $over = "$state seen = now() - interval '31 seconds'"
               . " where worker = '$was'";

    $t->reload() if $fault eq 'reload';
    kill 'KILL', workers($t) if $fault eq 'kill';
    $pg->restart('immediate') if $fault eq 'restart';

    my $talker;

    ok(wait_for(sub {
        $talker = $site->join('ann', protocol => 'fcchat.v1');
        return $talker->status() == 101;
    }, 20), "$fault: a handshake");

    for my $i (1 .. 5) {
        $talker->send_json({ type => 'message', text => 'y', cid => "c" . ++$n });
        $talker->recv_until(sub { $_[0]{type} eq 'ack' && $_[0]{cid} eq "c$n" });
    }

    ok(wait_for(sub {
        $pg->sql($over) if $fault =~ /reload|kill/;
        return long() == 0;
    }, 60, 0.2), "$fault: it comes to its end") or diag(long());
}

forgive($t, qr/exited on signal 9/);

is($pg->sql("select count(*) from localhost.fcchat_event"
            . " where room_id = $room"), 0, 'its log, too');
is($pg->sql('select last_seq from localhost.fcchat_head where room_id ='
            . " $room"), 12000, 'but the number stays');

my $joined = $site->join('ann', room => 'long', protocol => 'fcchat.v1');

is($joined->recv_json()->{head}, 12000, 'a log without anything');
$joined->send_json({ type => 'message', text => 'z', cid => 'z' });
is($joined->recv_until(sub { $_[0]{type} eq 'ack' })->{seq}, 12001,
   'goes on with the next number');
