#!/usr/bin/perl

# Answers of PostgreSQL that are on their way while something happens which they
# do not know of: none is asked for again and again, and none is taken for more
# than it is.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Proxy;
use FC::Queries;
use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(10 + 2 * 4 + 2);
my $t2 = Test::Nginx->new();

# two nodes that know of each other by PostgreSQL alone, the second by way of a
# proxy; while one of its connections waits there are others

my $site = FC::Site->new($t, bus => 0);
my $pg = $site->pg();
my $log = FC::Proxy->new(to => $pg->host() . '/.s.PGSQL.' . $pg->port(),
                         filter => \&answer);
my $site2 = FC::Site->new($t2, listen => 8081, pg => $pg, database => 0,
                          redis => $site->redis, bus => 0,
                          django => $site->django, http =>
                          'fcchat_postgres "host=127.0.0.1 port='
                          . $log->port() . ' user=' . $pg->user() . ' dbname='
                          . $pg->name() . ' sslmode=disable gssencmode=disable'
                          . '" connections=8 timeout=60s;');

my %user = map { $_ => $site->django->user($_) } qw/ alice bob /;
my %room = map { $_ => $site->django->room($_) }
               qw/ banned deleted heads events /;

$site->cookie($_) for keys %user;
$site2->{cookies} = $site->{cookies};

my $queries = FC::Queries->new($pg);

$t->run();
$t2->run();

my @v1 = (protocol => 'fcchat.v1');
my ($heads, $before, $after) = (qr/SELECT room_id, epoch, last_seq /,
                                qr/seq < \$2/, qr/seq > \$2/);

bans();
deletes();
ahead('heads', $heads);
ahead('events', $after);


# Many rows by hand, each for itself, all of which come at once.

sub bans {
    my $bob = $site2->join('bob', @v1, room => 'banned');

    is($bob->recv_json()->{type}, 'welcome', 'bans: a reader');
    hold($heads);
    ok(answered(), 'bans: a look at the head is on its way');
    $queries->since();

    $pg->sql(join ';', map {
        "insert into fcchat_ban (room_id, user_id) values ($room{banned}, $_)";
    } map({ 1_000_000 + $_ } 1 .. 200), $user{bob});

    go();
    is(($bob->recv_close())[0], 4403, 'bans: the last one is known');

    my $n = $queries->count(qr/fcchat_state\(/);

    ok($n >= 1 && $n <= 3, 'bans: and PostgreSQL was asked for all together')
        or diag("$n questions");

    return;
}


# Many messages are deleted while PostgreSQL is asked for them.

sub deletes {
    $pg->sql("insert into chat_chatmessage (room_id, user_id, content,"
             . " message_type, is_deleted, is_pinned, created_at)"
             . " select $room{deleted}, $user{alice}, 'text ' || n, 'message',"
             . " false, false, now() from generate_series(1, 250) n");

    my @there = (@v1, room => 'deleted');
    my $alice = $site2->join('alice', @there);
    my $welcome = $alice->recv_json();

    is($welcome->{head}, 250, 'deletes: a reader');
    $queries->since();
    hold($before);

    my $bob = $site2->join('bob', @there, query => "since=$welcome->{epoch}:0");

    ok(answered(), 'deletes: one comes back');
    $pg->sql("update chat_chatmessage set is_deleted = true"
             . " where room_id = $room{deleted} and"
             . " substr(content, 6)::int between 1 and 200");
    ok($alice->recv_until(sub { ($_[0]{seq} // 0) == 450 }),
       'deletes: many texts go meanwhile');
    go();

    my (@seqs, @texts);

    $bob->recv_until(sub {
        push @seqs, $_[0]{seq} if $_[0]{seq};
        push @texts, $_[0]{text} if length($_[0]{text} // '');

        return ($_[0]{seq} // 0) == 450;
    });

    is("@seqs", join(' ', 1 .. 450), 'deletes: all numbers come');
    is("@texts", join(' ', map { "text $_" } 201 .. 250),
       'deletes: with the texts that there still are');
    is($queries->count($before), 2, 'deletes: asked for once more');

    return;
}


# Who comes from the other node has what PostgreSQL had not when it was asked.

sub ahead {
    my ($room, $question) = @_;

    my @there = (@v1, room => $room);
    my $alice = $site->join('alice', @there);
    my $epoch = $alice->recv_json()->{epoch};
    my $reader = $site2->join('alice', @there);

    is($reader->recv_json()->{head}, 0, "$room: a reader");
    hold($question);

    # the head is looked at anyway, and what is found there is asked for

    say_one($alice) if $question eq $after;

    ok(answered(), "$room: an answer is on its way");

    my $last = (map { say_one($alice) } 1 .. 2)[-1];
    my $bob = $site2->join('bob', @there, query => "since=$epoch:$last");

    is($bob->recv_json()->{type}, 'welcome', "$room: one comes who has more");
    go();
    say_one($alice);

    my $next = $bob->recv_until(sub { $_[0]{type} =~ /^(?:message|reset)$/ });

    is($next->{reason} // $next->{seq}, $last + 1, "$room: and goes on there");

    return;
}


sub say_one {
    my ($ws) = @_;

    our $cid;

    $ws->send_json({ type => 'message', text => 'm', cid => 'c' . ++$cid });

    return $ws->recv_until(sub { $_[0]{type} eq 'ack' })->{seq};
}


# The next answer to such a question is held back; whether it is there; and it
# goes on.

sub hold {
    my ($re) = @_;

    $log->set(go => 0, hold => "$re");

    return;
}


sub answered {
    return wait_for(sub { grep { $_ eq 'answered' } $log->lines() });
}


sub go {
    $log->set(go => 1, flush => 1);
    $log->{told} = '';

    return;
}


# In the proxy's process.  A statement is sent once by its text, and from then
# on by its name, which is that of the text.  Answers end with the server's word
# that it is ready, which it says at the beginning as well.

my %sql;

sub answer {
    my ($way, $bytes, $state, $set) = @_;

    if ($way eq 'up') {
        while ($bytes =~ /(fcchat_[0-9a-f]{16}_\d+)\0([^\0]+)\0/g) {
            $sql{$1} = $2;
        }

        $state->{asked} //= 1;

        for my $job (split /(?<=S\0\0\0\x04)/, $bytes) {
            my $asked = join ' ', $job, map { $sql{$_} // '' }
                        $job =~ /\0(fcchat_[0-9a-f]{16}_\d+)\0/g;

            if ($set->{hold} && $asked =~ $set->{hold}) {
                $state->{held} = '';
                $state->{before} = $state->{asked};
                delete $set->{hold};
            }

            $state->{asked}++ if $job =~ /S\0\0\0\x04\z/;
        }

        return $bytes;
    }

    # what was asked before is not kept

    my @out;

    for my $part (split /(?<=Z\0\0\0\x05.)/s, $bytes) {
        if (defined $state->{held} && ($state->{had} // 0) >= $state->{before})
        {
            $state->{held} .= $part;

        } else {
            push @out, $part;
        }

        $state->{had}++ if $part =~ /Z\0\0\0\x05.\z/s;
    }

    if (defined $state->{held}) {
        FC::Proxy::tell('answered') if $state->{had} > $state->{before};
        push @out, delete $state->{held} if $set->{go};
    }

    return @out;
}
