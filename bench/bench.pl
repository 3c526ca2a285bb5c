#!/usr/bin/perl

# The bench, once all is installed and built: see bench/run.

use strict;
use warnings;

use File::Path qw/ make_path /;
use Getopt::Long qw/ GetOptions /;

use FC::Util qw/ top /;

use Bench::Load;
use Bench::Report;
use Bench::Rows;
use Bench::Server;

my $var = top() . '/bench/var';
my ($list, %external);

$| = 1;

GetOptions('quick' => \$Bench::Rows::quick, 'list' => \$list,
           'perf'  => \$Bench::Load::perf,
           'url=s' => \$external{url}, 'pid=i' => \$external{pid})
    or exit 2;

if ($list) {
    printf "%-14s %s\n", @$_[0, 1] for @Bench::Rows::rows;
    exit;
}

my %wanted = map { $_ => 1 } @ARGV;
my @rows = grep { !@ARGV || delete $wanted{$_->[0]} } @Bench::Rows::rows;

if (%wanted) {
    die "bench/run: no row ", join(', ', sort keys %wanted),
        "; bench/run --list has them\n";
}

%Bench::Server::external = %external if $external{url};

exit main();


sub main {
    my $begin = time;
    my @done;

    say_at($begin, 'starting PostgreSQL and Redis, making users and rooms');
    Bench::Server::prepare($var);

    for my $i (0 .. $#rows) {
        my ($name, $title, $function) = @{$rows[$i]};

        say_at($begin, sprintf '%d/%d %s: %s', $i + 1, scalar @rows, $name,
               $title);

        my @lines = eval { $function->() };

        print STDERR "    $name: $@" if $@;

        push @done, { name => $name, title => $title, lines => \@lines };
        print STDERR map { progress($_) } @lines;
    }

    say_at($begin, 'done');
    output(\@done);

    return 0;
}


sub say_at {
    my ($begin, $text) = @_;

    printf STDERR "==> %3d s: %s\n", time - $begin, $text;

    return;
}


sub progress {
    my ($line) = @_;

    my $all = join ', ', map {
        defined $line->{cells}{$_}
        ? "$_ " . Bench::Report::figure($line->{cells}{$_}) : ()
    } sort keys %{$line->{cells}};

    return "    $line->{what}: $all $line->{unit}"
           . ($line->{goal} ? ' (' . Bench::Report::judged($line) . ', goal '
              . "$line->{goal}: " . Bench::Report::verdict($line) . ')' : '')
           . "\n";
}


sub output {
    my ($done) = @_;

    my $whole = @rows == @Bench::Rows::rows && !$Bench::Rows::quick;
    my $dir = $whole ? top() . '/bench/results' : $var;
    my $table = Bench::Report::table($done);
    my $machine = Bench::Report::machine();

    $table .= "\n$machine->{cpu}, Linux $machine->{kernel}, "
              . "$machine->{time} UTC\n";

    make_path($dir);
    print $table;
    Bench::Report::write_file("$dir/table.txt", $table);
    Bench::Report::json("$dir/bench.json", $done, all_runs(), $machine);
    Bench::Report::charts($dir, $done);
    print STDERR "==> also in $dir\n";

    return;
}
