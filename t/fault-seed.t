#!/usr/bin/perl

# What t/fault-mixed.t does is drawn from its seed alone: the same again for the
# same, whatever else there is of chance, and everything in the end.

use warnings;
use strict;

use Test::More tests => 5;

BEGIN { use FindBin; chdir($FindBin::Bin); }

delete @ENV{qw/ FC_FAULT_ONLY FC_FAULT_SECONDS /};

my @first = drawn(1234, 200);

is(scalar(@first), 200, 'a fault or two in each round');
is(join('', drawn(1234, 200)), join('', @first), 'once more the same');
isnt(join('', drawn(4321, 200)), join('', @first), 'of another seed others');

open my $fh, '<', 'fault-mixed.t' or die "fault-mixed.t: $!\n";

my %never = map { /^    \['\w+', '([^']+)'/ ? ($1 => 1) : () } <$fh>;

cmp_ok(scalar(keys %never), '>', 20, 'many faults');

delete @never{map { chomp; split /, (?!backwards)/ } @first};

is(join(', ', sort keys %never), '', 'all of them in the end');


sub drawn {
    my ($seed, $n) = @_;

    local @ENV{qw/ FC_FAULT_SEED FC_FAULT_DRAW /} = ($seed, $n);

    my @incs = map { "-I$_" } @INC;

    open my $out, '-|', $^X, @incs, 'fault-mixed.t' or die "perl: $!\n";

    return <$out>;
}
