package FC::Redis;

# A private Redis for a test, and a small client.
#
#     my $redis = FC::Redis->new();            # conf => [ '--maxclients 5' ],
#                                              # dir, port (0: none),
#                                              # user, perm (of the socket)
#
#     $redis->url;                             # redis://127.0.0.1:PORT
#     $redis->unix_url;                        # unix:/tmp/.../redis.sock
#     $redis->cmd('PUBLISH', 'channel', $bytes);
#     $redis->stop; $redis->start; $redis->restart; $redis->kill9;
#     $redis->pause; $redis->resume;           # SIGSTOP, SIGCONT
#
#     my $c = $redis->client();                # a connection of its own
#     $c->cmd('SUBSCRIBE', 'channel');         # the first confirmation
#     my $reply = $c->reply($seconds);         # the next one, undef in time
#     my ($channel, $data) = $c->message(5);   # the next published message
#
# Replies are scalars, array references or undef for nil; an error reply is
# an FC::Redis::Error, which prints as its text.

use strict;
use warnings;

use FC::Util qw/ free_port give_to slurp spawn stop_pid tempdir wait_for /;


sub new {
    my ($class, %o) = @_;

    my $self = bless {
        user  => 'redis',
        perm  => '777',
        %o,
        owner => $$,
        dir   => $o{dir} // tempdir('fcredis'),
        port  => $o{port} // free_port(),
    }, $class;

    give_to($self->{user}, $self->{dir});
    $self->start();

    return $self;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($?, $@, $!);

    $self->stop();

    return;
}


sub start {
    my ($self) = @_;

    my $log = "$self->{dir}/log";

    $self->{pid} = spawn({ log => $log, user => $self->{user} },
                         'redis-server',
                         '--port', $self->{port},
                         '--bind', $self->{listen} // '127.0.0.1',
                         '--unixsocket', $self->socket_path(),
                         '--unixsocketperm', $self->{perm},
                         '--save', '', '--appendonly', 'no',
                         '--dir', $self->{dir}, '--daemonize', 'no',
                         map { split ' ' } @{$self->{conf} || []});

    wait_for(sub { FC::Redis::Client->open($self->socket_path()) }, 10)
        or die "Redis did not start: " . slurp($log) . "\n";

    return $self;
}


sub stop {
    my ($self, $signal) = @_;

    my $pid = delete $self->{pid} // return $self;

    delete $self->{control};
    stop_pid($pid, $signal // 'TERM');
    unlink $self->socket_path();

    return $self;
}


sub kill9 {
    my ($self) = @_;

    return $self->stop('KILL');
}


sub restart {
    my ($self) = @_;

    return $self->stop()->start();
}


sub pause {
    my ($self) = @_;

    kill 'STOP', $self->{pid};

    return $self;
}


sub resume {
    my ($self) = @_;

    kill 'CONT', $self->{pid};

    return $self;
}


sub pid { return $_[0]{pid} }

sub port { return $_[0]{port} }

sub socket_path { return "$_[0]{dir}/redis.sock" }

sub url { return "redis://127.0.0.1:$_[0]{port}" }

sub unix_url { return 'unix:' . $_[0]->socket_path() }


sub client {
    my ($self) = @_;

    return FC::Redis::Client->open($self->socket_path())
        // die "can't connect to Redis: $!\n";
}


sub cmd {
    my ($self, @words) = @_;

    $self->{control} //= $self->client();

    return $self->{control}->cmd(@words);
}


package FC::Redis::Client;

use IO::Select;
use IO::Socket::UNIX;
use Time::HiRes qw/ time /;


sub open {
    my ($class, $path) = @_;

    my $s = IO::Socket::UNIX->new(Peer => $path) or return undef;

    return bless { s => $s, in => '' }, $class;
}


sub cmd {
    my ($self, @words) = @_;

    $self->send(@words);

    return $self->reply();
}


sub send {
    my ($self, @words) = @_;

    my $out = '*' . @words . "\r\n";

    for my $word (@words) {
        my $bytes = "$word";

        utf8::encode($bytes) if utf8::is_utf8($bytes);
        $out .= '$' . length($bytes) . "\r\n$bytes\r\n";
    }

    syswrite $self->{s}, $out;

    return $self;
}


sub reply {
    my ($self, $seconds) = @_;

    my $end = time() + ($seconds // 10);

    for ( ;; ) {
        my $pos = 0;
        my $reply = eval { $self->parse(\$pos) };

        if (!$@) {
            substr $self->{in}, 0, $pos, '';
            return $reply;
        }

        my $left = $end - time();

        return undef if $left <= 0
                        || !IO::Select->new($self->{s})->can_read($left)
                        || !sysread $self->{s}, $self->{in}, 65536,
                                    length $self->{in};
    }
}


sub message {
    my ($self, $seconds) = @_;

    my $end = time() + ($seconds // 10);

    while ((my $left = $end - time()) > 0) {
        my $reply = $self->reply($left);

        return @$reply[1, 2] if ref $reply eq 'ARRAY'
                                && $reply->[0] eq 'message';
    }

    return;
}


# Dies where the input ends too early: the caller reads on and begins again.

sub parse {
    my ($self, $pos) = @_;

    my $eol = index $self->{in}, "\r\n", $$pos;

    die "short\n" if $eol < 0;

    my $line = substr $self->{in}, $$pos, $eol - $$pos;
    my ($kind, $rest) = $line =~ /^(.)(.*)$/s;

    $$pos = $eol + 2;

    return $rest if $kind eq '+' || $kind eq ':';
    return bless \$rest, 'FC::Redis::Error' if $kind eq '-';
    return undef if $rest < 0;

    if ($kind eq '$') {
        die "short\n" if length($self->{in}) < $$pos + $rest + 2;

        my $bytes = substr $self->{in}, $$pos, $rest;

        $$pos += $rest + 2;

        return $bytes;
    }

    return [ map { $self->parse($pos) } 1 .. $rest ];
}


package FC::Redis::Error;

use overload '""' => sub { return ${$_[0]} }, fallback => 1;


1;
