#!/usr/bin/perl

# The API's count of viewers, of a worker that has had nobody in the room: it
# has the others' before long.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Crowd qw/ $WORKER /;
use FC::Site;
use FC::Util qw/ wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(3);

my $site = FC::Site->new($t, workers => 2, location => $WORKER,
                         more => <<"EOF");
        location /api/chat/ {
            fcchat_api;
            fcchat_api_rate off;
            $WORKER
        }
EOF

my $cookie = $site->cookie('ann');
my %seen;

$t->run();
wait_for(sub { workers($t) == 2 });

my $ws = $site->join('ann');

is($ws->status(), 101, 'a viewer');

my $there = $ws->header('X-Worker');

ok(wait_for(sub {
    my $r = FC::Api->new(cookie => $cookie)->get('/api/chat/stream_1/viewers');
    my $at = $r->{header}{'x-worker'} // 'nobody';

    $seen{$at} = $r->{json}{viewers} // $r->{status};

    return keys %seen == 2 && !grep { $_ ne 1 } values %seen;
}), 'is counted by both workers') or diag(explain(\%seen));
ok(exists $seen{$there}, 'one of which has it');
