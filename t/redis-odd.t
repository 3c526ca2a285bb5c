#!/usr/bin/perl

# A Redis that says what nobody asked for: hiredis would end the worker for some
# of it, so the connection is made anew, and nobody is disconnected.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Proxy;
use FC::Redis;
use FC::Site;
use FC::Util qw/ log_lines wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http debug rewrite/)->plan(14);

# said once, behind a message of the subscriber's, whose channel is CHANNEL

my @odd = (
    [ 'a confirmation' => "*3\r\n\$9\r\nsubscribe\r\n\$1\r\nx\r\n:1\r\n" ],
    [ 'one of a pattern' => "*3\r\n\$10\r\npsubscribe\r\n\$1\r\nx\r\n:1\r\n" ],
    [ 'a channel left' => "*3\r\n\$11\r\nunsubscribe\r\nCHANNEL\r\n:0\r\n" ],
    [ 'an answer' => "+OK\r\n" ], [ 'a boolean' => "#t\r\n" ],
    [ 'a push' => ">3\r\n\$7\r\nmessage\r\nCHANNEL\r\n\$1\r\nx\r\n" ],
);

my $said = 0;

my $redis = FC::Redis->new();
my $proxy = FC::Proxy->new(to => '127.0.0.1:' . $redis->port(), filter => sub {
    my ($way, $bytes, $state, $set) = @_;

    if ($way eq 'down' && ($set->{n} // 0) > $said
        && $bytes =~ /\r\nmessage\r\n(\$\d+\r\n[^\r]+)\r\n/)
    {
        my $channel = $1;

        $bytes .= $odd[$said++][1] =~ s/CHANNEL/$channel/r;
    }

    return $bytes;
});

my $site = FC::Site->new($t, redis => $redis, bus => 0,
                         http => "fcchat_redis redis://127.0.0.1:"
                                 . $proxy->port() . ';');

$site->django->user('alice');
$t->run();

my $alice = $site->join('alice', protocol => 'fcchat.v1');

wait_for(sub { lines('is up') == 1 });

my @workers = workers($t);

for my $i (0 .. $#odd) {
    my $name = $odd[$i][0];

    $proxy->set(n => $i + 1);
    ok(wait_for(sub { lines('is lost') == $i + 1 }), "$name is not taken");
    ok(wait_for(sub { lines('is up') == $i + 2 }), "$name: found again");
}

is_deeply([ workers($t) ], \@workers, 'the worker lives');
$alice->send_json({ type => 'message', text => 'here', cid => 'c' });
is($alice->recv_until(sub { $_[0]{type} eq 'message' })->{text}, 'here',
   'and its client stays');


sub lines {
    my ($what) = @_;

    return scalar(my @l = log_lines($t, qr/fcchat redis \S+ $what/));
}
