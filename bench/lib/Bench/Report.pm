package Bench::Report;

# The table, the JSON and the charts of the lines that the rows have returned.

use strict;
use warnings;

use JSON::PP;

use FC::Util qw/ run_quiet slurp /;

my %colors = (
    fcchat => '#c0392b', floor => '#95a5a6', batch => '#7f8c8d',
    commit => '#34495e',
    nchan => '#2980b9', nchan_redis => '#85c1e9', original => '#f39c12',
    url => '#27ae60',
);

my @columns = (
    [ fcchat => 'fcchat' ], [ floor => 'floor' ], [ batch => 'batched' ],
    [ commit => 'commits' ], [ nchan => 'nchan' ], [ nchan_redis => 'nchan+R' ],
    [ original => 'original' ], [ url => 'url' ],
);


sub figure {
    my ($v) = @_;

    return ''                  if !defined $v;
    return sprintf '%.0f', $v  if abs $v >= 100 || $v == int $v;
    return sprintf '%.1f', $v  if abs $v >= 10;
    return sprintf '%.2f', $v;
}


sub verdict {
    my ($line) = @_;

    my ($v, $max, $min) = @$line{qw/ value max min /};

    return ''                   if !defined $max && !defined $min;
    return 'not measured'       if !defined $v;
    return 'pass'               if defined $max ? $v <= $max : $v >= $min;
    return 'missed'             if defined $max && $max == 0;
    return sprintf '%.0f %% over', ($v / $max - 1) * 100   if defined $max;
    return sprintf '%.0f %% short', (1 - $v / $min) * 100;
}


sub judged {
    my ($line) = @_;

    return '' if !defined $line->{value};
    return $line->{times} ? figure($line->{value}) . ' x'
                          : figure($line->{value});
}


sub table {
    my ($rows) = @_;

    my @used = grep {
        my $k = $_->[0];
        grep { grep { defined $_->{cells}{$k} } @{$_->{lines}} } @$rows
    } @columns;

    my $out = sprintf '%-40s' . ' %8s' x @used . "  %-23s %8s  %s\n", '',
                      map({ $_->[1] } @used), 'goal', 'is', '';

    for my $row (@$rows) {
        $out .= "$row->{name}: $row->{title}\n";

        for my $line (@{$row->{lines}}) {
            $out .= sprintf '  %-38s' . ' %8s' x @used
                            . "  %-23s %8s  %s\n",
                            $line->{what}
                            . ($line->{unit} ? ", $line->{unit}" : ''),
                            map({ figure($line->{cells}{$_->[0]}) } @used),
                            $line->{goal} // '', judged($line),
                            verdict($line);
            $out .= "      $line->{note}\n" if $line->{note};
        }
    }

    $out =~ s/ +$//mg;

    return $out;
}


sub write_file {
    my ($file, $text) = @_;

    open my $fh, '>', $file or die "can't write $file: $!\n";
    print $fh $text;
    close $fh;

    return;
}


sub json {
    my ($file, $rows, $runs, $machine) = @_;

    my @lines = map {
        my $row = $_;
        map { { row => $row->{name}, title => $row->{title}, %$_,
                verdict => verdict($_) } } @{$row->{lines}};
    } @$rows;

    write_file($file, JSON::PP->new->canonical->pretty->encode({
        machine => $machine, lines => \@lines, runs => $runs }));

    return;
}


sub line_of {
    my ($rows, $name, $index) = @_;

    my ($row) = grep { $_->{name} eq $name } @$rows;

    return $row ? $row->{lines}[$index // 0] : undef;
}


# A chart of bars on a logarithmic scale: one group for each line.

sub bars {
    my ($file, $title, $label, @lines) = @_;

    my @given = grep { $_->[1] } @lines;
    my @used = grep {
        my $k = $_->[0];
        grep { defined $_->[1]{cells}{$k} } @given
    } @columns;

    return if !@given || !@used;

    my $data = join "\n", map {
        my $l = $_;
        join "\t", $l->[0], map { $l->[1]{cells}{$_->[0]} // '?' } @used;
    } @given;

    my $plot = join ', ', map {
        "\$d using " . ($_ + 2) . ($_ == 0 ? ':xtic(1)' : '')
        . qq( title "$used[$_][1]" lc rgb "$colors{$used[$_][0]}")
    } 0 .. $#used;

    my $end = @given - 0.4;

    (my $script = $file) =~ s/\.svg$/.gp/;

    write_file($script, <<"EOF");
\$d << E
$data
E
set terminal svg size 800,360 font "sans-serif,12" background "white"
set output "$file"
set title "$title"
set ylabel "$label"
set datafile separator "\\t"
set datafile missing "?"
set style data histogram
set style histogram clustered gap 1.5
set style fill solid 0.85 noborder
set logscale y
set grid ytics lt 1 lc rgb "#cccccc"
set xrange [-0.6:$end]
set key outside right top
plot $plot
EOF
    run_quiet({}, 'gnuplot', $script);
    unlink $script;

    return;
}


sub charts {
    my ($dir, $rows) = @_;

    bars("$dir/fanout.svg", 'One message to all sockets of a room: '
         . 'server CPU a delivery', 'microseconds',
         [ '100', line_of($rows, 'fanout-100') ],
         [ '1,000', line_of($rows, 'fanout-1000') ],
         [ '10,000', line_of($rows, 'fanout-10000') ],
         [ '16 at once', line_of($rows, 'flight', 1) ]);

    bars("$dir/latency.svg", 'From send to each delivery, p99',
         'milliseconds',
         [ 'at rest', line_of($rows, 'rest', 1) ],
         [ '8/s to 10,000', line_of($rows, 'open-8') ],
         [ '40/s to 10,000', line_of($rows, 'open-40') ]);

    bars("$dir/cost.svg", 'An idle socket, and the CPU of a handshake', '',
         [ 'memory, bytes', line_of($rows, 'memory') ],
         [ 'first handshake, us', line_of($rows, 'handshake') ],
         [ 'again, us', line_of($rows, 'handshake', 1) ]);

    return;
}


sub machine {
    my ($model) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)$/m;
    my ($kernel) = slurp('/proc/version') =~ /^Linux version (\S+)/;

    return { cpu => $model // 'unknown', kernel => $kernel // 'unknown',
             time => scalar gmtime };
}


1;
