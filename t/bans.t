#!/usr/bin/perl

# Bans and timeouts, of users and of addresses, in one room and in all of them:
# on two nodes of two workers, with Redis and without, through a reload.
#
# S06, S08, S10 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Time::HiRes qw/ time /;

use Test::Nginx;

use FC::Crowd qw/ $WORKER spread /;
use FC::Site;
use FC::Util qw/ slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite realip/)->plan(49);
my $t2 = Test::Nginx->new();

my @realip = (server => 'set_real_ip_from 127.0.0.1;'
                        . ' real_ip_header X-Real-IP;');
my @v1 = (protocol => 'fcchat.v1');

my $site = FC::Site->new($t, workers => 2, location => $WORKER, @realip,
                         main => 'worker_shutdown_timeout 1s;');
my $site2 = FC::Site->new($t2, listen => 8081, workers => 2,
                          location => $WORKER, pg => $site->pg, @realip,
                          redis => $site->redis, django => $site->django);
my $pg = $site->pg;

my %id = map { $_ => $site->django->user($_) } qw/ alice bob mod reader /;

$id{boss} = $site->django->user('boss', is_staff => 1);
$site->django->room($_) for qw/ stream_1 stream_2 /;
$site2->{cookies} = $site->{cookies} = {};

my $room = $pg->sql("select id from chat_chatroom where name = 'stream_1'");

$pg->sql("insert into fcchat_moderator values ($room, $id{mod})");
$t->run();
$t2->run();

both('with Redis');

# whoever writes the table by hand

my $bob = $site->join('bob', @v1);

$pg->sql("insert into fcchat_ban (room_id, user_id) values ($room, $id{bob})");
is(closed($bob), '4403', 'a ban by hand');
$pg->sql('delete from fcchat_ban');
ok(wait_for(sub { $site->join('bob', @v1)->status() == 101 }), 'and its end');

# one that ends by itself, while its row is there

my $there;

wait_for(sub { ($there = $site2->join('bob', @v1))->status() == 101 });
ask($site, 'mod', { type => 'ban', user_id => $id{bob}, seconds => 1 });
is(closed($there), '4403', 'a ban for a second');
ok(wait_for(sub {
    !grep { $_->join('bob')->status() != 101 } ($site, $site2) x 3;
}), 'is over on both nodes');
is($pg->sql('select count(*) from fcchat_ban'), 1, 'without being undone');
$pg->sql('set fcchat.numbering = off; delete from fcchat_ban');

# through a reload

ask($site, 'mod', { type => 'ban', user_id => $id{bob} });

my @old = workers($t);

$site->write(location => "$WORKER fcchat_refuse close;");
kill 'HUP', $t->read_file('nginx.pid');
ok(wait_for(sub { my @now = workers($t);
                  @now == 2 && !grep { my $p = $_; grep { $_ == $p } @old }
                                @now }), 'a reload');

my $ws = $site->join('bob', @v1);

is($ws->status() . ' ' . closed($ws), '101 4403', 'still banned');
ask($site, 'mod', { type => 'unban', user_id => $id{bob} });

$_->stop() for $t, $t2;
$_->write(bus => 0, location => $WORKER) for $site, $site2;
$_->run() for $t, $t2;

both('without Redis');


sub both {
    my ($how) = @_;

    my @bob = (spread($site, $t, 1, @v1, user => 'bob'),
               spread($site2, $t2, 1, user => 'bob'));
    my @other = map { $_->join('bob', @v1, room => 'stream_2') }
                    $site, $site2;
    my @reader = map { $_->join('reader', @v1) } $site, $site2;

    # in one room

    my $start = time();

    is(ask($site, 'mod', { type => 'ban', username => 'bob', seconds => 3600,
                           reason => 'spam' })->{type}, 'ack',
       "$how: a ban");
    is(join(' ', map { closed($_) } @bob), '4403 4403 4403 4403',
       'closes all sockets');
    cmp_ok(time() - $start, '<', 3 * slow(), 'soon');
    is(join(' ', map { event($_)->{target}{user}{username} } @reader),
       'bob bob', 'and is told');
    ok(refused('bob'), 'refused at the door');
    is(join(' ', map { said($_)->{type} } @other), 'ack ack',
       'not in another room');
    ask($site2, 'mod', { type => 'unban', user_id => $id{bob} });
    ok(wait_for(sub { !grep { $_->join('bob')->status() != 101 }
                            $site, $site2 }), 'unban');

    # a timeout forbids to write

    my @again = map { $_->join('bob', @v1) } $site, $site2;
    my $before = said($again[0], "before $how");

    ask($site2, 'mod', { type => 'timeout', user_id => $id{bob},
                         seconds => 600 });
    ok(wait_for(sub { !grep { (said($_)->{code} // '') ne 'timed_out' }
                            @again }), 'a timeout');

    my $error = said($again[0]);

    cmp_ok($error->{retry_after_ms}, '>', 500_000, 'with the time');
    $again[0]->send_json({ type => 'reaction', stamp_id => 1, cid => 'r' });
    is($again[0]->recv_until(sub { $_[0]{type} eq 'error' })->{code},
       'timed_out', 'no reactions either');
    is(said($again[0], "before $how")->{code}, 'timed_out',
       'nor the message before it again');
    ask($site, 'mod', { type => 'timeout', user_id => $id{bob},
                        seconds => 1 });
    ok(wait_for(sub { !grep { said($_)->{type} ne 'ack' } @again }),
       'which ends by itself');
    is(said($again[0], "before $how")->{seq}, $before->{seq},
       'that message was stored');

    # in all rooms

    is(ask($site, 'boss', { type => 'ban', user_id => $id{bob},
                            scope => 'tenant', seconds => 3600 })->{type},
       'ack', 'a ban in all rooms');
    is(join(' ', map { closed($_) } @again, @other),
       '4403 4403 4403 4403', 'closes the sockets of all');
    ok(refused('bob', room => 'stream_2'), 'refused everywhere');
    ask($site2, 'boss', { type => 'unban', user_id => $id{bob},
                          scope => 'tenant' });
    ok(wait_for(sub { !grep { $_->join('bob')->status() != 101 }
                            $site, $site2 }), 'unban of all');

    # by address, as realip has it

    my @from = (headers => [ 'X-Real-IP: 10.1.2.3' ]);
    my @there = map { $_->join('alice', @v1, @from) } $site, $site2;
    my @staff = map { $_->join('boss', @v1, @from) } $site, $site2;

    ask($site, 'boss', { type => 'ban', address => '10.1.0.0/16' });
    is(join(' ', map { closed($_) } @there), '4403 4403',
       'a ban of an address');
    ok(refused('alice', @from), 'refused at the door');
    is(join(' ', map { said($_)->{type} } @staff), 'ack ack',
       'not whoever moderates');
    ask($site, 'boss', { type => 'unban', address => '10.1.0.0/16' });

    return;
}


# by whichever worker, as soon as it knows

sub refused {
    my (@who) = @_;

    return wait_for(sub {
        !grep { $_->join(@who)->status() != 403 } ($site, $site2) x 3;
    });
}


sub closed {
    my ($ws) = @_;

    my ($code) = $ws->recv_close();

    return $code // 'none';
}


sub event {
    my ($ws) = @_;

    return $ws->recv_until(sub { $_[0]{type} eq 'moderation'
                                 && $_[0]{action} ne 'state' });
}


sub said {
    my ($ws, $cid) = @_;

    $cid //= 's' . ++$ws->{said};

    $ws->send_json({ type => 'message', text => $cid, cid => $cid });

    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/
                                 && ($_[0]{cid} // '') eq $cid });
}


sub ask {
    my ($where, $user, $m) = @_;

    my $ws = $where->join($user, @v1);

    # what was part of a string is one in JSON, too

    $m->{user_id} += 0 if $m->{user_id};
    $ws->send_json({ %$m, cid => 'a' . time() });

    my $r = $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ });

    $ws->close();

    return $r;
}
