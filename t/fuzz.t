#!/usr/bin/perl

# Replays what the fuzzers' targets were given before: the inputs of
# t/fuzz/corpus, on programs built with the sanitizers.  See t/fuzz/run.

use warnings;
use strict;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Temp qw(tempdir);
use Test::More;

my $t = dirname(abs_path(__FILE__));
my $top = dirname($t);
my $tmp = tempdir(CLEANUP => 1);

my @cc = split ' ', $ENV{CC} || 'gcc';
my @cflags = (qw(-std=gnu99 -Wall -Wextra -Werror -Wno-unused-parameter),
    qw(-g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=undefined),
    '-fsanitize=address,undefined',
    map { "-I$_" } "$top/src/pure", "$top/src/room", "$t/var/build",
        map { ("$t/var/nginx/src/$_", "/usr/share/nginx/src/src/$_") }
            qw(core event os/unix));
my @libs = qw(-ljansson -lcrypto -lz);

$ENV{ASAN_OPTIONS} = 'detect_leaks=1:detect_stack_use_after_return=1';
$ENV{UBSAN_OPTIONS} = 'print_stacktrace=1';

# "conn" is another test's: it needs a nginx

my @targets = grep { !/^(?:replay|conn)$/ }
    map { basename($_, '.c') } sort glob "$t/fuzz/*.c";
my %objects = map { ($_ => build($_)) } sort(glob("$top/src/pure/*.c")),
    "$top/src/room/ngx_http_fcchat_log.c", "$t/fuzz/replay.c";

plan(tests => 2 * @targets);

for my $target (@targets) {
    my @inputs = sort glob "$t/fuzz/corpus/$target/*";

    cmp_ok(scalar @inputs, '>', 0, "$target has inputs");

    my $source = "$t/fuzz/$target.c";
    my @parts = grep { $target eq 'log' || !m{/room/} } sort keys %objects;
    my $program = "$tmp/fuzz-$target";

    if (system(@cc, @cflags, $source, @objects{@parts}, '-o', $program, @libs)
        != 0)
    {
        fail("$target builds");
        next;
    }

    my $pid = open(my $out, '-|', $program, @inputs) or die "$program: $!";
    my @lines = <$out>;
    close $out;

    ok($? == 0 && @lines == @inputs, "$target: " . @inputs . ' inputs')
        or diag('the last one: ' . ($lines[-1] // 'none'));
}


sub build {
    my ($source) = @_;

    my $object = "$tmp/" . basename($source, '.c') . '.o';

    system(@cc, @cflags, '-c', $source, '-o', $object) == 0
        or BAIL_OUT("can't build $source");

    return $object;
}
