#!/usr/bin/perl

# Reloads under load: the old workers acknowledge what they have and leave, the
# clients come back to new ones, nothing is lost and nothing is left behind.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Util qw/ asan rss slurp wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(5 * 4 + 4 + 3 + 2);

my $c = Checker->new($t, main => 'worker_shutdown_timeout 20s;');

$c->run();

my ($most, $longest) = (0, 0);
my (%since, @lives);

$c->phase('F2 a reload every 3 s', sub {
    my $end = time() + $c->seconds(12);

    while (time() < $end) {
        for my $t ($c->nodes()) {
            my $start = time();
            my %old = map { $_ => 1 } workers($t);

            kill 'HUP', master($t);
            wait_for(sub { 2 == grep { !$old{$_} } workers($t) })
                or die "no new workers\n";
            $since{$_} = $start for keys %old;
            push @lives, keys %old;
        }

        my $next = time() + 3;

        do {
            $c->more(10) or die "nothing is acknowledged\n";

            for my $t ($c->nodes()) {
                my $n = all_workers($t);

                $most = $n if $n > $most;
            }

            left();
        } while (time() < $next);
    }

    wait_for(sub { left(); !%since }, 10) or die "old workers stay\n";
}, delay => 1, ended => qr/^(?:1012|refused)$/);

# closing is spread over 5 s, hence two generations leave while one serves

cmp_ok($most, '<=', 2 * 3, 'three generations at most');
$c->within(5 + 2, $longest, 'each old worker has left');
is((() = $c->logged(qr/gracefully shutting down/)), scalar @lives,
   'every old worker has left');
is(join('', $c->logged(qr/\[(?:error|crit|alert|emerg)\]/)), '',
   'nothing to complain of');

# Other bounds of leaving: none, and one that is too short for what waits to be
# stored.

for my $case (['50 ms', 'worker_shutdown_timeout 50ms;', qr/^(?:1012|1006)$/],
              ['none', '', qr/^1012$/])
{
    my ($name, $main, $ended) = @$case;

    $c->site($_)->write(main => $main) for 0, 1;

    $c->phase("F2 worker_shutdown_timeout: $name", sub {

        # the second one is what those have that leave then

        for (1 .. 2) {
            reload_once($_) for $c->nodes();
            $c->more(50);
        }
    }, delay => 1, ended => $ended);

    $c->phase("F2 the same while postgres is stopped", sub {
        my $from = time();

        $c->site->pg->pause();
        kill 'HUP', master($_) for $c->nodes();
        sleep(1.5);
        $c->site->pg->resume();
        $c->call('away', from => $from, to => time());
        $c->more(100);
        wait_for(sub { !grep { all_workers($_) > 2 } $c->nodes() }, 10)
            or die "old workers stay\n";
    }, delay => 2, ended => qr/^(?:1012|1006|status 503)$/);
}

# Nothing is left of them: reloads as fast as they go, without clients.

$c->call('end', drop => JSON::PP::true);
reload_once($t) for 1 .. 5;

my @before = (rss(master($t)), (sort { $a <=> $b } map { rss($_) }
                                workers($t))[-1]);
my $fds = fds_of($t);
my $times = $ENV{FC_FAULT_SECONDS} ? 100 : 20;

reload_once($t) for 1 .. $times;

my @after = (rss(master($t)), (sort { $a <=> $b } map { rss($_) }
                               workers($t))[-1]);

$c->remark("F2 $times reloads, KiB of the master and a worker: @before,"
           . " then @after");

SKIP: {
    skip 'the sanitizers keep what is freed', 2 if asan();

    cmp_ok($after[0], '<=', $before[0] * 1.01 + 100, 'the master does not grow');
    cmp_ok($after[1], '<=', $before[1] * 1.01 + 100, 'nor do workers');
}

is(fds_of($t), $fds, 'nor what they hold open');


# How long the old workers that are gone have stayed.

sub left {
    for my $pid (grep { !-e "/proc/$_" } keys %since) {
        my $took = time() - delete $since{$pid};

        $longest = $took if $took > $longest;
    }

    return;
}


sub master { return 0 + slurp($_[0]->testdir() . '/nginx.pid') }


# Those that are on their way out, too.

sub all_workers {
    my ($t) = @_;

    my $pid = master($t);

    return scalar grep { slurp("/proc/$_/cmdline") =~ /^nginx: worker/ }
                  split ' ', slurp("/proc/$pid/task/$pid/children");
}


sub reload_once {
    my ($t) = @_;

    my %old = map { $_ => 1 } workers($t);

    kill 'HUP', master($t);
    wait_for(sub { 2 == grep { !$old{$_} } workers($t) });
    wait_for(sub { all_workers($t) == 2 }, 10);

    return;
}


sub fds_of {
    my ($t) = @_;

    my $n;

    # connections to PostgreSQL and Redis are made after the start

    wait_for(sub {
        my $now = join ' ', map { scalar(my @fds = FC::Util::fds($_)) }
                                master($t), sort { $a <=> $b } workers($t);
        my $same = defined $n && $n eq $now;

        $n = $now;
        return $same;
    }, 5, 0.3);

    return $n;
}
