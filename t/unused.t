#!/usr/bin/perl

# A module that is loaded and not used costs nothing: no connection, no timer,
# no shared memory, and nothing that keeps a worker from leaving.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw/ time /;

use FC::Util qw/ fds log_lines slow slurp wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

no warnings 'portable'; # addresses have more than 32 bits

my $t = Test::Nginx->new()->has(qw/http debug rewrite/)->plan(11);

my $backend = IO::Socket::INET->new(Listen => 16, LocalAddr => '127.0.0.1:0')
    or die "no listener: $!\n";
my $port = $backend->sockport();

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    BACKENDS

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            return 200 "plain\n";
        }

        ECHO
    }
}

EOF

my $backends = <<"EOF";
fcchat_zone 64m;
    fcchat_postgres "host=127.0.0.1 port=$port dbname=none";
    fcchat_redis redis://127.0.0.1:$port;
    fcchat_secret_key_file %%TESTDIR%%/secret;
    fcchat_tenant localhost;
EOF

$t->write_file('secret', "secret\n");
chmod 0600, $t->testdir() . '/secret';

# As if the module were not there, to compare with.

my %plain = measure('', '');
my %used = measure($backends, '');

is($used{answer}, 'plain', 'nginx serves');
is($used{timers}, 0, 'no timer');
is($used{fds}, $plain{fds}, 'no descriptor');
is($used{shared}, $plain{shared}, 'no shared memory');
cmp_ok($used{exit}, '<', 1 * slow(), 'it leaves at once');
is($used{connections}, 0, 'no connection');

# The echo needs none of them either.

my %echo = measure($backends, 'location /echo { fcchat_echo; }');

is($echo{answer}, 'plain', 'nginx with an echo serves');
is($echo{timers}, 0, 'no timer with an echo');
is($echo{shared}, $plain{shared}, 'no shared memory with an echo');
is($echo{echo}, 'hello', 'the echo answers');
is($echo{connections}, 0, 'and connects to nothing');


sub measure {
    my ($http, $location) = @_;

    (my $text = $conf) =~ s/BACKENDS/$http/;

    $text =~ s/ECHO/$location/;
    unlink $t->testdir() . '/error.log';

    $t->write_file_expand('nginx.conf', $text);
    $t->run();

    wait_for(sub { workers($t) == 1 && log_lines($t, qr/epoll timer/) });

    my %seen = (timers => scalar log_lines($t, qr/event timer add/));

    ($seen{answer}) = http_get('/') =~ /^(plain)$/m;

    my ($pid) = workers($t);

    $seen{fds} = fds($pid);
    $seen{shared} = 0;

    for my $line (split /\n/, slurp("/proc/$pid/maps")) {
        my ($from, $to) = $line =~ m{^(\w+)-(\w+) ...s .* /dev/zero}
            or next;
        $seen{shared} += hex($to) - hex($from);
    }

    if ($location) {
        my $ws = FC::WS->connect(port => port(8080), path => '/echo');

        $ws->send_text('hello');
        $seen{echo} = ($ws->recv_message() // {})->{payload};
        $ws->close();
    }

    my $start = time();

    $t->stop();
    $seen{exit} = time() - $start;

    # whatever was begun stands in the queue of the listener

    $seen{connections} = () = IO::Select->new($backend)->can_read(0);

    return %seen;
}
