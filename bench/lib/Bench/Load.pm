package Bench::Load;

# Runs the load generator against a server, on the second core.
#
#     my $r = load($server, sockets => 1000, seconds => 2);   # its options
#     cpu($r)            # microseconds of the server's CPU a delivery
#     growth($r)         # bytes of the server's memory a socket
#     lossless($r)       # true when all came, once, in order
#
#     my $l = load_begin($server, ...);     # returns when it is under way
#     my $r = load_end($l);

use strict;
use warnings;

use base qw/ Exporter /;

use JSON::PP;

use FC::Util qw/ run_quiet spawn stop_pid /;

use Bench::Server;

our @EXPORT = qw/ load load_begin load_end cpu growth lossless all_runs /;

our $perf;

my $runs = 0;
my @all;


sub all_runs { return \@all }


sub command {
    my ($server, %o) = @_;

    # an address of its own for each run, so that ports never run out

    my $source = sprintf '127.%d.%d.1', 1 + ($$ & 127), $runs++ & 255;
    my %arg = (proto => $server->{proto}, source => $source, %o);
    my $urgent = delete $arg{urgent};
    my $url = delete $arg{url} // $server->{url};

    $arg{cookies} //= $server->{cookies} if $server->{cookies};

    my @pids = $server->{pid} ? "--pid=server:$server->{pid}" : ();

    push @pids, '--pid=postgres:' . $Bench::Server::pg->pid(),
                '--pid=redis:' . $Bench::Server::redis->pid();

    # "urgent" comes before another load on the same core

    return ('taskset', '-c', 1,
            $urgent && $> == 0 ? ('chrt', '-f', 10) : (),
            "$Bench::Server::var/load", @pids,
            map({ defined $arg{$_} ? "--$_=$arg{$_}" : "--$_" } sort keys %arg),
            $url);
}


sub load_begin {
    my ($server, %o) = @_;

    my @command = command($server, %o);
    my $pid = open my $fh, '-|', @command;

    die "can't run the load: $!\n" if !$pid;

    my $self = { pid => $pid, fh => $fh, server => $server,
                 asked => { %o }, command => "@command" };

    readline $fh if exists $o{announce};

    return $self;
}


sub load_end {
    my ($self) = @_;

    my $line = readline $self->{fh};

    close $self->{fh};
    defined $line or die "the load has died: $self->{command}\n";

    my $r = decode_json($line);

    $r->{kind} = $self->{server}{kind};
    $r->{asked} = $self->{asked};
    push @all, $r;

    if ($r->{failed} || $r->{stuck}) {
        print STDERR "    $r->{kind}: $r->{failed} handshakes failed",
                     $r->{stuck} ? ', messages are missing' : '',
                     ": $r->{error}\n";
    }

    return $r;
}


sub load {
    my ($server, %o) = @_;

    return load_end(load_begin($server, %o))
        if !$perf || $server->{kind} !~ /^(?:floor|batch|fcchat)$/;

    my $file = "$Bench::Server::var/perf-$runs-$server->{kind}";
    my $pid = spawn({ log => "$file.log" }, 'perf', 'record', '-q', '-g',
                    '-F', 2999, '-p', $server->{pid}, '-o', "$file.data");
    my $r = load_end(load_begin($server, %o));

    stop_pid($pid, 'INT', 10);

    my $text = run_quiet({}, 'perf', 'report', '-i', "$file.data", '--stdio',
                         '--no-children', '-g', 'none', '-s', 'dso,sym',
                         '--percent-limit', '0.3');

    open my $fh, '>', "$file.txt" or die "$file.txt: $!\n";
    print $fh join(' ', map { "$_=" . ($o{$_} // '') } sort keys %o),
              "\n\n$text";
    close $fh;

    return $r;
}


sub cpu {
    my ($r) = @_;

    return undef if !$r->{deliveries} || !$r->{procs}{server};
    return $r->{procs}{server}{run_ns} / $r->{deliveries} / 1000;
}


sub growth {
    my ($r) = @_;

    return undef if $r->{failed};

    my $p = $r->{procs}{server};

    return ($p->{rss_after} - $p->{rss_before}) * 1024 / $r->{sockets};
}


sub lossless {
    my ($r) = @_;

    return !$r->{stuck} && !$r->{failed} && !$r->{closed} && !$r->{gaps}
           && !$r->{backwards} && !$r->{strangers}
           && $r->{delivered} == $r->{expected};
}


1;
