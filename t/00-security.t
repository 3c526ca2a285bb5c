#!/usr/bin/perl

# SECURITY.md: each point of the checklist is there, and each test that is
# named for it bears its number.  S45 is the page itself.

use warnings;
use strict;

use Test::More tests => 8;

use FindBin;

chdir "$FindBin::Bin/.." or die "chdir: $!\n";

my $page = content('SECURITY.md');
my (%points, @empty, @missing);

while ($page =~ /^\| (\d+) \| ([^|\n]*) \| ([^|\n]*) \|$/mg) {
    my ($n, $point, $shown) = ($1, $2, $3);

    $points{$n}++;

    my @files = $shown =~ /`(t\/[\w.-]+)`/g;

    push @empty, $n if $point !~ /\w{3}/ || (!@files && $shown !~ /\w{3}/);

    for my $file (@files) {
        my $label = sprintf 'S%02d', $n;

        push @missing, "$file has no $label"
            if !-f $file || content($file) !~ /\b$label\b/;
    }
}

is(join(' ', sort { $a <=> $b } keys %points), join(' ', 1 .. 45),
   'S45: points 1 to 45');
is(join(' ', grep { $points{$_} > 1 } sort keys %points), '', 'S45: each once');
is("@empty", '', 'S45: no empty cell');
is(join("\n", @missing), '', 'S45: each test has its number');

like($page, qr/in private.*3 days.*14 days.*90 days/si, 'S45: how to report');
like($page, qr/promised/, 'S45: what is promised');
like($page, qr/Out of scope/, 'S45: what is out of scope');
like($page, qr/^## Secrets$/m, 'S45: how secrets are kept');


sub content {
    my ($file) = @_;

    open my $fh, '<', $file or return '';

    local $/;

    return scalar(<$fh>) // '';
}
