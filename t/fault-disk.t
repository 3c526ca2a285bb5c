#!/usr/bin/perl

# PostgreSQL's disk is full: its tables can't grow, and then its log can't, which
# it does not survive.  Senders are told, nobody is disconnected, nobody runs in
# circles, and with space again all is well.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use POSIX ();
use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Util qw/ run_quiet slurp slow tempdir wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(2 * 5 + 4 + 1 + 2);

my $dir = tempdir('fcfull');

run_quiet({}, 'gcc', '-O1', '-shared', '-fPIC', '-o', "$dir/full.so",
          "$Checker::DIR/full.c", '-ldl');
chmod 0755, "$dir/full.so";

my $pg = Checker->pg(wrap => [ 'env', "LD_PRELOAD=$dir/full.so",
                               "FC_FULL=$dir/full" ],
                     conf => { wal_recycle => 'off', min_wal_size => '32MB' });
my $c = Checker->new($t, pg => $pg, size => 400);

$c->run();

my ($from, $cpu, @lines);

back('F10 no space for tables', sub {
    full('/base/');
    $from = time();

    # longer than anybody waits; the CPU time is of workers that have nothing
    # but retries to do

    wait_for(sub { $c->logged(qr/53100/) }, 10) or die "nothing is full\n";
    sleep(1);

    my $before = cpu();
    my $start = time();

    sleep($c->seconds(5));
    $cpu = (cpu() - $before) / (time() - $start);
});

@lines = $c->logged(qr/53100/);

cmp_ok($cpu, '<=', 0.2 * slow(), 'four workers are idle meanwhile')
    or diag("$cpu of a core");
cmp_ok(@lines, '<=', 4 * (time() - $from + 1), 'a line a worker and second');
is($pg->sql("select count(*) from fcchat_event where kind = 'message'"),
   $pg->sql('select count(*) from chat_chatmessage'), 'all are numbered');
cmp_ok($c->stats()->{errors}{unavailable} // 0, '>', 0, 'senders were told');

back('F10 no space for the log', sub {
    full('/pg_wal/');

    # its backend finds out when it wants a new segment

    eval { $pg->sql('select pg_switch_wal()') } for 1 .. 2;
    wait_for(sub { !$pg->ready() || slurp($pg->host() . '/log') =~ /PANIC/ }, 10)
        or die "PostgreSQL goes on\n";
});

like(slurp($pg->host() . '/log'), qr/PANIC: .*No space left/,
     'PostgreSQL has crashed');


sub full {
    my ($part) = @_;

    open my $fh, '>', "$dir/full.new" or die "full: $!\n";
    print $fh $part;
    close $fh;
    rename "$dir/full.new", "$dir/full";

    return;
}


# With space again; where PostgreSQL has given up somebody starts it.

sub back {
    my ($name, $code) = @_;

    my $to;

    $c->phase($name, sub {
        my $away = time();

        eval { $code->() };

        my $failed = $@;

        unlink "$dir/full";
        wait_for(sub { eval { $pg->sql('select 1') } || gone() }, 10);
        $pg->start() if gone();
        $to = time();
        die $failed if $failed;
        $c->call('away', from => $away, to => $to);
        $c->more(100);
    }, delay => 2, errors => qr/^unavailable$/);

    $c->within(2, $c->call('first_ack', after => $to)->{took},
               "$name: acknowledged again");

    return;
}


sub gone {
    return waitpid($pg->pid(), POSIX::WNOHANG()) != 0;
}


# Seconds that all workers have used.

sub cpu {
    my $ticks = 0;

    for my $pid (map { workers($_) } $c->nodes()) {
        my @stat = split ' ', slurp("/proc/$pid/stat") =~ s/^.*\)//sr;

        $ticks += $stat[11] + $stat[12];
    }

    return $ticks / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}
