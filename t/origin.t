#!/usr/bin/perl

# The Origin is compared whole: scheme, host and port.  It is looked at before
# the cookie, so who passes is told 401 here, and no database is there to ask.
#
# S01, S02 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Util qw/ free_port log_lines /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl socket_ssl/)
        ->has_daemon('openssl')->plan(118);

my $nowhere = free_port();

$t->write_file('secret', "secret\n");
chmod 0600, $t->testdir() . '/secret';

my $d = $t->testdir();

system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
       . " -subj /CN=localhost -keyout $d/key -out $d/crt >$d/openssl.out 2>&1")
    == 0 or die "can't make a certificate\n";

$t->write_file_expand('nginx.conf', <<"EOF")->run();

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    fcchat_postgres "host=127.0.0.1 port=$nowhere";
    fcchat_secret_key_file %%TESTDIR%%/secret;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate_key  key;
        ssl_certificate      crt;

        location /same {
            fcchat;
        }

        location /any {
            fcchat;
            fcchat_origin any;
        }

        location /list {
            fcchat;
            fcchat_origin https://good.example http://good.example:8000
                          http://[2001:db8::1]:81 app://local;
        }

        location /domain {
            fcchat;
            fcchat_origin .good.example;
        }

        location /mixed {
            fcchat;
            fcchat_origin same https://other.example .good.example;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        fcchat_origin any;

        location /inherited {
            fcchat;
        }

        location /own {
            fcchat;
            fcchat_origin https://good.example;

            location /own/inner {
                fcchat;
            }
        }
    }
}

EOF

sub status {
    my ($path, $origin, %o) = @_;

    return FC::WS->connect(port => port($o{ssl} ? 8443 : 8080),
                           path => $path, origin => $origin, %o)->status();
}

sub passes {
    my ($path, $origin, %o) = @_;
    my $name = delete $o{name} // $origin;

    is(status($path, $origin, %o), 401, "$path: $name");
}

sub fails {
    my ($path, $origin, %o) = @_;
    my $name = delete $o{name} // $origin // 'none';

    is(status($path, $origin, %o), 403, "$path: $name is refused");
}

# same: the scheme is the connection's, host and port are the Host header's

passes('/same', 'http://localhost');
passes('/same', 'http://localhost:80');
passes('/same', 'http://LOCALHOST');
passes('/same', 'http://localhost:81', host_header => 'localhost:81');
passes('/same', 'http://localhost', host_header => 'localhost:80',
       name => 'a default port in Host');
passes('/same', 'http://[::1]', host_header => '[::1]');
passes('/same', 'http://[::1]:8080', host_header => '[::1]:8080');
passes('/same', 'https://localhost', ssl => 1, name => 'https by TLS');
passes('/same', 'https://localhost:443', ssl => 1, name => '443 by TLS');

fails('/same', undef);
fails('/same', $_) for '', 'null', 'https://localhost', 'http://localhost:81',
    'http://localhost:443', 'http://localhost.', 'http://localhost.evil',
    'http://evillocalhost', 'http://evil.localhost', 'http://127.0.0.1',
    'ws://localhost', 'localhost', '//localhost', 'http:localhost',
    'http:/localhost', 'http://', 'http://localhost/', 'http://localhost/x',
    'http://localhost?', 'http://localhost#', 'http://localhost:',
    'http://user@localhost', 'http://localhost@evil', 'http://localhost:80@evil',
    'http://localhost evil', 'http://localhost,http://evil',
    'http://localhost http://evil', 'http://evil http://localhost',
    "http://localhost\tx", 'http://localhost:080', 'http://localhost:65616',
    'http://localhost:4294967376', 'http://localhost:-80', 'file://',
    'http://localhost\\.evil', 'http://%6cocalhost', "http://localhost\x80";
fails('/same', 'http://localhost', ssl => 1, name => 'http by TLS');
fails('/same', 'http://localhost', host_header => 'localhost:81',
      name => 'another port in Host');
fails('/same', 'http://[::1]', host_header => '[::2]', name => 'IPv6');
fails('/same', 'http://localhost', host_header => 'other.example',
      name => 'another Host',
      headers => [ 'X-Forwarded-Host: localhost', 'Forwarded: host=localhost' ]);

is(status('/same', 'http://localhost', headers => [ 'Origin: null' ]), 400,
   'two Origins');
is(status('/same', 'http://localhost',
          headers => [ 'Origin: http://localhost' ]), 400, 'the same one twice');
is(status('/any', 'http://localhost', headers => [ 'Origin: http://evil' ]),
   400, 'two where any is good');

# a list: exact

passes('/list', $_) for 'https://good.example', 'https://good.example:443',
    'HTTPS://Good.Example', 'http://good.example:8000',
    'http://[2001:db8::1]:81', 'app://local';

fails('/list', $_) for 'http://localhost', 'http://good.example',
    'https://good.example:8000', 'http://good.example:80',
    'https://good.example.evil', 'https://evilgood.example',
    'https://www.good.example', 'https://good.example.', 'https://good.exampl',
    'https://good-example', 'https://goodxexample', 'https://.good.example',
    'https://example', 'null', 'http://[2001:db8::1]',
    'http://[2001:db8::2]:81', 'http://2001:db8::1:81', 'app://local.evil',
    'app://loca', 'https://good.example:44', 'https://good.example:4433';
fails('/list', undef);

# a domain and what is below it

passes('/domain', $_) for 'https://good.example', 'http://good.example',
    'https://www.good.example', 'https://a.b.good.example:8443',
    'https://WWW.GOOD.EXAMPLE';

fails('/domain', $_) for 'https://evilgood.example', 'https://example',
    'https://good.example.evil', 'https://ood.example', 'https://.good.example',
    'https://www..good.example', 'https://good.example.', 'null',
    'app://www.good.example', 'https://evil/.good.example',
    'https://evil#.good.example', 'https://evil:80.good.example',
    'https://evil@www.good.example';
fails('/domain', undef);

# together, and any

passes('/mixed', $_) for 'http://localhost', 'https://other.example',
    'http://chat.good.example';
fails('/mixed', $_) for 'https://localhost', 'http://other.example',
    'https://www.other.example', 'http://evil';

passes('/any', $_) for 'http://evil', 'null', 'x y';
passes('/any', undef, name => 'none');

# a list takes the place of the one above it

passes('/inherited', 'http://evil', port => port(8081));

for my $path ('/own', '/own/inner') {
    passes($path, 'https://good.example', port => port(8081));
    fails($path, 'http://localhost', port => port(8081));
}

is(join('', log_lines($t, qr/\[(?:crit|emerg)\]/)), '', 'a clean log');
