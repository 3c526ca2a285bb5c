#!/usr/bin/perl

# A deleted text is taken out of the logs in memory under the eyes of readers
# that are behind: none gets it who had not begun to, and none loses anything
# else.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(11);

my $site = FC::Site->new($t, server => 'listen 127.0.0.1:8082 sndbuf=8k;',
                         location => 'fcchat_lag 2m;'
                                     . ' fcchat_message_length 8192;');

$site->django->user($_) for qw/ alice bob /;
$site->django->user('boss', is_staff => 1);
$site->{cookies} = {};
$t->run();

my @v1 = (protocol => 'fcchat.v1');
my @narrow = (port => Test::Nginx::port(8082), rcvbuf => 4096);
my $boss = $site->join('boss', @v1);
my $bob = $site->join('bob', @v1, @narrow);
my $old = $site->join('bob', @narrow);

$_->recv_json() for $boss, $bob;

# more than the sockets hold, so that both stop inside a frame

my $n = 100;
my $ack;

for my $i (1 .. $n) {
    $boss->send_json({ type => 'message', cid => "c$i",
                       text => "$i-" . 'x' x 5000 });
    $ack = $boss->recv_until(sub { $_[0]{type} eq 'ack' });
}

is($ack->{seq}, $n, 'a lot is said');

for my $i (1 .. $n) {
    $boss->send_json({ type => 'delete', seq => $i + 0, cid => "d$i" });
    $boss->recv_until(sub { $_[0]{type} eq 'ack' });
}

# What the sockets hold is not for us to say: a text may still be taken by the
# kernel after others before it were deleted.

my (@seqs, @texts, $deleted);

$bob->recv_until(sub {
    my ($m) = @_;

    return 0 if $m->{type} eq 'viewers';

    push @seqs, $m->{seq};
    push @texts, [ $m->{seq}, $m->{text} =~ /^(\d+)-x{5000}\z/ ]
        if $m->{type} eq 'message' && length $m->{text};
    $deleted++ if ($m->{message_type} // '') eq 'deleted';

    return $m->{seq} == 2 * $n;
}, 20);

is(join(',', @seqs), join(',', 1 .. 2 * $n), 'all numbers come');
is(@texts + $deleted, $n, 'each a message');
cmp_ok($deleted, '>', 0, 'some of them deleted');
is_deeply([ grep { $_->[0] != ($_->[1] // 0) } @texts ], [],
          'the others whole, in their places');

my ($notices, @order) = 0;

$old->recv_until(sub {
    my ($m) = @_;

    if ($m->{message_type} eq 'moderation') {
        return ++$notices == $n;
    }

    push @order, $m->{message} =~ /^(\d+)-x{5000}\z/ ? $1 : 'broken';

    return 0;
}, 20);

is($notices, $n, 'an old page hears of all');
cmp_ok(@order, '<', $n, 'and does not get all texts');

my %once = map { $_ => 1 } @order;

is(join(',', @order),
   join(',', grep { $once{$_} } 1 .. $n), 'those it gets are whole, in order');

# both live on

$boss->send_json({ type => 'message', text => 'on', cid => 'on' });
is($bob->recv_until(sub { ($_[0]{text} // '') eq 'on' })->{seq}, 2 * $n + 1,
   'go on');
is($old->recv_until(sub { $_[0]{message} eq 'on' })->{message_type},
   'message', 'both');
is($site->pg->sql("select count(*) from localhost.chat_chatmessage"
                  . " where is_deleted"), $n, 'in PostgreSQL');
