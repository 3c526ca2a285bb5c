#!/usr/bin/perl

# wss: the same over TLS, also when more is to be sent than a socket takes.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ run_quiet wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl rewrite/)->plan(23);

my $dir = $t->testdir();

run_quiet({}, 'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
          '-days', 1, '-subj', '/CN=localhost', '-keyout', "$dir/key.pem",
          '-out', "$dir/cert.pem");

my $site = FC::Site->new(
    $t, http => 'ssl_certificate %%TESTDIR%%/cert.pem;'
                . ' ssl_certificate_key %%TESTDIR%%/key.pem;',
    server => 'listen 127.0.0.1:8443 ssl;',
    location => 'fcchat_lag 4m; fcchat_message_length 4000;',
    more => <<'EOF');
        location /attached/ {
            fcchat;
            fcchat_detach off;
        }

        location /echo {
            fcchat_echo;
        }
EOF

$t->run();

sub wss {
    my ($user, %o) = @_;

    return $site->join($user, port => port(8443), ssl => 1, %o);
}

# the handshake; the Origin says https

my $alice = wss('alice');

ok($alice->accepted(), 'accepted');
is(wss('alice', origin => 'http://localhost')->status(), 403,
   'an Origin of http');
is($site->join('alice', origin => 'https://localhost')->status(), 403,
   'an Origin of https, without TLS');
is(wss(undef)->status(), 401, 'no session');

# both ways, to those without TLS as well

my $bob = wss('bob', protocol => 'fcchat.v1');
my $plain = $site->join('carol');

is($bob->recv_json()->{type}, 'welcome', 'a welcome');

$alice->send_json({ message => "h\x{e9}llo" });
is($alice->recv_json()->{message}, "h\x{e9}llo", 'alice has it');
is($plain->recv_json()->{message}, "h\x{e9}llo", 'carol has it');
is($bob->recv_until(sub { $_[0]{type} eq 'message' })->{text}, "h\x{e9}llo",
   'bob has it');

$plain->send_json({ message => 'back' });
is($alice->recv_json()->{message}, 'back', 'and back');

# frames in the handshake's own packet, and several in one record

my $early = wss('dave', first => FC::WS::frame(payload => '{"message":"e1"}')
                                 . FC::WS::frame(payload =>
                                                 '{"message":"e2"}'));

is_deeply([ map { $early->recv_json()->{message} } 1 .. 2 ], [ 'e1', 'e2' ],
          'frames with the handshake');
$early->send_raw(join '', map { FC::WS::frame(payload =>
                                              qq({"message":"r$_"})) }
                              1 .. 20);
is_deeply([ map { $early->recv_json()->{message} } 1 .. 20 ],
          [ map { "r$_" } 1 .. 20 ], 'many frames in a record');

# a frame larger than a record

my $echo = wss('alice', path => '/echo');
my $large = join '', map { chr(32 + $_ % 90) } 1 .. 6500;

$echo->send_text($large);
is($echo->recv_message()->{payload}, $large, 'a large frame');

# bursts, while one reads slowly: each gets all, in order

$_->recv_all(0.2) for $alice, $bob, $plain;

my $slow = wss('erin', rcvbuf => 4096);
my ($n, $pad) = (300, 'x' x 3000);

$plain->send_json({ message => "$_ $pad" }) for 1 .. $n;

for my $reader ([ 'alice', $alice ], [ 'without TLS', $plain ]) {
    my ($name, $ws) = @$reader;
    my @got = map { (split ' ', ($ws->recv_json() // {})->{message} // '')[0] }
              1 .. $n;

    is(join(' ', @got), join(' ', 1 .. $n), "a burst: $name");
}

my @got = map { (split ' ', $bob->recv_json()->{text})[0] } 1 .. $n;

is(join(' ', @got), join(' ', 1 .. $n), 'a burst: fcchat.v1');

# erin has read nothing so far; now a little at a time

@got = ();

for my $i (1 .. $n) {
    my $m = $slow->recv_json() // last;

    push @got, (split ' ', $m->{message})[0];
    select undef, undef, undef, 0.01 if $i % 20 == 0;
}

is(join(' ', @got), join(' ', 1 .. $n), 'a burst: a slow reader');

# the request kept

my $attached = wss('frank', path => '/attached/stream_1/');

ok($attached->accepted(), 'detach off');
$attached->send_json({ message => 'kept' });
is($attached->recv_json()->{message}, 'kept', 'detach off: a message');

# the end, from either side

is_deeply([ $alice->close(1000, 'bye') ], [ 1000, '' ], 'a close');
is_deeply([ $attached->close(1001) ], [ 1001, '' ], 'detach off: a close');

$bob->send_frame(op => 3);
is(($bob->recv_close())[0], 1002, 'a close by the server');
ok($bob->recv_eof(), 'and the end');

$slow->drop();
$early->drop(1);
$plain->recv_all(0.1);
$plain->send_json({ message => 'still' });
is($plain->recv_json()->{message}, 'still', 'the others stay');
