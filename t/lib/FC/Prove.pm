package FC::Prove;

# A plug-in of prove: one PostgreSQL for all the tests of a run, since making
# a cluster takes longer than most of them.  prove -PFC::Prove t/*.t

use strict;
use warnings;

use FC::Pg;

my $pg;


sub load {
    $SIG{$_} = sub { exit 130 } for qw/ INT TERM HUP /;

    $pg = FC::Pg->shared();

    return 1;
}


END {
    undef $pg;
}


1;
