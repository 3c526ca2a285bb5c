#!/usr/bin/perl

# Workers are killed: their clients come back and have missed nothing, the
# others have what was committed within a second.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Util qw/ wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(4 + 6 + 2);

my $c = Checker->new($t, moderates => 'all');
my $killed = 0;

$c->run();

$c->phase('F1 a worker killed every 2 s', sub {
    my $end = time() + $c->seconds(10);

    while (time() < $end) {
        my $node = $c->node(rand 2);
        my @pids = workers($node);
        my $pid = $pids[rand @pids];
        my $next = time() + 2;

        kill 'KILL', $pid;
        $killed++;

        wait_for(sub { my @now = workers($node);
                       @now == 2 && !grep { $_ == $pid } @now })
            or die 'no new worker';
        defined $c->wait('ready') or die 'not all came back';
        $c->more(50) or die 'nothing is acknowledged';

        my $left = $next - time();

        sleep($left) if $left > 0;
    }
}, delay => 1, ended => qr/^(?:1006|refused)$/);

cmp_ok($killed, '>=', 4, 'workers were killed');
cmp_ok($c->stats()->{moderated}, '>=', 10, 'somebody moderated meanwhile');

my $here = $c->stats()->{ready} - 4;
my $told = '';

# 36 are in the room, and the one that asks

my $start = time();

wait_for(sub { ($told = viewers()) =~ /^$here$|^@{[$here + 1]}$/ }, 10);
$c->within(5, time() - $start, 'counted anew');
like($told, qr/^$here$|^@{[$here + 1]}$/, 'viewers are counted right again');

$_->stop() for $c->nodes();

is($c->forgive(qr/\[alert\].*worker process \d+ exited on signal 9/), $killed,
   'each death is in the log');
is(join('', $c->logged(qr/\[(?:alert|emerg|crit)\]/)), '', 'and nothing else');


# What a client that joins is told.

sub viewers {
    my $ws = $c->site->join('count', protocol => 'fcchat.v1');
    my $m = $ws->recv_json();

    $ws->drop();

    return $m->{viewers} // '';
}
