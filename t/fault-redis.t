#!/usr/bin/perl

# Redis goes away and comes back, in every way: nobody is disconnected, nothing
# is lost, PostgreSQL tells within a second what Redis did not, and the log has
# one line of a worker for each change.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Util qw/ slurp wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)
    ->plan(10 * 4 + 7 * 3 + 1 + 2 + 2);

my $c = Checker->new($t);
my $redis = $c->site->redis;

$c->run();

for my $away (0.1, 1, $c->seconds(4)) {
    changed("F4 redis killed for $away s", sub {
        $redis->kill9();
        sleep($away);
        $redis->start();
    });
}

# half-open: nobody says that it is gone

my $noticed;

changed('F5 redis stopped for ' . $c->seconds(4) . ' s', sub {
    my $lost = () = $c->logged(qr/fcchat redis .* is lost/);
    my $start = time();

    $redis->pause();
    wait_for(sub { $lost + 4 <= (() = $c->logged(qr/redis .* is lost/)) }, 10)
        and $noticed = time() - $start;

    my $left = $start + $c->seconds(4) - time();

    sleep($left) if $left > 0;
    $redis->resume();
});

$c->within(3, $noticed, 'F5 redis stopped: noticed');

changed('F6 subscribers killed', sub {
    $redis->cmd(qw/ CLIENT KILL TYPE pubsub /);
});

# refused at the door until that is over

changed('F6 maxclients', sub {
    $redis->cmd(qw/ CONFIG SET maxclients 1 /);
    $redis->cmd('CLIENT', 'KILL', 'TYPE', $_) for qw/ pubsub normal /;
    sleep(1);
    $redis->cmd(qw/ CONFIG SET maxclients 1000 /);
});

changed('F6 another password', sub {
    $redis->cmd(qw/ CONFIG SET requirepass another /);
    $redis->cmd('CLIENT', 'KILL', 'TYPE', $_) for qw/ pubsub normal /;
    sleep(1);
    $redis->cmd('CONFIG', 'SET', 'requirepass', '');
});

# nothing that matters happens

$c->phase('F6 all is flushed', sub {
    for (1 .. 5) {
        $redis->cmd('FLUSHALL');
        $c->more(20);
    }
});

$c->phase('F6 out of memory', sub {
    $redis->cmd(qw/ CONFIG SET maxmemory 1 /);
    $c->more(100);
    $redis->cmd(qw/ CONFIG SET maxmemory 0 /);
});

# subscribers that are cut for what is waiting for them; what comes is garbage,
# as well

$c->phase('F6 small output buffers', sub {
    my ($room) = grep { /:room:/ } @{$redis->cmd(qw/ PUBSUB CHANNELS * /)};

    $redis->cmd(qw/ CONFIG SET client-output-buffer-limit /,
                'pubsub 8192 0 0');

    for (1 .. 3) {
        $redis->cmd('PUBLISH', $room, 'x' x 100000);
        $c->more(20);
    }

    $redis->cmd(qw/ CONFIG SET client-output-buffer-limit /,
                'pubsub 33554432 8388608 60');
    $c->more(50);
});

$_->stop() for $c->nodes();

is(join('', $c->logged(qr/\[(?:emerg|alert|crit)\]/)), '', 'the error log');
cmp_ok(scalar(@{[$c->logged(qr/\[(?:warn|error)\]/)]}), '<', 100,
       'does not fill');


# Redis is lost and found, once for each worker.

sub changed {
    my ($name, $code) = @_;

    my $up = () = $c->logged(qr/fcchat redis .* is up/);
    my $lost = () = $c->logged(qr/fcchat redis .* (?:is lost|be reached)/);
    my $took;

    $c->phase($name, sub {
        $code->();

        my $back = time();

        wait_for(sub { $up + 4 <= (() = $c->logged(qr/fcchat redis .* is up/)) },
                 10);
        $took = time() - $back;
        $c->more(100);
    }, delay => 1);

    $c->within(2, $took, "$name: found again");

    is((() = $c->logged(qr/fcchat redis .* (?:is lost|be reached)/)) - $lost, 4,
       "$name: said once to be lost");
    is((() = $c->logged(qr/fcchat redis .* is up/)) - $up, 4,
       "$name: and to be found");

    return;
}
