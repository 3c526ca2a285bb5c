#!/usr/bin/perl

# fcchat_connections: how many sockets a user and an address may have open over
# all workers; those of a worker that was killed are not counted any more.
#
# S29 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ $WORKER /;
use FC::Site;
use FC::Util qw/ forgive wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(19);
my $off = 'fcchat_rate off; fcchat_reaction_rate off;';
my $site = FC::Site->new($t, workers => 2, location => $WORKER,
                         rate => "$off fcchat_connections user=4 ip=off;",
                         main => 'worker_shutdown_timeout 1s;');

$site->django->user($_) for qw/ alice bob carol /;
$site->django->room($_) for qw/ stream_1 stream_2 /;
$t->run();

my @alice = (map({ $site->join('alice') } 1 .. 3),
             $site->join('alice', room => 'stream_2'));

is(join(' ', map { $_->status() } @alice), '101 101 101 101',
   'as many as there may be');

my $ws = $site->join('alice', protocol => 'fcchat.v1');

is($ws->status(), 429, 'and not more');
is($ws->header('Retry-After'), 5, 'to be tried again');
is($site->join('alice', room => 'stream_2')->status(), 429, 'in no room');
is($site->join('bob')->status(), 101, 'another user');

$alice[0]->close();
push @alice, came('alice');
ok($alice[-1], 'one goes, one comes');
$alice[1]->drop();
push @alice, came('alice');
ok($alice[-1], 'also when it just goes');
is($site->join('alice')->status(), 429, 'one');

# what comes to nothing counts for nothing

is(join(' ', map { $site->join('carol', room => 'none')->status() } 1 .. 6),
   '404 404 404 404 404 404', 'refused for another reason');

my @carol = ($site->join('carol'));

is($carol[0]->status(), 101, 'that is not counted');

# a worker is killed

push @carol, map { came('carol') } 1 .. 3;

my ($pid) = $carol[0]->header('X-Worker');
my $held = grep { $_->header('X-Worker') == $pid } @carol;

is($site->join('carol')->status(), 429, 'all are taken');
kill 'KILL', $pid;
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { $_ == $pid } @now }), 'a killed worker');

my @again = map { came('carol') } 1 .. $held;

is(scalar(grep { $_ } @again), $held, 'its sockets are not counted');
is($site->join('carol')->status(), 429, 'those of the other are');
forgive($t, qr/exited on signal 9/);
$_ && $_->drop() for @again, @carol, @alice;

# by address, and with a close code

my @old = workers($t);

$site->write(rate => "$off fcchat_connections user=off ip=3;"
                     . ' fcchat_refuse close;');
kill 'HUP', $t->read_file('nginx.pid');
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { my $p = $_; grep { $_ == $p } @old }
                                @now }), 'a reload');

# of different users; before it addresses were not counted

my @all = map { $site->join($_) } qw/ alice bob carol /;

is(join(' ', map { $_->status() } @all), '101 101 101', 'from one address');
$ws = $site->join('alice');
is($ws->status(), 101, 'one more comes in');
is(($ws->recv_close())[0], 4409, 'to be told');
$all[0]->close();
ok(wait_for(sub { my $c = $site->join('bob');
                  $c->send_json({ message => 'hi' });
                  (($c->recv_json() // {})->{message} // '') eq 'hi' }),
   'one goes, one comes');


# a socket that may stay open: what was closed is counted until nginx knows

sub came {
    my ($user) = @_;

    my $c;

    wait_for(sub { ($c = $site->join($user))->status() == 101 }) or return;

    return $c;
}
