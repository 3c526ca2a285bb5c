package FC::Util;

# Small tools of the test library: processes that die with the test, free
# ports, and waiting for a condition in place of sleeping.
#
#     use FC::Util qw/ wait_for free_port log_lines workers /;
#
#     ok(wait_for(sub { -s $file }, 5), 'written');   # polls, up to 5 s
#     my @lines = log_lines($t, qr/\[error\]/);       # of the error log
#     my @pids = workers($t);                         # nginx's workers
#     my $rss = rss($pid);                            # KiB

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT_OK = qw/ wait_for forgive free_port log_lines workers rss fds top
                     slurp spawn run_quiet stop_pid tempdir give_to slow asan /;

use File::Path ();
use File::Temp ();
use IO::Socket::INET;
use POSIX qw/ WNOHANG /;
use Time::HiRes qw/ time sleep /;

require FC::Upstream if $ENV{TEST_NGINX_LIB};

my (%pids, @dirs);
my $owner = $$;

# So that END blocks clean up after an interrupted test as well: to their end,
# though the terminal and timeout both send the signal.

for my $signal (qw/ INT TERM HUP /) {
    $SIG{$signal} //= sub {
        @SIG{qw/ INT TERM HUP /} = ('IGNORE') x 3;
        exit 130;
    };
}


# nginx leaves before what it is connected to does; our own Test::Nginx can
# be asked to.

END {
    if ($$ == $owner) {
        my $status = $?;

        Test::Nginx::finish_all() if defined &Test::Nginx::finish_all;
        FC::Upstream::finish_all() if $ENV{TEST_NGINX_LIB};

        stop_pid($_, $pids{$_}) for keys %pids;
        File::Path::remove_tree(@dirs, { error => \my $ignored })
            if @dirs && !$ENV{TEST_NGINX_LEAVE};

        $? = $status;
    }
}


# How much longer things take under the sanitizers.

sub slow {
    return $ENV{FC_ASAN} ? 4 : 1;
}


sub asan {
    return $ENV{FC_ASAN} ? 1 : 0;
}


# The root of the source tree.

sub top {
    my $file = __FILE__;

    require Cwd;

    $file = Cwd::abs_path($file);
    $file =~ s{/t/lib/FC/Util\.pm$}{};

    return $file;
}


# Returns what the condition returned as soon as that is true, or a false
# value when the time is over.

sub wait_for {
    my ($condition, $seconds, $interval) = @_;

    my $end = time() + ($seconds // 10) * slow();

    for ( ;; ) {
        my $rc = $condition->();

        return $rc if $rc;
        return 0 if time() > $end;

        sleep($interval // 0.02);
    }
}


sub free_port {
    my $s = IO::Socket::INET->new(
        Listen    => 1,
        LocalAddr => '127.0.0.1:0',
        Proto     => 'tcp'
    ) or die "no free port: $!\n";

    return $s->sockport();
}


sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or return '';

    local $/;

    return scalar(<$fh>) // '';
}


sub log_lines {
    my ($t, $re) = @_;

    return grep { $_ =~ $re }
           split /^/, slurp($t->testdir() . '/error.log');
}


# Takes these lines out of the error log, and returns how many they were.

sub forgive {
    my ($t, $re) = @_;

    my $file = $t->testdir() . '/error.log';
    my @lines = split /^/, slurp($file);
    my @rest = grep { $_ !~ $re } @lines;

    open my $fh, '+<', $file or return 0;
    print $fh @rest;
    truncate $fh, CORE::tell($fh);
    close $fh;

    return @lines - @rest;
}


# Workers that serve, and none that are on their way out.

sub workers {
    my ($t) = @_;

    my $master = slurp($t->testdir() . '/nginx.pid');

    chomp $master;

    return grep { slurp("/proc/$_/cmdline") =~ /^nginx: worker process\0*$/ }
           split ' ', slurp("/proc/$master/task/$master/children");
}


sub rss {
    my ($pid) = @_;

    return slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0;
}


sub fds {
    my ($pid) = @_;

    opendir my $dh, "/proc/$pid/fd" or return 0;

    return grep { !/^\./ } readdir $dh;
}


# A short path, as Unix sockets want it, that other users may pass through.

sub tempdir {
    my ($prefix) = @_;

    my $dir = File::Temp::tempdir("$prefix-XXXXXX", DIR => '/tmp');

    chmod 0711, $dir;
    push @dirs, $dir if $$ == $owner;

    return $dir;
}


# PostgreSQL refuses to be root's, and Redis has no need to be.

sub user_args {
    my ($user) = @_;

    return () if !$user || $> != 0;
    return ('--reuid', $user, '--regid', $user, '--clear-groups');
}


# Makes a directory the user's, if we may.

sub give_to {
    my ($user, $dir) = @_;

    my ($uid, $gid) = (getpwnam $user)[2, 3];

    chown $uid, $gid, $dir if $> == 0;

    return;
}


# spawn({log => FILE, user => NAME}, COMMAND...) starts a process that is
# killed when the test ends or dies; where we are root, it is that user's.

sub spawn {
    my ($opt, @command) = @_;

    my $pid = fork() // die "can't fork: $!\n";

    if ($pid == 0) {
        setpgrp;
        open STDIN, '<', '/dev/null';

        if ($opt->{log}) {
            open STDOUT, '>>', $opt->{log};
            open STDERR, '>&', \*STDOUT;
        }

        chdir '/';
        exec 'setpriv', user_args($opt->{user}),
             '--pdeathsig', $opt->{deathsig} // 'KILL', @command
            or POSIX::_exit(127);
    }

    $pids{$pid} = $opt->{deathsig} // 'KILL';

    return $pid;
}


# stop_pid(PID, SIGNAL, SECONDS): signals, waits, and kills at last.

sub stop_pid {
    my ($pid, $signal, $seconds) = @_;

    local $?;

    kill 'CONT', $pid;
    kill $signal // 'TERM', $pid;

    my $gone = wait_for(sub { waitpid($pid, WNOHANG) != 0 },
                        $seconds // 10, 0.005);

    if (!$gone) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }

    delete $pids{$pid};

    return;
}


# Runs a command to its end; dies with what it printed if it failed.

sub run_quiet {
    my ($opt, @command) = @_;

    my $pid = open my $fh, '-|';

    die "can't fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        open STDIN, '<', $opt->{in} // '/dev/null';
        open STDERR, '>&', \*STDOUT;
        chdir '/';
        $ENV{$_} = $opt->{env}{$_} for keys %{$opt->{env} || {}};
        exec 'setpriv', user_args($opt->{user}),
             '--pdeathsig', 'KILL', @command
            or POSIX::_exit(127);
    }

    my $out = do { local $/; <$fh> } // '';

    close $fh or die "@command: $out\n";

    return $out;
}


1;
