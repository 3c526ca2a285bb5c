#!/usr/bin/perl

# The HTTP API of two tenants with equal ids, which see nothing of each other;
# totals of reactions; and that what is asked is found by an index.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Crowd;
use FC::Site;
use FC::Util qw/ log_lines wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite map/)->plan(55);

$t->write_file('api_secret', "the site's secret\n");
chmod 0600, $t->testdir() . '/api_secret';

my $site = FC::Site->new($t, pg => { private => 1,
                                     schemas => [ qw/ east west / ],
                                     conf => { random_page_cost => 1.1 } },
                         http => <<'EOF', more => <<'EOF2');
    map $host $schema {
        east.test  east;
        west.test  west;
        bad.test   'pg_catalog';
        default    nowhere;
    }

    fcchat_api_rate off;
    fcchat_api_secret_file api_secret;
EOF
        location /api/chat/ {
            fcchat_api;
            fcchat_tenant $schema;
        }

        location /domain/ {
            fcchat_api;
            fcchat_tenant domain;
            fcchat_tenant_tables hosts tenants;
        }
EOF2

my ($pg, $django) = ($site->pg(), $site->django());

$pg->sql(q{create table public.hosts as select 'west.test' as domain,
           1 as tenant_id});
$pg->sql(q{create table public.tenants as select 1 as id,
           'west'::text as schema_name});

is($django->user('ann', schema => 'east'),
   $django->user('bill', schema => 'west'), 'ids are equal');

my $both = 's' x 32;

for my $in ([ 'ann', 'east' ], [ 'bill', 'west' ]) {
    my ($name, $schema) = @$in;

    $pg->sql("insert into $schema.django_session select '$both', session_data,"
             . " expire_date from $schema.django_session"
             . " where session_key = :'k'",
             k => $django->session($name, schema => $schema));
    $pg->sql("insert into $schema.chat_chatmessage (room_id, user_id, content,"
             . " message_type, is_deleted, is_pinned, created_at)"
             . " select 1, 1, '$schema ' || n, 'message', false, false, now()"
             . " from generate_series(1, 3) n");
}

$t->run();

my %api = map {
    ($_ => FC::Api->new(cookie => $both, host => "$_.test"))
} qw/ east west bad none /;

my $BASE = '/api/chat/stream_1';

sub got { my ($who, $path, %o) = @_; return $api{$who}->get($path, %o) }

for my $who (qw/ east west /) {
    my $r = got($who, "$BASE/history");

    is_deeply([ map { $_->{text} } @{$r->{json}{messages}} ],
              [ map { "$who $_" } 1 .. 3 ], "messages of the $who");
    is($r->{json}{messages}[0]{user}{username},
       { east => 'ann', west => 'bill' }->{$who}, "by a user of the $who");
    is(got($who, "$BASE/messages/2")->{json}{text}, "$who 2", 'one of them');
    is(got($who, "$BASE/history/3")->{json}{text}, "$who 3", 'by its number');
}

isnt(got('east', $BASE)->{json}{epoch}, got('west', $BASE)->{json}{epoch},
     'two logs');
isnt(got('east', $BASE)->{header}{etag}, got('west', $BASE)->{header}{etag},
     'two ETags');
is(got('west', '/domain/stream_1/history/1')->{json}{text}, 'west 1',
   'by the domain');
is(got('east', '/domain/stream_1')->{status}, 404, 'no domain');
is(got($_, $BASE)->{status}, 404, "$_: no tenant of ours") for qw/ bad none /;

# a session is a tenant's

my $ann = $django->session('ann', schema => 'east');
is(got('east', $BASE, cookie => $ann)->{status}, 200, 'ann in the east');
is(got('west', $BASE, cookie => $ann)->{status}, 401, 'not in the west');

# viewers, and notices

my $ws = $site->join(undef, cookie => $both, host_header => 'east.test',
                     path => '/ws/chat/stream_1/');
is($ws->status(), 404, 'the chat is of another schema here');

my %bearer = (headers => { Authorization => "Bearer the site's secret" });
my $seq = $api{east}->post("$BASE/publish", { text => 'x', cid => 'c' },
                           %bearer)->{json}{seq};
is($seq, 4, 'a notice in the east');
is(got('west', $BASE)->{json}{head}, 3, 'none in the west');
is($api{west}->post("$BASE/publish", { text => 'y', cid => 'c' },
                    %bearer)->{json}{seq}, 4, 'the same cid');
is(got('west', "$BASE/history/4")->{json}{text}, 'y', 'is another notice');

# totals of reactions

my $minute = 1767225600;    # 2026-01-01T00:00:00Z

sub react {
    my ($schema, $stamp, $n, $at) = @_;

    $pg->sql("insert into $schema.streaming_streamreaction (stream_id, user_id,"
             . " stamp_id, created_at) select 1, 1, $stamp, to_timestamp($at)"
             . " from generate_series(1, $n)");
}

react('east', 1, 3, $minute);
react('east', 2, 1, $minute + 59.999);
react('east', 1, 5, $minute + 60);
react('east', 3, 1, $minute + 3600);
react('west', 1, 7, $minute);

sub totals {
    my ($who, $query) = @_;

    my $r = got($who, "$BASE/reactions?$query");

    return $r->{status} == 200
           ? join ' ', map {
                 my $c = $_->{counts};
                 substr($_->{at}, 11, 5)
                     . join ',', map { "-$_:$c->{$_}" } sort keys %$c;
             } @{$r->{json}{minutes}}
           : "$r->{status} $r->{json}{error}{code}";
}

my $day = '2026-01-01T';

is(totals('east', "from=${day}00:00Z&to=${day}01:00Z"),
   '00:00-1:3,-2:1 00:01-1:5', 'by minute and stamp');
is(totals('west', "from=${day}00:00Z&to=${day}01:00Z"), '00:00-1:7',
   'those of the west');
is(totals('east', "from=${day}00:00:30.000Z&to=${day}00:00:31Z"),
   '00:00-1:3,-2:1', 'whole minutes');
is(totals('east', "from=${day}00%3A01Z&to=${day}00:02Z"), '00:01-1:5',
   'escaped');
is(totals('east', "from=" . $minute * 1000 . '&to='
                  . ($minute + 7200) * 1000),
   '00:00-1:3,-2:1 00:01-1:5 01:00-3:1', 'by milliseconds');
is(totals('east', "to=${day}01:00:30Z"), '00:00-1:3,-2:1 00:01-1:5 01:00-3:1',
   'an hour before, and the minute it begins in');
is(totals('east', "from=2025-12-31T12:00Z&to=${day}12:00Z"),
   '00:00-1:3,-2:1 00:01-1:5 01:00-3:1', '24 hours');
is(totals('east', ''), '', 'none just now');
react('east', 4, 2, 'extract(epoch from now())');
like(totals('east', ''), qr/^\d\d:\d\d-4:2$/, 'two just now');

is(totals('east', $_), '400 bad_request', "bad: $_")
    for 'from=x', 'to=x', 'from=', "from=${day}01:00Z&to=${day}01:00Z",
        "from=${day}02:00Z&to=${day}01:00Z",
        "from=2025-12-31T00:00Z&to=${day}00:01Z", 'to=9007199254740992',
        'from=99999999999999999999', 'to=' . '1' x 200;

$pg->sql("update east.chat_chatroom set stream_id = null where id = 2");
is_deeply(got('east', '/api/chat/stream_2/reactions')->{json}{minutes}, [],
          'a room without a stream');

# too much for one answer

$pg->sql('insert into east.chat_chatstamp (id, name, image) select n, n, n'
         . ' from generate_series(7, 60) n');
$pg->sql("insert into east.streaming_streamreaction (stream_id, user_id,"
         . " stamp_id, created_at) select 1, 1, s, to_timestamp($minute)"
         . " + interval '1 day' + m * interval '1 minute'"
         . " from generate_series(1, 60) s, generate_series(0, 179) m");

my $r = got('east', "$BASE/reactions?from=2026-01-02T00:00Z"
                    . "&to=2026-01-02T03:00Z");
is(scalar @{$r->{json}{minutes}}, 166, 'whole minutes up to the bound');
is($r->{json}{to}, '2026-01-02T02:46:00.000Z', 'up to where');
$r = got('east', "$BASE/reactions$r->{json}{next}");
is(scalar @{$r->{json}{minutes}}, 14, 'and the rest');
is($r->{json}{next}, undef, 'nothing more');

# one at a time

my $lock = FC::Crowd->lock($pg, 'east.streaming_streamreaction');
my $other = FC::Api->new(cookie => $both, host => 'east.test');
my $s = $other->socket();
print $s $other->request("$BASE/reactions");
ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'one is under way');
is(totals('east', ''), '503 unavailable', 'another one');
is(got('east', "$BASE/history/1")->{status}, 200, 'all else goes on');
$lock->release();
is($other->answer($s)->{status}, 200, 'the first one');
is(got('east', "$BASE/reactions")->{status}, 200, 'the next one');

# and for a second

$pg->sql('alter table east.streaming_streamreaction rename to reactions;'
         . ' create view east.streaming_streamreaction as select r.* from'
         . ' east.reactions r, (select pg_sleep(60)) s');
is(totals('east', ''), '503 unavailable', 'what takes long');
is(scalar(my @given = log_lines($t, qr/\[error\].*57014/)), 1, 'is given up');
$pg->sql('drop view east.streaming_streamreaction;'
         . ' alter table east.reactions rename to streaming_streamreaction');
like(totals('east', ''), qr/^\d/, 'and asked for again');

# by an index: of tables that are worth one

$pg->sql("insert into east.chat_chatmessage (room_id, user_id, content,"
         . " message_type, is_deleted, is_pinned, created_at)"
         . " select 1, 1, n, 'message', false, false, now()"
         . " from generate_series(1, 20000) n");
$pg->sql("insert into east.streaming_streamreaction (stream_id, user_id,"
         . " stamp_id, created_at) select 1, 1, 1, to_timestamp($minute)"
         . " - n * interval '1 second' from generate_series(1, 20000) n");
$pg->sql('vacuum analyze');

sub scans {
    return $pg->sql("select coalesce(sum(seq_tup_read), 0)"
                    . " from pg_stat_all_tables where schemaname = 'east'"
                    . " and relname in ('fcchat_event', 'chat_chatmessage',"
                    . " 'streaming_streamreaction')");
}

# what a connection has counted comes when it rests

$pg->restart();
ok(wait_for(sub { got('east', $BASE)->{status} == 200 }), 'back');
my $before = scans();

got('east', $_)
    for "$BASE/history?limit=100", "$BASE/history?before=2500",
        "$BASE/history?after=2500", "$BASE/history/77", "$BASE/messages/77",
        "$BASE/reactions?from=${day}00:00Z&to=${day}01:00Z";

$pg->stop();
$pg->start();
cmp_ok(scans() - $before, '<', 1000, 'no table is read from end to end');
