package FC::Prove;

# A plug-in of prove: one PostgreSQL for all the tests of a run, since making
# a cluster takes longer than most of them.  prove -PFC::Prove t/*.t

use strict;
use warnings;

use POSIX qw/ WNOHANG /;

use FC::Pg;
use FC::Util qw/ slurp wait_for /;

my $pg;


sub load {
    $SIG{$_} = \&interrupted for qw/ INT TERM HUP /;

    $pg = FC::Pg->shared();

    return 1;
}


# The tests stop what they have started as long as somebody takes their output;
# an interrupt of the terminal gets to them as well, another signal does not.

sub interrupted {
    @SIG{qw/ INT TERM HUP /} = ('IGNORE') x 3;

    my @tests = grep { slurp("/proc/$_/cmdline") =~ /^timeout\0/ }
                split ' ', slurp("/proc/$$/task/$$/children");

    kill 'TERM', @tests;
    wait_for(sub {
        @tests = grep { waitpid($_, WNOHANG) == 0 } @tests;
        return !@tests;
    }, 20);

    exit 130;
}


END {
    undef $pg;
}


1;
