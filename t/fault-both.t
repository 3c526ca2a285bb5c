#!/usr/bin/perl

# Django inserts while we write: one order without holes, and its rows are
# delivered, too.  Then Redis and PostgreSQL are away together.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(2 * 4 + 1 + 1 + 2);

my $c = Checker->new($t);
my $pg = $c->site->pg;
my $redis = $c->site->redis;

$c->run();

$c->phase('F11 Django inserts, too', sub {
    my $pid = open my $psql, '|-', 'psql', '-X', '-q', '-o', '/dev/null',
                   '-v', 'ON_ERROR_STOP=1', '-d', $pg->dsn()
        or die "psql: $!\n";
    my $end = time() + $c->seconds(8);

    $psql->autoflush(1);
    print $psql "set search_path = localhost, public;\n";

    # a row at a time, some at once, some that are rolled back

    while (time() < $end) {
        print $psql $c->inserts(1);

        if ($c->{inserted} % 20 == 0) {
            print $psql "begin;\n", $c->inserts(3), $c->inserts(2),
                        "select pg_sleep(0.05);\n", "commit;\n";
        }

        if ($c->{inserted} % 30 == 0) {
            my $before = $c->{inserted};

            print $psql "begin;\n", $c->inserts(2), "rollback;\n";
            $c->{inserted} = $before;
        }

        sleep(0.02);
    }

    close $psql or die "psql failed\n";
    $c->more(50);
}, delay => 1);

is($pg->sql('select count(*) from fcchat_event where cid is null'
        . " and kind = 'message'"),
   $c->{inserted}, "all $c->{inserted} are numbered");

my $away = $c->seconds(3);
my $to;

$c->phase("F12 both away for $away s", sub {
    my $from = time();

    $redis->kill9();
    $pg->stop('immediate');
    sleep($away);
    $pg->start();
    $redis->start();
    $to = time();
    $c->call('away', from => $from, to => $to);
    $c->more(150);
}, delay => 5, errors => qr/^unavailable$/);

$c->within(5, $c->call('first_ack', after => $to)->{took},
           'acknowledged again');
