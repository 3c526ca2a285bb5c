#!/usr/bin/perl

# The schemas that fcchat_retention is for: as many as there may be, and one
# more, which is told.
#
# S33 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Queries;
use FC::Site;
use FC::Util qw/ log_lines wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

use constant SCHEMAS => 10_000;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(5 + 2);
my $t2 = Test::Nginx->new();

my $site = FC::Site->new($t, bus => 0, tables('some'));
my $pg = $site->pg;
my $site2 = FC::Site->new($t2, listen => 8081, bus => 0, tables('many'),
                          pg => $pg, redis => $site->redis,
                          django => $site->django);
my $queries = FC::Queries->new($pg);

# one of each is the configuration's; those in the table need not be there

for my $table ([ some => SCHEMAS - 1 ], [ many => SCHEMAS ]) {
    my ($name, $n) = @$table;

    $pg->sql("create table public.$name as select n as id,"
             . " '$name' || to_char(n, 'FM00000') as schema_name"
             . " from generate_series(1, $n) n");
}

$t->run();
$t2->run();

# all are listed before the first one is asked for

ok(wait_for(sub { $queries->backends(qr/fcchat_retain\(/) == 2 }),
   'S33: both have begun');
is($queries->count(qr/ORDER BY t\.schema_name/), 2 * SCHEMAS / 500,
   'S33: all are listed');
is(join('', log_lines($t, qr/fcchat_retention/)), '', 'S33: 10,000 schemas');

my @lines = log_lines($t2, qr/\[error\].*fcchat_retention/);

is(scalar @lines, 1, 'S33: one more is told');
like($lines[0], qr/10000 schemas, "many10000" and others/, 'S33: by its name');


sub tables {
    my ($tenants) = @_;

    return (http => 'fcchat_retention 1m;', more => <<"EOF");
        location /domain/ {
            fcchat;
            fcchat_tenant domain;
            fcchat_tenant_tables domains $tenants;
        }
EOF
}
