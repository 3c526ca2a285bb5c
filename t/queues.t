#!/usr/bin/perl

# What a worker keeps, and has under way, is bounded: just as much, and one more.
# The numbers are those of README's table; more of them are in t/bounds.t,
# t/flow.t, t/limits-queues.t and t/limits-reactions.t.
#
# S33 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use IO::Socket::INET;
use List::Util qw/ max /;
use POSIX ();
use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Crowd;
use FC::Metrics;
use FC::Queries;
use FC::Site;
use FC::Util qw/ log_lines slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(31);

# servers that end each connection at once, and note when that was

my %deaf = map { ($_ => FC::Util::free_port()) } qw/ pg redis /;
my $deaf = $t->testdir() . '/deaf';

my $site = FC::Site->new($t, pg => { private => 1, fsync => 0 },
                         http => 'fcchat_message_length 16384;'
                                 . ' fcchat_lag 2m;',
                         more => <<"EOF_MORE");
        location /status { fcchat_status; }

        location /tenants/ {
            fcchat;
            fcchat_tenant \$arg_tenant;
        }

        location /deaf/ {
            fcchat;
            fcchat_postgres "host=127.0.0.1 port=$deaf{pg}" connections=1;
            fcchat_redis redis://127.0.0.1:$deaf{redis};
        }
EOF_MORE

my ($pg, $redis, $django) = ($site->pg, $site->redis, $site->django);
my @v1 = (protocol => 'fcchat.v1');
my (%id, %epoch);

$django->user($_) for qw/ alice bob /;
$django->user('boss', is_staff => 1);
$site->cookie($_) for qw/ alice bob boss /;
$django->room($_) for qw/ linger stamps batch back hold bus bans /;

my $queries = FC::Queries->new($pg);

# as many stamps as are used, and one more

$pg->sql('insert into chat_chatstamp select r.* from'
         . ' (select * from chat_chatstamp limit 1) s,'
         . ' generate_series(1001, 1001 + 1024) n,'
         . ' jsonb_populate_record(null::chat_chatstamp, to_jsonb(s) ||'
         . " jsonb_build_object('id', n, 'name', ':s' || n || ':')) r");

my @servers = map { serve($_, $deaf{$_}) } sort keys %deaf;

$t->run();
wait_for(sub { workers($t) == 1 });

my ($worker) = workers($t);
my $left = linger();

stamps();
batch();
back();
bans();
statements();
hold();
bus();
stores();
connects();
heads();
lingered();

is(join(' ', workers($t)), $worker, 'one worker all the time');


# Somebody in a room, with the epoch that it was told.

sub enter {
    my ($user, $room, %o) = @_;

    my $ws = $site->join($user, room => $room, @v1, %o);

    $epoch{$room} = $ws->recv_until(sub { $_[0]{type} eq 'welcome' })->{epoch};

    return $ws;
}


sub is_message { return $_[0]{type} eq 'message' }


sub error {
    my ($ws) = @_;

    return $ws->recv_until(sub { $_[0]{type} eq 'error' }, 10 * slow()) // {};
}


# What comes of so many frames, by type.

sub outcomes {
    my ($all, $n, @types) = @_;

    my (%got, $seen);

    FC::WS->poll($all, sub {
        my ($ws, $m) = @_;

        return if !grep { $_ eq $m->{type} } @types;
        $got{$m->{code} // $m->{type}}++;
        $seen++;
    }, 30 * slow(), sub { ($seen // 0) >= $n });

    return \%got;
}


# Until all that they sent has come.

sub all_read {
    my (@ws) = @_;

    my $pongs = 0;

    $_->send_ping('all') for @ws;

    return FC::WS->poll(\@ws, sub { $pongs++ if ($_[1]{op} // 0) == 10 },
                        10 * slow(), sub { $pongs == @ws });
}


sub channel {
    my ($room) = @_;

    my $id = $id{$room} //= $pg->sql('select id from chat_chatroom'
                                     . " where name = '$room'");

    return "fcchat:room:localhost:$id";
}


sub subscribers {
    my ($room) = @_;

    return $redis->cmd('PUBSUB', 'NUMSUB', channel($room))->[1];
}


# As another worker would.

sub publish {
    my ($room, $n, %m) = @_;

    return $redis->cmd('PUBLISH', channel($room), FC::WS::json()->encode(
        { v => 1, w => sprintf('%016x', $n), %m }));
}


sub metrics { return FC::Metrics->read(port(8080), '/status') }

sub dropped { metrics()->get('fcchat_redis_messages_total{kind="dropped"}') }


# A room that nobody is in any more.

sub linger {
    my $ws = enter('alice', 'linger');

    ok(wait_for(sub { subscribers('linger') }), 'a room');
    $ws->close();

    return time();
}


# It is kept for 30 seconds, and looked at each second; what this file does
# otherwise takes long enough, or nearly.

sub lingered {
    my $gone = wait_for(sub { subscribers('linger') ? 0 : time() }, 40);

    ok($gone, 'a room that nobody is in is freed');
    cmp_ok(time() - $left, '>=', 29, 'after 30 seconds');

    return;
}


# 1024 stamps of a tenant, by their numbers.

sub stamps {
    my $ws = enter('alice', 'stamps');
    my @ids = map { $_->[0] } $pg->sql('select id from chat_chatstamp'
                                       . ' order by id');

    $ws->send_json({ type => 'reaction', stamp_id => 0 + $ids[1023] });
    ok($ws->recv_until(sub { $_[0]{type} eq 'reactions' }), '1024 stamps');
    $ws->send_json({ type => 'reaction', stamp_id => 0 + $ids[1024] });
    is(error($ws)->{code}, 'unknown_stamp', 'and no more');
    $ws->drop();

    return;
}


# 1000 rows in a transaction, and 256 KB in a message to the other workers.

sub batch {
    my @ws = map { enter('alice', 'batch') } 1 .. 20;
    my $spy = $redis->client();
    my $text = 'x' x 500;

    $spy->cmd('SUBSCRIBE', channel('batch'));
    wait_for(sub { subscribers('batch') == 2 });

    my $lock = FC::Crowd->lock($pg, 'fcchat_head');

    $ws[0]->send_json({ type => 'message', text => $text, cid => 'first' });
    wait_for(sub { FC::Crowd->blocked($pg) });

    for my $i (0 .. $#ws) {
        $ws[$i]->send_raw(join '', map {
            FC::WS::frame(payload => qq({"type":"message","text":"$text",)
                                     . qq("cid":"$i-$_"}))
        } 1 .. 60);
    }

    all_read(@ws);
    $lock->release();

    is_deeply(outcomes(\@ws, 1201, 'ack'), { ack => 1201 }, 'messages');
    is($pg->sql('select max(n) from (select count(*) as n from fcchat_event'
                . ' group by xmin::text) t'), 1000, '1000 of a transaction');

    my ($events, @sizes) = 0;

    wait_for(sub {
        my (undef, $payload) = $spy->message(1);

        if (($payload // '') =~ /"events"/) {
            $events += () = $payload =~ /"$text"/g;
            push @sizes, length $payload;
        }

        return $events == 1201;
    });

    is($events, 1201, 'which are published');
    cmp_ok(max(@sizes), '<=', 256 * 1024, 'no more than 256 KB at a time');
    cmp_ok(max(@sizes), '>', 240 * 1024, 'and not much less');
    $_->drop() for @ws;

    return;
}


# What was missed: 500 in a question, 5000 in all.

sub back {
    $pg->sql('insert into chat_chatmessage (room_id, user_id, content,'
             . ' message_type, is_deleted, is_pinned, created_at) select r.id,'
             . " null, 'm' || n, 'message', false, false, now() from"
             . ' chat_chatroom r, generate_series(1, 5001) n'
             . " where r.name = 'back'");

    my $ws = enter('alice', 'back');
    my $since = "since=$epoch{back}";

    is(enter('bob', 'back', query => "$since:0")
       ->recv_until(sub { $_[0]{type} =~ /^(?:reset|message)$/ })->{reason},
       'too_old', '5001 messages are too many');

    $queries->since();

    my $bob = enter('bob', 'back', query => "$since:1");
    my @seqs = map { ($bob->recv_until(\&is_message) // {})->{seq} } 1 .. 5000;

    is("@seqs[0, -1]", '2 5001', '5000 are sent again');
    is($queries->count(qr/seq < \$2/), 10, 'by 500 of a question');
    $_->drop() for $ws, $bob;

    return;
}


# 20,000 users and 1000 addresses are banned in a room.

sub bans {
    my $boss = enter('boss', 'bans');
    my $id = $pg->sql("select id from chat_chatroom where name = 'bans'");

    $pg->sql('set fcchat.numbering = off;'
             . ' insert into fcchat_ban (room_id, user_id)'
             . " select $id, 1000 + n from generate_series(1, 19999) n;"
             . ' insert into fcchat_ban (room_id, address)'
             . " select $id, ('10.1.' || n / 250 || '.' || n % 250)::cidr"
             . ' from generate_series(1, 999) n');

    my $ban = sub {
        $boss->send_json({ type => 'ban', @_ });

        my $m = $boss->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ });

        return $m->{code} // $m->{type};
    };

    is($ban->(username => 'bob'), 'ack', '20000 users are banned');
    is($ban->(username => 'alice'), 'too_many', 'and no more');
    is($ban->(address => '10.2.0.1'), 'ack', '1000 addresses are');
    is($ban->(address => '10.2.0.2'), 'too_many', 'and no more');
    $boss->drop();

    return;
}


# 256 statements are prepared on a connection.

sub statements {
    $pg->sql('do $$ begin for i in 1 .. 270 loop'
             . " execute 'create schema s' || i;"
             . " execute 'create view s' || i || '.django_session as table"
             . " localhost.django_session';"
             . " execute 'create view s' || i || '.accounts_user as table"
             . " localhost.accounts_user';"
             . " execute 'create function s' || i || '.fcchat_room(text,"
             . ' out epoch uuid, out last_seq bigint, out id bigint,'
             . ' out stream_id bigint) returns setof record language sql as'
             . " ''select gen_random_uuid(), 1::bigint, 1::bigint, 1::bigint"
             . " where false'''; end loop; end \$\$");
    $queries->since();

    my %got;

    for my $i (1 .. 270) {
        my $ws = $site->join('alice', path => "/tenants/none/?tenant=s$i");

        $got{$ws->status()}++;
        $ws->drop();
    }

    is_deeply(\%got, { 404 => 270 }, 'rooms of 270 schemas are looked for');

    my $named = $queries->count(qr/execute fcchat_.*\.fcchat_room/);
    my $text = $queries->count(qr/execute <unnamed>.*\.fcchat_room/);

    is($named + $text, 270, 'each once');
    cmp_ok($named, '<=', 256, 'by prepared statements');
    cmp_ok($named, '>', 200, 'as many as there may be');

    return;
}


# 64 events that are ahead of a hole: what came beyond is asked for again.

sub hold {
    my $ws = enter('alice', 'hold');

    wait_for(sub { subscribers('hold') });
    $pg->pause();

    my @events = map { [ 0 + $_, 1, 1, 'bob', 'member', 'message', "m$_", 1 ] }
                 1 .. 66;

    publish('hold', 1, t => 'events', epoch => $epoch{hold},
            events => [ @events[1 .. 65] ]);
    publish('hold', 1, t => 'events', epoch => $epoch{hold},
            events => [ $events[0] ]);

    my @seqs;

    $ws->recv_until(sub {
        push @seqs, $_[0]{seq} if $_[0]{type} eq 'message';
        return @seqs == 66;
    }, 1);

    is("@seqs", join(' ', 1 .. 65), '64 events are held');
    $pg->resume();
    $ws->drop();

    return;
}


# What waits for Redis: 4 MB.

sub bus {
    my $ws = enter('alice', 'bus');
    my $text = "\x{1f600}" x 15000;
    my $spy = $redis->client();
    my $lost = dropped();
    my ($n, $bytes, $payload) = (0, 0, '');

    wait_for(sub { subscribers('bus') });
    $spy->cmd('SUBSCRIBE', channel('bus'));
    $redis->pause();

    for (1 .. 10) {
        $ws->send_json({ type => 'message', text => $text, cid => 'b' . ++$n })
            for 1 .. 10;
        outcomes([ $ws ], 10, 'ack');
    }

    cmp_ok(dropped() - $lost, '>=', 20, '6 MB do not wait for Redis');
    $redis->resume();

    wait_for(sub {
        (undef, $payload) = $spy->message(0.5);
        $bytes += length($payload // '');
        return !defined $payload || $payload =~ /"viewers"/ && $bytes;
    });

    cmp_ok($bytes, '<', 4.5 * 1024 * 1024, 'but 4 MB and what sockets hold');

    $ws->drop();

    return;
}


# What can't be stored is tried again, each 50 to 250 ms for 5 seconds.

sub stores {
    my $ws = enter('alice', 'hold');

    read_only('on');
    $queries->since();
    $ws->send_json({ type => 'message', text => 'again', cid => 'again' });
    is(error($ws)->{code}, 'unavailable', 'what can not be stored');

    my $n = $queries->count(qr/fcchat_append/);

    ok($n >= 15 && $n <= 100, "is tried $n times");
    read_only('off');
    $ws->drop();

    return;
}


sub read_only {
    my ($on) = @_;

    $pg->sql('set default_transaction_read_only = off; alter system'
             . " set default_transaction_read_only = $on;"
             . ' select pg_reload_conf()');

    return wait_for(sub {
        $pg->sql('show default_transaction_read_only') eq $on
    });
}


sub serve {
    my ($name, $port) = @_;

    my $s = IO::Socket::INET->new(Listen => 5, ReuseAddr => 1,
                                  LocalAddr => "127.0.0.1:$port")
        or die "no port $port: $!\n";
    my $pid = fork() // die "fork: $!\n";

    return $pid if $pid;

    alarm(60 * slow());

    while (my $c = $s->accept()) {
        $c->close();

        open my $fh, '>>', "$deaf.$name" or last;
        print $fh time(), "\n";
        close $fh;
    }

    POSIX::_exit(0);
}


# Connections are tried each 50 to 800 ms: two of Redis, one of PostgreSQL.

sub connects {
    for my $name (qw/ pg redis /) {
        my @at = split /\n/, $t->read_file("deaf.$name");
        my $n = @at / ($name eq 'redis' ? 2 : 1) / ($at[-1] - $at[0]);

        ok($n > 1 && $n < 4, "$name: so many connections a second: $n");
    }

    kill 'KILL', @servers;
    waitpid $_, 0 for @servers;

    return;
}


# Heads are asked for each second, and while Redis is away each 100 to 250 ms.

sub heads {
    my $ws = enter('alice', 'hold');

    cmp_ok(abs(1 - every(4)), '<', 0.3, 'heads are asked for each second');
    $redis->stop();
    wait_for(sub { log_lines($t, qr/fcchat redis .* is lost/) });

    my $interval = every(12);

    ok($interval > 0.1 && $interval < 0.25 * slow(),
       "each $interval s while Redis is away");
    $redis->start();
    wait_for(sub { subscribers('linger') });
    $ws->drop();

    return;
}


# The median of the time between so many of these questions.

sub every {
    my ($n) = @_;

    my $re = qr/^\S+ (\d+):(\d+):(\S+) .*fcchat_head WHERE room_id = ANY/m;
    my @at;

    $queries->since();
    wait_for(sub {
        my $log = $queries->log();

        @at = ();
        push @at, $1 * 3600 + $2 * 60 + $3 while $log =~ /$re/g;
        return @at > $n;
    }, 20);

    my @took = sort { $a <=> $b } map { $at[$_] - $at[$_ - 1] } 1 .. $#at;

    return $took[$#took / 2] // 0;
}
