#!/usr/bin/perl

# RFC 6455 and 7692 case by case (t/conformance/run): the echo, without TLS and
# with it, and the chat, which shares its codec, as far as that needs no echo.
# Sections 9, 12 and 13 send less here than they can: FCCHAT_CONFORMANCE_SCALE
# says how many bytes a case.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ run_quiet top /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

# the greatest message that a location can be told to take

use constant LIMIT => 12 * 16384 + 1024;
use constant SCALE => $ENV{FCCHAT_CONFORMANCE_SCALE} // 65536;

my $t = Test::Nginx->new()->has(qw/http http_ssl rewrite/)->plan(10);
my $dir = $t->testdir();

run_quiet({}, 'openssl', 'req', '-x509', '-newkey', 'ec',
          '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', 1, '-subj', '/CN=localhost', '-keyout', "$dir/key.pem",
          '-out', "$dir/cert.pem");

my $site = FC::Site->new(
    $t, http => 'ssl_certificate %%TESTDIR%%/cert.pem;'
                . ' ssl_certificate_key %%TESTDIR%%/key.pem;',
    server => 'listen 127.0.0.1:8443 ssl;', more => <<'END');
        location /echo {
            fcchat_echo;
            fcchat_message_length 16384;
        }

        location /deflate {
            fcchat_echo;
            fcchat_message_length 16384;
            fcchat_deflate on;
        }

        location /small {
            fcchat_echo;
            fcchat_message_length 5000;
            fcchat_deflate on;
        }

        location ~ ^/deflate/(?<name>\w+)/$ {
            fcchat;
            fcchat_room $name;
            fcchat_deflate on;
        }
END

$site->django()->user('alice');

my $cookie = 'sessionid=' . $site->django()->session('alice');

$t->run();

cases('the echo', 247, 'ws', port(8080), '/echo');
cases('the echo over TLS', 247, 'wss', port(8443), '/echo');
cases('sizes', 54, 'ws', port(8080), '/echo', '--limit', LIMIT, 9);
cases('sizes over TLS', 54, 'wss', port(8443), '/echo', '--limit', LIMIT, 9);
cases('compressed', 463, 'ws', port(8080), '/deflate', '--deflate');
cases('compressed, over TLS', 463, 'wss', port(8443), '/deflate',
      '--deflate');
cases('above the limit', 216, 'ws', port(8080), '/small', '--deflate',
      '--limit', 12 * 5000 + 1024, 12, 13);
cases('the chat', 151, 'ws', port(8080), '/ws/chat/stream_1/', '--chat',
      '--cookie', $cookie);
cases('the chat, compressed', 151, 'ws', port(8080), '/deflate/stream_1/',
      '--chat', '--deflate', '--cookie', $cookie);
cases('the chat over TLS', 151, 'wss', port(8443), '/ws/chat/stream_1/',
      '--chat', '--cookie', $cookie);


# n: how many cases there must be

sub cases {
    my ($name, $n, $scheme, $port, $path, @arg) = @_;

    my @only = grep { /^\d\d?$/ } @arg;
    my @options = ('--scale', SCALE, grep { !/^\d\d?$/ } @arg);

    open(my $out, '-|', '/usr/bin/python3', top() . '/t/conformance/run',
         @options, "$scheme://127.0.0.1:$port$path", @only) or die $!;

    my @lines = <$out>;
    close $out;

    my $passed = (pop @lines // '') =~ /^(\d+) of (\d+) cases passed$/
                 && $1 == $2 && $1 == $n;

    ok($passed && $? == 0, $name) or diag(@lines);
}
