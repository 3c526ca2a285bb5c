package FC::Crowd;

# Many sockets of a site, and what all of them have seen; and a session of psql
# that holds a lock while the test looks.
#
#     my @ws = spread($site, $t, 2, room => 'stream_1', protocol => ...);
#                              # two in each worker of nginx, with its pid in
#                              # $ws->{worker}; the location needs $WORKER
#     gather(\@ws, $n);        # reads until each has $n messages of the room
#     texts($ws);              # their texts, in order of arrival
#     $ws->{seqs};             # their numbers (fcchat.v1)
#     $ws->{others};           # all else that came: acks, viewers, errors
#
#     my $lock = FC::Crowd->lock($site->pg, 'fcchat_head');
#     wait_for(sub { FC::Crowd->blocked($site->pg) });   # somebody waits for it
#     $lock->release();

use strict;
use warnings;

use base qw/ Exporter /;

use IO::Select;
use IPC::Open2;

use FC::Util qw/ slow workers /;
use FC::WS;

our @EXPORT_OK = qw/ $WORKER spread gather texts sends /;

our $WORKER = 'add_header X-Worker $pid always;';


sub spread {
    my ($site, $t, $n, %o) = @_;

    my $want = $site->{workers};
    my $user = delete $o{user} // 'reader';
    my (%by, @all);

    FC::Util::wait_for(sub { workers($t) == $want });

    for (1 .. 200 * $want * $n) {
        my $ws = $site->join($user, %o);

        die 'spread: ' . $ws->status() . "\n" if $ws->status() != 101;

        my $pid = $ws->header('X-Worker');

        if (@{$by{$pid} || []} >= $n) {
            $ws->drop();
            next;
        }

        $ws->{worker} = $pid;
        push @{$by{$pid}}, $ws;
        push @all, $ws;

        return @all if @all == $want * $n;
    }

    die "the workers don't share the connections\n";
}


sub note_message {
    my ($ws, $m) = @_;

    my $kind = $m->{type} // $m->{message_type} // '';

    if ($kind ne 'message') {
        push @{$ws->{others}}, $m;
        return;
    }

    push @{$ws->{texts}}, $m->{text} // $m->{message};
    push @{$ws->{seqs}}, $m->{seq} if exists $m->{seq};

    return;
}


sub texts { return @{$_[0]{texts} || []} }


# True when each has its number; what comes beside is noted as well.

sub gather {
    my ($all, $n, $seconds) = @_;

    return FC::WS->poll($all, \&note_message, ($seconds // 10) * slow(), sub {
        return !grep { texts($_) < $n } @$all;
    });
}


# Each sender's messages, "name-1" and so on, in turn and without waiting.

sub sends {
    my ($senders, $n, $size) = @_;

    for my $k (1 .. $n) {
        for my $i (0 .. $#$senders) {
            my $ws = $senders->[$i];
            my $text = "s$i-$k";

            $text .= '.' x ($size - length $text) if $size;

            $ws->send_json($ws->{protocol}
                           ? { type => 'message', text => $text,
                               cid => "s$i-$k" }
                           : { message => $text });
        }
    }

    return;
}


sub psql {
    my ($class, $dsn) = @_;

    my $self = bless { owner => $$ }, $class;

    local $ENV{PGOPTIONS} = '-c search_path=localhost,public';

    $self->{pid} = open2($self->{out}, $self->{in}, 'setpriv', '--pdeathsig',
                         'KILL', 'psql', '-X', '-A', '-t', '-q', '-v',
                         'ON_ERROR_STOP=1', '-d', $dsn);

    return $self;
}


sub lock {
    my ($class, $pg, @tables) = @_;

    my $self = $class->psql($pg->dsn());

    $self->say('begin;', map { "lock table $_;" } @tables);

    return $self;
}


sub say {
    my ($self, @sql) = @_;

    print {$self->{in}} map({ "$_\n" } @sql), "select 'done';\n";
    $self->{in}->flush();

    IO::Select->new($self->{out})->can_read(10 * slow())
        && (readline($self->{out}) // '') eq "done\n"
        or die "psql does not get: @sql\n";

    return;
}


sub release {
    my ($self) = @_;

    my $pid = delete $self->{pid} // return;

    local ($?, $@, $!);

    close $self->{in};
    close $self->{out};
    waitpid $pid, 0;

    return;
}


sub DESTROY {
    my ($self) = @_;

    $self->release() if $self->{owner} == $$;

    return;
}


# How many of the site's connections wait for a lock.  They do for a quarter of
# a second, with pauses: a psql that has to be started each time may miss it.

sub blocked {
    my ($class, $pg) = @_;

    my $watch = $pg->{watch} //= $class->psql($pg->dsn('unix', 'postgres'));

    local $SIG{PIPE} = 'IGNORE';

    print {$watch->{in}} 'select count(*) from pg_stat_activity where'
                         . " wait_event_type = 'Lock' and datname = '"
                         . $pg->name() . "';\n";
    $watch->{in}->flush();

    my $n = readline $watch->{out};

    # the server was another one; the next call asks this one

    delete $pg->{watch} if !defined $n;

    return $n // 0;
}


1;
