#!/usr/bin/perl

# PostgreSQL is there and does not want us: no connection is left, the role may
# not log in or has another password, or it is a standby.  Nobody is
# disconnected, senders are told, and the log tells once.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use IO::Socket::INET;
use POSIX ();
use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Util qw/ slow slurp wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)
    ->plan(4 + 3 * 9 + 7 + 4 + 2);

# few places, so that they can be taken

my $pg = Checker->pg(
    hba  => "local all chat scram-sha-256\nlocal all all trust\n"
            . "host all all all trust\n",
    conf => { max_connections => 30, max_wal_senders => 0,
              autovacuum_max_workers => 1, max_worker_processes => 2,
              password_encryption => 'scram-sha-256' });

$pg->sql("create role chat superuser login password 'one'");

my $dsn = $pg->dsn() =~ s/user=\S+/user=chat password=one/r;
my $c = Checker->new($t, pg => $pg, database => 0,
                     http => qq(fcchat_postgres "$dsn";));
my $late = $c->site->django->session('late');
my @taken;

$c->run();

# all places are taken while we have ours

$c->phase('F10 no connection left', sub {
    take();
    $c->more(100);
    give_back();
});

refused('F10 no connection left for us', qr/too many clients/, \&take_all,
        \&give_back, 'told');
refused('the role may not log in', qr/not permitted to log in/,
        sub { $pg->sql('alter role chat nologin') },
        sub { $pg->sql('alter role chat login') });
refused('the role has another password', qr/authentication failed/,
        sub { $pg->sql("alter role chat password 'two'") },
        sub { $pg->sql("alter role chat password 'one'") });

# a hot standby reads, and does not write

my ($from, $to);

$c->phase('F10 a hot standby', sub {
    $from = time();
    $pg->stop('fast');

    open my $fh, '>', $pg->host() . '/data/standby.signal' or die "$!\n";
    close $fh;

    $pg->start();
    told();
    $pg->sql('select pg_promote()');
    wait_for(sub { $pg->sql('select pg_is_in_recovery()') eq 'f' }, 10);
    $to = time();
    $c->call('away', from => $from, to => $to);
    $c->more(100);
}, delay => 2, errors => qr/^unavailable$/);

$c->within(2, $c->call('first_ack', after => $to)->{took},
           'a hot standby: acknowledged again');

my @lines = $c->logged(qr/25006/);

cmp_ok(@lines, '>', 0, 'a hot standby: it is told');
cmp_ok(@lines, '<=', 4 * (time() - $from + 1), 'a line a worker and second');

$c->phase('all is well', sub { $c->more(50) }, delay => 0.5);


# The postmaster has a child for each socket that says nothing yet, and does
# not want more than twice as many as there are places.

sub take {
    silent(2 * (30 + 1 + 1 + 2) + 20);
    wait_for(sub { !eval { $pg->sql('select 1') } }, 10)
        or die "there are places left\n";

    return;
}


sub silent {
    my ($n) = @_;

    for (1 .. $n) {
        push @taken, IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                           PeerPort => $pg->port())
            || die "can't connect: $!\n";
    }

    return;
}


# And those that we had, though nginx wants them back at once: until it has
# come again for longer than it ever waits and got none.

sub take_all {
    my $last = time();

    take();

    wait_for(sub {
        my @ours = grep {
            slurp("/proc/$_/cmdline") =~ /^postgres: chat .* idle/
        } $pg->backends();

        $last = time() if @ours;
        kill 'TERM', @ours;
        silent(2);

        return time() - $last > 1.2;
    }, 10) or die "nginx has its connections\n";

    return;
}


sub give_back {
    @taken = ();
    wait_for(sub { eval { $pg->sql('select 1') } }, 10)
        or die "no place is free again\n";

    return;
}


sub told {
    my $seen = $c->stats()->{errors}{unavailable} // 0;

    wait_for(sub { ($c->stats()->{errors}{unavailable} // 0) > $seen }, 10)
        or die "nobody was told\n";

    return;
}


# The connections are taken away after PostgreSQL has been told to refuse them.

sub refused {
    my ($name, $reason, $code, $undo, $told) = @_;

    my @pids = map { $_->[0] } $pg->sql(
        "select pid from pg_stat_activity where usename = 'chat'");
    my ($from, $to, $ws);

    $c->phase($name, sub {
        $from = time();

        eval {
            $code->();
            kill 'TERM', @pids;
            wait_for(sub { $c->logged($reason) >= 8 }, 10)
                or die "not all were refused\n";
            told() if $told;
            $ws = $c->site->join(undef, cookie => $late);
        };

        my $failed = $@;

        $undo->();
        die $failed if $failed;
        $to = time();
        $c->call('away', from => $from, to => $to);
        $c->more(100);
    }, delay => 2, errors => qr/^unavailable$/);

    $c->within(2, $c->call('first_ack', after => $to)->{took},
               "$name: acknowledged again");
    is($ws->status(), 503, "$name: a new handshake");
    like($ws->header('Retry-After') // '', qr/^[1-9]\d*$/,
         "$name: with Retry-After");

    cmp_ok($c->logged($reason), '>=', 8, "$name: it is in the log");
    cmp_ok($c->logged(qr/can't be made/), '<=', $c->logged(qr/is lost/),
           "$name: once each time");

    return;
}
