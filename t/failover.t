#!/usr/bin/perl

# fcchat_postgres with several hosts: one that refuses, some that take
# connections and say nothing, and one that answers.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use IO::Socket::INET;

use FC::Pg;
use FC::Proxy;
use FC::Site;
use FC::Util qw/ free_port wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(6);

my $pg = FC::Pg->new();
my @proxies = map { FC::Proxy->new(to => '127.0.0.1:' . $pg->port()) } 1, 2;
my @ports = map { $_->port() } @proxies;
my $refuses = free_port();

# the kernel takes what comes, and nobody answers

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1:0', Listen => 512)
    or die "can't listen: $!\n";
my $silent = $listen->sockport();

my $cid = 0;
my $site = FC::Site->new($t, pg => $pg, database => 0, http => postgres(
    join(',', ('127.0.0.1') x 4), "$refuses,$silent,$ports[0],$ports[1]"));

$site->cookie('alice');
$t->run();

ok(wait_for(sub { $site->join('alice')->status() == 101 }, 20),
   'behind one that refuses and one that is silent');

my $alice = $site->join('alice', protocol => 'fcchat.v1');

ok(wait_for(\&said, 20), 'a message');

$proxies[0]->pause();
ok(wait_for(\&said, 20), 'the one in use falls silent');

$proxies[1]->pause();
$proxies[0]->resume();
ok(wait_for(\&said, 20), 'and the next one, where the first is back');
ok(!$alice->eof(), 'nobody was disconnected');

# names with their addresses

$site->write(http => postgres(
    'localhost,localhost hostaddr=127.0.0.1,127.0.0.1', "$silent,$ports[0]"));
$t->reload();
ok(wait_for(sub {
    my $ws = $site->join('alice', protocol => 'fcchat.v1');

    return $ws->status() == 101
           && $ws->header('X-Pid') ne $alice->header('X-Pid');
}, 20), 'names with addresses');


sub postgres {
    my ($host, $port) = @_;

    (my $dsn = $pg->dsn('tcp')) =~ s/host=\S+ port=\S+/host=$host port=$port/;

    return qq(fcchat_postgres "$dsn" timeout=1s;)
           . ' add_header X-Pid $pid always;';
}


sub said {
    my $id = 'said ' . ++$cid;

    $alice->send_json({ type => 'message', text => $id, cid => $id });

    return $alice->recv_until(sub {
        $_[0]{type} =~ /^(?:ack|error)$/ && $_[0]{cid} eq $id
    }, 10)->{type} eq 'ack';
}
