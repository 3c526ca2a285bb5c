#!/usr/bin/perl

# Builds src/pure/ with the sanitizers and runs each of t/unit/*.c on it.

use warnings;
use strict;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Temp qw(tempdir);
use Test::More;

my $t = dirname(abs_path(__FILE__));
my $pure = abs_path("$t/../src/pure");
my $tmp = tempdir(CLEANUP => 1);

# CC may hold flags, such as "ccache gcc"
my @cc = split ' ', $ENV{CC} || 'gcc';
my @cflags = (qw(-std=gnu99 -Wall -Wextra -Werror -Wno-unused-parameter),
    qw(-g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=undefined),
    '-fsanitize=address,undefined', "-I$pure");
my @libs = qw(-ljansson -lcrypto -lz);

$ENV{ASAN_OPTIONS} = 'detect_leaks=1:detect_stack_use_after_return=1';
$ENV{UBSAN_OPTIONS} = 'print_stacktrace=1';

my @tests = sort glob "$t/unit/*.c";
my @objects = map { build($_) } sort glob "$pure/*.c";

plan(tests => 1 + @tests);

ok(@objects && !grep({ !defined } @objects), 'src/pure builds')
    or BAIL_OUT('src/pure does not build');

run_unit($_) for @tests;


sub build {
    my ($source) = @_;

    my $object = "$tmp/" . basename($source, '.c') . '.o';

    return system(@cc, @cflags, '-c', $source, '-o', $object) == 0
        ? $object : undef;
}


# one subtest for each program, with its lines as the results

sub run_unit {
    my ($source) = @_;

    my $name = basename($source, '.c');
    my $program = "$tmp/$name";

    if (system(@cc, @cflags, $source, @objects, '-o', $program, @libs) != 0) {
        fail("unit $name builds");
        return;
    }

    my $pid = open(my $out, '-|', $program) or die "$program: $!";
    my @lines = <$out>;
    close $out;
    my $status = $?;

    subtest("unit $name" => sub {
        my ($count, $planned) = (0, -1);

        for my $line (@lines) {
            chomp $line;

            if ($line =~ /^(not )?ok \d+ - (.*)/) {
                ok(!$1, "$name: $2");
                $count++;

            } elsif ($line =~ /^1\.\.(\d+)$/) {
                $planned = $1;

            } else {
                diag($line);
            }
        }

        is($planned, $count, 'all checks were made');
        is($status, 0, 'exit status');
    });
}
