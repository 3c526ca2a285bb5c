#!/usr/bin/perl

# Behind a proxy: the client's own address, while the socket lives and after.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ slurp wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http realip rewrite/)->plan(14);

my $site = FC::Site->new(
    $t, http => 'log_format addr "$remote_addr $status";'
                . ' access_log %%TESTDIR%%/told.log addr;'
                . ' fcchat_log %%TESTDIR%%/chat.log;',
    server => 'set_real_ip_from 127.0.0.0/8;'
              . ' real_ip_header X-Forwarded-For;', more => <<'EOF');
        location /attached/ {
            fcchat;
            fcchat_detach off;
        }

        location /closed/ {
            deny 192.0.2.0/24;
            fcchat;
        }

        location /proxied/ {
            fcchat;
            set_real_ip_from 127.0.0.1;
            real_ip_header proxy_protocol;
        }
EOF

$t->run();

my $dir = $t->testdir();

for my $path ('/ws/chat', '/attached') {
    my $ws = $site->join('alice', path => "$path/stream_1/",
                         headers => [ 'X-Forwarded-For: 192.0.2.7' ]);

    ok($ws->accepted(), "$path: accepted");
    $ws->send_json({ message => 'hi' });
    is($ws->recv_json()->{message}, 'hi', "$path: a message");
    is_deeply([ $ws->close(1000) ], [ 1000, '' ], "$path: closed");
}

ok(wait_for(sub { (() = slurp("$dir/chat.log") =~ /\n/g) == 2 }),
   'two lines of fcchat_log');
is_deeply([ slurp("$dir/chat.log") =~ /"addr":"([^"]*)"/g ],
          [ ('192.0.2.7') x 2 ], 'its address');
ok(wait_for(sub { (() = slurp("$dir/told.log") =~ /\n/g) == 2 }),
   'two lines of access_log');
is(slurp("$dir/told.log"), "192.0.2.7 101\n" x 2, 'its address');

# access rules see it

is($site->join('alice', path => '/closed/stream_1/',
               headers => [ 'X-Forwarded-For: 192.0.2.7' ])->status(), 403,
   'denied');
is($site->join('alice', path => '/closed/stream_1/',
               headers => [ 'X-Forwarded-For: 198.51.100.7' ])->status(), 101,
   'not denied');

# gone while it waits for the database

my @all = map { $site->join('u' . $_ % 5, nowait => 1,
                            headers => [ "X-Forwarded-For: 192.0.2.$_" ]) }
          1 .. 40;

$_->drop($_->{key} lt 'M') for @all;

my $ws = $site->join('bob', headers => [ 'X-Forwarded-For: 2001:db8::1' ]);

ok($ws->accepted(), 'an address of IPv6');
$ws->close();
ok(wait_for(sub { slurp("$dir/chat.log") =~ /"addr":"2001:db8::1"/ }),
   'in the log');
