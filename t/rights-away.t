#!/usr/bin/perl

# Open sockets whose rights can't be asked for: PostgreSQL, or the Redis of the
# sessions, is away.  Nobody is closed for it, and what changed meanwhile is
# found afterwards.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use MIME::Base64 qw/ decode_base64 /;

use FC::Redis;
use FC::Site;
use FC::Util qw/ slow /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(11);
my $store = FC::Redis->new();
my $site = FC::Site->new($t, pg => { private => 1, fsync => 0 },
                         http => 'fcchat_session_cache 1s;'
                                 . ' fcchat_session_redis '
                                 . $store->unix_url() . ';',
                         more => <<'EOF');
        location /cache/ {
            fcchat;
            fcchat_session_engine cache;
        }

        location /guests/ {
            fcchat;
            fcchat_guests read;
        }
EOF

my $pg = $site->pg();
my $django = $site->django();
my $key = $django->session('gone');
my @cached = map { $django->session($_, engine => 'cache') } qw/ x y /;

put($_) for @cached;

$site->cookie('stays');
$t->run();

my $stays = $site->join('stays');
my $gone = $site->join('gone', cookie => $key);
my $guest = $site->join(undef, path => '/guests/stream_1/');
my ($x, $y) = map { $site->join('', cookie => $_, path => '/cache/stream_1/') }
                  @cached;
my @all = ($stays, $gone, $guest, $x, $y);

is(join(' ', map { $_->status() } @all), '101 101 101 101 101', 'all enter');

$django->stop();
$pg->stop();
is(closed(@all), 0, 'PostgreSQL is away');
$pg->start();
$pg->sql("delete from localhost.django_session where session_key = '$key'");
is(join(' ', $gone->recv_close(6 * slow())), '4401 session ended',
   'a logout meanwhile');

$store->pause();
is(closed($x, $y), 0, 'Redis is stopped');
$store->resume();
is(closed($x, $y), 0, 'and goes on');

$store->kill9();
is(closed($x, $y), 0, 'it is away');
$store->start();

is(join(' ', $x->recv_close(6 * slow())), '4401 session ended',
   'what it has forgotten');
is(join(' ', $y->recv_close(6 * slow())), '4401 session ended', 'all of it');

is(closed($stays, $guest), 0, 'the others stay');

$stays->send_json({ message => 'here' });
is(($stays->recv_json() || {})->{message}, 'here', 'and chat');
is(($guest->recv_json() || {})->{message}, 'here', 'or watch');


# How many of them are within two intervals.

sub closed {
    my (@ws) = @_;

    my $n = 0;

    FC::WS->poll(\@ws, sub { $n++ if ref $_[1] && $_[1]{op} }, 1.5);

    return $n;
}


sub put {
    my ($key) = @_;

    my $cached = $django->cached($key);

    return $store->cmd('SET', $cached->{key},
                       decode_base64($cached->{value}));
}
