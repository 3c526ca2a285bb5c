package Demo;

# Runs demo/run as a child with a state directory of its own, and at an address
# where the port it is to have, taken(), is another's; or uses one that runs
# already, whose address FCCHAT_DEMO_URL tells.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use File::Temp qw/ tempdir /;
use IO::Select;
use IO::Socket::INET;
use POSIX qw/ :sys_wait_h /;
use Time::HiRes qw/ time sleep /;

my $ROOT = abs_path(dirname(__FILE__) . '/../..');

use constant ADDRESS       => '127.0.0.2';
use constant START_TIMEOUT => 300;
use constant STOP_TIMEOUT  => 30;


sub program {
    return "$ROOT/demo/run";
}


sub new {
    my ($class) = @_;

    my $self = bless { output => '' }, $class;

    if ($ENV{FCCHAT_DEMO_URL}) {
        ($self->{base} = $ENV{FCCHAT_DEMO_URL}) =~ s!/*\z!/!;
    } else {
        $self->_start();
    }

    return $self;
}


sub _start {
    my ($self) = @_;

    $self->{taken} = IO::Socket::INET->new(Listen => 1, LocalAddr => ADDRESS)
        or die "can't listen: $!";

    $self->{var} = tempdir('fcchat-demo-XXXXXX', TMPDIR => 1, CLEANUP => 1);

    # its servers may run as other users than ours

    chmod 0755, $self->{var};
    pipe(my $out, my $in) or die "pipe: $!";

    my $pid = fork();
    die "fork: $!" unless defined $pid;

    if ($pid == 0) {
        $ENV{FCCHAT_DEMO_LISTEN} = ADDRESS;
        $ENV{FCCHAT_DEMO_PORT} = $self->taken();
        $ENV{FCCHAT_DEMO_VAR} = $self->{var};

        open STDIN, '<', '/dev/null';
        open STDOUT, '>&', $in;
        open STDERR, '>&', $in;
        exec program() or POSIX::_exit(127);
    }

    close $in;
    @$self{qw/ pid out /} = ($pid, $out);
    $self->_wait_ready();
}


sub _wait_ready {
    my ($self) = @_;

    my $end = time() + START_TIMEOUT;

    my $address = qr!(http://[\w.]+:\d+/)\s!;

    until (($self->{base}) = $self->{output} =~ $address) {
        if (time() > $end || !$self->_read($end - time())) {
            $self->stop();
            die "demo/run does not start:\n$self->{output}";
        }
    }
}


sub _read {
    my ($self, $timeout) = @_;

    return 0 unless IO::Select->new($self->{out})->can_read($timeout);

    return sysread $self->{out}, $self->{output}, 65536,
        length $self->{output};
}


sub taken {
    my ($self) = @_;

    return $self->{taken} && $self->{taken}->sockport();
}


sub url {
    my ($self, @query) = @_;

    my @pairs;

    while (my ($name, $value) = splice @query, 0, 2) {
        utf8::encode($value);
        $value =~ s/([^\w.~-])/sprintf '%%%02X', ord $1/aeg;
        push @pairs, "$name=$value";
    }

    return $self->{base} . (@pairs ? '?' . join('&', @pairs) : '');
}


# true when demo/run has ended by itself after being asked to

sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return 1;
    my $end = time() + STOP_TIMEOUT;

    kill 'TERM', $pid;

    while (time() < $end) {
        return 1 if waitpid($pid, WNOHANG) != 0;

        # it must not block on a full pipe

        $self->_read(0.1) or sleep 0.05;
    }

    kill 'KILL', $pid;
    waitpid $pid, 0;
    return 0;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $@, $!);
    $self->stop();
}


1;
