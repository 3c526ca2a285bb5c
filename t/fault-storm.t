#!/usr/bin/perl

# A thousand readers lose their connections at once and come back, each with
# what it has: all are live again soon, and PostgreSQL is asked no more than
# once for each room and worker.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Queries;
use FC::Util qw/ slow wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(2 * 4 + 7 + 2);

# no moderator, whose pages of the history are asked for by the same query

my $c = Checker->new($t, rate => 5, readers => 0, old => 0, others => 0,
                     moderates => '');
my $n = $c->many(1000);
my $queries = FC::Queries->new($c->site->pg);

# below a number: what lies before the log; above one: catching up

my $before = qr/seq < \$2/;
my $after = qr/seq > \$2/;

$c->run();
$c->add('stream_1', name => 'storm-', readers => $n);
$c->wait('ready') // die "not all are in\n";

my ($back, $asked, $caught);

# their places are in the logs of the workers, but for one that had nobody yet

$c->phase("F18 $n come back", sub { storm(sub { $c->call('drop', n => $n) }) },
          delay => 5, ended => qr/^dropped$/);

$c->within(5, $back, 'all are live');
cmp_ok($asked, '<=', 4, 'once for each worker at most');

# new workers have nothing in their logs

$c->phase("F18 $n come back to new workers", sub {
    storm(sub {
        my @old = map { workers($_) } $c->nodes();

        kill 'KILL', @old;
        wait_for(sub { 4 == grep { my $pid = $_; !grep { $_ == $pid } @old }
                            map { workers($_) } $c->nodes() });
    });
}, delay => 5, ended => qr/^(?:1006|refused)$/);

$c->within(5, $back, 'all are live');
cmp_ok($asked, '<=', 4, 'once for each worker at most');
cmp_ok($caught, '<=', 4 * 20, 'and little to catch up');

$_->stop() for $c->nodes();
is($c->forgive(qr/\[alert\].*worker process \d+ exited on signal 9/), 4,
   'four were killed');
is(join('', $c->logged(qr/\[(?:alert|emerg|crit)\]/)), '', 'the error log');


sub storm {
    my ($code) = @_;

    # somebody speaks while nobody listens

    $queries->since();

    my $start = time();

    $code->();
    $c->more(5);
    $c->wait('ready') // die "not all came back\n";
    $c->fence() or die "not all are live\n";
    $back = time() - $start;
    $asked = $queries->count($before);
    $caught = $queries->count($after);
    $c->more(50);

    return;
}
