#!/usr/bin/perl

# fcchat_coalesce: a frame after a silence goes at once, those that follow leave
# together, and none is left behind by a Close.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use IO::Select;
use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Site;
use FC::Util qw/ slurp wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(8);
my $site = FC::Site->new($t, http => 'fcchat_coalesce 1s;');

$site->django()->user($_) for qw/ alice bob /;
$t->run();

my $alice = $site->join('alice', protocol => 'fcchat.v1');
my $bob = $site->join('bob');

is($alice->recv_json()->{type}, 'welcome', 'a sender');

# a reader is there when it has had something

my $start = time();

say_it('first');
is($bob->recv_json()->{message}, 'first', 'the first one goes at once');

say_it("m$_") for 1 .. 5;

my ($reads, $bytes) = (0, '');

while ($bytes !~ /"m5"/ && IO::Select->new($bob->socket())->can_read(5)) {
    sysread($bob->socket(), $bytes, 65536, length $bytes) or last;
    $reads++;
}

is(join(' ', $bytes =~ /"(m\d)"/g), 'm1 m2 m3 m4 m5', 'all others come');
cmp_ok($reads, '<=', 2, 'by a read or two, not five');
cmp_ok(time() - $start, '>=', 0.9, 'when the time is over');

# the sender's acks do not wait, and a worker that leaves takes nothing along

say_it('last');
kill 'HUP', 0 + slurp($t->testdir() . '/nginx.pid');

is($bob->recv_json()->{message}, 'last', 'the last one comes');
is(($bob->recv_close(8))[0], 1012, 'before the Close');

$alice->drop();
ok(wait_for(sub { workers($t) == 1 }), 'the old worker is gone');


sub say_it {
    my ($text) = @_;

    $alice->send_json({ type => 'message', text => $text, cid => $text });
    $alice->recv_until(sub { $_[0]{type} eq 'ack' }, 5)
        or die "no ack for $text\n";

    return;
}
