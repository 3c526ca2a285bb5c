package Daemon;

# nginx as it runs on a site, "daemon on", whose binary may be upgraded: nginx
# takes no USR2 and no WINCH from whoever has started it in the foreground.
#
#     my $c = Checker->new($t, daemon => 'on', main => Daemon::main(),
#                          start => \&Daemon::start);
#
#     Daemon::master($t);      # the pid of the master that has the pid file
#     Daemon::old($t);         # of the one that was upgraded, while it lives
#     Daemon::gone($pid);      # true when it has left
#     Daemon::workers($pid);   # of that master, with those on their way out
#     my ($old, $new) = Daemon::begin($t);     # the new binary beside the old
#     Daemon::quiet($old);                     # the old one's workers leave
#     Daemon::finish($t, $old);                # and it as well
#     Daemon::roll_back($t, $old, $new);       # or the new one
#     Daemon::stop($t);        # in order
#
# A process of ours sees the end of the test, however it comes, and takes the
# masters along.

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw/ sleep /;

use Test::Nginx ();

use FC::Util qw/ slurp wait_for /;

my (@keepers, $owner);


# An upgraded binary gets no more of the environment than this.

sub main {
    return join '', map { "env $_; " } qw/ ASAN_OPTIONS UBSAN_OPTIONS
                                           LSAN_OPTIONS /;
}


sub start {
    my ($t) = @_;

    my $d = $t->testdir();

    pipe my $read, my $write or die "no pipe: $!\n";

    my $keeper = fork() // die "can't fork: $!\n";

    if ($keeper == 0) {
        $SIG{$_} = 'IGNORE' for qw/ INT TERM HUP /;
        close $write;
        close $_->[0] for @keepers;
        sysread $read, my $byte, 1;
        kill 'KILL', grep { $_ } map { number($_) } files($d);
        POSIX::_exit(0);
    }

    close $read;
    push @keepers, [$write, $keeper, $t];
    $owner = $$;

    my $pid = fork() // die "can't fork: $!\n";

    if ($pid == 0) {
        $t->sanitizer_env() if $t->can('sanitizer_env');
        open STDERR, '>>', "$d/stderr.log";
        exec $Test::Nginx::NGINX, '-p', "$d/", '-c', 'nginx.conf',
             '-e', 'error.log' or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    wait_for(sub { master($t) }) or die "can't start nginx\n";

    return;
}


sub files { return ("$_[0]/nginx.pid", "$_[0]/nginx.pid.oldbin") }

sub number { return slurp($_[0]) =~ /^(\d+)/ ? $1 : 0 }

sub master { return number((files($_[0]->testdir()))[0]) }

sub old { return number((files($_[0]->testdir()))[1]) }

sub gone { return !-e "/proc/$_[0]" || slurp("/proc/$_[0]/stat") =~ /\) Z / }


sub workers {
    my ($pid) = @_;

    return grep { slurp("/proc/$_/cmdline") =~ /^nginx: worker/ }
           split ' ', slurp("/proc/$pid/task/$pid/children");
}


sub begin {
    my ($t) = @_;

    my $old = master($t);

    kill 'USR2', $old;

    my $new = wait_for(sub {
        my $pid = master($t);

        return $pid && $pid != $old && old($t) == $old
               && workers($pid) == 2 && $pid;
    }) or die "no new binary\n";

    return ($old, $new);
}


sub quiet {
    my ($old) = @_;

    kill 'WINCH', $old;
    wait_for(sub { !workers($old) }, 15) or die "old workers stay\n";

    return;
}


sub finish {
    my ($t, $old) = @_;

    kill 'QUIT', $old;
    wait_for(sub { gone($old) && !old($t) }) or die "the old master stays\n";

    return;
}


sub roll_back {
    my ($t, $old, $new) = @_;

    kill 'HUP', $old;
    wait_for(sub { workers($old) == 2 }) or die "no old workers\n";
    kill 'QUIT', $new;
    wait_for(sub { gone($new) && master($t) == $old }, 15)
        or die "the new master stays\n";

    return;
}


sub stop {
    my ($t) = @_;

    for my $file (reverse files($t->testdir())) {
        my $pid = number($file) or next;

        kill 'QUIT', $pid;
        wait_for(sub { gone($pid) }, 30) or die "nginx does not stop\n";
    }

    return;
}


# Before the reports of sanitizers are looked for, and servers leave.

END {
    if ($owner && $owner == $$) {
        my $status = $?;

        for my $keeper (@keepers) {
            my ($write, $pid, $t) = @$keeper;

            eval { stop($t); 1 } or warn $@;
            close $write;
            waitpid $pid, 0;
        }

        $? = $status;
    }
}


1;
