#!/usr/bin/perl

# Who somebody is, and what is asked before that is clear.  The numbers are
# those of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Pg;
use FC::Queries;
use FC::Redis;
use FC::Site;
use FC::Util qw/ asan run_quiet top /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http map rewrite/)->plan(52);
my $redis = FC::Redis->new();

# a clock of PostgreSQL's own, a day ahead of all others

my $clock = $t->testdir() . '/clock.so';

chmod 0755, $t->testdir();
run_quiet({}, 'cc', '-shared', '-fPIC', '-O1', '-o', $clock,
          top() . '/t/fault/clock.c', '-ldl');

my $ahead = FC::Pg->new(private => 1, fsync => 0,
                        wrap => [ 'env', "LD_PRELOAD=$clock" ]);

my $site = FC::Site->new($t, redis => $redis, http => <<'EOF', more => <<"EOT");
    fcchat_session_cache 0;

    map $arg_tenant $tenant {
        default  localhost;
        east     east;
    }
EOF
        location /cache/ {
            fcchat;
            fcchat_session_engine cache;
            fcchat_session_redis @{[ $redis->unix_url() ]};
        }

        location /ahead/ {
            fcchat;
            fcchat_postgres "@{[ $ahead->dsn() ]}";
        }

        location /tenants/ {
            fcchat;
            fcchat_tenant \$tenant;
        }
EOT

my ($pg, $django) = ($site->pg(), $site->django());

$django->tables('east');
$pg->apply('east');

$site->cookie('alice');
$django->room('stream_1');
$django->room('stream_1', schema => 'east');
my $east = $django->session('eve', schema => 'east');

my $queries = FC::Queries->new($pg);

$t->run();

# S03: whatever is wrong with a handshake, nobody is asked about who it is

sub asked {
    my $gets = $redis->cmd('INFO', 'commandstats') =~ /cmdstat_get:calls=(\d+)/
               ? $1 : 0;

    return $queries->count(qr/django_session|accounts_user|chat_chatroom/)
           + $gets;
}

is(($site->join('alice')->close())[0], 1000, 'what is right');

for my $path ('/ws/chat', '/cache') {
    $queries->since();

    my $before = asked();

    is($site->join('alice', path => "$path/stream_1/",
                   cookie => $path eq '/cache' ? 'c' x 32 : 'd' x 32)
       ->status(), 401, "S03: $path, a cookie that has to be asked for");
    cmp_ok(asked(), '>', $before, "S03: $path, and is");

    $queries->since();
    $before = asked();

    for my $case ([ 403, origin => 'https://evil.example' ],
                  [ 403, origin => undef ],
                  [ 403, origin => 'null' ],
                  [ 400, headers => [ 'Origin: http://localhost' ] ],
                  [ 426, version => 8 ],
                  [ 426, version => undef ],
                  [ 400, key => 'short' ],
                  [ 400, key => undef ],
                  [ 405, method => 'POST' ],
                  [ 400, http => 'HTTP/1.0' ],
                  [ 400, upgrade => undef ],
                  [ 400, protocol => 'a b' ],
                  [ $path eq '/cache' ? 400 : 404, room => 'n%20o' ],
                  [ 401, cookies => 'a=b' ],
                  [ 401, cookies => "sessionid=' or 1=1" ])
    {
        my ($status, %o) = @$case;
        my $name = join ' ', map { ref $_ ? @$_ : $_ // 'none' } %o;
        my $room = delete $o{room} // 'stream_1';

        is($site->join('alice', path => "$path/$room/", %o)->status(), $status,
           "S03: $path, $name");
    }

    is(asked(), $before, "S03: $path, nothing was asked");
}

# S09: a session is what the cookie says, and nothing else; what is not one any
# more is none

my $cookie = $django->session('alice');

for my $path ("?sessionid=$cookie", "?session=$cookie", ";sessionid=$cookie") {
    is(FC::WS->connect(port => port(8080),
                       path => "/ws/chat/stream_1/$path")->status(),
       $path =~ /^;/ ? 404 : 401, 'S09: a session in the URL, '
       . substr $path, 0, 8);
}

is(FC::WS->connect(port => port(8080), path => '/ws/chat/stream_1/',
                   headers => [ "X-Session: $cookie",
                                "Authorization: Bearer $cookie" ])->status(),
   401, 'S09: in other headers');

my $anonymous = $django->session('alice', data => {
    map { $_ => undef } qw/ _auth_user_id _auth_user_backend _auth_user_hash /
});

is($site->join('alice', cookie => $anonymous)->status(), 401,
   'S09: a session nobody has logged in to');

# login() cycles the key: the data move to another row

my ($old, $new) = ($django->session('alice'), 'k' x 32);

is($site->join('alice', cookie => $old)->status(), 101, 'S09: before');
$pg->sql("update django_session set session_key = '$new'"
         . " where session_key = '$old'");
is($site->join('alice', cookie => $old)->status(), 401,
   'S09: the key of before cycle_key()');
is($site->join('alice', cookie => $new)->status(), 101, 'S09: the new one');

# S05: the clock of PostgreSQL, which is a day ahead

my $other = FC::Django->new(pg => $ahead);

cmp_ok($ahead->sql('select extract(epoch from now())::int8') - time(), '>',
       80000, 'a clock a day ahead');
$other->user('alice');
$other->room('stream_1');

for my $case ([ 401, 12 ], [ 101, 36 ]) {
    my ($status, $hours) = @$case;

    is(FC::WS->connect(port => port(8080), path => '/ahead/stream_1/',
                       cookie => $other->session('alice', age =>
                                                 $hours * 3600))->status(),
       $status, "S05: $hours hours from now");
}

# S11: two tenants over the same connections, in turn

my $n = asan() ? 100 : 1000;
my $alice = FC::WS->connect(port => port(8080), protocol => 'fcchat.v1',
                            path => '/tenants/stream_1/', cookie => $cookie);
my $eve = FC::WS->connect(port => port(8080), protocol => 'fcchat.v1',
                          path => '/tenants/stream_1/?tenant=east',
                          cookie => $east);

is(join(' ', map { $_->status() } $alice, $eve), '101 101', 'two tenants');

my %bad;

for my $i (1 .. $n) {
    for my $case ([ $alice, 'west' ], [ $eve, 'east' ]) {
        $case->[0]->send_json({ type => 'message', text => "$case->[1] $i",
                                cid => "c$i" });
    }

    next if $i % 20;

    for my $case ([ $alice, 'west' ], [ $eve, 'east' ]) {
        my ($ws, $word) = @$case;

        for (1 .. 40) {
            my $m = $ws->recv_until(sub { $_[0]{type} ne 'viewers' }) // {};

            $bad{$word}++ if $m->{type} !~ /^(?:ack|message|welcome)$/
                             || ($m->{text} // $word) !~ /^$word/;
        }
    }
}

is(join(' ', %bad), '', "S11: $n messages of each, in turn");

for my $case ([ 'localhost', 'west' ], [ 'east', 'east' ]) {
    my ($schema, $word) = @$case;

    is($pg->sql("select count(*) || ' ' || count(nullif(content like"
                . " '$word %', true)) from $schema.chat_chatmessage"),
       "$n 0", "S11: those in $schema");
}
