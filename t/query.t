#!/usr/bin/perl

# fcchat_query: a site whose tables are others, with views for what the log's
# functions need; and what is said of a statement that is wrong.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite map/)->plan(53);

# what a site might write; "%" and quotes are its own

my $QUERIES = <<'EOF';
            fcchat_query session
                "SELECT blob FROM logins -- $2 and '
                 WHERE sid = $1 AND till > now() AND note NOT LIKE '%s%V'";
            fcchat_query user "SELECT pid, login, secret, enabled, boss
                               FROM people WHERE pid = $1";
            fcchat_query room "WITH c AS (SELECT cid, show_id FROM channels
                                          WHERE slug = $1 AND live)
                               SELECT * FROM c";
            fcchat_query stamps "SELECT no::int2, label::varchar, file
                                 FROM icons ORDER BY no";
            fcchat_query owner "SELECT runs FROM shows
                                JOIN channels ON no = show_id
                                WHERE cid = $1";
            fcchat_query reaction
                "INSERT INTO claps (show, who, icon, ms)
                 SELECT * FROM unnest($1::bigint[], $2::bigint[],
                                      $3::bigint[], $4::bigint[])";
EOF

# each is wrong in one way: what is said of it, and what its handshakes get

my $user = 'must give 5 columns (id, username, password, is_active, is_staff)';

my @wrong = (
    [ columns => 'user "SELECT pid, login, secret, enabled FROM people'
                 . ' WHERE pid = $1"',
      qq("fcchat_query user" $user, it gives 4 in schema "other"), 503 ],
    [ type => 'user "SELECT pid, pid, secret, enabled, boss FROM people'
              . ' WHERE pid = $1"',
      '"fcchat_query user" must give a text as column 2 (username), it does'
      . ' not in schema "other"', 503 ],
    [ table => 'session "SELECT blob FROM nowhere WHERE sid = $1"',
      '"fcchat_query session" fails in schema "other", 42P01: relation'
      . ' "nowhere" does not exist', 503 ],
    [ room => 'room "SELECT cid, show_id, slug FROM channels WHERE slug = $1"',
      '"fcchat_query room" must give 2 columns (id, stream_id), it gives 3 in'
      . ' schema "other"', 503 ],
    [ owner => 'owner "SELECT runs FROM nothing WHERE no = $1"',
      '"fcchat_query owner" fails in schema "other", 42P01: relation'
      . ' "nothing" does not exist', 503 ],
    [ id => 'owner "SELECT slug FROM channels WHERE cid = $1"',
      '"fcchat_query owner" must give an integer as column 1 (user_id), it'
      . ' does not in schema "other"', 503 ],
    [ reaction => 'reaction "INSERT INTO claps (show, who, icon)'
                  . ' VALUES ($1, $2, $3, $4)"',
      '"fcchat_query reaction" fails in schema "other", 42601: ', 101 ],
);

my $site = FC::Site->new($t, http => <<'EOF', more => <<"EOF2");
    map $http_x_tenant $tenant {
        default  $http_x_tenant;
    }

    fcchat_session_cache 0;
EOF
        location /other/ {
            fcchat;
            fcchat_tenant other;
$QUERIES
        }

        location /by/ {
            fcchat;
            fcchat_tenant \$tenant;
$QUERIES
        }

        location /wrong/ {
            fcchat_tenant other;
$QUERIES
            location /wrong/default/ {
                fcchat;
                fcchat_query session default;
            }

            @{[ map { "location /wrong/$_->[0]/ { fcchat;"
                      . " fcchat_query $_->[1]; }\n" } @wrong ]}
        }
EOF2

my ($pg, $django) = ($site->pg(), $site->django());

my %key = map { $_ => $django->session($_) } qw/ ann bill /;

for my $schema (qw/ other third /) {
    $pg->sql(<<"EOF");
create schema $schema;
set search_path = $schema;
create table people (pid int primary key, login text not null,
                     secret text not null, enabled bool not null,
                     boss bool not null);
create table logins (sid varchar(40) primary key, blob text not null,
                     till timestamptz not null, note text not null default '');
create table shows (no int primary key, host int, runs int);
create table channels (cid int primary key, slug text unique,
                       show_id int references shows, live bool not null);
create table icons (no int primary key, label text not null,
                    file text not null);
create table claps (show bigint, who bigint, icon bigint, ms bigint);
insert into people select id, '$schema-' || username, password, true, is_staff
  from localhost.accounts_user;
insert into logins select session_key, session_data, expire_date
  from localhost.django_session;
insert into shows values (7, 1, 2);
insert into channels values (5, 'lobby', 7, true), (6, 'dark', null, false);
insert into icons values (1, ':clap:', '/i/clap.svg');

create view accounts_user as
    select pid as id, login as username, enabled as is_active,
           boss as is_staff from people;
create view chat_chatroom as
    select cid as id, slug as name, show_id as stream_id, live as is_active
      from channels;
create view streaming_stream as select no as id, host as user_id from shows;
create table chat_chatmessage (
    id bigserial primary key, room_id int not null, user_id int,
    content text not null, message_type text not null,
    is_deleted bool not null, is_pinned bool not null,
    created_at timestamp not null);
EOF
    $pg->apply($schema);
}

$t->run();

sub enter {
    my ($path, $cookie, %o) = @_;

    return FC::WS->connect(port => port(8080), path => $path,
                           cookie => $cookie, protocol => 'fcchat.v1', %o);
}

# the next that is of this type, or has this key

sub next_of {
    my ($ws, $type) = @_;

    while (my $message = $ws->recv_json()) {
        return $message if ($message->{type} // '') eq $type;
    }

    return {};
}

# at work

my $ws = enter('/other/lobby/', $key{ann});

is($ws->status(), 101, 'a handshake by its own tables');

my $welcome = $ws->recv_json();

is($welcome->{you}{username}, 'other-ann', 'the user');
is($welcome->{you}{role}, 'member', 'who by our own query were the owner');
is($welcome->{head}, 0, 'the log begins');

$ws->send_json({ type => 'message', text => 'hello', cid => 'c' });

is(next_of($ws, 'ack')->{seq}, 1, 'a message');
is($pg->sql('select content from other.chat_chatmessage'), 'hello', 'its row');
is($pg->sql('select epoch from other.fcchat_head where room_id = 5'),
   $welcome->{epoch}, 'the epoch that it was welcomed with');

$ws->send_json({ type => 'reaction', stamp_id => 1 });
is_deeply(next_of($ws, 'reactions')->{counts}, { 1 => 1 }, 'a reaction');

my $old = enter('/other/lobby/', $key{bill}, protocol => undef);

$old->send_json({ type => 'reaction', stamp_id => 1 });
is_deeply(next_of($old, 'reaction'),
          { type => 'reaction', username => 'other-bill', stamp_id => 1,
            stamp_name => ':clap:', stamp_image_url => '/i/clap.svg' },
          'and another, with the name of its stamp');

ok(wait_for(sub { $pg->sql('select count(*) from other.claps') == 2 }),
   'their rows');
is($pg->sql('select count(*) from other.claps'
            . ' where show = 7 and icon = 1 and ms > 1500000000000'), 2,
   'and what is in them');

my $host = enter('/other/lobby/', $key{bill});

is($host->recv_json()->{you}{role}, 'owner', 'the owner by its own query');
$host->send_json({ type => 'slow', seconds => 0, cid => 's' });
is(next_of($host, 'ack')->{cid}, 's', 'may do what an owner may');
$ws->send_json({ type => 'slow', seconds => 0, cid => 's' });
is(next_of($ws, 'error')->{code}, 'forbidden', 'and nobody else');

is(enter('/other/dark/', $key{ann})->status(), 404, 'no room by the query');
is(enter('/other/lobby/', 'x' x 32)->status(), 401, 'no session');

$pg->sql("update other.people set enabled = false where login = 'other-bill'");
is(enter('/other/lobby/', $key{bill})->status(), 401, 'a user not active');
is(join(' ', $old->recv_close()), '4403 not allowed', 'nor where it was');

# the other locations have their own

is($site->join('ann')->status(), 101, 'a location without');

# tables are found by the tenant's path

is(enter('/by/lobby/', $key{bill}, headers => [ 'X-Tenant: third' ])
       ->recv_json()->{you}{username}, 'third-bill', 'another tenant');
is(enter('/by/lobby/', $key{bill}, headers => [ 'X-Tenant: other' ])->status(),
   401, 'and this one');
is(enter('/by/lobby/', $key{bill}, headers => [ 'X-Tenant: none' ])->status(),
   404, 'and one that is none');

# what was wrong was told at the start, by name

for my $case (@wrong) {
    my ($name, undef, $line, $status) = @$case;

    ok(wait_for(sub { log_lines($t, qr/\[error\].*\Q$line\E/) }),
       "$name: at the start");
    is(enter("/wrong/$name/lobby/", $key{ann})->status(), $status,
       "$name: a handshake") for 1 .. 2;
    is(scalar log_lines($t, qr/\Q$line\E/), 1, "$name: one line");
}

# "default" is the statement of fcchat, whose table that schema has not; what
# is missing is there once it is made

is(enter('/wrong/default/lobby/', $key{ann})->status(), 503,
   'a query that is "default" again');

$pg->sql('create view other.nowhere as select * from other.logins');
is(enter('/wrong/table/lobby/', $key{ann})->status(), 101, 'it is made');

# who is there goes with the session

$pg->sql('delete from other.logins');
is(join(' ', $ws->recv_close()), '4401 session ended', 'the session is gone');
