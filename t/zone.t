#!/usr/bin/perl

# A hundred reloads, with sessions that come and go between them: the shared
# zones have as many free pages as before, and nginx as many descriptors.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ asan fds run_quiet slurp top wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(6);
my $site = FC::Site->new($t, workers => 2, http => 'fcchat_zone 3m;',
                         main => 'worker_shutdown_timeout 50ms;');
my $dir = $t->testdir();
my $var = top() . '/t/var';

run_quiet({}, 'gcc', '-o', "$dir/zone", '-I', "$var/build",
          (map { ('-I', "$var/nginx/src/$_", '-I',
                  "/usr/share/nginx/src/src/$_") } qw(core event os/unix)),
          top() . '/t/fault/zone.c');

my @cookies = map { $site->django()->user("user$_");
                    $site->django()->session("user$_") } 1 .. 8;

$t->run();

my $master = 0 + slurp("$dir/nginx.pid");
my $most = 0;

round() for 1 .. 20;

my ($zones, $fds) = (zones(), scalar(my @before = fds($master)));

like($zones, qr/^3145728 \d+$/m, 'the zone is found');
cmp_ok(($zones =~ /^3145728 (\d+)$/m)[0] // 0, '>', 600, 'and has pages');

# the sanitizers take their time with each worker that exits

my $times = asan() ? 40 : 100;

round() for 21 .. $times;

is(zones(), $zones, "as many free pages after $times reloads as after 20");
is(scalar(my @after = fds($master)), $fds, 'as many descriptors');
cmp_ok($most, '<=', 4, 'never more than two generations');

my $ws = $site->join('user1', protocol => 'fcchat.v1');

is($ws->recv_json()->{type}, 'welcome', 'and it serves');


# some come in this generation and are there when it is told to leave

sub round {

    # a worker has its name a moment after it serves, and one that is missed
    # here would not be waited for below: the next HUP came too early

    wait_for(sub { workers($t) == 2 }) or die "not two workers\n";

    my %old = map { $_ => 1 } workers($t);
    my @all = map { $site->join(undef, cookie => $_,
                                protocol => 'fcchat.v1') } @cookies;

    $_->recv_json() for @all;
    $all[$_]->send_json({ type => 'message', text => 'hi', cid => "c$_" })
        for 0 .. 3;

    kill 'HUP', $master;

    wait_for(sub {
        my @now = children();

        $most = @now if @now > $most;

        return @now == 2 && workers($t) == 2 && !grep { $old{$_} } @now;
    }, 10, 0.01) or die "no new generation\n";

    return;
}


# those that are on their way out, too, be it without a name already

sub children {
    return split ' ', slurp("/proc/$master/task/$master/children");
}


sub zones {
    return scalar `$dir/zone $master`;
}
