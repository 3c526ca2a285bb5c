package Checker;

# The process of checker.py, and a site of two nodes for it to live on.
#
#     my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(4 * 3 + 2);
#     my $c = Checker->new($t, location => 'fcchat_lag 1m;');
#
#     $c->phase('redis killed', sub {          # dies where it can't go on
#         $c->site->redis->kill9();
#         $c->more(100);                       # so many more acknowledged
#         $c->site->redis->start();
#         $c->fence();                         # and delivered everywhere
#     }, delay => 1, ended => qr/^1012$/, errors => qr/^unavailable$/);
#
# Before a phase all clients are in and what was said is delivered.  After its
# code the senders stop, what they said is settled, and the clients' notes are
# compared with PostgreSQL.  A phase is four tests: the senders went on, no
# anomaly, no end of a connection, reset or error but those that are allowed (a
# pattern, or a function that knows it afterwards), and the longest delay from
# commit to delivery is within the bound.
#
# Anomalies are counted strictly.  Bounds are times FC_FAULT_TOLERANCE (2, for
# machines that do other things as well; 1 to measure), times 4 under the
# sanitizers, and the checker's own lag is added, as it can't see what it slept
# through.  FC_FAULT_SECONDS is how long a fault goes on at least,
# FC_FAULT_CLIENTS multiplies the clients, and to FC_FAULT_REPORT a line is
# written for each phase.
#
# new() takes the options of FC::Site, and nodes (2), senders (8), rate (10 a
# second each), readers (24), old (4: readers of the old protocol), others (3,
# in another room), size (bytes of a text), start (a function that starts nginx
# for a Test::Nginx, instead of its run()), and moderates: what a moderator does,
# "messages" (the default: deletes and pins them), "all" (rests, slow mode, and
# bans of one reader who is there for it, too) or 0.
# A cluster of PostgreSQL is made that keeps the times of commits.

use strict;
use warnings;

use File::Basename ();
use Cwd ();
use IPC::Open2;
use JSON::PP;
use Test::More ();
use Time::HiRes qw/ time /;

use Test::Nginx ();

use FC::Pg;
use FC::Site;
use FC::Util qw/ slow wait_for workers /;

our $DIR = File::Basename::dirname(Cwd::abs_path(__FILE__));

my $json = JSON::PP->new->utf8->canonical;


sub new {
    my ($class, $t, %o) = @_;

    my $self = bless {
        nodes => 2, senders => 8, rate => 10, readers => 24, old => 4,
        others => 3, size => 0, workers => 2, moderates => 'messages', %o,
        owner => $$, t => [ $t ], site => [], inserted => 0,
    }, $class;

    my %site = map { $_ => $o{$_} }
               grep { exists $o{$_} }
               qw/ main events http server location more redis database bus
                   daemon /;

    $self->{pg} = ref $o{pg} eq 'FC::Pg' ? $o{pg} : Checker->pg(%{$o{pg} || {}});

    for my $i (0 .. $self->{nodes} - 1) {
        my $first = $self->{site}[0];

        $self->{t}[$i] //= Test::Nginx->new();

        push @{$self->{site}}, FC::Site->new(
            $self->{t}[$i], workers => $self->{workers}, listen => 8080 + $i,
            pg => $self->{pg}, %site,
            $first ? (redis => $first->redis, django => $first->django) : ());
    }

    # whatever hangs, the test does not

    $SIG{ALRM} = sub { die "this has taken too long\n" };
    alarm((300 + 20 * $self->seconds(0)) * slow());

    $self->{pid} = open2($self->{out}, $self->{in}, 'setpriv',
                         '--pdeathsig', 'KILL', '/usr/bin/python3', '-B',
                         "$DIR/checker.py");

    return $self;
}


# Times of commits are what delays are measured from.

sub pg {
    my ($class, %o) = @_;

    return FC::Pg->new(private => 1, %o, conf => {
        track_commit_timestamp => 'on', max_connections => 300,
        %{$o{conf} || {}}
    });
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$ || !$self->{pid};

    local ($?, $@, $!);

    # a proxy that was forked since may hold its input open

    kill 'KILL', $self->{pid};
    waitpid delete $self->{pid}, 0;

    return;
}


sub site { return $_[0]{site}[$_[1] // 0] }

sub node { return $_[0]{t}[$_[1] // 0] }

sub nodes { return @{$_[0]{t}} }

sub seconds { return $ENV{FC_FAULT_SECONDS} // $_[1] }

sub many { return int $_[1] * ($ENV{FC_FAULT_CLIENTS} // 1) }

sub tolerance { return $ENV{FC_FAULT_TOLERANCE} // 2 }


sub call {
    my ($self, $command, %args) = @_;

    print {$self->{in}} $json->encode({ %args, command => $command }), "\n";
    $self->{in}->flush();

    my $line = readline $self->{out};

    defined $line or die "the checker has died at $command\n";

    my $reply = $json->decode($line);

    die "checker: $command: $reply->{error}\n" if $reply->{error};

    return $reply;
}


# Waits for a condition of checker.py; the time it took, or undef.

sub wait {
    my ($self, $what, %args) = @_;

    $args{seconds} = ($args{seconds} // 20) * slow();

    my $reply = $self->call('wait', for => $what, %args);

    return $reply->{ok} ? $reply->{took} : undef;
}


sub more {
    my ($self, $n, $seconds) = @_;

    return defined $self->wait('acks', n => $n, seconds => $seconds // 20);
}


sub fence { return defined $_[0]->wait('fence') }

sub stats { return shift->call('stats', @_) }


# Starts nginx and the clients.

sub run {
    my ($self) = @_;

    $self->moderator('stream_1') if $self->{moderates};
    $self->{start} ? $self->{start}->($_) : $_->run() for @{$self->{t}};

    $self->add('stream_1', senders => $self->many($self->{senders}),
               readers => $self->many($self->{readers}),
               old => $self->many($self->{old}),
               moderates => $self->{moderates});
    $self->add('stream_2', senders => 1, readers => $self->{others})
        if $self->{others};

    defined $self->wait('ready') or die "not all clients are in\n";
    $self->more(20) or die "nothing is acknowledged\n";

    return $self;
}


# Whoever moderates the room: the client of that name.

sub moderator {
    my ($self, $room, $name) = @_;

    my $id = $self->site->django->user($name // "$room-m0");

    $self->{pg}->sql('insert into fcchat_moderator select id,'
                     . " $id from chat_chatroom where name = '$room'");

    return;
}


# More clients of a room, spread over the nodes.  Fields of a client (port,
# path, rcvbuf, since...) pass through to checker.py; name is a prefix.  pages
# write in the old protocol.

sub add {
    my ($self, $room, %o) = @_;

    my $prefix = delete $o{name} // "$room-";
    my $port = delete $o{port};
    my $path = delete $o{path};
    my $moderates = delete $o{moderates};
    my @kinds = (['s', delete $o{senders} // 0, rate => $self->{rate}],
                 ['r', delete $o{readers} // 0],
                 ['o', delete $o{old} // 0, old => JSON::PP::true],
                 ['p', delete $o{pages} // 0, old => JSON::PP::true,
                  rate => $self->{rate}],
                 ['m', $moderates ? 1 : 0, rate => 5,
                  moderates => $moderates],
                 ['v', ($moderates // '') eq 'all' ? 1 : 0,
                  victim => JSON::PP::true]);
    my @clients;

    for my $kind (@kinds) {
        my ($letter, $n, %fields) = @$kind;
        my @cookies = $n ? $self->site->django->sessions($n, "$prefix$letter")
                         : ();

        for my $i (0 .. $n - 1) {
            push @clients, {
                name   => "$prefix$letter$i",
                cookie => $cookies[$i],
                room   => $room,
                path   => $path // "/ws/chat/$room/",
                node   => ['127.0.0.1', 0 + ($port // Test::Nginx::port(
                               8080 + $i % $self->{nodes}))],
                %fields, %o,
            };
        }
    }

    $self->call('clients', clients => \@clients, size => $self->{size});

    return $self;
}


# The heads of the rooms as PostgreSQL has them: name => [epoch, last_seq].

sub heads {
    my ($self) = @_;

    return { map { ($_->[0] => [$_->[1], 0 + $_->[2]]) } $self->{pg}->sql(
        'select r.name, h.epoch, h.last_seq from fcchat_head h'
        . ' join chat_chatroom r on r.id = h.room_id') };
}


# The last text of each room that an old reader sees, and how often it is told
# of what moderators did after it.

sub tails {
    my ($self) = @_;

    return { map { ($_->[0] => [$_->[1], 0 + $_->[2]]) } $self->{pg}->sql(
        'select r.name, m.content, (select count(*) from fcchat_event l'
        . ' where l.room_id = r.id and l.seq > e.seq'
        . " and l.kind not in ('message', 'state'))"
        . ' from chat_chatroom r join fcchat_event e on e.room_id = r.id'
        . ' join chat_chatmessage m on m.id = e.message_id'
        . ' where e.seq = (select max(seq) from fcchat_event l'
        . ' join chat_chatmessage m on m.id = l.message_id'
        . " where l.room_id = r.id and l.kind = 'message'"
        . ' and not m.is_deleted)') };
}


# A statement by which Django inserts so many rows; {inserted} counts them.

sub inserts {
    my ($self, $rows) = @_;

    my @values = map {
        my $n = ++$self->{inserted};

        "((select id from chat_chatroom where name = 'stream_1'), null,"
        . " 'stream_1|django|$n|', 'message', false, false, now())"
    } 1 .. $rows;

    return 'insert into chat_chatmessage (room_id, user_id, content,'
           . ' message_type, is_deleted, is_pinned, created_at) values '
           . join(', ', @values) . ";\n";
}


# Whether PostgreSQL writes for anybody.

sub read_only {
    my ($self, $on) = @_;

    $self->{pg}->sql('set default_transaction_read_only = off; alter system'
                     . " set default_transaction_read_only = $on;"
                     . ' select pg_reload_conf()');

    return;
}


# Everything that was stored, in a file for checker.py.

sub ledger {
    my ($self) = @_;

    my $file = $self->node->testdir() . '/ledger';
    my @rows = $self->{pg}->sql(
        'select r.name, e.seq, coalesce(e.message_id, 0),'
        . " e.detail ->> 'username', e.cid,"
        . ' extract(epoch from pg_xact_commit_timestamp(e.xmin)), e.kind,'
        . " case e.kind when 'message' then m.content"
        . " else e.detail ->> 'reason' end"
        . ' from fcchat_event e join chat_chatroom r on r.id = e.room_id'
        . ' left join chat_chatmessage m on m.id = e.message_id');
    my @alone = $self->{pg}->sql(
        'select m.id from chat_chatmessage m where not exists'
        . ' (select from fcchat_event e where e.message_id = m.id)');

    open my $fh, '>:utf8', $file or die "can't write $file: $!\n";
    print $fh join("\t", map { $_ // '' } @$_), "\n" for @rows;
    close $fh;

    return (file => $file, heads => $self->heads(),
            unnumbered => [ map { $_->[0] } @alone ]);
}


sub judge {
    my ($self, @skip) = @_;

    # a ban holds everywhere within a second

    return $self->call('judge', $self->ledger(), skip => \@skip,
                       grace => $self->tolerance() + $self->stats()->{lag});
}


# The senders stop; what they said is acknowledged and delivered.  Returns
# what did not come to an end.

sub settle {
    my ($self) = @_;

    $self->call('talk', on => JSON::PP::false);

    for my $what (qw/ idle ready heads /) {
        my $took = $self->wait($what,
                               $what eq 'heads' ? (heads => $self->heads())
                                                : ());

        return $what if !defined $took;
    }

    # old readers know no numbers: until they have the last text, or came
    # after it

    $self->wait('tails', tails => $self->tails(), seconds => 3);

    return '';
}


sub phase {
    my ($self, $name, $code, %bound) = @_;

    $self->call('talk', on => JSON::PP::true);
    $self->more(2 * $self->{senders});
    $self->fence();

    my $before = $self->call('mark')->{acked};
    my $start = time();

    eval { $code->() };

    my $failed = $@;
    my $stuck = $self->settle();
    my $report = $self->judge(@{$bound{skip} || []});
    my $n = $self->stats()->{acked} - $before;

    Test::More::ok($failed eq '' && $stuck eq '' && $n >= 20,
                   "$name: $n went on") or Test::More::diag(
        "$n acknowledged; $failed; not settled: $stuck; "
        . $json->encode($self->stats(by => 1)));

    Test::More::is_deeply(nonzero($report->{anomalies}), {},
                          "$name: no anomaly")
        or Test::More::diag($json->encode($report->{by}));

    my %unwanted = map {
        my $allowed = ref $bound{$_} eq 'CODE' ? $bound{$_}->() : $bound{$_};
        my $counts = $report->{$_};

        map { ($_ => $counts->{$_}) }
            grep { !defined $allowed || $_ !~ $allowed } keys %$counts
    } qw/ ended resets errors /;

    Test::More::is_deeply(\%unwanted, {}, "$name: nobody is disturbed");

    my $limit = ($bound{delay} // 1) * $self->tolerance() * slow()
                + $report->{lag};

    Test::More::cmp_ok($report->{delay}{max}, '<=', $limit,
                       "$name: delay")
        or Test::More::diag($json->encode($report->{worst}));

    $self->note($name, $report, $n, time() - $start);

    return $report;
}


sub nonzero {
    my ($counts) = @_;

    return { map { ($_ => $counts->{$_}) }
             grep { $counts->{$_} } keys %$counts };
}


# within(SECONDS, took, name): a bound of its own.

sub within {
    my ($self, $bound, $took, $name) = @_;

    my $limit = $bound * $self->tolerance() * slow();

    Test::More::ok(defined $took && $took <= $limit, "$name in $bound s")
        or Test::More::diag('took ' . ($took // 'for ever'));

    return;
}


sub note {
    my ($self, $name, $report, $n, $seconds) = @_;

    my $line = sprintf '%-44s %5.1fs %6d acked %7d delivered %2d anomalies'
        . '  delay p50 %.3f p99 %.3f max %.3f  ack max %.3f  lag %.3f'
        . '  ended %s errors %s unknown %d resets %s',
        $name, $seconds, $n, $report->{deliveries}, $report->{total},
        @{$report->{delay}}{qw/ p50 p99 max /}, $report->{ack}{max},
        $report->{lag}, map({ $json->encode($report->{$_}) }
                            qw/ ended errors /),
        $report->{unknown}, $json->encode($report->{resets});

    $self->remark($line);

    return;
}


sub remark {
    my ($self, $line) = @_;

    Test::More::note($line);

    if ($ENV{FC_FAULT_REPORT}) {
        open my $fh, '>>', $ENV{FC_FAULT_REPORT} or return;
        print $fh "$line\n";
        close $fh;
    }

    return;
}


# Takes lines out of the error logs that a fault has to make; how many.

sub forgive {
    my ($self, $re) = @_;

    my $n = 0;

    $n += FC::Util::forgive($_, $re) for $self->nodes();

    return $n;
}


# Lines of the error logs of all nodes.

sub logged {
    my ($self, $re) = @_;

    return map { FC::Util::log_lines($_, $re) } $self->nodes();
}


1;
