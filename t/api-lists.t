#!/usr/bin/perl

# What moderators read over HTTP: who is banned or timed out, of a room and of
# all of them, and what was done by whom; page by page.  What the site itself
# does is done once, and up to a bound.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Site;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(58);

$t->write_file('api_secret', "the site's secret\n");
chmod 0600, $t->testdir() . '/api_secret';

my $site = FC::Site->new($t, workers => 2, http => <<'EOF', more => <<'EOF2');
    fcchat_api_rate off;
    fcchat_api_secret_file api_secret;
EOF
        location /api/chat/ {
            fcchat_api;
        }

        location /guests/ {
            fcchat_api;
            fcchat_guests read;
        }
EOF2

my ($pg, $django) = ($site->pg(), $site->django());
my %id = map { ($_ => $django->user($_)) } qw/ ann bob cat rob tom /;

$id{mia} = $django->user('mia', is_staff => 1);

# rob moderates one room, tom all of them

$pg->sql('insert into localhost.fcchat_moderator (room_id, user_id)'
         . " select id, $id{rob} from localhost.chat_chatroom"
         . " where name = 'stream_1'");
$pg->sql('insert into localhost.fcchat_moderator (user_id)'
         . " values ($id{tom})");

$t->run();

my $BASE = '/api/chat/stream_1';
my $api = FC::Api->new();
my %site = (headers => { Authorization => "Bearer the site's secret" });

sub got {
    my ($path, $who, %o) = @_;

    return $api->get($path =~ m{^/\w+/\w+/} ? $path : "$BASE$path",
                     cookie => $who && $site->cookie($who), %o);
}

sub code {
    my ($r) = @_;

    return $r->{status} == 200 ? 200 : "$r->{status} $r->{json}{error}{code}";
}

sub act {
    my (%data) = @_;

    return $api->post("$BASE/moderation", \%data, %site);
}

# who may

for my $list (qw/ bans audit /) {
    is(code(got("/$list")), '401 login_required', "$list: nobody");
    is(code(got("/guests/stream_1/$list")), '401 login_required',
       "$list: a guest");
    is(code(got("/$list", 'ann')), '403 forbidden', "$list: a member");
    is(code(got("/$list", $_)), 200, "$list: $_") for qw/ rob tom mia /;
    is(code(got("/api/chat/stream_2/$list", 'rob')), '403 forbidden',
       "$list: of another room");
    is(code(got("/$list?scope=tenant", 'rob')), '403 forbidden',
       "$list: not of all rooms");
    is(code(got("/$list?scope=tenant", $_)), 200, "$list: of all, $_")
        for qw/ tom mia /;
    is(code(got("/$list", undef, %site)), 200, "$list: the site");
    is(code(got("/api/chat/nowhere/$list", 'mia')), '404 not_found',
       "$list: of no room");
    is(code(got("/$list?$_", 'mia')), '400 bad_request', "$list: bad $_")
        for 'limit=0', 'limit=101', 'before=x', 'after=1', 'scope=x';
}

is_deeply(got('/bans', 'rob')->{json},
          { room => 'stream_1', scope => 'room', bans => [], next => undef },
          'none yet');

# bans of each kind

my $until = (time() + 600) * 1000;

act(action => 'ban', username => 'ann', until => $until, reason => '<spam>');
act(action => 'timeout', user_id => $id{bob}, seconds => 600);
act(action => 'ban', address => '10.1.2.3/24');
act(action => 'ban', user_id => $id{cat}, scope => 'tenant', reason => 'all');
act(action => 'slow', seconds => 7);

my $r = got('/bans', 'rob');
my @bans = @{$r->{json}{bans}};

is_deeply([ map { $_->{action} } @bans ], [ qw/ ban timeout ban / ],
          'the newest first');
is_deeply([ map { $_->{target} } @bans ],
          [ { user => undef, address => '10.1.2.0/24' },
            { user => { id => $id{bob}, username => 'bob' } },
            { user => { id => $id{ann}, username => 'ann' } } ],
          'whom, and an address');
cmp_ok(abs($bans[2]{until} - $until), '<', 2000, 'until when');
is($bans[0]{until}, undef, 'or for ever');
is($bans[2]{reason}, '<spam>', 'why');
is($bans[2]{by}, undef, 'by the site');
unlike($r->{body}, qr/[<>]/, 'harmless inside of HTML');

$r = got('/bans?scope=tenant', 'tom')->{json};
is_deeply([ map { "$r->{scope} $_->{target}{user}{username} $_->{reason}" }
            @{$r->{bans}} ], [ 'tenant cat all' ], 'those of all rooms');

# what has ended is none any more

$pg->sql('update localhost.fcchat_ban set expires = now()'
         . " where user_id = $id{bob}");
is(scalar @{got('/bans', 'rob')->{json}{bans}}, 2, 'one has ended');
act(action => 'unban', address => '10.1.2.0/24');
is_deeply([ map { $_->{target}{user}{username} }
            @{got('/bans', 'rob')->{json}{bans}} ], [ 'ann' ],
          'one is undone');

# a row of somebody's own hand

$pg->sql('insert into localhost.fcchat_ban (room_id, user_id, by_user, reason)'
         . " select id, $id{bob}, $id{mia}, repeat('x', 100000)"
         . " from localhost.chat_chatroom where name = 'stream_1'");
$r = got('/bans', 'rob')->{json}{bans}[0];
is("$r->{by}{username} " . length $r->{reason}, 'mia 500', 'has a bound');

# what was done

$r = got('/audit', 'rob');

my @audit = @{$r->{json}{audit}};

is(join(' ', map { $_->{action} } @audit), 'unban slow ban timeout ban',
   'all of it, the newest first');
is($audit[0]{target}{address}, '10.1.2.0/24', 'an address');
is($audit[1]{modes}{slow}, 7, 'slow mode');
is($audit[4]{target}{user}{username}, 'ann', 'a user');

# page by page

my (@seen, $next);

$next = '?limit=2';

while (defined $next && @seen < 9) {
    $r = got("/audit$next", 'rob')->{json};
    push @seen, [ map { $_->{id} } @{$r->{audit}} ];
    $next = $r->{next};
}

is_deeply(\@seen, [ [ map { $_->{id} } @audit[0, 1] ],
                    [ map { $_->{id} } @audit[2, 3] ], [ $audit[4]{id} ] ],
          'pages of two');
is(got('/audit?limit=1&scope=tenant', 'mia')->{json}{next}, undef,
   'the only one of all rooms');

my $etag = got('/audit', 'rob')->{header}{etag};

is(got('/audit', 'rob', headers => { 'If-None-Match' => $etag })->{status},
   304, 'nothing was done');

# as many pins as there may be

my @ids = map { $_->[0] } $pg->sql(
    'insert into localhost.chat_chatmessage (room_id, user_id, content,'
    . ' message_type, is_deleted, is_pinned, created_at)'
    . " select r.id, $id{ann}, 'm' || i, 'message', false, false, now()"
    . ' from localhost.chat_chatroom r, generate_series(1, 11) i'
    . " where r.name = 'stream_1' returning id");

is(join(' ', map { code(act(action => 'pin', id => 0 + $_)) } @ids[0 .. 9]),
   join(' ', (200) x 10), 'ten pins');
is(code(act(action => 'pin', id => 0 + $ids[10])), '409 too_many', 'not eleven');

# the site's own cid

$r = act(action => 'slow', seconds => 5, cid => 'again')->{json};
is_deeply(act(action => 'slow', seconds => 5, cid => 'again')->{json}, $r,
          'the same cid is the same event');
is(got('/audit?limit=1', 'rob')->{json}{audit}[0]{seq}, $r->{seq},
   'and is done once');
is(act(action => 'slow', seconds => 5, cid => 'another')->{json}{seq},
   $r->{seq} + 1, 'another is another');
