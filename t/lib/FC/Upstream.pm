package FC::Upstream;

# For runs on nginx-tests' own library (TEST_NGINX_LIB), which does its last two
# tests when the object goes.  Where a test's subroutines hold it, that is after
# Test::More has counted; so they are done at the end of the file.  An nginx
# that a test has ended itself needs no stopping.

use strict;
use warnings;

use Scalar::Util qw/ weaken /;

use Test::Nginx ();

my @made;

{
    no warnings qw/ redefine prototype /;

    my ($new, $stop) = (\&Test::Nginx::new, \&Test::Nginx::stop);

    *Test::Nginx::new = sub {
        my $t = $new->(@_);

        push @made, $t;
        weaken($made[-1]);

        return $t;
    };

    *Test::Nginx::stop = sub {
        my ($t) = @_;

        return $t unless -e $t->testdir() . '/nginx.pid';
        return $stop->(@_);
    };
}


sub finish_all {
    for my $t (grep { defined } @made) {
        next if $t->{_pid} != $$;

        $t->DESTROY();
        $t->{_pid} = 0;
    }

    return;
}


1;
