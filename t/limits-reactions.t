#!/usr/bin/perl

# Reactions that can't be stored, or whose stamp is not known yet: as many as
# may wait do, the next one is refused at once, and none of the others is lost.
#
# S33 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd;
use FC::Pg;
use FC::Site;
use FC::Util qw/ wait_for workers /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(13);

# with a timeout of its own nothing is asked again that was only slow

my $pg = FC::Pg->new(private => 1, fsync => 0);
my $site = FC::Site->new($t, pg => $pg, database => 0, http =>
                         'fcchat_postgres "' . $pg->dsn() . '" timeout=60s;');

$site->cookie('alice');
$site->django->room('stream_1');
$t->run();

my $neighbour = $site->join('bob', protocol => 'fcchat.v1');
my ($pid) = workers($t);
my $stored = 0;

$neighbour->recv_json();

# 1,024 wait for the table of stamps; who waits for 2.5 seconds is refused,
# which is another matter

my ($errors, @ws);

for (1 .. 3) {
    my $lock = FC::Crowd->lock($pg, 'chat_chatstamp');

    @ws = sockets(18);
    react($_, 60) for @ws;
    $errors = refused(@ws, 18 * 60 - 1024);
    $lock->release();

    last if keys %$errors == 18 * 60 - 1024;

    $_->drop() for @ws;
    $t->reload();
    wait_for(sub { my @p = workers($t); @p == 1 && $p[0] != $pid });
    ($pid) = workers($t);
    $neighbour = $site->join('bob', protocol => 'fcchat.v1');
    $stored = rows();
}

is(scalar keys %$errors, 56, 'S33: 1024 wait for the stamps');
is(join(' ', sort keys %{{ reverse %$errors }}), 'unavailable 1000',
   'S33: the others are refused, to be tried again');
ok(wait_for(sub { rows() == $stored + 1024 }), 'S33: which are all stored');
is(scalar keys %{refused(@ws, 1, 0.5)}, 0, 'S33: nor refused later');
$_->drop() for @ws;

# 10,000 wait to be stored

my ($alice) = sockets(1);

$stored += 1024;
$pg->pause();
react($alice, 10_020);
$errors = refused($alice, 20);
is(join(' ', sort { substr($a, 1) <=> substr($b, 1) } keys %$errors),
   join(' ', map { "r$_" } 10_001 .. 10_020),
   'S33: 10000 wait to be stored, and not one more');
is(join(' ', sort keys %{{ reverse %$errors }}), 'unavailable 1000',
   'S33: which is to be tried again');
$pg->resume();
ok(wait_for(sub { rows() == $stored + 10_000 }, 30), 'S33: all are stored');
react($alice, 1, 10_020);
ok(wait_for(sub { rows() == $stored + 10_001 }), 'S33: there is room again');

# 64 stamps in what is told at once

$site->django->stamp($_, ":s$_:", '/s.svg') for 101 .. 165;
ok(wait_for(sub {
    $alice->send_json({ type => 'reaction', stamp_id => 165, cid => 'known' });

    my $m = $alice->recv_until(sub { $_[0]{type} eq 'error'
                                     || $_[0]{counts} && $_[0]{counts}{165} });

    return $m->{type} ne 'error';
}, 20, 0.3), 'all stamps are known');
$neighbour->recv_until(sub { $_[0]{counts} && $_[0]{counts}{165} });
$stored = rows();
$alice->send_raw(join '', map {
    FC::WS::frame(payload => qq({"type":"reaction","stamp_id":$_}))
} 101 .. 165);
is(scalar keys %{$neighbour->recv_until(sub { $_[0]{type} eq 'reactions' })
                 ->{counts}}, 64, 'S33: 64 stamps in one count');
ok(wait_for(sub { rows() == $stored + 65 }), 'S33: 65 are stored');

ok(alive('the end'), 'the neighbour is well');
is(join(' ', workers($t)), $pid, 'the same worker');


sub sockets {
    my ($n) = @_;

    my @all = map { $site->join('alice', protocol => 'fcchat.v1') } 1 .. $n;

    $_->recv_json() for @all;

    return @all;
}


# Reactions r1 to rN, or those after another one.

sub react {
    my ($ws, $n, $after) = @_;

    my $first = ($after // 0) + 1;

    $ws->send_raw(join '', map {
        FC::WS::frame(payload => qq({"type":"reaction","stamp_id":1,)
                                 . qq("cid":"r$_"}))
    } $first .. $first + $n - 1);

    return;
}


# What is refused until there are so many, by socket and cid, with when again.

sub refused {
    my ($seconds) = $_[-1] < 1 ? pop : 5;
    my $n = pop;
    my @all = @_;
    my %errors;

    FC::WS->poll(\@all, sub {
        my ($ws, $m) = @_;

        $errors{(@all > 1 ? "$ws " : '') . $m->{cid}}
            = "$m->{code} $m->{retry_after_ms}" if $m->{type} eq 'error';
    }, $seconds, sub { keys %errors >= $n });

    return \%errors;
}


sub rows {
    return $pg->sql('select count(*) from localhost.streaming_streamreaction');
}


sub alive {
    my ($text) = @_;

    $alice->send_json({ type => 'message', text => $text, cid => $text });

    return $neighbour->recv_until(sub { ($_[0]{text} // '') eq $text }, 10);
}
