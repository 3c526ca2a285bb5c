package FC::Proxy;

# A TCP proxy between nginx and a backend, that can hurt what goes through.
#
#     my $proxy = FC::Proxy->new(to => '127.0.0.1:' . $redis->port);
#     "redis://127.0.0.1:" . $proxy->port
#
#     $proxy->pause; $proxy->resume;      # nothing is read: a dead network
#     $proxy->cut;                        # closes all connections, at once
#     $proxy->refuse(1);                  # closes new ones as they come
#     $proxy->set(delay => 0.5);          # seconds, both ways
#     $proxy->set(flush => 1, ...);       # the filter is called once more, for
#                                         # what it has kept, with no bytes
#
# With filter => sub { my ($way, $bytes, $state, $set) = @_; ... } each piece
# read is handed to the filter, in the proxy's own process; $way is "up" (to
# the backend) or "down", $state a hash of the connection, $set what set() has
# given.  It returns the list of pieces to pass on; a piece of undef cuts the
# connection there.  lines(), a count of what the filter has printed by
# FC::Proxy::tell(), lets the test know what happened.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP;
use POSIX ();
use Socket qw/ IPPROTO_TCP TCP_NODELAY /;
use Time::HiRes qw/ time /;

use FC::Util qw/ stop_pid /;

our $tell;


sub new {
    my ($class, %o) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1:0',
                                       Listen    => 512) or die "proxy: $!\n";

    my ($ours, $theirs) = IO::Socket->socketpair(
        Socket::AF_UNIX(), Socket::SOCK_STREAM(), Socket::PF_UNSPEC());

    my $pid = fork() // die "can't fork: $!\n";

    if ($pid == 0) {
        close $ours;
        $SIG{$_} = 'DEFAULT' for qw/ INT TERM HUP /;
        $SIG{PIPE} = 'IGNORE';
        $tell = $theirs;
        eval { loop($listen, $theirs, %o) };
        print STDERR "proxy: $@" if $@;
        POSIX::_exit(0);
    }

    close $theirs;
    $ours->autoflush(1);

    return bless { pid => $pid, control => $ours, owner => $$, told => '',
                   port => $listen->sockport() }, $class;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($?, $@, $!);

    stop_pid($self->{pid}, 'KILL');

    return;
}


sub port { return $_[0]{port} }


# Returns once the proxy has taken it over.

sub set {
    my ($self, %values) = @_;

    print {$self->{control}} encode_json(\%values), "\n";

    $self->told_until(qr/^ok\n/m);
    $self->{told} =~ s/^ok\n//m;

    return $self;
}


sub pause { return $_[0]->set(paused => 1) }

sub resume { return $_[0]->set(paused => 0) }

sub cut { return $_[0]->set(cut => 1) }

sub refuse { return $_[0]->set(refuse => $_[1]) }


# What the filter has told so far.

sub lines {
    my ($self) = @_;

    $self->told_until(undef);

    return grep { $_ ne 'ok' } split /\n/, $self->{told};
}


sub told_until {
    my ($self, $re) = @_;

    my $end = time() + 5;

    while (!$re || $self->{told} !~ $re) {
        last if !IO::Select->new($self->{control})
                           ->can_read($re ? 5 : 0);
        last if !sysread $self->{control}, $self->{told}, 65536,
                         length $self->{told};
        last if time() > $end;
    }

    return;
}


# To be called by a filter.

sub tell {
    my ($line) = @_;

    syswrite $tell, "$line\n";

    return;
}


# The owner's death is the end of the control stream, and of the proxy.

sub loop {
    my ($listen, $control, %o) = @_;

    my (%set, %pairs, $input);

    $input = '';

    for ( ;; ) {
        my @read = ($control, $listen);

        push @read, map { $_->{s} } grep { length $_->{out} < 1 << 20 }
                    values %pairs if !$set{paused};

        my @write = map { due($_) ? $_->{peer}{s} : () } values %pairs;
        my ($r, $w) = IO::Select->select(IO::Select->new(@read),
                                         IO::Select->new(@write), undef,
                                         $set{delay} ? 0.005 : 0.5);

        for my $s (@{$w || []}) {
            my $side = $pairs{$s} or next;
            flush_to($side->{peer}, \%pairs);
        }

        for my $s (@{$r || []}) {
            if ($s == $control) {
                sysread $control, $input, 65536, length $input
                    or return;
                while ($input =~ s/^(.*)\n//) {
                    %set = (%set, %{decode_json($1)});

                    if (delete $set{cut}) {
                        my @all = values %pairs;
                        drop($_, \%pairs) for @all;
                    }

                    if (delete $set{flush}) {
                        my @all = values %pairs;
                        pass($_, '', \%pairs, \%set, \%o) for @all;
                    }

                    FC::Proxy::tell('ok');
                }

            } elsif ($s == $listen) {
                join_up(scalar $listen->accept(), \%pairs, \%set, \%o);

            } elsif ($pairs{$s}) {
                pump($pairs{$s}, \%pairs, \%set, \%o);
            }
        }
    }
}


sub join_up {
    my ($s, $pairs, $set, $o) = @_;

    return if !$s || $set->{refuse};

    my $up = $o->{to} =~ m{^/} ? IO::Socket::UNIX->new(Peer => $o->{to})
                               : IO::Socket::INET->new(PeerAddr => $o->{to});

    return if !$up;

    my %state;
    my $a = { s => $s, way => 'up', out => '', state => \%state };
    my $b = { s => $up, way => 'down', out => '', state => \%state };

    ($a->{peer}, $b->{peer}) = ($b, $a);

    for my $side ($a, $b) {
        $side->{s}->blocking(0);
        setsockopt $side->{s}, IPPROTO_TCP, TCP_NODELAY, 1;
        $pairs->{$side->{s}} = $side;
    }

    return;
}


# out holds what was read here and goes to the peer.

sub pump {
    my ($side, $pairs, $set, $o) = @_;

    my $n = sysread $side->{s}, my $bytes, 65536;

    return if !defined $n && $!{EAGAIN};

    if (!$n) {
        flush_to($side, $pairs);
        drop($side, $pairs);
        return;
    }

    pass($side, $bytes, $pairs, $set, $o);

    return;
}


sub pass {
    my ($side, $bytes, $pairs, $set, $o) = @_;

    my @pieces = $o->{filter}
                 ? $o->{filter}->($side->{way}, $bytes, $side->{state}, $set)
                 : $bytes;

    $side->{after} = time() + $set->{delay} if $set->{delay};

    for my $piece (@pieces) {
        if (!defined $piece) {
            flush_to($side, $pairs);
            drop($side, $pairs);
            return;
        }

        $side->{out} .= $piece;
    }

    flush_to($side, $pairs) if due($side);

    return;
}


sub due {
    my ($side) = @_;

    return $side->{out} ne '' && time() >= ($side->{after} // 0);
}


sub flush_to {
    my ($side, $pairs) = @_;

    return if $side->{out} eq '' || $side->{gone};

    my $n = syswrite $side->{peer}{s}, $side->{out};

    if (defined $n) {
        substr $side->{out}, 0, $n, '';

    } elsif (!$!{EAGAIN}) {
        drop($side, $pairs);
    }

    return;
}


sub drop {
    my ($side, $pairs) = @_;

    for my $end ($side, $side->{peer} || ()) {
        next if $end->{gone}++;
        delete $pairs->{$end->{s}};
        close $end->{s};
    }

    delete $side->{peer}{peer};
    delete $side->{peer};

    return;
}


1;
