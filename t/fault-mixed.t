#!/usr/bin/perl

# One fault after the other, and two at once, drawn from a seed.
#
#     FC_FAULT_SEED=N       the same faults again
#     FC_FAULT_SECONDS=N    for so long (20)

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Util qw/ slurp wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(4 + 1 + 2);

my $seed = $ENV{FC_FAULT_SEED} // time() ^ $$;

note("FC_FAULT_SEED=$seed");
srand($seed);

my $c = Checker->new($t, main => 'worker_shutdown_timeout 20s;');
my $pg = $c->site->pg;
my $redis = $c->site->redis;
my ($killed, @done) = (0);

# to what it happens, what happens, and what makes it good again

my @faults = (
    ['nginx', 'a worker killed', sub {
        my @pids = workers($c->node(rand 2));

        kill 'KILL', $pids[rand @pids] and $killed++ if @pids;
    }],
    ['nginx', 'a reload', sub {
        my $pid = slurp($c->node(rand 2)->testdir() . '/nginx.pid');

        kill 'HUP', $pid;
    }],
    ['clients', 'clients dropped', sub { $c->call('drop', n => int rand 20) }],
    ['redis', 'redis killed', sub { $redis->kill9() },
     sub { $redis->start() }],
    ['redis', 'redis stopped', sub { $redis->pause() },
     sub { $redis->resume() }],
    ['redis', 'subscribers killed', sub {
        $redis->cmd(qw/ CLIENT KILL TYPE pubsub /);
    }],
    ['postgres', 'postgres restarted', sub { $pg->stop('immediate') },
     sub { $pg->start() }],
    ['postgres', 'postgres killed', sub { $pg->kill9() },
     sub { $pg->start() }],
    ['postgres', 'postgres stopped', sub { $pg->pause() },
     sub { $pg->resume() }],
    ['postgres', 'backends terminated', sub { $pg->drop_connections() }],
);

$c->run();

$c->phase("F22 a mixture, seed $seed", sub {
    my $end = time() + $c->seconds(20);

    while (time() < $end) {
        my @some = map { $faults[rand @faults] } 1 .. 1 + int rand 2;
        my %seen;

        # one of a kind, as one that is stopped answers nobody

        @some = grep { !$seen{$_->[0]}++ } @some;

        my $from = time();

        for my $fault (@some) {
            push @done, $fault->[1];
            $fault->[2]->();
        }

        sleep(rand 1.5) if grep { $_->[3] } @some;
        $_->[3] && $_->[3]->() for @some;

        $c->call('away', from => $from, to => time());
        $c->more(20 + int rand 60) or die "nothing is acknowledged after "
                                          . join(', ', @done) . "\n";
    }

    defined $c->wait('ready') or die "not all came back\n";
    wait_for(sub { !grep { workers($_) != 2 } $c->nodes() }, 10);
}, delay => 5, ended => qr/^(?:1006|1012|refused|dropped|status 503)$/,
   errors => qr/^unavailable$/)
    or diag("FC_FAULT_SEED=$seed: @done");

note(join ', ', @done);

$_->stop() for $c->nodes();
is($c->forgive(qr/\[alert\].*worker process \d+ exited on signal 9/), $killed,
   "$killed workers were killed");
