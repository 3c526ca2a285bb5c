#!/usr/bin/perl

# A whole worker of nginx in one process, with scripted clients, PostgreSQL and
# Redis (t/fuzz/conn.c): each script that is kept is played, and then again and
# again with one of its allocations failing, or forty in a row.  Nothing leaks,
# and nobody is left when a script has ended.
#
# A short run visits every index of some scripts, and of the others those of a
# printed seed (FC_FAULT_SEED); with FC_FAULT_SECONDS it is every index of all.

use warnings;
use strict;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Temp qw(tempdir);
use Test::More;

my $t = dirname(abs_path(__FILE__));
my $asan = "$t/var/asan";

plan(skip_all => 'needs what the sanitizers are built for: t/run --asan')
    if !$ENV{FC_ASAN};

my @scripts = sort glob "$t/fuzz/corpus/conn/*";
my @named = grep { basename($_) =~ /^[a-z-]+$/ } @scripts;

plan(tests => 2 + @named);

my $tmp = tempdir(CLEANUP => 1);
my @sources = ('-fsanitize=address,undefined', '-fno-sanitize-recover=all');

is(system("$t/fuzz/conn/build", 'gcc', $asan, "$tmp/conn", @sources,
          "$t/fault/alloc.c"), 0, 'the worker is linked');

# what the fuzzer kept, once each

my $said = run(0, 0, @scripts);

is(scalar(() = $said =~ /^\S+ \d+ \d+$/mg), scalar @scripts,
   'each script is played')
    or diag($said);

# the visits of a script are its allocations twice

my %whole = map { $_ => 1 } qw/ handshake message close status /;
my $step = 24;
my $seed = $ENV{FC_FAULT_SEED} // int rand 1000;

diag("seed $seed") if !defined $ENV{FC_FAULT_SECONDS};

for my $script (@named) {
    my $name = basename($script);
    my $k = defined $ENV{FC_FAULT_SECONDS} || $whole{$name} ? 1 : $step;
    my $out = run($k, $seed % $k, $script);
    my ($n, $visited) = $out =~ /^\S+ (\d+) (\d+)$/m;

    ok(defined $visited, "$name: " . ($visited // 'none') . ' of '
                         . 2 * ($n // 0) . ' visits')
        or diag($out);
}


sub run {
    my ($step, $offset, @files) = @_;

    open my $fh, '-|', "$tmp/conn $step $offset @files 2>&1"
        or die "conn: $!\n";

    local $/ = undef;
    my $out = <$fh>;

    return close $fh ? $out : "$out\nexit status $?\n";
}
