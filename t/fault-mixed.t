#!/usr/bin/perl

# One fault after the other, and two at once, drawn from a seed: what happens in
# a round depends on the seed and its number alone.
#
#     FC_FAULT_SEED=N       the same faults again
#     FC_FAULT_SECONDS=N    for so long (20)
#
# FC_FAULT_ONLY=PATTERN draws from those of that name, to look for one thing, and
# FC_FAULT_DRAW=N does nothing but tell what is drawn in N rounds.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use Daemon;
use FC::Crowd;
use FC::Proxy;
use FC::Redis;
use FC::Util qw/ slurp wait_for workers /;
use Mill;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $seed = $ENV{FC_FAULT_SEED} // int(time()) ^ $$;
my ($redis, $proxy, $c, $pg, $lock, @done);
my ($killed, $rounds) = (0, 0);

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
    ['nginx', 'the binary upgraded', sub { upgrade($c->node(rand 2), 0) }],
    ['nginx', 'an upgrade rolled back', sub { upgrade($c->node(rand 2), 1) }],
    ['clients', 'clients dropped', sub { $c->call('drop', n => int rand 20) }],
    ['clients', 'readers stop', sub { reading(0) }, sub { reading(1) }],
    ['redis', 'redis killed', sub { $redis->kill9() },
     sub { $redis->start() }],
    ['redis', 'redis stopped', sub { $redis->pause() },
     sub { $redis->resume() }],
    ['redis', 'subscribers killed', sub {
        $redis->cmd(qw/ CLIENT KILL TYPE pubsub /);
    }],
    ['redis', 'redis flushed', sub { $redis->cmd('FLUSHALL') }],
    ['redis', 'redis wants a password', sub {
        $redis->cmd(qw/ CONFIG SET requirepass another /);
        $redis->cmd('CLIENT', 'KILL', 'TYPE', $_) for qw/ pubsub normal /;
    }, sub { $redis->cmd('CONFIG', 'SET', 'requirepass', '') }],
    ['redis', 'redis has no place', sub {
        $redis->cmd(qw/ CONFIG SET maxclients 1 /);
        $redis->cmd('CLIENT', 'KILL', 'TYPE', $_) for qw/ pubsub normal /;
    }, sub { $redis->cmd(qw/ CONFIG SET maxclients 1000 /) }],
    ['redis', 'the bus repeats, backwards', \&backwards],
    ['redis', 'the bus drops', mill(drop => 0.5)],
    ['redis', 'the bus repeats', mill(repeat => 0.5)],
    ['redis', 'the bus reorders', mill(reorder => 0.5)],
    ['redis', 'the bus cuts', mill(cut_short => 0.3)],
    ['redis', 'the bus is late', mill(delay => 0.4)],
    ['postgres', 'postgres restarted', sub { $pg->stop('immediate') },
     sub { $pg->start() }],
    ['postgres', 'postgres killed', sub { $pg->kill9() },
     sub { $pg->start() }],
    ['postgres', 'postgres stopped', sub { $pg->pause() },
     sub { $pg->resume() }],
    ['postgres', 'backends terminated', sub { $pg->drop_connections() }],
    ['postgres', 'postgres read-only', sub { $c->read_only('on') },
     sub { $c->read_only('off') }],
    ['postgres', 'the heads held', sub {
        $lock = FC::Crowd->lock($pg);
        $lock->say('do $$ begin perform from fcchat_head for update; end $$;');
    }, sub { $lock->release() }],
    ['postgres', 'Django inserts', sub {
        $pg->sql($c->inserts(1 + int rand 20));
    }],
);

if (my $only = $ENV{FC_FAULT_ONLY}) {
    @faults = grep { $_->[1] =~ /$only/ } @faults;
}

if ($ENV{FC_FAULT_DRAW}) {
    print join(', ', names($_)), "\n" for 0 .. $ENV{FC_FAULT_DRAW} - 1;
    exit;
}

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(4 + 3 + 2);

# prove shows no notes, and without it nothing can be done again

diag("FC_FAULT_SEED=$seed");

$redis = FC::Redis->new();
$proxy = FC::Proxy->new(to => '127.0.0.1:' . $redis->port(),
                        filter => Mill::filter($seed));

$c = Checker->new($t, moderates => 'all', redis => $redis, bus => 0,
                  daemon => 'on', start => \&Daemon::start,
                  main => Daemon::main() . 'worker_shutdown_timeout 20s;',
                  http => 'fcchat_redis redis://127.0.0.1:' . $proxy->port()
                          . ';');
$pg = $c->site->pg;

$c->run();

$c->phase("F22 a mixture, seed $seed", sub {
    my $end = time() + $c->seconds(20);

    while (time() < $end) {
        my $drawn = draw($rounds++);
        my @some = @{$drawn->{faults}};
        my $from = time();

        for my $fault (@some) {
            push @done, $fault->[1];
            $fault->[2]->();
        }

        sleep($drawn->{pause}) if grep { $_->[3] } @some;
        $_->[3] && $_->[3]->() for @some;

        $c->call('away', from => $from, to => time());
        $c->more($drawn->{more}) or die "nothing is acknowledged after "
                                        . join(', ', @done) . "\n";
    }

    defined $c->wait('ready') or die "not all came back\n";
    wait_for(sub { !grep { workers($_) != 2 } $c->nodes() }, 10);
}, delay => 5, errors => qr/^unavailable$/,
   ended => qr/^(?:1006|1012|4008|refused|dropped|status 503)$/);

note(join ', ', @done);
is(join(', ', @done), join(', ', map { names($_) } 0 .. $rounds - 1),
   "$rounds rounds as the seed has them");

# each waits for its ack, and PostgreSQL is away for most of some seeds

cmp_ok($c->stats()->{moderated}, '>=', 3, 'somebody moderated meanwhile');
diag("FC_FAULT_SEED=$seed: " . join ', ', @done)
    if !Test::More->builder->is_passing();

Daemon::stop($_) for $c->nodes();
is($c->forgive(qr/\[alert\].*worker process \d+ exited on signal 9/), $killed,
   "$killed workers were killed");


# What happens in a round: one of a kind, as one that is stopped answers nobody,
# and last what takes its time.

sub draw {
    my ($round) = @_;

    srand($seed + $round);

    my @some = map { $faults[rand @faults] } 1 .. 1 + int rand 2;
    my %seen;

    return {
        pause  => rand 1.5,
        more   => 20 + int rand 60,
        faults => [ sort { !!$b->[3] <=> !!$a->[3] }
                    grep { !$seen{$_->[0]}++ } @some ],
    };
}


sub names {
    my ($round) = @_;

    return map { $_->[1] } @{draw($round)->{faults}};
}


# What the proxy does to messages of the bus, and that it stops.

sub mill {
    my ($what, $much) = @_;

    return (sub { $proxy->set($what => $much) },
            sub { $proxy->set($what => 0) });
}


sub upgrade {
    my ($t, $back) = @_;

    my ($old, $new) = Daemon::begin($t);

    Daemon::quiet($old);
    $back ? Daemon::roll_back($t, $old, $new) : Daemon::finish($t, $old);

    return;
}


sub reading {
    my ($on) = @_;

    $c->call('reading', name => 'stream_1-r1',
             on => $on ? JSON::PP::true : JSON::PP::false);

    return;
}


# The last few of what was published come once more, the other way round.

sub backwards {
    my ($room) = grep { /:room:/ } @{$redis->cmd(qw/ PUBSUB CHANNELS * /)};
    my $spy = $redis->client();
    my (@all, @m);

    $spy->cmd('SUBSCRIBE', $room);
    push @all, $m[1] while @all < 5 && (@m = $spy->message(1));
    $redis->cmd('PUBLISH', $room, $_) for reverse @all;

    return;
}
