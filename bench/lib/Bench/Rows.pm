package Bench::Rows;

# The rows of the table: what is started, what is loaded, what is judged.
#
# A row is [NAME, TITLE, FUNCTION].  Its function returns lines, each a hash of
#
#     what, unit       the figure
#     cells            server => figure
#     goal             in words
#     value, max|min   what is judged, and by what; undef can't be judged
#     note             more to know

use strict;
use warnings;

use FC::Queries;
use FC::Util qw/ run_quiet slurp spawn stop_pid /;

use Bench::Load;
use Bench::Server;

our $quick = 0;
my %floor;      # sockets => us of CPU a delivery

our @rows = (
    [ 'fanout-1000', 'one message to 1,000 sockets',
      sub { fan_out(1000, 1.08,
                    qw/ commit nchan nchan_redis original url /) } ],
    [ 'fanout-10000', 'one message to 10,000 sockets',
      sub { fan_out(10000, 1.15, qw/ nchan nchan_redis url /) } ],
    [ 'fanout-100', 'one message to 100 sockets',
      sub { fan_out(100, undef, qw/ nchan original /) } ],
    [ 'flight', '16 messages in flight to 1,000 sockets', \&flight ],
    [ 'ingest', '100 rooms, 8 messages in flight in each', \&ingest ],
    [ 'one-room', '800 messages in flight in one room', \&one_room ],
    [ 'rest', 'a message now and then', \&rest ],
    [ 'open-8', '10,000 sockets, 8 messages a second', \&open_8 ],
    [ 'open-40', '10,000 sockets, 40 messages a second', \&open_40 ],
    [ 'memory', 'idle sockets', \&memory ],
    [ 'deflate', 'one compressed message to 1,000 sockets', \&deflate ],
    [ 'rooms', '10,000 sockets in 1, 100 and 10,000 rooms', \&rooms ],
    [ 'idle', '15,000 idle sockets with pings', \&idle ],
    [ 'handshake', 'authenticated handshakes', \&handshake ],
    [ 'resume', '10,000 clients coming back', \&resume ],
    [ 'neighbor', 'a room beside one of 10,000 at 100 messages/s',
      \&neighbor ],
    [ 'stalled', '1,000 of 10,000 readers stalled', \&stalled ],
);


# The shorter of two lengths of time where it is only to be seen to work.

sub seconds {
    my ($long, $short) = @_;

    return $quick ? $short // 1 : $long;
}


sub ratio {
    my ($a, $b) = @_;

    return defined $a && $b ? $a / $b : undef;
}


sub least {
    my @all = sort { $a <=> $b } grep { defined } @_;

    return $all[0];
}


# One load against each of some servers, each started alone; in rounds, so that
# whatever else the machine does meets all of them.  Returns the runs of each.

sub each_of {
    my ($servers, $rounds, %o) = @_;

    my %runs;
    my $of = delete $o{of} || {};

    for my $round (1 .. $rounds) {
        for my $kind (@$servers) {
            next if Bench::Server::missing($kind)
                    || $round > 1 && $kind !~ /^(?:floor|batch|commit|fcchat)$/;

            my $server = Bench::Server->start($kind, %{$o{start} || {}});
            my %arg = (%o, %{$of->{$kind} || {}});

            delete $arg{start};
            push @{$runs{$kind}}, load($server, %arg);
            $server->stop();
        }
    }

    return \%runs;
}


# server => the least of a figure over its runs

sub cells {
    my ($runs, $figure) = @_;

    return { map { $_ => least(map { $figure->($_) } @{$runs->{$_}}) }
             keys %$runs };
}


sub losses {
    my ($runs) = @_;

    my @bad = grep { my $k = $_; grep { !lossless($_) } @{$runs->{$k}} }
              sort keys %$runs;

    return @bad ? "not all came: @bad" : 'all came, once, in order';
}


sub fan_out {
    my ($n, $limit, @others) = @_;

    my $runs = each_of([ 'floor', 'fcchat', @others ], $quick ? 1 : 2,
                       sockets => $n, seconds => seconds(2), warm => 3);
    my $cpu = cells($runs, \&cpu);
    my $x = ratio($cpu->{fcchat}, $cpu->{floor});

    return { what => 'CPU a delivery', unit => 'us', cells => $cpu,
             goal => $limit ? "<= $limit x floor" : '', value => $x,
             max => $limit, times => 'floor',
             note => losses($runs) . bend($n, $cpu) . commits($cpu) };
}


# What it costs the floor to commit a message before it sends it: the load falls
# asleep meanwhile, and each send() has to wake it again.

sub commits {
    my ($cpu) = @_;

    my $x = ratio(@$cpu{qw/ fcchat commit /});

    return $x ? sprintf('; %.2f x the floor that commits first', $x) : '';
}


# Why a delivery to so many costs another time than one to 1,000: what a message
# costs once is shared by fewer, or the kernel's state of all the sockets fits
# into no cache, and then the floor shows it as well.

sub bend {
    my ($n, $cpu) = @_;
    my ($ours, $floor) = @$cpu{qw/ fcchat floor /};

    $floor{$n} = $floor;

    return '' if !$ours || !$floor;

    return sprintf '; above the floor: %.0f us a message, shared by %d',
                   ($ours - $floor) * $n, $n if $n < 1000;

    return '' if $n == 1000 || !$floor{1000};

    return sprintf '; the floor bends too: %.2f us to 1,000, %.2f here',
                   $floor{1000}, $floor;
}


sub flight {
    my $runs = each_of([ qw/ batch fcchat floor nchan url / ],
                       $quick ? 1 : 2, sockets => 1000, flight => 16,
                       seconds => seconds(2), warm => 3);
    my $cpu = cells($runs, \&cpu);
    my $rate = cells($runs, sub { -$_[0]{deliveries} / $_[0]{run_s} / 1e6 });

    $_ = -$_ for values %$rate;

    return { what => 'deliveries/s', unit => 'M', cells => $rate,
             goal => '>= 1.5 M', value => $rate->{fcchat}, min => 1.5,
             note => losses($runs) },
           { what => 'CPU a delivery', unit => 'us', cells => $cpu,
             goal => '<= 1.4 x batched floor', max => 1.4,
             value => ratio(@$cpu{qw/ fcchat batch /}), times => 'batch' };
}


sub stored {
    my ($min, $runs) = @_;

    my $rate = cells($runs, sub { -$_[0]{messages} / $_[0]{run_s} });

    $_ = -$_ for values %$rate;

    my $r = $runs->{fcchat}[0];
    my $per = sub {
        my ($name) = @_;

        return sprintf '%s %.1f us', $name,
               $r->{procs}{$name}{run_ns} / ($r->{messages} || 1) / 1000;
    };

    return { what => 'messages/s stored and echoed', unit => '1/s',
             cells => $rate, goal => ">= $min", value => $rate->{fcchat},
             min => $min,
             note => losses($runs) . '; CPU a message: '
                     . join(', ', map { $per->($_) }
                                  qw/ server postgres redis /) };
}


sub ingest {
    return stored(20000, each_of([ qw/ fcchat original / ], 1,
                                 sockets => 100, rooms => 100, flight => 8,
                                 echo => undef, seconds => seconds(4, 2)));
}


# As many under way as in the row above, from few enough sockets for the
# fan-out not to be what is measured

sub one_room {
    return stored(10000, each_of([ qw/ fcchat original / ], 1,
                                 sockets => 16, senders => 16, flight => 50,
                                 echo => undef, seconds => seconds(4, 2)));
}


sub rest {
    my $runs = each_of([ qw/ floor commit fcchat nchan nchan_redis original / ],
                       1, sockets => 1, rate => 40, warm => 10,
                       seconds => seconds(5, 2));

    return map {
        my ($q, $max) = @$_;
        my $ms = cells($runs, sub { $_[0]{ms}{$q} });

        { what => "send to echo, $q", unit => 'ms', cells => $ms,
          goal => "<= $max ms", value => $ms->{fcchat}, max => $max,
          note => sprintf('%.2f x the floor that commits first',
                          ratio(@$ms{qw/ fcchat commit /})) };
    } [ p50 => 1.0 ], [ p99 => 3 ];
}


sub p99 {
    my ($runs) = @_;

    return cells($runs, sub { $_[0]{ms}{p99} });
}


sub open_8 {
    my $runs = each_of([ qw/ floor fcchat nchan / ], $quick ? 1 : 2,
                       sockets => 10000, rate => 8, warm => 3,
                       seconds => seconds(8, 2));
    my $ms = p99($runs);

    return { what => 'send to each delivery, p99', unit => 'ms',
             cells => $ms, goal => '<= 1.3 x floor', max => 1.3,
             value => ratio(@$ms{qw/ fcchat floor /}), times => 'floor',
             note => losses($runs) },
           { what => 'p50', unit => 'ms',
             cells => cells($runs, sub { $_[0]{ms}{p50} }) };
}


sub open_40 {
    my $runs = each_of([ qw/ batch fcchat / ], 1, sockets => 10000,
                       rate => 40, warm => 3, seconds => seconds(20, 3),
                       of => { fcchat => { seconds => seconds(60, 3) } });
    my $ms = p99($runs);
    my $r = $runs->{fcchat}[0];
    my $lost = $r->{expected} - $r->{delivered} + $r->{backwards};

    return { what => 'send to each delivery, p99', unit => 'ms',
             cells => $ms, goal => '<= 1.3 x batched floor', max => 1.3,
             value => ratio(@$ms{qw/ fcchat batch /}), times => 'batch' },
           { what => 'p50', unit => 'ms',
             cells => cells($runs, sub { $_[0]{ms}{p50} }) },
           { what => 'lost or out of order', unit => '',
             cells => { fcchat => $lost }, goal => 'none', value => $lost,
             max => 0, note => losses($runs) },
           { what => 'p99 of the last sixth to the second', unit => 'x',
             cells => { fcchat => ratio($r->{slices}[5]{p99},
                                        $r->{slices}[1]{p99}) },
             goal => 'no growth', max => 1.3,
             value => ratio($r->{slices}[5]{p99}, $r->{slices}[1]{p99}) };
}


# What a process needs once is there after a few sockets.

sub grown {
    my ($kind, $n, %o) = @_;

    my $start = delete $o{start} || {};

    return undef if Bench::Server::missing($kind);

    my $server = Bench::Server->start($kind, %$start);

    load($server, sockets => 100, warm => 1, %o, rooms => 1);

    my $r = load($server, sockets => $n, idle => 0.2, %o);

    $server->stop();

    return growth($r);
}


# The least of two: what differs is how many handshakes were under way at once,
# and the holes they left.

sub memory {
    my %plain = (
        fcchat   => least(map { grown('fcchat', 10000) } 1, 2),
        floor    => grown('floor', 10000),
        nchan    => grown('nchan', 10000),
        original => grown('original', $quick ? 200 : 1000),
    );
    my $tls = grown('fcchat', $quick ? 500 : 2000, start => { tls => 1 });

    my $few = grown('fcchat', 10000, cookies => Bench::Server::few_cookies());
    my $deflate = least(map { grown('fcchat', 10000, deflate => undef,
                                    start => { conf => 'fcchat_deflate on;' })
                            } 1, 2);

    return { what => 'memory of an idle socket', unit => 'B',
             cells => \%plain, goal => '<= 1.2 KB',
             value => $plain{fcchat}, max => 1229,
             note => sprintf('each of another session; of 100 sessions %.0f B: '
                             . 'the rest is the cache and holes', $few // 0) },
           { what => 'with permessage-deflate', unit => 'B',
             cells => { fcchat => $deflate }, goal => '<= 100 B more',
             value => defined $deflate ? $deflate - $plain{fcchat} : undef,
             max => 100 },
           { what => 'with TLS', unit => 'B', cells => { fcchat => $tls } };
}


# The same text with and without, in turn: a line of chat, and a long one.

sub deflate {
    my @lines;

    for my $text (80, 400) {
        my %runs;

        for (1 .. ($quick ? 1 : 3)) {
            for my $on (0, 1) {
                my $server = Bench::Server->start('fcchat', conf =>
                                                  'fcchat_deflate on;');

                push @{$runs{$on}}, load($server, sockets => 1000, warm => 3,
                                         seconds => seconds(2), text => $text,
                                         $on ? (deflate => undef) : ());
                $server->stop();
            }
        }

        my ($off, $on) = map {
            { cpu => least(map { cpu($_) } @{$runs{$_}}),
              bytes => least(map { ratio(@$_{qw/ wire delivered /}) }
                             @{$runs{$_}}) }
        } 0, 1;

        push @lines,
            { what => "bytes a delivery, text of $text", unit => 'B',
              cells => { fcchat => $on->{bytes} },
              note => sprintf('%.0f without; %s', $off->{bytes},
                              losses({ fcchat => $runs{1} })) },
            { what => "CPU a delivery, text of $text", unit => 'us',
              cells => { fcchat => $on->{cpu} },
              goal => '<= 1.05 x without', max => 1.05,
              value => ratio($on->{cpu}, $off->{cpu}) };
    }

    return @lines;
}


sub rooms {
    my %b = map { $_ => grown('fcchat', 10000, rooms => $_) } 1, 100, 10000;

    return map {
        { what => 'memory of a socket, rooms: ' . $_, unit => 'B',
          cells => { fcchat => $b{$_} },
          $_ == 10000
          ? (note => sprintf 'a room is %.0f B, shared by all in it',
                             $b{10000} - $b{1}) : () };
    } sort { $a <=> $b } keys %b;
}


# Long enough for each socket to be pinged once.  The floor sends the same pings,
# and reads their pongs.

sub idle {
    my $n = $quick ? 3000 : 15000;
    my $every = $quick ? 4 : 25;
    my ($note, @walkers) = in_use();
    my $runs = each_of([ qw/ ping fcchat / ], 1, sockets => $n, idle => $every,
                       start => { every => $every,
                                  conf => "fcchat_ping ${every}s;" });

    stop_pid($_, 'KILL') for @walkers;

    my $us = cells($runs, sub {
        $_[0]{procs}{server}{run_ns} / 1000 / $_[0]{run_s} / $n;
    });
    my ($ours, $floor) = @$us{qw/ fcchat ping /};

    return { what => 'CPU a second and socket', unit => 'us',
             cells => { fcchat => $ours, floor => $floor },
             $quick ? (note => 'pinged every 4 s in place of 25')
                    : (goal => '<= 0.5 us', value => $ours, max => 0.5,
                       note => sprintf('%.2f x a floor that sends the same '
                                       . 'pings; %s', ratio($ours, $floor),
                                       $note)) };
}


# The host of a virtual machine may take back what memory is left alone: that is
# then what a socket costs that is touched each 25 s.  Where a page shows it, all
# memory is kept in use at idle priority.  Returns what was found and done, and
# the processes.

sub in_use {
    my $page = sub { run_quiet({}, "$Bench::Server::var/touch", 8) / 1000 };
    my $cold = $page->();
    my $found = sprintf 'a page of memory left alone takes %.2f us', $cold;
    my @walkers;

    if ($cold > 0.5) {
        @walkers = map { spawn({}, qw/ chrt -i 0 /, "$Bench::Server::var/touch",
                               'walk') } 1 .. 9;
        $found .= sprintf ', %.2f with other memory in use, as it was then',
                          $page->();
    }

    return $found, @walkers;
}


sub handshake {
    my %n = (fcchat => $Bench::Server::USERS, nchan => 10000,
             original => $quick ? 100 : 300);
    my (%first, %second, $asked);
    my $queries = FC::Queries->new($Bench::Server::pg);

    for my $kind (sort keys %n) {
        next if Bench::Server::missing($kind);

        my $server = Bench::Server->start($kind);
        my $connect = sub {
            my $r = load($server, sockets => $n{$kind}, 'at-once' => 50);

            return $r->{procs}{server}{connect_ns} / 1000 / $n{$kind};
        };

        $queries->since();
        $first{$kind} = $connect->();
        $second{$kind} = $connect->() if $kind eq 'fcchat';
        $asked = $queries->count(qr/django_session/) if $kind eq 'fcchat';
        $server->stop();
    }

    quiet_log();

    return { what => 'CPU, session not known', unit => 'us',
             cells => \%first, goal => '<= 150 us', max => 150,
             value => $first{fcchat} },
           { what => 'CPU, session in the cache', unit => 'us',
             cells => \%second, goal => '<= 30 us', max => 30,
             value => $second{fcchat} },
           { what => 'questions to PostgreSQL a session', unit => '',
             cells => { fcchat => $asked / $n{fcchat} }, goal => '<= 1',
             value => $asked / $n{fcchat}, max => 1 };
}


sub quiet_log {
    $Bench::Server::pg->sql('alter database "' . $Bench::Server::pg->name()
                            . '" reset log_statement');

    return;
}


# Once to the worker that has it all in memory, once to a new one.

sub resume {
    my $rooms = 10;
    my @arg = (sockets => 10000, rooms => $rooms, proto => 'v1', warm => 2,
               missed => 20, 'at-once' => 2000);
    my $queries = FC::Queries->new($Bench::Server::pg);
    my $server = Bench::Server->start('fcchat');
    my @runs = load($server, @arg);

    $queries->since();
    push @runs, load($server, @arg, hup => $server->{main});

    my $asked = $queries->count(qr/LEFT JOIN LATERAL/);

    $server->stop();
    quiet_log();

    return map({
        my ($what, $r) = @$_;

        { what => "until the last is live, $what", unit => 's',
          cells => { fcchat => $r->{live_s} }, goal => '<= 3 s', max => 3,
          value => $r->{live} == 10000 - $rooms ? $r->{live_s} : undef,
          note => losses({ fcchat => [ $r ] }) }
    } [ 'same worker', $runs[0] ], [ 'new worker', $runs[1] ]),
        { what => 'questions to PostgreSQL a room', unit => '',
          cells => { fcchat => $asked / $rooms }, goal => '<= 1',
          value => $asked / $rooms, max => 1 };
}


sub neighbor {
    my $server = Bench::Server->start('fcchat');
    my @probe = (url => $server->{url} =~ s/%d/2/r, sockets => 5, rate => 20,
                 warm => 3, seconds => seconds(8, 2), urgent => 1);
    my $alone = load($server, @probe);
    my $crowd = load_begin($server, sockets => 10000, rate => 100, warm => 1,
                           seconds => seconds(10, 4), announce => undef);
    my $beside = load($server, @probe);
    my $r = load_end($crowd);

    $server->stop();

    my $added = $beside->{ms}{p99} - $alone->{ms}{p99};

    return { what => 'p99 added in the other room', unit => 'ms',
             cells => { fcchat => $added }, goal => '<= 10 ms',
             value => $added, max => 10,
             note => sprintf('alone p99 %.1f ms, beside %.1f; the crowd %s',
                             $alone->{ms}{p99}, $beside->{ms}{p99},
                             losses({ fcchat => [ $r ] })) };
}


# Small buffers in the kernel, and messages before the measured time that fill
# them: the stalled ones are behind from the beginning.  Without and with them in
# turn, twice, and the least of each: 64 messages make a p99 of a few, and one
# late turn of another process would decide.

sub stalled {
    my @arg = ([ qw/ fcchat / ], 1, rate => 8, text => 400,
               warm => $quick ? 30 : 100, seconds => seconds(8, 2),
               start => { listen => 'sndbuf=8k' });

    my ($without, $with) = ({}, {});

    for (1 .. 2) {
        push @{$without->{fcchat}},
            @{each_of(@arg, sockets => 9000)->{fcchat}};
        push @{$with->{fcchat}},
            @{each_of(@arg, sockets => 10000, stalled => 1000)->{fcchat}};
    }

    my $x = ratio(p99($with)->{fcchat}, p99($without)->{fcchat});

    return { what => 'p99 of the others, to that without', unit => 'x',
             cells => { fcchat => $x }, goal => '<= 1.2 x', value => $x,
             max => 1.2,
             note => sprintf('%.1f and %.1f ms; %s', p99($without)->{fcchat},
                             p99($with)->{fcchat}, losses($with)) };
}


1;
