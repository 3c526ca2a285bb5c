#!/usr/bin/perl

# No table that grows is read from its beginning to its end, whatever the chat
# does: PostgreSQL itself tells the plan of each statement that it is sent, and
# of those inside of functions.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ slurp wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(31);

my $site = FC::Site->new($t, bus => 0,
    pg => { private => 1, fsync => 0, conf => {
        shared_preload_libraries => 'auto_explain',
        'auto_explain.log_min_duration' => 0,
        'auto_explain.log_nested_statements' => 'on',
        autovacuum => 'off',
    } },
    http => 'fcchat_session_cache 1s; fcchat_retention 237h;',
    more => <<'EOF');
        location /api/chat/ { fcchat_api; }
EOF

my ($pg, $django) = ($site->pg(), $site->django());

$site->cookie($_) for qw/ ann bill /;
$django->user('mia', is_staff => 1);
$site->cookie('mia');

# a table of each kind that grows; some rows are older than 237 hours

my $set = 'set auto_explain.log_min_duration = -1; set search_path ='
          . ' localhost, public; set jit = off;';

$pg->sql(<<"EOF");
$set
insert into accounts_user (password, is_superuser, username, first_name,
    last_name, email, is_staff, is_active, date_joined)
select 'x', false, 'u' || i, '', '', '', false, true, now()
  from generate_series(1, 20000) i;
insert into django_session
select md5(i::text), 'x', now() + interval '1 day'
  from generate_series(1, 20000) i;
insert into streaming_stream (title)
select 's' || i from generate_series(1, 2000) i;
insert into chat_chatroom (name, stream_id, is_active, created_at)
select 'r' || i, 1, true, now() from generate_series(1, 2000) i;
insert into fcchat_head (room_id)
select id from chat_chatroom on conflict do nothing;
insert into chat_chatmessage (room_id, user_id, content, message_type,
    is_deleted, is_pinned, created_at)
select 1 + i % 40, 1, 'm' || i, 'message', false, false,
       now() - i / 10000 * interval '1 day'
  from generate_series(100000, 1, -1) i;
insert into streaming_streamreaction (stream_id, user_id, stamp_id, created_at)
select 1 + i % 40, 1, 1, now() - i / 10000 * interval '1 day'
  from generate_series(100000, 1, -1) i;
set fcchat.numbering = off;
insert into fcchat_ban (room_id, user_id)
select i % 40, 100000 + i from generate_series(1, 20000) i;
insert into fcchat_audit (at, room_id, seq, action)
select now(), i % 40, i, 'slow' from generate_series(1, 20000) i;
analyze;
EOF

my @big = qw/ accounts_user django_session streaming_stream chat_chatroom
              fcchat_head fcchat_event chat_chatmessage
              streaming_streamreaction fcchat_ban fcchat_audit /;

cmp_ok($pg->sql("$set select count(*) from $_"), '>=', 2000, "rows: $_")
    for @big;

$t->run();

# The plans since the last call, each with its text: PLAN => TEXT.

my $from = length slurp($pg->host() . '/log');

sub plans {
    my $log = substr slurp($pg->host() . '/log'), $from;
    my @plans;

    # a statement's lines after the first begin with a tab

    while ($log =~ /LOG:  duration: \S+ ms  plan:\n((?:\t.*\n)+)/g) {
        my ($text, $plan) = $1 =~ /\A(.*?)\n(\t\S.*?\(cost=.*)\z/s;

        push @plans, [ $text, $plan ] if defined $plan;
    }

    return @plans;
}

# that something of this kind was told, and how it was done

sub seen {
    my ($name, $text, $index) = @_;

    my @found;

    ok(wait_for(sub {
        @found = grep { $_->[0] =~ $text && $_->[1] =~ $index } plans();
        return scalar @found;
    }, 10), "seen: $name")
        or diag(map { "$_->[0]\n$_->[1]" }
                    (grep { $_->[0] =~ $text } plans())[0 .. 1]);
}

# all that the chat does

my $room = 'stream_1';
my ($ann, $bill) = map { $site->join($_, protocol => 'fcchat.v1') }
                   qw/ ann bill /;
my $welcome = $ann->recv_json();

is($welcome->{head}, 2500, 'a long log');

$ann->send_json({ type => 'message', text => 'one', cid => 'one' });
$ann->recv_until(sub { $_[0]{type} eq 'ack' });
$ann->send_json({ type => 'message', text => $_, cid => $_ }) for 'a' .. 'z';
$ann->recv_until(sub { $_[0]{type} eq 'ack' && $_[0]{cid} eq 'z' });

$ann->send_json({ type => 'history', before => 1000, limit => 50 });
is(scalar @{$ann->recv_until(sub { $_[0]{type} eq 'history' })->{messages}},
   50, 'a page');

my $back = $site->join('bill', protocol => 'fcchat.v1',
                       query => "since=$welcome->{epoch}:1200");

is($back->recv_until(sub { $_[0]{type} =~ /message|reset/ })->{seq}, 1201,
   'somebody comes back');

$ann->send_json({ type => 'reaction', stamp_id => 1 });
$ann->recv_until(sub { $_[0]{type} eq 'reactions' });

# what Django inserts, and what a moderator does

$pg->sql('insert into chat_chatmessage (room_id, user_id, content,'
         . ' message_type, is_deleted, is_pinned, created_at)'
         . " values (1, 1, 'by Django', 'message', false, false, now())");
is($bill->recv_until(sub { ($_[0]{text} // '') eq 'by Django' })->{seq}, 2528,
   'a row of Django');
is($pg->sql("select status from fcchat_moderate(1, null, '$_', null, 2501,"
            . ' null, null, null, 60, null, null)'), 'ok', $_)
    for qw/ pin unpin delete /;

# the API

for my $path ("$room/history?limit=20", "$room/history/2400",
              "$room/reactions?from=" . (time() - 3600) * 1000, "$room/",
              "$room/bans", "$room/audit") {
    like(http(<<"EOF"), qr/^HTTP\S+ 200/, "GET $path");
GET /api/chat/$path HTTP/1.0
Host: localhost
Cookie: sessionid=@{[ $site->cookie('mia') ]}

EOF
}

# each of these was told

seen('a session', qr/FROM django_session/, qr/Index Scan using \S+ on django_session/);
seen('a message alone', qr/INSERT INTO fcchat_event/, qr/Insert/);
seen('the log, upwards or downwards', qr/LIMIT \$3::bigint\) e ON true/,
     qr/fcchat_event_pkey/);
seen('heads', qr/last_seq FROM .*fcchat_head WHERE room_id = ANY/,
     qr/fcchat_head_pkey/);
seen('sessions again', qr/FROM unnest\(\$1::text\[\], \$2::bigint\[\]/,
     qr/Index Scan using \S+ on django_session/);

ok(wait_for(sub {
    ($pg->sql("$set select ended > '-infinity' from fcchat_retention")
     // '') eq 't';
}, 60), 'fcchat_retention has come to its end');

my @all = plans();

cmp_ok(scalar @all, '>', 100, 'plans of ' . @all);

my $big = join '|', @big;

is(join("\n", map { "$_->[0]\n$_->[1]" }
              grep { $_->[1] =~ /Seq Scan on (?:\w+\.)?(?:$big)\b/ } @all), '',
   'and none reads all of a table');
