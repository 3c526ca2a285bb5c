#!/usr/bin/perl

# What it may cost us that somebody wants to be a burden.  The numbers are those
# of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use IO::Socket::INET;
use POSIX ();
use Time::HiRes ();

use Test::Nginx;

use FC::Queries;
use FC::Site;
use FC::Util qw/ asan fds rss slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http realip rewrite/)->plan(44);

my $off = 'fcchat_rate off; fcchat_reaction_rate off;'
          . ' fcchat_connections user=off ip=off;';

my $site = FC::Site->new($t, rate => <<"EOF", server => <<'EOS', more => <<'EOT');
    $off
    fcchat_auth_rate 2r/m burst=5;
    fcchat_history_rate 2r/m burst=3;
    fcchat_guests read;
EOF
        client_header_timeout 1s;
        set_real_ip_from 127.0.0.0/8;
        set_real_ip_from ::1;
        real_ip_header X-Test-Address;
        listen 127.0.0.1:8081 sndbuf=8k;
EOS
        location /counted/ {
            fcchat;
            fcchat_connections user=off ip=2;
        }

        location /api/ {
            fcchat_api;
            fcchat_api_rate 2r/m burst=3;
        }
EOT

my $queries = FC::Queries->new($site->pg());
my $session = qr/django_session/;

$site->django->user($_, is_staff => $_ eq 'mod' ? 1 : 0)
    for qw/ alice bob mod owner /;
$site->cookie($_) for qw/ alice bob mod owner /;
$site->django->room('stream_1');
$site->pg->sql('alter table streaming_stream add column user_id integer;'
               . ' update streaming_stream set user_id = (select id'
               . " from accounts_user where username = 'owner')");
$t->run();

my ($worker) = @{wait_for(sub { my @w = workers($t); @w && \@w })};
my $key = 'a' x 31;
my $serial = 0;

# from an address, with a cookie nobody has ever seen

sub stranger {
    my ($address) = @_;

    my $ws = $site->join('alice', cookie => sprintf('z%031d', $serial++),
                         headers => [ "X-Test-Address: $address" ]);
    my $status = $ws->status();

    $ws->drop();

    return $status;
}

# S28: slow in its headers

my $slow = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(8080));

$slow->syswrite("GET /ws/chat/stream_1/ HTTP/1.1\r\nHost: local");

my $begun = time();
my $n = $slow->sysread(my $answer, 4096);

is($n, 0, 'S28: headers that do not end are closed');
cmp_ok(time() - $begun, '<=', 4 * slow(), 'S28: by client_header_timeout');

# S31: five questions, and not one more for the sixth

$queries->since();
is(join(' ', map { stranger('192.0.2.1') } 1 .. 8),
   '101 101 101 101 101 429 429 429', 'S31: unknown cookies of one address');
is($queries->count($session), 5, 'S31: cost five questions');
is(stranger('192.0.2.2'), 101, 'S31: of another address');

my $ws = $site->join('alice', headers => [ 'X-Test-Address: 192.0.2.1' ],
                     cookie => sprintf('z%031d', 99999999));

is($ws->status(), 429, 'S31: it is 429');
is($ws->header('Retry-After'), 5, 'S31: to be tried again');
is($site->join('alice', headers => [ 'X-Test-Address: 192.0.2.1' ],
               cookie => sprintf('z%031d', 0))->status(), 101,
   'S31: what is known to be none costs nothing');
is($site->join('alice', headers => [ 'X-Test-Address: 192.0.2.3' ])
   ->status(), 101, 'S31: a session');
is($site->join('alice', headers => [ 'X-Test-Address: 192.0.2.1' ])
   ->status(), 101, 'S31: which is in the cache, from the bad address');

# a valid one gives back what was taken for it

my @good = $site->django->sessions(12, 'many');

is(join(' ', map { $site->join('x', cookie => $good[$_], headers =>
                               [ 'X-Test-Address: 192.0.2.4' ])->status() }
        0 .. 11), join(' ', (101) x 12), 'S31: sessions cost nothing');

$queries->since();
is(join(' ', map { stranger("2001:db8:0:1::$_") } 1 .. 6),
   '101 101 101 101 101 429', 'S31: of IPv6 half is one address');
is(stranger('2001:db8:0:2::1'), 101, 'S31: and the next is another');

# many at once, of one cookie: one question; of many: no more than there may be

$queries->since();

my @same = FC::WS->connect_many(20, sub { (cookie => 'y' x 32) },
                                port => port(8080), path =>
                                '/ws/chat/stream_1/', headers =>
                                [ 'X-Test-Address: 192.0.2.5' ]);

is(scalar(grep { $_->status() == 101 } @same), 20, 'S31: 20 with one cookie');
is($queries->count($session), 1, 'S31: one question');
$_->drop() for @same;

$queries->since();
@same = FC::WS->connect_many(40, sub { (cookie => sprintf 'y%031d', $_[0]) },
                             port => port(8080), path => '/ws/chat/stream_1/',
                             headers => [ 'X-Test-Address: 192.0.2.6' ]);
is(scalar(grep { $_->status() == 429 } @same), 35, 'S31: 40 at once');
is($queries->count($session), 5, 'S31: five questions');
$_->drop() for @same;

# S29: of an address; what a proxy has not said is not believed

sub counted {
    my (%o) = @_;

    return $site->join('alice', path => '/counted/stream_1/', %o);
}

my @open = map { counted(headers => [ 'X-Test-Address: 198.51.100.1' ]) } 1, 2;

is(counted(headers => [ 'X-Test-Address: 198.51.100.1' ])->status(), 429,
   'S29: two sockets of an address');
is(counted(headers => [ 'X-Test-Address: 198.51.100.2' ])->status(), 101,
   'S29: one of another');

push @open, map { counted(headers => [ "X-Test-Address: 2001:db8:1::$_" ]) }
            1, 2;
is(counted(headers => [ 'X-Test-Address: 2001:db8:1::3' ])->status(), 429,
   'S29: of IPv6 half is one address');
is(counted(headers => [ 'X-Test-Address: 198.51.100.1',
                        'X-Forwarded-For: 203.0.113.1' ])->status(), 429,
   'S29: X-Forwarded-For is nobody');
$_->drop() for @open;

# S29: and of the API

sub asked {
    my ($address) = @_;

    my $http = $site->join(undef, path => '/api/stream_1/viewers',
                           headers => [ "X-Test-Address: $address" ]);
    my $status = $http->status();

    $http->drop();

    return $status;
}

is(join(' ', map { asked('198.51.100.3') } 1 .. 4), '200 200 200 429',
   'S29: requests of a guest by its address');
is(join(' ', map { asked("2001:db8:2::$_") } 1 .. 4), '200 200 200 429',
   'S29: of which half is one of IPv6');
is(asked('2001:db8:2:1::1'), 200, 'S29: and the next is another');

# S34: resumes and pages

my $mod = $site->join('mod', protocol => 'fcchat.v1');
my $epoch = $mod->recv_json()->{epoch};

for (1 .. 5) {
    $mod->send_json({ type => 'message', text => "m$_", cid => "m$_" });
    $mod->recv_until(sub { ($_[0]{type} // '') eq 'ack' });
}

sub resumed {
    my ($user, $since, %o) = @_;

    my $ws = $site->join($user, protocol => 'fcchat.v1',
                         query => "since=$epoch:$since", %o);

    $ws->recv_json();

    my $m = $ws->recv_json(1) // {};

    $ws->drop();

    return $m->{reason} // $m->{text} // 'nothing';
}

is(join(' ', map { resumed('alice', 0) } 1 .. 5),
   'm1 m1 m1 too_often too_often', 'S34: three resumes, then none');
is(resumed('alice', 5), 'nothing', 'S34: with nothing missed it costs nothing');
is(resumed('bob', 3), 'm4', 'S34: of another user');
is(join(' ', map { resumed('mod', 0) } 1 .. 5), 'm1 m1 m1 m1 m1',
   'S34: moderators are free');
is(join(' ', map { resumed('owner', 0) } 1 .. 5), 'm1 m1 m1 m1 m1',
   'S34: the owner, too');

$ws = $site->join('bob', protocol => 'fcchat.v1');
$ws->recv_json();

my @pages = map {
    $ws->send_json({ type => 'history', limit => 1 });
    my $m = $ws->recv_json();
    $m->{code} // $m->{type};
} 1 .. 3;

is("@pages", 'history history rate_limited', 'S34: pages are of the same');
$ws->send_json({ type => 'message', text => 'hello' });
is($ws->recv_until(sub { $_[0]{type} ne 'message' })->{type}, 'ack',
   'S34: but messages are not');
is(join(' ', map { resumed(undef, 0, headers =>
                           [ 'X-Test-Address: 192.0.2.9' ]) } 1 .. 4),
   'm1 m1 m1 too_often', 'S34: a guest by its address');
is(resumed(undef, 0, headers => [ 'X-Test-Address: 192.0.2.10' ]), 'm1',
   'S34: and not by that of another');

# S35: rooms that there are not

my $count = asan() ? 300 : 3000;
my $cookie = $site->cookie('alice');

sub flood {
    my ($from, $n) = @_;

    my %got;

    for my $i (0 .. $n / 100 - 1) {
        my @ws = map {
            FC::WS->connect(port => port(8080), cookie => $cookie, nowait => 1,
                            path => '/ws/chat/none_' . ($from + $i * 100 + $_)
                                    . '/')
        } 1 .. 100;

        for (@ws) {
            $_->handshake();
            $got{$_->status()}++;
            $_->drop();
        }
    }

    return join ' ', %got;
}

flood(0, asan() ? 200 : 1500);

my ($memory, $fds) = (rss($worker), scalar fds($worker));
my $channels = @{$site->redis->cmd('PUBSUB', 'CHANNELS', '*')};

is(flood(2000, $count), "404 $count", 'S35: names of no room');
cmp_ok(rss($worker) - $memory, '<', asan() ? 40000 : 1024,
       'S35: take no memory');
is(scalar(@{$site->redis->cmd('PUBSUB', 'CHANNELS', '*')}), $channels,
   'S35: and no channel');
ok(wait_for(sub { fds($worker) <= $fds }), 'S35: nor a descriptor');

# S32, S36: a reader has nothing of its own, and the kernel takes little for it

my @quiet = FC::WS->connect_many(200, sub { (cookie => $cookie) },
                                 port => port(8081), rcvbuf => 4096,
                                 path => '/ws/chat/stream_1/');

is(scalar(grep { $_->status() == 101 } @quiet), 200, '200 readers');

$memory = rss($worker);

my $told = 0;

for (1 .. 200) {
    $mod->send_json({ type => 'message', text => "$_" . 'x' x 400,
                      cid => "x$_" });
    $mod->recv_until(sub {
        $told++ if ($_[0]{type} // '') eq 'viewers';
        ($_[0]{type} // '') eq 'ack';
    });
}

cmp_ok(rss($worker) - $memory, '<', 200 * 200 * 400 / 1024 / 4 * slow(),
       'S32: 200 messages that 200 did not read are kept once');
cmp_ok($told, '<', 20, 'S36: joining is no message to all');
cmp_ok($told, '>', 0, 'S36: all hear of all at once');
$_->drop() for @quiet;

# S32: what a room's flood does to another, on the same worker; the best of
# some tries, since others use this machine as well

$site->django->room('quiet');

my $calm = $site->join('mod', room => 'quiet', protocol => 'fcchat.v1');
my ($quiet, $flooded);

$calm->recv_json();

for (1 .. 4) {
    $quiet = p99($calm, "q$_");

    my $pid = flooder();

    $flooded = p99($calm, "f$_");

    kill 'KILL', $pid;
    waitpid $pid, 0;

    last if $flooded <= 2 * $quiet + 0.1;
}

cmp_ok($flooded, '<=', (2 * $quiet + 0.1) * slow(),
       'S32: the p99 of a quiet room beside a flood')
    or diag("$quiet s without it");

is(join(' ', workers($t)), $worker, 'the same worker');

$ws = $site->join('bob');
$ws->send_json({ message => 'alive' });
is($ws->recv_until(sub { ($_[0]{message} // '') eq 'alive' })->{username},
   'bob', 'which is well');


# of the time from a message to its ack

sub p99 {
    my ($ws, $name) = @_;

    my @took;

    for (1 .. 100) {
        my $begun = Time::HiRes::time();

        $ws->send_json({ type => 'message', text => "$name $_",
                         cid => "$name-$_" });
        $ws->recv_until(sub { ($_[0]{type} // '') eq 'ack' }) or return 99;
        push @took, Time::HiRes::time() - $begun;
    }

    return (sort { $a <=> $b } @took)[98];
}


# 64 messages at once, again and again, with a hundred readers; returns when the
# first ones have been acknowledged

sub flooder {
    pipe my $from, my $to or die "pipe: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        eval {
            my @readers = FC::WS->connect_many(100, sub {
                (cookie => $cookie)
            }, port => port(8080), path => '/ws/chat/stream_1/');
            my $ws = $site->join('mod', protocol => 'fcchat.v1');

            for (my $i = 0; ; $i++) {
                $ws->send_json({ type => 'message', text => "$i $_",
                                 cid => "$i-$_" }) for 1 .. 64;

                for (1 .. 64) {
                    $ws->recv_until(sub { ($_[0]{type} // '') eq 'ack' });
                }

                syswrite $to, "x" if $i == 0;
            }
        };
        POSIX::_exit(0);
    }

    close $to;
    sysread $from, my $byte, 1;

    return $pid;
}
