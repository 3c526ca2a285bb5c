#!/usr/bin/perl

# Rooms at the edges of their life: gone while somebody is in, or on the way in,
# or while PostgreSQL is away too, or while the worker leaves; a hint about
# messages that nobody wrote; a log that became another one; and one that did while
# its room was closed.
#
# S10 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Pg;
use FC::Proxy;
use FC::Queries;
use FC::Site;
use FC::Util qw/ log_lines slurp wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(44);

# PostgreSQL's answers can be held back

my $pg = FC::Pg->new(private => 1, fsync => 0);
my $proxy = FC::Proxy->new(to => '127.0.0.1:' . $pg->port(),
                           filter => \&filter);
my $dsn = $pg->dsn('tcp') =~ s/port=\d+/'port=' . $proxy->port()/er;

# 101 takes some seconds at /late/

my $site = FC::Site->new($t, pg => $pg, database => 0,
                         http => qq(fcchat_postgres "$dsn sslmode=disable )
                                 . 'gssencmode=disable";',
                         location => 'fcchat_session_cache 60s;',
                         more => <<'EOF_MORE');
        location ~ ^/late/(?<room>[\w-]+)/$ {
            fcchat;
            add_header X-Pad "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" always;
            limit_rate 20;
            send_timeout 2s;
        }

        location ~ ^/raw/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_html_escape off;
        }
EOF_MORE

my $django = $site->django();
my @v1 = (protocol => 'fcchat.v1');
my @rooms = map { "gone_$_" } 1 .. 8;

$django->user($_) for qw/ alice bob /;
$django->room($_) for qw/ late bogus reset leaving pins /, @rooms;

my $queries = FC::Queries->new($pg);

# what is freed is overwritten, or its use could pass unseen

{
    local $ENV{MALLOC_PERTURB_} = 165;

    $t->run();
}

leaving();
wait_for(sub { workers($t) == 1 });

my ($pid) = workers($t);

bogus();
another_log();
reopened();
gone();

is(join(' ', workers($t)), $pid, 'one worker all the time');

$t->stop();

is(join('', log_lines($t, qr/exited on signal/)), '', 'and none that crashed');


# A worker that leaves learns that a room is gone, and in the same moment what
# became of what was said there: its sender is not told of both.

sub leaving {
    wait_for(sub { workers($t) == 1 });

    my ($old) = workers($t);
    my $alice = $site->join('alice', @v1, room => 'leaving');

    ok($alice->recv_until(sub { $_[0]{type} eq 'viewers' }),
       'the others know that somebody is there');
    say_one($alice, 'x');

    $pg->sql("update chat_chatroom set is_active = false where name = 'leaving'");
    $proxy->set(hold => 'read');
    $queries->since();

    # the answer makes the worker look soon, and wait for that

    $alice->send_json({ type => 'message', text => 'y', cid => 'y' });
    is($alice->recv_until(sub { $_[0]{type} eq 'error' })->{code}, 'room_gone',
       'who is in is told first');
    ok(wait_for(sub { $queries->count(qr/fcchat_room\(/) }), 'a look at it');

    $proxy->set(hold => 'read write');
    $alice->send_json({ type => 'message', text => 'z', cid => 'z' });
    wait_for(sub { $queries->count(qr/fcchat_append\(\$1/) > 1 });

    $t->reload();
    ok(wait_for(sub { slurp("/proc/$old/cmdline") =~ /shutting down/ }),
       'the worker leaves');

    # now both in one turn, the look first

    kill 'STOP', $old;
    $proxy->set(hold => 'write', flush => 1);
    $proxy->set(hold => '', flush => 1);
    kill 'CONT', $old;

    is(($alice->recv_close())[0], 4404, 'and closes the room for who is in');
    $alice->close();

    return;
}


# Keeps what PostgreSQL answers, on the connections that are named.

sub filter {
    my ($way, $bytes, $state, $set) = @_;

    if ($way eq 'up') {
        $state->{name} = 'write' if $bytes =~ /fcchat_append\(\$1/;
        return $bytes;
    }

    my $name = $state->{name} // 'read';

    $state->{kept} .= $bytes;

    return if ($set->{hold} // '') =~ /$name/;
    return delete $state->{kept};
}


# An event far ahead, of which PostgreSQL knows nothing, is asked for a few
# times and then forgotten.

sub bogus {
    my $alice = $site->join('alice', @v1, room => 'bogus');

    say_one($alice, 'x');

    my ($channel) = @{$site->redis->cmd('PUBSUB', 'CHANNELS', '*:room:*')};
    my $spy = $site->redis->client();

    $spy->cmd('SUBSCRIBE', $channel);
    say_one($alice, 'y');

    my $envelope = '';

    while ($envelope !~ /"y"/) {
        $envelope = ($spy->message(5))[1] // last;
    }

    # as if another worker had said it

    ok($envelope =~ s/\[\[2,/[[1000,/, 'an event on the bus');
    ok($envelope =~ s/"([0-9a-f]{16})"/"0123456789abcdef"/, 'and its worker');

    my $asked = qr/LATERAL/;

    $queries->since();
    $site->redis->cmd('PUBLISH', $channel, $envelope);

    ok(wait_for(sub { $queries->count($asked) }), 'PostgreSQL is asked');
    ok(!wait_for(sub { $queries->count($asked) > 5 }, 1, 0.1),
       'and not for ever');

    say_one($alice, 'z');
    is_deeply($alice->{seen}, [ [ 1, 'x' ], [ 2, 'y' ], [ 3, 'z' ] ],
              'only what was said is told');
    $alice->close();

    return;
}


# Readers of fcchat.v1 are told that the log is another one; old pages, which
# have no word for that, are closed and come back.

sub another_log {
    my @old = map { $site->join('bob', room => 'reset', %$_) }
              {}, { path => '/raw/reset/' };
    my $alice = $site->join('alice', @v1, room => 'reset');
    my $welcome = $alice->recv_until(sub { $_[0]{type} eq 'welcome' });

    say_one($alice, $_) for 'a' .. 'c';

    is(join(' ', map { $_->{message} } map { $_->recv_json() } (@old) x 3),
       'a a b b c c', 'before the reset');

    my $id = $pg->sql("select id from chat_chatroom where name = 'reset'");

    $pg->sql("update fcchat_head set epoch = gen_random_uuid(), last_seq = 1"
             . " where room_id = $id;"
             . " delete from fcchat_event where room_id = $id and seq > 1");

    my $reset = $alice->recv_until(sub { $_[0]{type} eq 'reset' });

    is($reset->{reason}, 'epoch', 'reset: another epoch');
    is($reset->{head}, 1, 'reset: its head');
    isnt($reset->{epoch}, $welcome->{epoch}, 'reset: its name');

    for my $ws (@old) {
        my ($code) = $ws->recv_close();

        is($code, 4010, 'reset: an old page is closed');
        $ws->send_close(4010);
        ok($ws->recv_eof(), 'reset: to the end');
    }

    @old = map { $site->join('bob', room => 'reset', %$_) }
           {}, { path => '/raw/reset/' };

    # the next looks at the head find nothing strange

    $queries->since();
    ok(wait_for(sub { $queries->count(qr/fcchat_head/) > 2 }), 'looked again');

    $alice->{seen} = [];
    say_one($alice, 'd');

    is_deeply($alice->{seen}, [ [ 2, 'd' ] ], 'reset: goes on, and once only');
    is(join(' ', map { $_->recv_json()->{message} } @old), 'd d',
       'reset: old pages are back');
    is(join('', log_lines($t, qr/went back/)), '',
       'reset: not taken for another one');
    $_->close() for $alice, @old;

    return;
}


# What was pinned in a room before it was closed is none of what it has later.

sub reopened {
    my $id = $pg->sql("select id from chat_chatroom where name = 'pins'");
    my $active = "update chat_chatroom set is_active = %s where id = $id";
    my $message = 'update chat_chatmessage set %s = true'
                  . " where room_id = $id and content = 'pinned'";
    my $alice = $site->join('alice', @v1, room => 'pins');

    say_one($alice, 'pinned');
    $pg->sql(sprintf $message, 'is_pinned');
    is($alice->recv_until(sub { $_[0]{type} eq 'moderation' })->{seq}, 2,
       'a pin');

    $pg->sql(sprintf $active, 'false');
    $alice->send_json({ type => 'message', text => 'x' });
    is(($alice->recv_close())[0], 4404, 'the room is gone');

    # her socket keeps it, as she does not answer

    $pg->sql(sprintf($active, 'true')
             . '; update fcchat_head set epoch = gen_random_uuid(), last_seq = 1'
             . " where room_id = $id;"
             . " delete from fcchat_event where room_id = $id and seq > 1");

    my $bob = $site->join('bob', @v1, room => 'pins');
    my $epoch = $bob->recv_json()->{epoch};

    say_one($bob, 'y' x 64);
    $pg->sql(sprintf $message, 'is_deleted');
    is($bob->recv_until(sub { $_[0]{type} eq 'moderation' })->{seq}, 3,
       'what was pinned is deleted');

    my $late = $site->join('bob', @v1, room => 'pins', query => "since=$epoch:1");

    is($late->recv_until(sub { ($_[0]{seq} // 0) == 2 })->{text}, 'y' x 64,
       'and nothing else');
    $_->close() for $alice, $bob, $late;

    return;
}


# All rooms go: while one is empty but for a socket that is still being closed,
# while a 101 is under way, and with PostgreSQL away after that.

sub gone {
    my @in = map { $site->join('alice', @v1, room => $_) } @rooms;
    my $in = $site->join('alice', @v1);
    my $bob = $site->join('bob', room => 'late');

    is(scalar(grep { $_->status() != 101 } @in, $in, $bob), 0,
       'all are in');

    # the stamps are known

    $bob->send_json({ type => 'reaction', stamp_id => 1 });
    is($bob->recv_json()->{stamp_id}, 1, 'a stamp');

    my $late = $site->join('alice', path => '/late/late/', nowait => 1,
                           timeout => 30, first => FC::WS::frame(
                               payload => '{"type":"reaction","stamp_id":1}'));

    ok($late->fill(5), 'the beginning of a 101');
    $pg->sql('update chat_chatroom set is_active = false');

    is(join(' ', map { ($_->recv_close(10))[0] // 'open' } @in),
       join(' ', (4404) x @in), 'all are closed');
    is(($in->recv_close(10))[0], 4404, 'and one that does not answer');
    is(($bob->recv_close(10))[0], 4404, 'and the one of the late');

    $late->fill(0);
    unlike($late->{in}, qr/\r\n\r\n/, 'the 101 is still on its way');

    $_->send_close(4404) for @in, $bob;
    is(scalar(grep { !$_->recv_eof() } @in, $bob), 0, 'who answers is gone');

    is($site->join('bob')->status(), 404, 'no such room');
    $pg->stop('immediate');
    is($site->join('bob')->status(), 503, 'nobody knows')
        for 1 .. 2;

    # now the last ref of the room goes

    $in->send_close(4404);
    ok($in->recv_eof(), 'the last one leaves');
    is($site->join('bob')->status(), 503, 'still nobody knows');

    $late->handshake();
    is($late->status(), 101, 'late');
    is(($late->recv_close())[0], 4404, 'too late');
    $late->send_close(4404);
    ok($late->recv_eof(), 'to the end');

    return;
}


# Says it and waits for it; {seen} has the numbers and texts that came.

sub say_one {
    my ($ws, $text) = @_;

    $ws->send_json({ type => 'message', text => $text, cid => $text });

    return $ws->recv_until(sub {
        my ($m) = @_;

        push @{$ws->{seen}}, [ @$m{qw/ seq text /} ]
            if $m->{type} eq 'message';
        push @{$ws->{seen}}, $m if $m->{type} eq 'reset';

        return $m->{type} eq 'message' && $m->{text} eq $text;
    });
}
