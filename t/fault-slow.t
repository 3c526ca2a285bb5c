#!/usr/bin/perl

# Readers that stop reading, and readers that read a little now and then: those
# that fall too far behind are closed with 4008 and come back, nobody has a
# hole, and the others don't notice.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Util qw/ asan rss workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(2 * 4 + 4);

# so that what is behind is behind here, not in the kernel

my $c = Checker->new($t, nodes => 1, rate => 20, size => 400, old => 6,
                     location => 'fcchat_lag 128k;',
                     server => 'listen 127.0.0.1:8085 sndbuf=16k;');

$c->run();

my %many = ('stopped-' => $c->many(60), 'crawling-' => $c->many(20));

$c->add('stream_1', name => $_, readers => $many{$_}, port => port(8085),
        rcvbuf => 4096) for sort keys %many;
$c->wait('ready');

my $quiet = $c->phase('F14 all read', sub { $c->more($c->seconds(3) * 160) });

my (@by, $before, $most);
my $report = $c->phase('F14 slow readers', sub {
    my $end = time() + $c->seconds(8);

    # 4008 is what they find when they read again; after five seconds nginx
    # does not wait for that any longer

    $c->call('reading', name => 'stopped-', on => JSON::PP::false);
    $before = $most = size();

    for (1 .. 15) {
        $c->more(40);
        $most = size() if size() > $most;
    }

    $c->call('reading', name => 'stopped-', on => JSON::PP::true);
    $c->more(100);
    $c->wait('ready');
    push @by, $c->stats(by => 1)->{by};
    $c->call('reading', name => 'stopped-', on => JSON::PP::false);

    for (my $on = 0; time() < $end; $on = !$on) {
        $c->call('reading', name => 'crawling-',
                 on => $on ? JSON::PP::true : JSON::PP::false);
        $c->more($on ? 5 : 100);
    }

    $c->call('reading', name => $_, on => JSON::PP::true)
        for qw/ stopped- crawling- /;
}, ended => qr/^(?:4008|1006)$/, skip => [qw/ stopped- crawling- /]);

push @by, $c->stats(by => 1)->{by};

# what the workers have grown by while they fell behind, the room's log as well

SKIP: {
    skip 'the sanitizers keep what is freed', 1 if asan();

    my $each = ($most - $before) / $many{'stopped-'};

    $c->remark(sprintf 'F14 %.1f KB of memory for each who has stopped', $each);
    cmp_ok($each, '<=', 64, '64 KB each at most');
}

my @stopped = grep { /^stopped/ } keys %{$by[0]};

is(join(' ', grep { FC::WS::json()->encode($by[0]{$_}{ended})
                    !~ /^\{"(?:4008|1006)":1\}$/ } @stopped), '',
   'who stopped was closed once');
is(join(' ', grep { %{$by[1]{$_}{ended}} && !/^(?:stopped|crawling)/ }
             keys %{$by[1]}),
   '', 'nobody else was');
cmp_ok($report->{delay}{p99}, '<=',
       (2 * $quiet->{delay}{p99} + 0.02) * $c->tolerance(),
       'the others have no delay');


sub size {
    my $kb = 0;

    $kb += rss($_) for workers($t);

    return $kb;
}
