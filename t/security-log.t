#!/usr/bin/perl

# What the error log says of those who are refused, limited or closed: who,
# from where, to which room and why; nothing that is a secret, nothing that was
# said, and no more than a line a second of each kind.  The numbers are those of
# SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Pg;
use FC::Proxy;
use FC::Redis;
use FC::Site;
use FC::Util qw/ free_port slow slurp wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(41);
my $pg = FC::Pg->new();
my $proxy = FC::Proxy->new(to => $pg->host() . '/.s.PGSQL.' . $pg->port());
my $r = FC::Redis->new();
my $slow = $pg->dsn('tcp') =~ s/port=\d+/'port=' . $proxy->port()/er;

# what only the configuration knows

my %secret = map { $_ => "secret-of-the-$_-0123456789" }
             qw/ bus site postgres redis /;

for my $name (qw/ bus site /) {
    $t->write_file("$name-secret", "$secret{$name}\n");
    chmod 0600, $t->testdir() . "/$name-secret";
}

my $nowhere = free_port();

# beside the log of Test::Nginx, where nginx itself debugs all headers

my $site = FC::Site->new($t, pg => $pg, redis => $r, rate => <<'EOF', more => <<"EOT");
    error_log %%TESTDIR%%/error.log debug;
    error_log %%TESTDIR%%/told.log info;
    fcchat_log %%TESTDIR%%/chat.log;
    fcchat_session_cache 1s;
    fcchat_rate 5r/m burst=1;
    fcchat_reaction_rate off;
    fcchat_connections user=2 ip=off;
    fcchat_redis_secret_file %%TESTDIR%%/bus-secret;
EOF
        location /guests/ {
            fcchat;
            fcchat_guests read;
        }

        location /full/ {
            fcchat;
            fcchat_rate off;
            fcchat_log /dev/full;
            access_log /dev/full;
            error_log /dev/full info;
        }

        location /api/ {
            fcchat_api;
            fcchat_api_secret_file %%TESTDIR%%/site-secret;
        }

        location /away/ {
            fcchat;
            fcchat_postgres "host=127.0.0.1 port=$nowhere user=x
                             password=$secret{postgres}";
            fcchat_redis redis://x:$secret{redis}\@127.0.0.1:$nowhere;
        }

        location /wrong/ {
            fcchat;
            fcchat_redis redis://x:$secret{redis}\@127.0.0.1:@{[ $r->port() ]};
        }

        location = /status {
            fcchat_status;
        }

        location /late/ {
            fcchat;
            fcchat_postgres "$slow" timeout=30s;
            fcchat_handshake_timeout 1s;
        }
EOT

my $cookie = $site->cookie('alice');

$site->django->room('stream_1');
$t->run();

my $told = $t->testdir() . '/told.log';
my $seen = 0;

# what was told since the last time, for some reason

sub told {
    my ($reason) = @_;

    my $new = '';

    wait_for(sub {
        $new = substr slurp($told), $seen;
        $new =~ /fcchat security: \Q$reason\E.*\n/;
    }, 5);

    $seen += length $new;

    return join '', $new =~ /security: (\Q$reason\E.*?)(?: while |, client)/g;
}

# S44

my $from = 'origin: "http://localhost", address: "127.0.0.1"';
my $who = qq(, user: "alice", room: "stream_1", $from);
my $word = 'what-was-said';

$site->join('alice', origin => 'https://evil.example');
is(told('origin not allowed'), 'origin not allowed, room: "stream_1",'
   . ' origin: "https://evil.example", address: "127.0.0.1"',
   'S44: an Origin');

$site->join('alice', cookie => 'b' x 32);
is(told('no valid session'), qq(no valid session, room: "stream_1", $from),
   'S44: a session');

$site->join('alice', room => 'none');
is(told('no such room'), qq(no such room, user: "alice", room: "none", $from),
   'S44: a room');

$site->join('alice', key => 'none');
is(told('bad Sec-WebSocket-Key'),
   'bad Sec-WebSocket-Key, address: "127.0.0.1"', 'S03, S44: no handshake');

my @alice = map { $site->join('alice') } 1, 2;

is($site->join('alice')->status(), 429, 'one socket too many');
is(told('too many connections'), "too many connections$who",
   'S44: too many sockets');

$alice[0]->send_json({ message => "$word $_" }) for 1 .. 2;
$alice[0]->recv_until(sub { ($_[0]{code} // '') eq 'rate_limited' });
is(told('too fast'), "too fast$who", 'S44: too fast');

$alice[1]->send_frame(op => 1, payload => "{$word", mask => undef);
$alice[1]->recv_close();
is(told('frame is not masked'), "frame is not masked$who",
   'S44: a frame that is wrong');
$alice[0]->close();

my $guest = $site->join(undef, path => '/guests/stream_1/');

$guest->send_json({ message => "$word by a guest" });
$guest->recv_json();
is(told('a guest may only watch'),
   qq(a guest may only watch, room: "stream_1", $from),
   'S44: a guest who would write');

# a logout ends an open socket

my $line = '';

wait_for(sub {
    my $key = $site->django->session('bob');
    my $ws = $site->join('bob', cookie => $key);

    $site->django->logout($key);
    $line = told('session ended');
    $ws->drop();

    return $line;
}, 10);
is($line =~ s/ \(and .*//r, qq(session ended, user: "bob", room: "stream_1", )
   . $from, 'S44: a session that has ended');

# what a client has chosen is a string of one line

$line = '';

wait_for(sub {
    $site->join('alice', origin => "http://a\x1b[31m\"\\<\xff\x7f" . 'o' x 500);
    $line = told('origin not allowed');
}, 5);
like($line, qr/origin:\ "http:\/\/a\\u001b\[31m\\u0022\\u005c\\u003c\\ufffd
               \\u007fo{100,115}",\ address/x,
     'S24: control characters are escaped, and it is cut');
unlike(slurp($told), qr/security:.*[\x00-\x09\x0b-\x1f\x7f]/,
       'S24: none are in the log');

# S37

my $n = 300;
my ($most, $sent) = (0, 0);

wait_for(sub {
    for (1 .. $n) {
        $site->join('alice', cookie => 'c' x 32)->drop();
        $sent++;
    }

    ($most) = sort { $b <=> $a } 0, slurp($told) =~ /and (\d+) more of these/g;

    return $most >= 20;
}, 20);

cmp_ok($most, '>=', 20, 'S37: how many there were is told');
cmp_ok($most, '<=', $sent, 'S37: which is true');

my %lines;

for (split /\n/, slurp($told)) {
    $lines{"$1 $2"}++ if /^(\S+ \S+) \[warn\].* fcchat security: ([^,]+)/;
}

is(join('', grep { $lines{$_} > 1 } sort keys %lines), '',
   'S37: one line of a kind in a second');

# S37: the disk with the logs is full, for one location of this worker

my $full = $site->join('bob', path => '/full/stream_1/',
                       protocol => 'fcchat.v1');
my ($slowest, $acks, $none) = (0, 0, 0);

for (1 .. 50) {
    my $since = time();

    $none++ if $site->join('alice', cookie => 'd' x 32,
                           path => '/full/stream_1/')->status() == 401;

    $full->send_json({ type => 'message', text => "no space $_",
                       cid => "full$_" });
    $acks++ if $full->recv_until(sub { ($_[0]{type} // '') eq 'ack' });

    $slowest = time() - $since if time() - $since > $slowest;
}

is("$none $acks", '50 50', 'S37: with a full disk all are answered');
cmp_ok($slowest, '<', 2 * slow(), 'S37: and nobody waits');
$full->close();

# S28: what is not answered in time

my $late = $site->join('alice', path => '/late/stream_1/');

is($late->status(), 101, 'PostgreSQL answers');
$late->close();
$proxy->pause();

my $begun = time();

$late = $site->join('alice', path => '/late/none/');
is($late->status(), 503, 'S28: PostgreSQL does not, and that is 503');
is($late->header('Retry-After'), 1, 'S28: to be tried again');
cmp_ok(time() - $begun, '<=', 3 * slow(), 'S28: in time');
is(told('the chat is not available'),
   qq(the chat is not available, user: "alice", room: "none", $from),
   'S44: that is told, too');

# the connection goes on

$late->{path} = '/ws/chat/stream_1/';
$late->send_raw($late->request());
$late->handshake();
is($late->status(), 101, 'S28: the connection is as good as ever');
$late->close();

# and answers may come whenever they like

my @late = map { $site->join('alice', path => "/late/r$_/", nowait => 1) }
           1 .. 2;

$late[0]->drop();
$late[1]->handshake();
is($late[1]->status(), 503, 'S28: another one');
$proxy->resume();
is($site->join('alice', path => '/late/stream_1/')->status(), 101,
   'S27, S28: after late answers it works again');

# S12: what can't be reached or does not believe us is told without what was said
# to it

is($site->join('alice', path => '/away/stream_1/')->status(), 503,
   'S12: a PostgreSQL that is not there');
is($site->join('alice', path => '/wrong/stream_1/')->status(), 101,
   'S12: a Redis that wants another password');
ok(wait_for(sub { workers_log() =~ /postgres.*$nowhere/i }),
   'S12: the log has the one');
ok(wait_for(sub { workers_log() =~ /WRONGPASS/ }), 'S12: and the other');

for my $auth ($secret{site}, 'wrong-' . $secret{site}) {
    my $http = $site->join(undef, path => '/api/stream_1/viewers',
                           headers => [ "Authorization: Bearer $auth" ]);

    is($http->status(), $auth =~ /^wrong/ ? 401 : 200,
       'S12: the secret of the site, ' . length $auth);
}

my $status = join '', map {
    http_get("/status?format=$_")
} qw/ json prometheus html /;

$t->stop();

# S12: all that nginx wrote, but what it debugs

my $all = join '', workers_log(), map { slurp($t->testdir() . "/$_") }
          qw/ told.log chat.log access.log stderr.log /;

unlike($all, qr/\Q$cookie\E/, 'S12: no cookie in any log');
unlike($all, qr/\Q$word\E/, 'S44: nothing that was said');
unlike($all, qr/\Q$FC::Django::SECRET\E/, 'S12: no SECRET_KEY');

for my $name (sort keys %secret) {
    unlike($all . $status, qr/\Q$secret{$name}\E/, "S12: not that of $name");
}

unlike($status, qr/\Q$cookie\E|\Q$word\E|\Q$FC::Django::SECRET\E/,
       'S12: nor any of them on the status page');
like($status, qr/"rooms".*fcchat_.*<html/s, 'that was the page');
like($all, qr/fcchat security/, 'that was the log');


# what goes to the log of Test::Nginx, but for what nginx debugs

sub workers_log {
    return join '', grep { !/\[debug\]/ }
                    split /^/, slurp($t->testdir() . '/error.log');
}
