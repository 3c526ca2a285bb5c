#!/usr/bin/perl

# The demo, once all is installed and built: see demo/run.

use strict;
use warnings;
use utf8;

use File::Path qw/ make_path remove_tree /;
use IO::Socket::INET;
use JSON::PP;
use POSIX qw/ WNOHANG /;

use FC::Django;
use FC::Pg;
use FC::Redis;
use FC::Util qw/ run_quiet slurp spawn stop_pid tempdir top wait_for /;

my $top = top();
my $var = $ENV{FCCHAT_DEMO_VAR} || "$top/demo/var";
my $www = "$top/demo/www";
my @users = (
    [ 'streamer', is_staff => 1 ],
    [ 'alice' ],
    [ 'bob' ],
    [ '花子' ],
);

my ($over, $pg, $redis, $nginx);

$SIG{$_} = sub { $over = 1 } for qw/ INT TERM HUP /;

binmode $_, ':encoding(UTF-8)' for *STDOUT, *STDERR;
$| = 1;

my $ok = eval { main(); 1 };
my $why = $@;

# nginx first: what it is connected to must not go before it

stop_pid($nginx, 'QUIT', 10) if $nginx;
undef $redis;
undef $pg;

if (!$ok && !$over) {
    print STDERR "demo/run: $why";
    exit 1;
}


sub main {
    die "another demo is running here\n" if running();

    remove_tree(map { "$var/$_" } qw/ data tmp www /);
    unlink glob "$var/*.log";
    make_path("$var/www", "$var/tmp");

    print "==> starting PostgreSQL, Redis and nginx\n";

    my $data = data_dir();

    mkdir "$data/redis";

    # nobody but the workers can talk to Redis, as it believes all it hears

    my $user = passes('www-data', '-r', "$www/index.html")
               && passes('www-data', '-x', $data) ? 'www-data' : 'root';

    $redis = FC::Redis->new(dir => "$data/redis", port => 0, user => $user,
                            perm => '700');
    start_postgres("$data/pg");
    make_users();

    my $url = start_nginx($user);

    print "==> open $url in two windows and be another user in each\n",
          '    users: ', join(', ', map { $_->[0] } @users), "\n",
          "    logs:  $var\n",
          "    Ctrl-C ends it\n";

    while (!$over) {
        die "nginx has ended:\n" . slurp("$var/error.log")
            if waitpid($nginx, WNOHANG) != 0;

        select undef, undef, undef, 0.2;
    }
}


sub running {
    my $pid = slurp("$var/nginx.pid");

    chomp $pid;

    return $pid && slurp("/proc/$pid/cmdline") =~ /\Q$var\E/;
}


# The path of a socket has a limit, and the user of PostgreSQL has to get there
# too: where the tree is no place for that, the data goes to /tmp.

sub data_dir {
    my $dir = "$var/data";

    make_path($dir);

    return $dir if length $dir < 70 && passes('postgres', '-x', $dir);
    return tempdir('fcchat-demo');
}


sub passes {
    my ($user, $test, $path) = @_;

    return 1 if $> != 0;

    return eval {
        run_quiet({}, '--reuid', $user, '--regid', $user, '--clear-groups',
                  'test', $test, $path);
        1;
    };
}


# No network address, and for the site a role that owns its database and
# nothing else: the machine's other users have no way to more than that.

sub start_postgres {
    my ($dir) = @_;

    my $super = $> == 0 ? 'postgres' : getpwuid $>;

    mkdir $dir;

    $pg = FC::Pg->new(private => 1, dir => $dir, user => $super,
                      auth => 'peer', peer => 1, listen => '', tables => 0,
                      hba  => "local all $super peer\n"
                              . "local fcchat fcchat trust\n");

    $pg->sql_in('postgres', 'create role fcchat login;'
                            . 'alter database fcchat owner to fcchat');
    $pg->login('fcchat');
    $pg->make_tables('localhost');
}


# The page may be any of them: a list of names and session cookies.

sub make_users {
    my $secret = join '', map { ('a' .. 'z', 0 .. 9)[rand 36] } 1 .. 50;
    my $django = FC::Django->new(pg => $pg, secret => $secret);
    my @list;

    for my $user (@users) {
        my ($name, %fields) = @$user;

        $django->user($name, %fields);
        push @list, { username => $name, cookie => $django->session($name) };
    }

    $django->secret_file("$var/secret");
    $django->stop();

    open my $fh, '>', "$var/www/users.json" or die "users.json: $!\n";
    print $fh JSON::PP->new->utf8->pretty->canonical->encode(\@list);
    close $fh;
}


sub start_nginx {
    my ($user) = @_;

    my $address = $ENV{FCCHAT_DEMO_LISTEN} || '127.0.0.1';
    my $port = free_from($address, $ENV{FCCHAT_DEMO_PORT} || 8080);

    my %c = (
        module   => $ENV{FC_MODULE},
        user     => $user,
        var      => $var,
        www      => $www,
        postgres => $pg->dsn(),
        redis    => $redis->unix_url(),
        secret   => "$var/secret",
        listen   => "$address:$port",
    );

    my $names = join '|', keys %c;

    (my $conf = slurp("$top/demo/nginx.conf")) =~ s/<($names)>/$c{$1}/g;

    # only root can have workers of another user
    $conf =~ s/^user .*\n//m if $> != 0;

    open my $fh, '>', "$var/nginx.conf" or die "nginx.conf: $!\n";
    print $fh $conf;
    close $fh;

    $nginx = spawn({ log => "$var/nginx.log", deathsig => 'QUIT' },
                   '/usr/sbin/nginx', '-p', "$var/", '-c', "$var/nginx.conf",
                   '-e', "$var/error.log");

    wait_for(sub { answers($address, $port)
                   || waitpid($nginx, WNOHANG) != 0 || $over }, 10);
    answers($address, $port)
        or die "nginx did not start:\n" . slurp("$var/nginx.log")
               . slurp("$var/error.log");

    my $host = $address =~ /^(?:127\.0\.0\.1|0\.0\.0\.0)$/ ? 'localhost'
                                                         : $address;

    return "http://$host:$port/";
}


sub answers {
    my ($address, $port) = @_;

    return defined IO::Socket::INET->new(PeerAddr => $address,
                                         PeerPort => $port);
}


sub free_from {
    my ($address, $port) = @_;

    for my $try ($port .. $port + 100) {
        return $try if IO::Socket::INET->new(LocalAddr => $address,
                                             LocalPort => $try, Listen => 1,
                                             ReuseAddr => 1);
    }

    die "no free port from $port on\n";
}
