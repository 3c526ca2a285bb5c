#!/usr/bin/perl

# How often PostgreSQL is asked who somebody is: once a key, however many
# sockets want to know, and not again while the zone remembers.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd;
use FC::Queries;
use FC::Site;
use FC::Util qw/ log_lines slurp wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(28);

# of 8081 each worker has a socket of its own: both get clients

my $site = FC::Site->new(
    $t, workers => 2,
    http => 'fcchat_zone 64k; log_format pid $pid;',
    server => 'listen 127.0.0.1:8081 reuseport;'
              . ' access_log %%TESTDIR%%/pids.log pid;',
    more => <<'EOF');
        location /brief/ {
            fcchat;
            fcchat_session_cache 3s;
        }

        location /off/ {
            fcchat;
            fcchat_session_cache 0;
        }
EOF

my $pg = $site->pg();
my $django = $site->django();
my $queries = FC::Queries->new($pg);

my $SESSION = qr/FROM django_session/;
my $USER = qr/FROM accounts_user/;

$t->run();

# what one worker has learned is known to all

my $alice = $site->cookie('alice');

is(enter('/ws/chat', $alice), 101, 'the first');

my (@all, %pids);
my $refused = 0;

wait_for(sub {
    @all = crowd(40, 8081, $alice);
    $refused += grep { $_->status() != 101 } @all;
    drop(@all);
    %pids = map { $_ => 1 } split /\n/, slurp($t->testdir() . '/pids.log');

    return keys %pids == 2;
});

is($refused, 0, 'the others');
is(keys %pids, 2, 'both workers had some');
is($queries->count($SESSION), 1, 'one question for both workers');
is($queries->count($USER), 1, 'and one for the user');

# One in flight: PostgreSQL does not answer until a crowd is waiting.  Who waits
# for a lock gives up after a quarter of a second, and is asked again: so often
# as the machine is slow, but never by each of the crowd.

FC::Crowd->blocked($pg);

my $bob = $site->cookie('bob');
my $lock = FC::Crowd->lock($pg, 'django_session');

$queries->since();
@all = crowd(40, 8080, $bob, 'nowait');
ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'PostgreSQL is waiting');
$lock->release();

$_->handshake() for @all;
is(grep({ $_->status() == 101 } @all), 40, 'a crowd that had to wait');
cmp_ok($queries->count($SESSION), '<=', 10, 'one in flight a worker');
cmp_ok($queries->count($USER), '<=', $queries->count($SESSION),
       'for users as well');
drop(@all);

# those who ask may go meanwhile

my $carol = $site->cookie('carol');

$lock = FC::Crowd->lock($pg, 'django_session');
$queries->since();
@all = crowd(20, 8080, $carol, 'nowait');
ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'PostgreSQL is waiting again');
drop(@all);
$lock->release();
ok(wait_for(sub { $queries->count($USER) >= 1 }), 'it goes on without them');
is(enter('/ws/chat', $carol), 101, 'and the outcome was kept');
cmp_ok($queries->count($SESSION), '<=', 10, 'with no other question');

# a session is trusted for so long

my $dave = $django->session('dave');

$queries->since();
is(enter('/brief', $dave), 101, 'a session');
$django->logout($dave);
is(enter('/brief', $dave), 101, 'trusted for a while');
ok(wait_for(sub { enter('/brief', $dave) == 401 }, 10), 'then asked again');
is($queries->count($SESSION), 2, 'two questions');

# keys that are none

$queries->since();
is(join(' ', map { enter('/ws/chat', 'a' x 32) } 1 .. 8),
   join(' ', (401) x 8), 'an unknown key');
is($queries->count($SESSION), 1, 'one question for it');

my $key = 'c' x 32;

is(enter('/brief', $key), 401, 'another');
$pg->sql("update django_session set session_key = '$key' "
         . "where session_key = :'k'", k => $django->session('erin'));
ok(wait_for(sub { enter('/brief', $key) == 101 }, 10), 'a moment later it is');

# off

$queries->since();
enter('/off', 'd' x 32) for 1 .. 3;
is($queries->count($SESSION), 3, 'no cache');

# a reload

my @old = workers($t);

$t->reload();
ok(wait_for(sub {
    my %now = map { $_ => 1 } workers($t);
    return keys %now == 2 && !grep { $now{$_} } @old;
}), 'new workers');

$queries->since();
enter('/ws/chat', $alice);
is($queries->count($SESSION), 0, 'nothing was forgotten');

# more keys than the smallest zone has room for

my %status;

for my $n (0 .. 3) {
    my @all = FC::WS->connect_many(
        300, sub { (cookie => sprintf '%032d', $n * 1000 + $_[0]) },
        port => port(8080), path => '/ws/chat/stream_1/');

    $status{$_->status()}++ for @all;
    drop(@all);
}

is_deeply(\%status, { 401 => 1200 }, 'a flood of unknown keys');

my $frank = $django->session('frank');

enter('/ws/chat', $frank);
$queries->since();
is(enter('/ws/chat', $frank), 101, 'a session after it');
is($queries->count($SESSION), 0, 'and it is cached');

$t->stop();

is(join('', grep { !/fcchat security: no valid session/ }
            log_lines($t, qr/\[(?:warn|error|crit|alert|emerg)\]/)), '',
   'a clean error log');


sub enter {
    my ($path, $cookie) = @_;

    my $ws = FC::WS->connect(port => port(8080), path => "$path/stream_1/",
                             cookie => $cookie);
    my $status = $ws->status();

    $ws->drop();

    return $status;
}


sub crowd {
    my ($n, $port, $cookie, $nowait) = @_;

    my %o = (port => port($port), path => '/ws/chat/stream_1/',
             cookie => $cookie);

    return map { FC::WS->connect(%o, nowait => 1) } 1 .. $n if $nowait;
    return FC::WS->connect_many($n, undef, %o);
}


sub drop {
    $_->drop() for @_;

    return;
}
