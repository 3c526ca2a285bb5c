package Bench::Server;

# The servers that are measured: each is started alone, on the first core, and
# stopped again.  PostgreSQL and Redis run all the time, on any core.
#
#     Bench::Server::prepare($var);            # the database, users, cookies
#     my $s = Bench::Server->start('fcchat', conf => 'fcchat_lag 1m;');
#     $s->{url}, $s->{proto}, $s->{pid}        # what the load needs to know
#     $s->stop();
#
# There are floor, batch (the floor with all of a turn in one send), commit (the
# floor that commits the row of the site's table before it sends), ping (the floor
# with a ping to each socket every 25 s, or as often as "every" says), fcchat,
# nchan, nchan_redis, original and url.

use strict;
use warnings;

use POSIX qw/ WNOHANG /;
use Time::HiRes qw/ sleep /;

use FC::Django;
use FC::Pg;
use FC::Redis;
use FC::Util qw/ free_port give_to run_quiet slurp spawn stop_pid tempdir top
                 wait_for /;
use IO::Socket::INET;

our $ROOMS = 10000;
our $USERS = 10000;

our ($pg, $redis, $var, $dir, %external);


sub prepare {
    ($var) = @_;

    $dir = tempdir('fcbench');

    # Debian's defaults, where those of the tests' clusters differ

    $pg = FC::Pg->new(private => 1, tables => 0, conf => {
        shared_buffers => '128MB', max_wal_size => '1GB',
        max_connections => 100, autovacuum_naptime => '1min',
    });
    $redis = FC::Redis->new();

    # Two cores have to do for what has its own machines in earnest: where both
    # are busy, a database that waits for one of them is not what is measured.
    # A lower nice value is not enough: the scheduler lets whoever runs go on for
    # some milliseconds all the same.

    if ($> == 0) {
        run_quiet({}, 'chrt', '-f', '-p', 5, $_) for $pg->pid(), $redis->pid();
    }

    # the original has a database of its own, without our trigger

    $pg->sql_in('postgres', 'create database original');

    my %cookies = (fcchat => $USERS, original => 1000);

    for my $db (sort keys %cookies) {
        my $dsn = $pg->dsn('unix', $db);
        my $django = FC::Django->new(dsn => $dsn);

        $django->tables('localhost');
        $django->secret_file("$dir/secret");

        open my $fh, '>', "$dir/cookies.$db" or die "cookies: $!\n";
        print $fh map { "$_\n" } $django->sessions($cookies{$db}, 'viewer');
        close $fh;
        $django->stop();

        $pg->sql_in($db, <<"EOF");
insert into streaming_stream (id, title)
    select i, 'stream' from generate_series(3, $ROOMS) i;
insert into chat_chatroom (name, stream_id, is_active, created_at)
    select 'stream_' || i, i, true, now() from generate_series(3, $ROOMS) i;
EOF
    }

    $pg->apply('localhost');
    $pg->sql_in($_, 'vacuum analyze') for keys %cookies;
    certificate();

    return;
}


sub certificate {
    run_quiet({}, 'openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
              'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
              '-subj', '/CN=localhost', '-keyout', "$dir/key.pem",
              '-out', "$dir/cert.pem");

    return;
}


# The sessions of a hundred users, in a file.

sub few_cookies {
    my $file = "$dir/cookies.few";
    my @all = split /^/, slurp("$dir/cookies.fcchat");

    open my $fh, '>', $file or die "$file: $!\n";
    print $fh @all[0 .. 99];
    close $fh;

    return $file;
}


# What can't be measured on this machine, with the reason.

sub missing {
    my ($kind) = @_;

    return 'no --url' if $kind eq 'url' && !$external{url};
    return 'no module' if $kind =~ /^nchan/
                          && !-f "$var/ngx_nchan_module.so";
    return;
}


sub start {
    my ($class, $kind, %o) = @_;

    my $self = bless { kind => $kind, port => free_port(), proto => 'raw',
                       conf => '', listen => '', %o }, $class;

    if ($kind eq 'url') {
        return bless { kind => $kind, proto => 'raw', %external }, $class;
    }

    $self->{log} = "$var/$kind.log";
    unlink $self->{log};

    my $start = $self->can("start_$kind") // die "no server $kind\n";

    $start->($self);
    wait_for(sub { $self->answers() }, 20)
        or die "$kind did not start: " . slurp($self->{log}) . "\n";

    $self->find_worker() if $self->{nginx};

    # nchan refuses all until it knows its Redis

    sleep($self->{settle}) if $self->{settle};

    return $self;
}


sub answers {
    my ($self) = @_;

    die "$self->{kind} has ended: " . slurp($self->{log}) . "\n"
        if waitpid($self->{main}, WNOHANG) != 0;

    return defined IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                         PeerPort => $self->{port});
}


sub find_worker {
    my ($self) = @_;

    my $children = "/proc/$self->{main}/task/$self->{main}/children";

    wait_for(sub { ($self->{pid}) = split ' ', slurp($children) }, 5)
        or die "nginx has no worker\n";

    return;
}


sub run {
    my ($self, @command) = @_;

    $self->{main} = $self->{pid}
        = spawn({ log => $self->{log}, deathsig => 'TERM' },
                'taskset', '-c', 0, @command);

    return;
}


sub start_floor {
    my ($self) = @_;

    $self->{url} = "ws://127.0.0.1:$self->{port}/%d";
    $self->run("$var/floor", $self->{port});

    return;
}


sub start_batch {
    my ($self) = @_;

    $self->{url} = "ws://127.0.0.1:$self->{port}/%d";
    $self->run("$var/floor", $self->{port}, 'batch');

    return;
}


sub start_commit {
    my ($self) = @_;

    my ($user) = $pg->sql_in('original', 'select min(id) from accounts_user')
                 =~ /(\d+)/;

    $self->{url} = "ws://127.0.0.1:$self->{port}/%d";
    $self->run("$var/floor", $self->{port}, $pg->dsn('unix', 'original'),
               <<"EOF");
insert into localhost.chat_chatmessage (room_id, user_id, content,
    message_type, is_deleted, is_pinned, created_at)
values (3, $user, \$1, 'message', false, false, now())
EOF

    return;
}


sub start_ping {
    my ($self) = @_;

    $self->{url} = "ws://127.0.0.1:$self->{port}/%d";
    $self->run("$var/floor", $self->{port}, 'ping', $self->{every} // 25);

    return;
}


# Limits would be what is measured: those this version of the module has are
# set out of the way.

sub limits {
    my $module = slurp($ENV{FC_MODULE});
    my %off = (fcchat_rate => 'off', fcchat_reaction_rate => 'off',
               fcchat_history_rate => 'off', fcchat_auth_rate => 'off',
               fcchat_connections => 'user=20000 ip=20000');

    return join ' ', map { $module =~ /\0$_\0/ ? "$_ $off{$_};" : () }
                     sort keys %off;
}


sub start_fcchat {
    my ($self) = @_;

    my $tls = $self->{tls} ? 'ssl' : '';
    my $cert = $tls && "ssl_certificate $dir/cert.pem;"
                       . " ssl_certificate_key $dir/key.pem;";

    $self->{proto} = 'old';
    $self->{cookies} = "$dir/cookies.fcchat";
    $self->{url} = ($tls ? 'wss' : 'ws')
                   . "://127.0.0.1:$self->{port}/ws/chat/stream_%d/";

    $self->nginx($ENV{FC_MODULE}, <<"EOF");
    fcchat_postgres         "@{[ $pg->dsn() ]}";
    fcchat_redis            @{[ $redis->unix_url() ]};
    fcchat_tenant           localhost;
    fcchat_secret_key_file  $dir/secret;
    fcchat_session_cache    10m;

    server {
        listen  127.0.0.1:$self->{port} $tls backlog=4096 $self->{listen};
        $cert

        location /ws/chat/ {
            fcchat;
            @{[ limits() ]}
            $self->{conf}
        }
    }
EOF

    return;
}


sub start_nchan {
    my ($self, $http, $location) = @_;

    $self->{url} = "ws://127.0.0.1:$self->{port}/room/%d";
    $_ //= '' for $http, $location;

    $self->nginx("$var/ngx_nchan_module.so", <<"EOF");
    $http

    server {
        listen  127.0.0.1:$self->{port} backlog=4096;

        location ~ /room/(\\d+)\$ {
            nchan_pubsub                    websocket;
            nchan_channel_id                \$1;
            nchan_subscriber_first_message  newest;
            $location
        }
    }
EOF

    return;
}


sub start_nchan_redis {
    my ($self) = @_;

    $self->start_nchan('nchan_redis_url "redis://127.0.0.1:'
                       . $redis->port() . '";', 'nchan_use_redis on;');
    $self->{settle} = 1.5;

    return;
}


sub nginx {
    my ($self, $module, $http) = @_;

    my $user = $> == 0 ? 'user root;' : '';

    open my $fh, '>', "$dir/$self->{kind}.conf" or die "nginx.conf: $!\n";
    print $fh <<"EOF";
load_module           $module;
daemon                off;
pid                   $dir/nginx.pid;
error_log             $self->{log} warn;
worker_processes      1;
worker_rlimit_nofile  20000;
$user

events {
    worker_connections  19900;
}

http {
    access_log  off;

    connection_pool_size  384;

    client_body_temp_path  $dir/body;
    proxy_temp_path        $dir/proxy;
    fastcgi_temp_path      $dir/fastcgi;
    uwsgi_temp_path        $dir/uwsgi;
    scgi_temp_path         $dir/scgi;

$http
}
EOF
    close $fh;

    $self->{nginx} = 1;
    $self->run('/usr/sbin/nginx', '-p', $dir, '-e', $self->{log},
               '-c', "$dir/$self->{kind}.conf");

    return;
}


sub start_original {
    my ($self) = @_;

    $self->{proto} = 'old';
    $self->{cookies} = "$dir/cookies.original";
    $self->{url} = "ws://127.0.0.1:$self->{port}/ws/chat/stream_%d/";

    local %ENV = (
        %ENV,
        FCCHAT_DSN    => $pg->dsn('unix', 'original'),
        FCCHAT_SECRET => $FC::Django::SECRET,
        BENCH_REDIS   => $redis->port(),
        PYTHONPATH    => top() . '/bench/original:' . top() . '/demo/django',
        PYTHONDONTWRITEBYTECODE => 1,
        PYTHONWARNINGS => 'ignore',
    );

    $self->run('/usr/bin/python3', '-m', 'daphne', '-v', 0, '-b', '127.0.0.1',
               '-p', $self->{port}, 'bench_asgi:application');

    return;
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{main} // return;

    # the load has left by now: there is nobody to say goodbye to

    stop_pid($pid, 'TERM', 5);

    return;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $@, $!);

    $self->stop();

    return;
}


1;
