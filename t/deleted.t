#!/usr/bin/perl

# A deleted text is taken out of the logs in memory, plain and compressed, and so
# are the pins that show it, under the eyes of readers that are behind: none gets
# it who had not begun to, and none loses anything else.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Queries;
use FC::Site;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(2 * 17 + 2 + 2);

my $site = FC::Site->new($t, server => 'listen 127.0.0.1:8082 sndbuf=8k;',
                         location => 'fcchat_lag 2m; fcchat_deflate on;'
                                     . ' fcchat_message_length 8192;');

$site->django->user($_) for qw/ alice bob /;
$site->django->user('boss', is_staff => 1);
$site->django->room($_) for qw/ plain deflated short pins /;

my $queries = FC::Queries->new($site->pg);

$t->run();

# letters that compression leaves large, and nobody's other text has in it

my ($n, $pins) = (100, 10);
my @letters = (0 .. 9, 'A' .. 'Z', 'a' .. 'z');
my @said = map {
    my $i = $_;

    join '', "$i-", map { $letters[rand @letters] } 1 .. 5000
} 1 .. $n;

gone('plain');
gone('deflated', extensions => 'permessage-deflate');
short();
pins();


sub gone {
    my ($name, @how) = @_;

    my @v1 = (room => $name, protocol => 'fcchat.v1', @how);
    my @narrow = (port => Test::Nginx::port(8082), rcvbuf => 4096);
    my $boss = $site->join('boss', room => $name, protocol => 'fcchat.v1');
    my $epoch = $boss->recv_json()->{epoch};
    my $bob = $site->join('bob', @v1, @narrow);
    my $old = $site->join('bob', room => $name, @how, @narrow);
    my $near = $site->join('alice', @v1);

    $_->recv_json() for $bob, $near;

    # more than the sockets hold, so that both stop inside a frame

    my $ack;

    for my $i (1 .. $n) {
        $ack = ask($boss, type => 'message', text => $said[$i - 1]);
    }

    is($ack->{seq}, $n, "$name: a lot is said");

    for my $i (1 .. $pins) {
        $ack = ask($boss, type => 'pin', seq => $n - $i);
    }

    is($ack->{seq}, $n + $pins, "$name: and pinned");

    for my $i (1 .. $n) {
        $ack = ask($boss, type => 'delete', seq => $i);
    }

    my $last = 2 * $n + $pins;

    is($ack->{seq}, $last, "$name: and deleted");

    # What the sockets hold is not for us to say: a text may still be taken by
    # the kernel after others before it were deleted.

    my ($seqs, $texts, $deleted, $shown) = told($bob, $last);

    is($seqs, join(',', 1 .. $last), "$name: all numbers come");
    is(@$texts + $deleted, $n, "$name: each a message");
    cmp_ok($deleted, '>', 0, "$name: some of them deleted");
    is(join(' ', grep { $texts->[$_] ne $said[$_] } 0 .. $#$texts), '',
       "$name: the others whole, in their places");
    is($shown, 0, "$name: no pin shows one");

    my ($notices, @order) = 0;

    $old->recv_until(sub {
        my ($m) = @_;

        if ($m->{message_type} eq 'moderation') {
            return ++$notices == $n + $pins;
        }

        push @order, $m->{message};

        return 0;
    }, 20);

    is($notices, $n + $pins, "$name: an old page hears of all");
    cmp_ok(@order, '<', $n, "$name: and does not get all texts");
    is(join(' ', grep { $order[$_] ne $said[$_] } 0 .. $#order), '',
       "$name: those it gets are whole, in order");

    # who comes back gets nothing of them out of memory, which has at least what
    # those who were behind had still to be sent

    my $half = $n / 2;

    $queries->since();

    my $back = $site->join('alice', @v1, query => "since=$epoch:$half");

    $back->recv_json();
    ($seqs, $texts, $deleted, $shown) = told($back, $last);
    is($seqs, join(',', $half + 1 .. $last),
       "$name: who comes back has what it missed");
    is("$deleted $shown", "$half 0", "$name: and no text");
    is($queries->count(qr/seq [<>] \$2/), 0, "$name: from memory");

    # what is short when it is compressed has no room for much else

    for my $text ('x', 'w' x 200, "\x{3042}" x 300, '88888888') {
        my $seq = ask($boss, type => 'message', text => $text)->{seq};

        ask($boss, type => 'pin', seq => $seq);
        ask($boss, type => 'delete', seq => $seq);
        $last += 3;
    }

    # all live on

    ask($boss, type => 'message', text => 'on');
    is($bob->recv_until(sub { ($_[0]{text} // '') eq 'on' })->{seq}, $last + 1,
       "$name: go on");
    is($old->recv_until(sub { $_[0]{message} eq 'on' })->{message_type},
       'message', "$name: both");
    is(scalar(grep { !$_->recv_until(sub { ($_[0]{text} // '') eq 'on' }) }
              $near, $back), 0, "$name: and who was not behind");

    return;
}


# What is compressed to less than what would take its place: a pin by nobody, of
# what nobody said, with one number for all.

sub short {
    my $pg = $site->pg;
    my $id = $pg->sql("select id from chat_chatroom where name = 'short'");
    my $n = 111_111_110;

    $pg->sql("insert into fcchat_head (room_id, last_seq) values ($id, $n);"
             . " select setval(pg_get_serial_sequence("
             . "'chat_chatmessage', 'id'), $n)");

    my $near = $site->join('alice', room => 'short', protocol => 'fcchat.v1',
                           extensions => 'permessage-deflate');

    $near->recv_json();
    $pg->sql('insert into chat_chatmessage (room_id, user_id, content,'
             . ' message_type, is_deleted, is_pinned, created_at) values'
             . " ($id, null, 'x', 'system', false, false, now());"
             . " update chat_chatmessage set is_pinned = true where id > $n");
    is($near->recv_until(sub { ($_[0]{action} // '') eq 'pin' })->{target}{id},
       $n + 1, 'a pin of a few bytes');
    $pg->sql("update chat_chatmessage set is_deleted = true where id > $n");
    is(($near->recv_until(sub { ($_[0]{action} // '') eq 'delete' })
        // {})->{target}{id}, $n + 1, 'disconnects nobody when it is deleted');

    return;
}


# Of the pins in a log the last 32 show what they pin, and nothing else is taken
# for one, be it kept in memory or read from PostgreSQL.

sub pins {
    my @v1 = (room => 'pins', protocol => 'fcchat.v1');
    my $boss = $site->join('boss', @v1);
    my $epoch = $boss->recv_json()->{epoch};
    my $seq = ask($boss, type => 'message', text => 'what is pinned')->{seq};

    for (1 .. 34) {
        ask($boss, type => 'pin', seq => $seq);
        ask($boss, type => 'unpin', seq => $seq);
    }

    my $back = $site->join('alice', @v1, query => "since=$epoch:$seq");
    my (@actions, @shown);

    $back->recv_until(sub {
        my ($m) = @_;

        return 0 if $m->{type} ne 'moderation';

        push @actions, $m->{action};
        push @shown, length($m->{target}{text}) ? 1 : 0
            if $m->{action} eq 'pin';

        return @actions == 2 * 34;
    });

    is(join(' ', @actions), join(' ', ('pin unpin') x 34),
       'who comes back is told of each');
    is("@shown", join(' ', 0, 0, (1) x 32), 'and the last pins show texts');

    return;
}


sub ask {
    my ($ws, %m) = @_;

    our $cid;

    $ws->send_json({ %m, cid => 'c' . ++$cid });

    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ });
}


# Numbers up to that one, texts, how many were deleted, pins that show one.

sub told {
    my ($ws, $last) = @_;

    my (@seqs, @texts);
    my ($deleted, $shown) = (0, 0);

    $ws->recv_until(sub {
        my ($m) = @_;

        return 0 if !$m->{seq};

        push @seqs, $m->{seq};
        push @texts, $m->{text}
            if $m->{type} eq 'message' && length $m->{text};
        $deleted++ if ($m->{message_type} // '') eq 'deleted';
        $shown++ if length($m->{target}{text} // '');

        return $m->{seq} == $last;
    }, 20);

    return (join(',', @seqs), \@texts, $deleted, $shown);
}
