#!/usr/bin/perl

# A Redis that answers and refuses: while it loads its data, and where an ACL
# denies to publish, whatever the number of tries.  One line for each change,
# nobody is disconnected, and what is said arrives all the same.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER gather spread texts /;
use FC::Site;
use FC::Util qw/ log_lines wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http debug rewrite/)->plan(7 * 2 + 1);

my $site = FC::Site->new($t, workers => 2, location => $WORKER);
my $redis = $site->redis();

$site->django->user('reader');
$site->django->room('stream_1');
$t->run();

my @all = (spread($site, $t, 1, protocol => 'fcchat.v1'),
           spread($site, $t, 1));
my $n = 0;

# as slowly as an instance that has much to load

$redis->cmd('SET', "key$_", 'x' x 100) for 1 .. 1500;
$redis->cmd('SAVE');

refused('loading', qr/LOADING/, sub {
    $redis->kill9();
    $redis->{conf} = ['--key-load-delay 1000',
                      '--loading-process-events-interval-bytes 1024'];
    $redis->start();
}, sub { wait_for(sub { $redis->cmd('PING') eq 'PONG' }, 20) });

$redis->cmd('FLUSHALL');

refused('no permission to publish', qr/NOPERM/, sub {
    $redis->cmd(qw/ ACL SETUSER default -publish /);
}, sub {
    $redis->cmd(qw/ ACL SETUSER default +publish /);
});

is(scalar(grep { $_->eof() } @all), 0, 'nobody was disconnected');


# Until each worker has tried it several times.

sub refused {
    my ($name, $re, $begin, $end) = @_;

    my @before = (lines(qr/fcchat redis .* is up/),
                  lines(qr/redis connecting, attempt/),
                  lines(qr/fcchat redis .* (?:is lost|can't be reached)/),
                  lines($re));

    $begin->();
    ok(wait_for(sub { lines(qr/redis connecting, attempt/) >= $before[1] + 5 },
                20), "$name: tried again");
    ok(lines(qr/fcchat redis .* is up/) == $before[0], "$name: it is not up");
    said("$name: while it is away");

    $end->();
    ok(wait_for(sub { lines(qr/fcchat redis .* is up/) == $before[0] + 2 }),
       "$name: found again");
    is(lines(qr/fcchat redis .* (?:is lost|can't be reached)/) - $before[2], 2,
       "$name: said to be lost once in each worker");
    cmp_ok(lines($re) - $before[3], '<=', 2, "$name: with why, once");
    said("$name: when it is back");

    return;
}


sub lines {
    my @lines = log_lines($t, qr/\[(?:notice|info|warn|error|debug)\]/);

    return scalar grep { $_ =~ $_[0] } @lines;
}


sub said {
    my ($name) = @_;

    $n++;
    $all[0]->send_json({ type => 'message', text => "m$n", cid => "m$n" });
    gather(\@all, $n);
    is(join(' ', map { join ',', texts($_) } @all),
       join(' ', (join ',', map { "m$_" } 1 .. $n) x @all), $name);

    return;
}
