#!/usr/bin/perl

# What the site says on the bus when somebody's rights have changed: sockets on
# all workers and nodes are looked at at once, and so is the next handshake.
# What is said is not believed.
#
# S08, S38 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use Time::HiRes qw/ time /;

use FC::Crowd qw/ $WORKER spread /;
use FC::Queries;
use FC::Redis;
use FC::Site;
use FC::Util qw/ log_lines slow wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(22 + 2);
my $t2 = Test::Nginx->new();

# two Redis servers, and the site may tell either

my $redis2 = FC::Redis->new();
my $http = 'fcchat_session_cache 1h;';
my $site = FC::Site->new($t, workers => 2, location => $WORKER, bus => 0,
                         http => $http);
my $bus = 'fcchat_redis ' . join(' ', map { $_->unix_url() } $site->redis,
                                                             $redis2) . ';';
my $site2 = FC::Site->new($t2, listen => 8081, workers => 2, bus => 0,
                          location => $WORKER, http => "$http $bus",
                          pg => $site->pg, redis => $site->redis,
                          django => $site->django);

$site->write(http => "$http $bus");

my $django = $site->django();
my $queries = FC::Queries->new($site->pg());
my %id = map { $_ => $django->user($_) } qw/ reader alice bob carol dave erin /;

$site->cookie($_) for keys %id;
$site2->{cookies} = $site->{cookies};
$t->run();
$t2->run();

# a socket of each user in each worker

my %ws = map {
    my $user = $_;

    ($user => [ sockets($user) ]);
} keys %id;

is(join(' ', map { scalar @$_ } values %ws), '4 4 4 4 4 4', 'sockets');
ok(wait_for(sub { subscribers() == 8 }), 'all listen');

# another password, and the site says so

$django->set_password('alice', 'another');
announce($site->redis, user => $id{alice});
is(closes($ws{alice}), '4401 4401 4401 4401', 'another password');

# the cached session as well

is($site->join('carol')->status(), 101, 'in the cache');
$django->user('carol', is_active => JSON::PP::false);
announce($redis2, user => $id{carol});
is(closes($ws{carol}), '4403 4403 4403 4403', 'not active any more');
is($site->join('carol')->status(), 401, 'nor at the next handshake');
is($site2->join('carol')->status(), 401, 'on either node');
is($site->join('alice')->status(), 401, 'nor with the old password');

# Django tells of a logout before the session is gone.  That is asked for once
# more a second later: with another session where the logout took longer.

my ($asked, $closed);

for (1 .. 3) {
    $queries->since();
    announce($site->redis, user => $id{bob});
    $asked = wait_for(sub { asked('bob') >= 4 });
    $django->logout($site->cookie('bob'));
    $closed = closes($ws{bob});
    last if $closed !~ /open/;

    $_->drop() for @{$ws{bob}};
    delete $site->{cookies}{bob};
    $ws{bob} = [ sockets('bob') ];
}

ok($asked, 'asked for at once');
is($closed, '4401 4401 4401 4401', 'logged out a moment later');

# by the session

is($site2->join('dave')->status(), 101, 'in the cache');
$django->logout($site->cookie('dave'));
announce($site->redis, session => $site->cookie('dave'));
is(closes($ws{dave}), '4401 4401 4401 4401', 'one session');
is($site->join('dave')->status(), 401, 'which is none any more');
is($site2->join('dave')->status(), 401, 'nowhere');

# while a handshake waits for its room, and its session was asked for already;
# who waits for 2.5 seconds is refused, which is another matter

my $code;

for my $room (map { "stream_$_" } 2 .. 4) {
    last if $code = late($room);
}

is($code, 4401, 'one session before its socket is open');

# what is not true, of another tenant, or nothing

$queries->since();
announce($site->redis, user => $id{reader});
ok(wait_for(sub { asked('reader') >= 4 }), 'a word is only a question');
announce($site->redis, user => $id{reader}, tenant => 'public');
announce($site->redis, user => $id{reader}, tenant => 'x' x 64);
$site->redis->cmd('PUBLISH', 'fcchat:rights', $_)
    for '', '{', '[]', '{"user":1}', '{"tenant":"localhost","user":-1}',
        '{"tenant":"localhost","user":"1"}', '{"tenant":"localhost"}',
        '{"tenant":"localhost","session":"*"}', 'x' x 5000;
ok(wait_for(sub { log_lines($t, qr/\[warn\].*no announcement/) }),
   'what is none is told');
is(alive(), '1 1 1 1', 'nobody is closed');

# a flood of them

$queries->since();

my $client = $site->redis->client();
my $begin = time();

$client->send('PUBLISH', 'fcchat:rights',
              qq({"tenant":"localhost","user":$_})) for 1 .. 3000;
$client->reply(10) for 1 .. 3000;

is(alive(), '1 1 1 1', 'many words');

my $seconds = time() - $begin;

cmp_ok(asked('reader'), '<=', 4 * (2 + $seconds * 6), 'few questions');
ok(log_lines($t, qr/\[warn\].*too many changed rights/), 'which is told');

$django->user('reader', is_active => JSON::PP::false);

my @left = @{$ws{reader}};

ok(wait_for(sub {
    announce($site->redis, user => $id{reader});
    @left = grep { !$_->recv_close(0.1) } @left;
    return !@left;
}), 'and it still works');


sub sockets {
    my ($user) = @_;

    return (spread($site, $t, 1, user => $user),
            spread($site2, $t2, 1, user => $user));
}


sub announce {
    my ($redis, %o) = @_;

    return $redis->cmd('PUBLISH', 'fcchat:rights', FC::WS->json()->encode({
        tenant => 'localhost', %o
    }));
}


sub late {
    my ($room) = @_;

    my $key = $django->session('frank');

    $django->room($room);
    $queries->since();

    my $lock = FC::Crowd->lock($site->pg, 'localhost.chat_chatroom');
    my $ws = $site->join(undef, cookie => $key, room => $room, nowait => 1);

    wait_for(sub { $queries->log() =~ /= '$room'/ });
    $django->logout($key);
    announce($site->redis, session => $key);

    # what is announced next is heard after it

    announce($site->redis, user => $id{erin});
    wait_for(sub { asked('erin') >= 4 });
    $lock->release();
    $ws->handshake();

    return if $ws->status() != 101;
    return ($ws->recv_close(3 * slow()))[0] // 'open';
}


sub subscribers {
    my $n = 0;

    $n += $_->cmd('PUBSUB', 'NUMSUB', 'fcchat:rights')->[1]
        for $site->redis, $redis2;

    return $n;
}


sub closes {
    my ($all) = @_;

    return join ' ', map { ($_->recv_close(3 * slow()))[0] // 'open' } @$all;
}


# Questions for the rights of a user's sockets, one a worker.

sub asked {
    my ($user) = @_;

    my $key = $site->cookie($user);
    my @all = $queries->log()
              =~ /\$1 = '\{[^}']*$key[^}']*\}'/g;

    return scalar @all;
}


sub alive {
    $_->send_json({ message => 'here ' . rand }) for @{$ws{reader}};

    return join ' ', map {
        $_->recv_until(sub { ($_[0]{message} // '') =~ /^here/ }) ? 1 : 0
    } @{$ws{reader}};
}
