#!/usr/bin/perl

# Tenants are schemas with equal ids in them: nothing of one is seen, or taken
# for one's own, in another.
#
# S10, S11 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines slurp wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite map/)->plan(43);

my $site = FC::Site->new($t, http => <<'EOF', more => <<'EOT');
    map $http_x_tenant $tenant {
        default  $http_x_tenant;
        alias    'we"st x';
    }
EOF
        location /by/ {
            fcchat;
            fcchat_tenant $tenant;
        }

        location /west/ {
            fcchat;
            fcchat_tenant 'we"st x';
        }

        location /default/ {
            fcchat;
            fcchat_tenant public;
        }
EOT

my ($pg, $django) = ($site->pg(), $site->django());

# the schema's name is as bad as it may be

my $WEST = 'we"st x';

# and another as long as may be: PostgreSQL cuts what is longer to that

my $LONG = 'x' x 63;

for my $schema ('east', $WEST, $LONG) {
    $django->tables($schema);
}

$pg->apply('east');
$pg->sql('set search_path = "we""st x", public; '
         . join '', map { slurp($_) } glob '../sql/[0-9]*.sql');

is($django->user('ann', schema => 'east'), 1, 'ids are equal: east');
is($django->user('bill', schema => $WEST), 1, 'ids are equal: west');

my %key = (
    ann  => $django->session('ann', schema => 'east'),
    bill => $django->session('bill', schema => $WEST),
);

# the same key means somebody else elsewhere

my $both = 's' x 32;

for my $in ([ 'ann', 'east' ], [ 'bill', '"we""st x"' ]) {
    my ($name, $schema) = @$in;

    $pg->sql("insert into $schema.django_session select '$both', session_data,"
             . " expire_date from $schema.django_session"
             . " where session_key = :'k'", k => $key{$name});
}

$t->run();

sub enter {
    my ($tenant, $cookie, %o) = @_;

    return FC::WS->connect(port => port(8080), path => '/by/stream_1/',
                           defined $cookie ? (cookie => $cookie) : (),
                           headers => [ "X-Tenant: $tenant" ], %o);
}

sub status {
    my $ws = enter(@_);
    my $status = $ws->status();

    $ws->drop();

    return $status == 101 ? 101 : "$status " . $ws->body();
}

my $NONE = "401 no valid session\n";
my $GONE = "404 no such room\n";

# sessions

is(status('east', $key{ann}), 101, 'ann at home');
is(status('alias', $key{bill}), 101, 'bill at home');
is(status('east', $key{bill}), $NONE, 'bill in the east');
is(status('alias', $key{ann}), $NONE, 'ann in the west');
is(status('localhost', $key{ann}), $NONE, 'ann in a third');

my ($east, $west) = map { enter($_, $both, protocol => 'fcchat.v1') }
                    qw/ east alias /;

is_deeply([ map { $_->recv_json()->{you}{username} } $east, $west ],
          [ 'ann', 'bill' ], 'one key, two people');

# messages, one after the other through one worker

my ($ann, $bill) = (enter('east', $key{ann}),
                    FC::WS->connect(port => port(8080), cookie => $key{bill},
                                    path => '/west/stream_1/'));
my $redis = $site->redis()->client();

$redis->cmd('PSUBSCRIBE', '*');

for my $i (1 .. 10) {
    $ann->send_json({ message => "east $i" });
    $bill->send_json({ message => "west $i" });
}

for my $side ([ 'east', $ann, 'ann' ], [ 'west', $bill, 'bill' ]) {
    my ($name, $ws, $user) = @$side;

    my @got = map { $ws->recv_json() } 1 .. 10;

    is_deeply(\@got, [ map { { username => $user, message => "$name $_",
                               message_type => 'message',
                               timestamp => undef } } 1 .. 10 ],
              "messages in the $name");
}

is_deeply([ map { $east->recv_json()->{seq} } 1 .. 10 ], [ 1 .. 10 ],
          'numbers of the east');
is($pg->sql("select string_agg(content, ',' order by id) "
            . 'from east.chat_chatmessage'),
   join(',', map { "east $_" } 1 .. 10), 'rows of the east');
is($pg->sql("select string_agg(content, ',' order by id) "
            . 'from "we""st x".chat_chatmessage'),
   join(',', map { "west $_" } 1 .. 10), 'rows of the west');
is($pg->sql('select count(*) from localhost.chat_chatmessage'), 0,
   'no rows of a third');

# reactions: the stamp is another in the west

$pg->sql(q{update "we""st x".chat_chatstamp set name = ':hat:' where id = 1});

$ann->send_json({ type => 'reaction', stamp_id => 1 });
$bill->send_json({ type => 'reaction', stamp_id => 1 });

is($ann->recv_json()->{stamp_name}, ':smile:', 'a reaction in the east');
is($bill->recv_json()->{stamp_name}, ':hat:', 'a reaction in the west');
ok(wait_for(sub {
    $pg->sql('select (select count(*) from east.streaming_streamreaction) = 1 '
             . 'and (select count(*) from '
             . '"we""st x".streaming_streamreaction) = 1') eq 't';
}), 'each has its row');

is_deeply([ $ann->recv_all(0.3), $bill->recv_all(0.1) ], [], 'nothing else');

# channels

my %channels;

while (my $reply = $redis->reply(0.2)) {
    my $sort = $reply->[3] =~ /east/ ? 'east' : $reply->[3] =~ /west \d/
               ? 'west' : next;
    $channels{$sort}{$reply->[2]} = 1;
}

is_deeply([ map { scalar keys %{$channels{$_}} } qw/ east west / ], [ 1, 1 ],
          'a channel each');
isnt((keys %{$channels{east}})[0], (keys %{$channels{west}})[0],
     'not the same');

# viewers

$east->send_json({ type => 'message', text => 'x', cid => 'c' });
is(enter('east', $both, protocol => 'fcchat.v1')->recv_json()->{viewers}, 3,
   'viewers of the east');

# rooms of one that are not in another

$django->room('stream_77', schema => 'east');
is(status('east', $key{ann}, path => '/by/stream_77/'), 101, 'a room there');
is(status('alias', $key{bill}, path => '/by/stream_77/'), $GONE,
   'no room here');
is(status('alias', $key{bill}, path => '/by/stream_77/'), $GONE,
   'nor when asked again');

# tenants that are none

is(status($_, $key{ann}), $GONE, "S25: no tenant: " . substr $_, 0, 20)
    for ('', 'nowhere', 'pg_catalog', 'x' x 64,
         "\xff\xfe", 'east"; drop schema east; --');
is(status('EAST', $key{ann}), $GONE, 'case counts');
is(status($LONG, $key{ann}), $NONE, 'S11: 63 bytes are a schema');
is(status($LONG . 'x', $key{ann}), $GONE, 'S11: 64 are not cut to it');

# refusals are told as well, once a second

my $bad = qr/\[(?:warn|error|crit|alert|emerg)\](?!.*fcchat security: )/;

is(join('', log_lines($t, $bad)), '', 'a clean error log');

# a schema that is empty is another matter

$pg->sql('create schema bare');
is(status('bare', $key{ann}), "503 the chat is not available\n", 'no tables')
    for 1 .. 2;

my @lines = log_lines($t, $bad);

is(@lines, 1, 'one line');
like($lines[0], qr{"bare".*apply sql/001_fcchat\.sql}, 'it names the file');

# one that was renamed has functions of the name it had, which may be another
# tenant's by now: nothing may be read or written there

$pg->sql('alter schema east rename to orient; create schema east');
$django->tables('east');
$pg->apply('east');
ok(wait_for(sub {
    status('orient', $key{ann}) eq "503 the chat is not available\n"
}), 'S10: renamed');
like((log_lines($t, qr/"orient"/))[-1], qr/apply all of sql\//,
     'S10: it says what to do');
ok(!eval { $pg->sql("insert into orient.chat_chatmessage (room_id, user_id,"
                    . ' content, message_type, is_deleted, is_pinned,'
                    . " created_at) select id, null, 'x', 'message', false,"
                    . ' false, now() from orient.chat_chatroom limit 1'); 1 },
   'S10: nor by others');
is($pg->sql('select count(*) from east.fcchat_event'), 0,
   'S10: the new one has none of it');
$pg->apply('orient');
ok(wait_for(sub { status('orient', $key{ann}) eq '101' }),
   'S10: applied again');
