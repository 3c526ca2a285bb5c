package Test::Nginx;

# Runs nginx for a test: writes its configuration, starts and stops it, speaks
# plain HTTP with it, and fails every test whose error log has an alert or
# whose nginx made a sanitizer report.  It has the interface of the library of
# the same name in nginx-tests, as far as our tests use it, so that either may
# run them.
#
#     use Test::More;
#     use Test::Nginx;
#
#     my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(2);
#
#     $t->write_file_expand('nginx.conf', <<'EOT');
#     %%TEST_GLOBALS%%
#     daemon off;
#     events { }
#     http {
#         %%TEST_GLOBALS_HTTP%%
#         server { listen 127.0.0.1:8080; location / { return 204; } }
#     }
#     EOT
#
#     $t->run();
#     like(http_get('/'), qr/ 204 /, 'a request');
#
# Ports: 127.0.0.1:8ddd in a configuration becomes 127.0.0.1:port(8ddd).
#
# Environment: TEST_NGINX_BINARY, TEST_NGINX_GLOBALS, TEST_NGINX_GLOBALS_HTTP,
# TEST_NGINX_VERBOSE (show requests and answers), TEST_NGINX_LEAVE (keep the
# directory), TEST_NGINX_CATLOG (print the error log).

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/ log_in log_out http http_get http_head port /;
our @EXPORT_OK = qw/ http_start http_end http_content /;

use File::Path ();
use File::Temp ();
use IO::Socket::INET;
use POSIX qw/ WNOHANG /;
use Scalar::Util ();
use Socket qw/ CRLF IPPROTO_TCP TCP_NODELAY /;
use Test::More ();
use Time::HiRes ();

our $NGINX = $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';

my (%ports, %alive, $version);

# a sanitizer build is several times slower
my $slow = $ENV{FC_ASAN} ? 4 : 1;


sub new {
    my ($class) = @_;

    my $self = bless {
        pid     => $$,
        daemons => [],
        testdir => File::Temp::tempdir('nginx-test-XXXXXXXXXX', TMPDIR => 1),
    }, $class;

    -x $NGINX or die "no nginx at $NGINX\n";

    mkdir "$self->{testdir}/logs";

    $alive{$self} = $self;
    Scalar::Util::weaken($alive{$self});

    return $self;
}


# Test::More counts its tests in an END block of its own, which runs after
# this one: the two that we add must be made before.

END {
    my $status = $?;

    finish_all();

    $? = $status if $status;
}


sub finish_all {
    $_->finish() for grep { defined } values %alive;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $@, $!);

    delete $alive{$self} if %alive;
    $self->finish();
}


sub finish {
    my ($self) = @_;

    return if $self->{pid} != $$ || $self->{finished}++;

    $self->stop();
    $self->stop_daemons();

    my $builder = Test::More->builder;

    if ($builder->has_plan && $builder->has_plan ne 'no_plan') {
        TODO: {
            local our $TODO = 'alerts' if $self->{todo_alerts};

            $builder->is_eq(join('', $self->grep_log(qr/\[alert\]/)), '',
                            'no alerts');
        }

        $builder->is_eq($self->sanitizer_reports(), '',
                        'no sanitizer errors');
    }

    if ($ENV{TEST_NGINX_CATLOG}) {
        Test::More::diag($self->read_file('error.log'));
    }

    if ($ENV{TEST_NGINX_LEAVE}) {
        Test::More::diag("left in $self->{testdir}");
        return;
    }

    File::Path::remove_tree($self->{testdir}, { error => \my $ignored });
}


sub grep_log {
    my ($self, $re) = @_;

    open my $fh, '<', "$self->{testdir}/error.log" or return ();

    return grep { $_ =~ $re } <$fh>;
}


sub sanitizer_reports {
    my ($self) = @_;

    my $text = join '', $self->grep_log(qr/Sanitizer|runtime error:/);

    for my $file (glob("$self->{testdir}/sanitizer.*")) {
        open my $fh, '<', $file or next;
        local $/;
        $text .= <$fh>;
    }

    return $text;
}


# What nginx was built with.

sub nginx_v {
    $version //= do {
        local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
        `$NGINX -V 2>&1`;
    };

    return $version;
}


sub has {
    my ($self, @features) = @_;

    for my $feature (@features) {
        $self->has_module($feature)
            or Test::More::plan(skip_all => "no $feature available");
    }

    return $self;
}


sub has_module {
    my ($self, $feature) = @_;

    my $v = nginx_v();

    return 1 if $feature =~ /^(?:http|socket_ssl|unix)$/
                && ($feature ne 'socket_ssl'
                    || eval { require IO::Socket::SSL; 1 });

    return $v =~ /--with-debug/ if $feature eq 'debug';
    return $v =~ /--with-mail(?!\S*=dynamic)/ if $feature eq 'mail';
    return $v =~ /--with-stream(?!\S*=dynamic)\b/ if $feature eq 'stream';

    my %with = map { $_ => 1 } qw/ http_ssl http_v2 http_v3 http_realip
                                   http_auth_request http_stub_status
                                   http_sub http_gunzip http_slice http_dav /;

    return $v =~ /--with-${feature}_module\b/ if $with{$feature};

    my %default = map { $_ => 1 } qw/ proxy rewrite map limit_conn limit_req
                                      access auth_basic gzip geo ssi cache
                                      split_clients upstream_hash fastcgi
                                      uwsgi scgi autoindex referer mirror /;

    return $v !~ /--without-http_${feature}_module\b/ if $default{$feature};

    return ($v . $self->test_globals()) =~ /$feature/;
}


sub has_version {
    my ($self, $need) = @_;

    my ($have) = nginx_v() =~ m{nginx version: nginx/([0-9.]+)};
    my @have = split /\./, $have;

    for my $n (split /\./, $need) {
        my $h = shift @have // 0;

        return 1 if $h > $n;
        return 0 if $h < $n;
    }

    return 1;
}


sub has_daemon {
    my ($self, $daemon) = @_;

    grep { -x "$_/$daemon" } split /:/, $ENV{PATH}
        or Test::More::plan(skip_all => "$daemon not found");

    return $self;
}


sub plan {
    my ($self, $n) = @_;

    Test::More::plan(tests => $n + 2);

    return $self;
}


sub todo_alerts {
    my ($self) = @_;

    $self->{todo_alerts} = 1;

    return $self;
}


sub testdir {
    my ($self) = @_;

    return $self->{testdir};
}


sub write_file {
    my ($self, $name, $content) = @_;

    open my $fh, '>', "$self->{testdir}/$name"
        or die "can't create $name: $!\n";
    binmode $fh;
    utf8::encode($content) if utf8::is_utf8($content);
    print $fh $content;
    close $fh;

    return $self;
}


sub write_file_expand {
    my ($self, $name, $content) = @_;

    $content =~ s/%%TEST_GLOBALS%%/$self->test_globals()/ge
        and $self->{has_globals} = 1;
    $content =~ s/%%TEST_GLOBALS_HTTP%%/$self->test_globals_http()/ge;
    $content =~ s/%%TEST_GLOBALS_STREAM%%/$self->test_globals_stream()/ge;
    $content =~ s/%%TESTDIR%%/$self->{testdir}/g;
    $content =~ s/127\.0\.0\.1:(8\d\d\d)/'127.0.0.1:' . port($1)/ge;
    $content =~ s/%%PORT_(\d+)%%/port($1)/ge;
    $content =~ s/%%PORT_(\d+)_UDP%%/port($1, udp => 1)/ge;

    return $self->write_file($name, $content);
}


sub read_file {
    my ($self, $name) = @_;

    open my $fh, '<', "$self->{testdir}/$name"
        or die "can't open $name: $!\n";

    local $/;

    return scalar <$fh>;
}


sub test_globals {
    my ($self) = @_;

    my $dir = $self->{testdir};

    return "pid $dir/nginx.pid;\nerror_log $dir/error.log debug;\n"
           . ($ENV{TEST_NGINX_GLOBALS} // '') . "\n";
}


sub test_globals_http {
    my ($self) = @_;

    my $dir = $self->{testdir};
    my $conf = "root $dir;\naccess_log $dir/access.log;\n";

    for my $kind (qw/ client_body proxy fastcgi uwsgi scgi /) {
        next if nginx_v() =~ /--without-http_${kind}_module/;
        $conf .= "${kind}_temp_path $dir/${kind}_temp;\n";
    }

    return $conf . ($ENV{TEST_NGINX_GLOBALS_HTTP} // '') . "\n";
}


sub test_globals_stream {
    return ($ENV{TEST_NGINX_GLOBALS_STREAM} // '') . "\n";
}


sub args {
    my ($self) = @_;

    my $dir = $self->{testdir};
    my @args = ('-p', "$dir/", '-c', 'nginx.conf', '-e', 'error.log');

    if (!$self->{has_globals}) {
        push @args, '-g', "pid $dir/nginx.pid; error_log $dir/error.log debug;";
    }

    return @args;
}


sub sanitizer_env {
    my ($self) = @_;

    for my $name (qw/ ASAN_OPTIONS UBSAN_OPTIONS /) {
        $ENV{$name} = join ':', grep { length } $ENV{$name} // '',
                      "log_path=$self->{testdir}/sanitizer";
    }

    return;
}


# The death of the test takes nginx along, however it comes.

sub run {
    my ($self, $conf) = @_;

    if (defined $conf) {
        $self->write_file_expand('nginx.conf', $conf);
    }

    my $pid = fork() // die "can't fork: $!\n";

    if ($pid == 0) {
        $self->sanitizer_env();
        open STDERR, '>>', "$self->{testdir}/stderr.log";
        exec 'setpriv', '--pdeathsig', 'TERM', $NGINX, $self->args()
            or POSIX::_exit(127);
    }

    $self->{nginx} = $pid;

    if ($self->waitforfile("$self->{testdir}/nginx.pid", $pid)) {
        return $self;
    }

    my $why = join '', grep { !/\[debug\]/ } $self->grep_log(qr/./);

    if ($why eq '') {
        $why = eval { $self->read_file('stderr.log') } // '';
    }

    $self->{nginx} = undef;
    kill 'KILL', $pid;
    waitpid $pid, 0;

    die "Can't start nginx: $why\n";
}


sub try_run {
    my ($self, $message) = @_;

    return $self if eval { $self->run(); 1 };

    Test::More::note($@);
    Test::More::plan(skip_all => $message);
}


# What a reload is known by: a worker that was not there before.

sub reload {
    my ($self) = @_;

    my %old = map { $_ => 1 } $self->children();

    kill 'HUP', $self->{nginx} or die "can't signal nginx: $!\n";

    for (1 .. 500 * $slow) {
        return $self if grep { !$old{$_} } $self->children();
        Time::HiRes::sleep(0.01);
    }

    return $self;
}


sub children {
    my ($self) = @_;

    my $pid = $self->{nginx} // return ();

    open my $fh, '<', "/proc/$pid/task/$pid/children" or return ();

    return split ' ', <$fh> // '';
}


sub stop {
    my ($self) = @_;

    my $pid = $self->{nginx} // return $self;

    $self->{nginx} = undef;

    for my $step ([QUIT => 90], [TERM => 10], [KILL => 10]) {
        kill $step->[0], $pid;
        return $self if reaped($pid, $step->[1]);
    }

    return $self;
}


sub reaped {
    my ($pid, $seconds) = @_;

    for (1 .. $seconds * 100) {
        return 1 if waitpid($pid, WNOHANG) != 0;
        Time::HiRes::sleep(0.01);
    }

    return 0;
}


sub waitforfile {
    my ($self, $file, $pid) = @_;

    for (1 .. 500 * $slow) {
        return 1 if -s $file;
        return 0 if $pid && waitpid($pid, WNOHANG) != 0;
        Time::HiRes::sleep(0.01);
    }

    return 0;
}


sub waitforsocket {
    my ($self, $peer) = @_;

    for (1 .. 500 * $slow) {
        return 1 if IO::Socket::INET->new(PeerAddr => $peer);
        Time::HiRes::sleep(0.01);
    }

    return 0;
}


sub run_daemon {
    my ($self, $code, @args) = @_;

    my $pid = fork() // die "can't fork: $!\n";

    if ($pid == 0) {
        if (ref $code eq 'CODE') {
            $code->(@args);
            POSIX::_exit(0);
        }

        exec $code, @args or POSIX::_exit(127);
    }

    push @{$self->{daemons}}, $pid;

    return $self;
}


sub stop_daemons {
    my ($self) = @_;

    while (my $pid = shift @{$self->{daemons}}) {
        kill 'TERM', $pid;

        if (!reaped($pid, 5)) {
            kill 'KILL', $pid;
            waitpid $pid, 0;
        }
    }

    return $self;
}


sub dump_config {
    my ($self) = @_;

    local %ENV = %ENV;

    $self->sanitizer_env();

    my @command = map { quotemeta } $NGINX, '-T', $self->args();

    return scalar qx(@command 2>&1);
}


# port(8ddd): the number itself if it is free, else another of its block of
# 500.  A UDP socket bound to it holds the number against other tests.

sub port {
    my ($num, %opts) = @_;

    my $key = $num . ($opts{udp} ? '_udp' : '');

    return $ports{$key}{port} if $ports{$key};

    for my $try (0 .. 2000) {
        my $port = $try ? $num - $num % 500 + int rand 500 : $num;

        my $lock = IO::Socket::INET->new(
            Proto     => $opts{udp} ? 'tcp' : 'udp',
            LocalAddr => "127.0.0.1:$port",
        ) or next;

        IO::Socket::INET->new(
            Proto     => $opts{udp} ? 'udp' : 'tcp',
            LocalAddr => "127.0.0.1:$port",
            $opts{udp} ? () : (Listen => 1, Reuse => 1),
        ) or next;

        $ports{$key} = { port => $port, lock => $lock };

        return $port;
    }

    die "no free port near $num\n";
}


sub log_core {
    my ($prefix, $text) = @_;

    return if !$ENV{TEST_NGINX_VERBOSE};

    $text = substr($text, 0, 4096) . '...' if length $text > 4096;
    $text =~ s/([^\x20-\x7e\n])/sprintf '\\x%02x', ord $1/ge;
    $text =~ s/^/# $prefix /gm;
    Test::More->builder->output->print("$text\n");

    return;
}


sub log_out {
    log_core('>>', @_);
}


sub log_in {
    log_core('<<', @_);
}


sub http_get {
    my ($url, %extra) = @_;

    return http("GET $url HTTP/1.0" . CRLF . 'Host: localhost' . CRLF . CRLF,
                %extra);
}


sub http_head {
    my ($url, %extra) = @_;

    return http("HEAD $url HTTP/1.0" . CRLF . 'Host: localhost' . CRLF . CRLF,
                %extra);
}


sub http {
    my ($request, %extra) = @_;

    my $s = http_start($request, %extra);

    return $s if $extra{start} || !defined $s;
    return http_end($s, %extra);
}


# A time that runs out ends the call with undef; the socket is given up.

sub within {
    my ($seconds, $code) = @_;

    my $rc = eval {
        local $SIG{ALRM} = sub { die "timeout\n" };
        local $SIG{PIPE} = sub { die "sigpipe\n" };

        alarm $seconds * $slow;
        my $r = $code->();
        alarm 0;
        $r;
    };

    alarm 0;

    if ($@) {
        log_in("died: $@");
        return undef;
    }

    return $rc;
}


sub http_start {
    my ($request, %extra) = @_;

    return within(8, sub {
        my $s = $extra{socket} || connect_to(%extra)
            or die "can't connect: $!\n";

        log_out($request);
        $s->print($request);

        if (defined $extra{body}) {
            Time::HiRes::sleep($extra{sleep}) if $extra{sleep};
            log_out($extra{body});
            $s->print($extra{body});
        }

        $s;
    });
}


sub connect_to {
    my (%extra) = @_;

    my $s;

    if ($extra{SSL}) {
        require IO::Socket::SSL;

        $s = IO::Socket::SSL->new(
            PeerAddr        => $extra{PeerAddr} || '127.0.0.1:' . port(8443),
            SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_NONE(),
            map { $_ => $extra{$_} } grep { /^SSL_/ } keys %extra
        );

    } else {
        $s = IO::Socket::INET->new(
            Proto    => 'tcp',
            PeerAddr => $extra{PeerAddr} || '127.0.0.1:' . port(8080)
        );
    }

    if ($s) {
        $s->autoflush(1);
        setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1) if !$extra{SSL};
    }

    return $s;
}


sub http_end {
    my ($s, %extra) = @_;

    my $reply = within(8, sub {
        my $all = '';

        while ($s->sysread(my $part, 65536)) {
            $all .= $part;
        }

        $all;
    });

    log_in($reply) if defined $reply;

    return $reply;
}


sub http_content {
    my ($response) = @_;

    return '' if !defined $response;

    my ($head, $body) = split /\x0d\x0a\x0d\x0a/, $response, 2;

    return $body // '' if $head !~ /^Transfer-Encoding:\s*chunked/mi;

    my $all = '';

    while ($body =~ s/^([0-9a-f]+)[^\x0d]*\x0d\x0a//i) {
        my $len = hex $1 or last;
        $all .= substr $body, 0, $len, '';
        $body =~ s/^\x0d\x0a//;
    }

    return $all;
}


1;
