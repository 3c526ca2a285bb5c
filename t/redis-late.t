#!/usr/bin/perl

# Redis takes the connection in the very turn of the event loop in which the
# time for it is over.  With accept_mutex events wait for the timers, so that
# the time is over first.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Fcntl qw/ O_NONBLOCK O_RDWR /;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Site;
use FC::Util qw/ log_lines slurp wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http debug rewrite/)->plan(4);

# The queue is full: what comes is dropped by the kernel, and tried again by
# the other side's after a second.

my $redis = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1:0')
    or die "no listener: $!\n";
my $port = $redis->sockport();
my @full = map { fill() } 1, 2;

# A worker that writes to this log stands still while nobody reads it.

my $name = $t->testdir() . '/fifo';

POSIX::mkfifo($name, 0600) or die "mkfifo: $!\n";
sysopen my $fifo, $name, O_RDWR | O_NONBLOCK or die "fifo: $!\n";

my $site = FC::Site->new($t, workers => 2, events => 'accept_mutex on;',
                         bus => 0,
                         http => "fcchat_redis redis://127.0.0.1:$port;",
                         more => <<'EOC');
        location /pid {
            add_header X-Pid $pid;
            return 204;
        }

        location /stop {
            access_log %%TESTDIR%%/fifo;
            return 204;
        }
EOC

$t->run();
wait_for(sub { workers($t) == 2 });

my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(8080));
my ($pid) = ask('/pid') =~ /X-Pid: (\d+)/;
my @workers = sort(workers($t));

is(scalar(grep { $_ == $pid } @workers), 1, 'the worker that accepts');

# it goes on accepting while the other one sleeps

kill 'STOP', grep { $_ != $pid } @workers;

my ($round, $since, $tried, $connected) = (0);

until ($connected || $round++ == 5) {
    push @full, map { fill() } 1, 2 if $round > 1;

    $tried = attempts();
    wait_for(sub { attempts() > $tried });
    $tried = attempts();
    $since = time();

    1 while syswrite $fifo, 'x' x 4096;
    1 while syswrite $fifo, 'x';
    ask('/stop');

    # until the two seconds for both of its connections are over

    @full = ();

    while (time() < $since + 2.1) {
        push @full, $redis->accept() if IO::Select->new($redis)->can_read(0.1);
    }

    $connected = connections() == 2;

    1 while sysread $fifo, my $bytes, 65536;
}

ok($connected, 'it is connected when its time is over');
ok(wait_for(sub { attempts() > $tried || !grep { $_ == $pid } workers($t) }),
   'it goes on');
is_deeply([ sort(workers($t)) ], \@workers, 'and tries again');

kill 'CONT', @workers;


sub fill {
    return IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");
}


sub ask {
    my ($path) = @_;

    print $s "GET $path HTTP/1.1\r\nHost: localhost\r\n\r\n";

    return Test::Nginx::within(10, sub { local $/ = "\r\n\r\n"; <$s> }) // '';
}


sub attempts {
    return scalar(my @l = log_lines($t, qr/ $pid#.* fcchat redis connecting/));
}


# The established ones of the worker's to Redis.

sub connections {
    my %inode = map { (readlink $_) // '' => 1 } glob("/proc/$pid/fd/*");
    my $to = sprintf ':%04X', $port;

    return grep {
        my @f = split ' ';

        @f > 9 && $f[2] =~ /$to$/ && $f[3] eq '01'
            && $inode{"socket:[$f[9]]"};
    } split /\n/, slurp('/proc/net/tcp');
}
