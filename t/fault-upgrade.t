#!/usr/bin/perl

# The binary is upgraded under load, and the upgrade is taken back: the workers
# that leave acknowledge what they have, their clients come back to the others,
# nothing is lost and nothing is left behind.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ time /;

use Checker;
use Daemon;
use FC::Util qw/ asan rss slurp wait_for /;

no warnings 'portable'; # addresses have more than 32 bits

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(3 * 4 + 10 + 2);

my $c = Checker->new($t, daemon => 'on', start => \&Daemon::start,
                     http => 'fcchat_zone 1m;',
                     main => Daemon::main() . 'worker_shutdown_timeout 20s;');
my @ended = (delay => 1, ended => qr/^(?:1012|refused)$/);

$c->run();

my ($zones, $back, $n, $rolled) = (0, 0, 0, 0);

$c->phase('F3 upgraded', sub {
    again(sub { upgraded($_) for $c->nodes() });
}, @ended);

$c->phase('F3 upgraded and rolled back', sub {
    again(sub { rolled_back($_) for $c->nodes() });
}, @ended);

is($zones, $n, 'each new binary made a zone of its own');
is($back, $rolled, 'what was rolled back is what was there before');
is(join('', $c->logged(qr/\[(?:error|crit|alert|emerg)\]/)), '',
   'nothing to complain of');

# no bound of leaving, now of the old and next of the new configuration

$_->write(main => Daemon::main()) for map { $c->site($_) } 0, 1;

$c->phase('F3 upgraded, no worker_shutdown_timeout', sub {
    for (1, 2) {
        upgraded($_) for $c->nodes();
    }
}, @ended);

# nothing is left behind

$c->call('end', drop => JSON::PP::true);
upgraded($t, 1);

my @fds = fds_of($t);
my $rss = rss(Daemon::master($t));

upgraded($t, 1) for 1 .. 3;
rolled_back($t, 1) for 1 .. 2;

is(join(' ', fds_of($t)), "@fds", 'no descriptor is left behind');

SKIP: {
    skip 'the sanitizers keep what is freed', 1 if asan();

    cmp_ok(rss(Daemon::master($t)), '<=', $rss * 1.05 + 200,
           'a master is as large as the first');
}

is(Daemon::old($t), 0, 'no master is left');

for my $t ($c->nodes()) {
    my $pid = Daemon::master($t);

    Daemon::stop($t);
    ok(Daemon::gone($pid), 'it stops');
}

is($c->forgive(qr/open socket .* left in connection/), 0, 'no socket is left');
is(join('', $c->logged(qr/\[(?:alert|emerg)\]/)), '', 'and no alert');


sub again {
    my ($code) = @_;

    my $end = time() + $c->seconds(0);

    do { $code->() } while (time() < $end);

    return;
}


# The new binary with its workers beside the old one, and then without.

sub begun {
    my ($t, $alone) = @_;

    my $zone = zone(Daemon::master($t));
    my ($old, $new) = Daemon::begin($t);

    if (!$alone) {
        $n++;
        $zones++ if zone($new) ne $zone;
    }

    # both serve

    $alone or $c->more(20) or die "nothing is acknowledged by both\n";

    Daemon::quiet($old);

    return ($old, $new);
}


sub upgraded {
    my ($t, $alone) = @_;

    my ($old) = begun($t, $alone);

    Daemon::finish($t, $old);
    $alone or $c->more(40) or die "nothing is acknowledged by the new one\n";

    return;
}


sub rolled_back {
    my ($t, $alone) = @_;

    my $zone = zone(Daemon::master($t));
    my ($old, $new) = begun($t, $alone);

    Daemon::roll_back($t, $old, $new);

    if (!$alone) {
        $rolled++;
        $back++ if zone($old) eq $zone;
        $c->more(40) or die "nothing is acknowledged by the old one\n";
    }

    return;
}


# Which memory the zone of a master is: each mapping has an inode of its own.

sub zone {
    my ($pid) = @_;

    for (split /\n/, slurp("/proc/$pid/maps")) {
        my ($from, $to, $inode) =
            /^(\w+)-(\w+) rw-s \S+ \S+ (\d+) .*zero/ or next;

        return $inode if hex($to) - hex($from) == 1 << 20;
    }

    die "no zone in $pid\n";
}


sub fds_of {
    my ($t) = @_;

    my $n;

    # connections to PostgreSQL and Redis are made after the start

    wait_for(sub {
        my $pid = Daemon::master($t);
        my $now = join ' ', map { scalar(my @fds = FC::Util::fds($_)) }
                                $pid, Daemon::workers($pid);
        my $same = defined $n && $n eq $now;

        $n = $now;
        return $same;
    }, 5, 0.3);

    return $n;
}
