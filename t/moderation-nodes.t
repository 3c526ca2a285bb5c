#!/usr/bin/perl

# What a moderator does at one node holds at another, within a second.

use warnings;
use strict;
use utf8;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(15 + 2);
my $t2 = Test::Nginx->new();
my $api = 'location /api/chat/ { fcchat_api; }';
my $site = FC::Site->new($t, workers => 2, more => $api);
my $site2 = FC::Site->new($t2, listen => 8081, workers => 2, more => $api,
                          pg => $site->pg, redis => $site->redis,
                          django => $site->django);

$site->django->user($_) for qw/ ann bob /;
$site->django->user('mia', is_staff => 1);
$site->cookie($_) for qw/ ann bob mia /;
$site2->{cookies} = $site->{cookies};
$t->run();
$t2->run();

my @v1 = (protocol => 'fcchat.v1');
my $mod = $site->join('mia', @v1);
my $ann = $site2->join('ann', @v1);
my $old = $site2->join('ann');

$_->recv_json() for $mod, $ann;
$ann->send_json({ type => 'message', text => "m$_", cid => "c$_" })
    for 1 .. 2;

my @seen = map { $mod->recv_until(sub { $_[0]{type} eq 'message' }) } 1, 2;

is(join(' ', map { $_->{text} } @seen), 'm1 m2', 'said at the other node');

# what it is told

my $n = 0;

sub acted {
    my ($type, %o) = @_;

    $mod->send_json({ type => $type, cid => 'a' . ++$n, %o });

    my $m = $ann->recv_until(sub { ($_[0]{action} // '') eq $type });

    return "$m->{seq} $m->{by}{username}";
}

is(acted('pin', seq => 2), '3 mia', 'a pin');
is(acted('delete', seq => 1), '4 mia', 'a delete');
is(acted('slow', seconds => 60), '5 mia', 'slow mode');

# what follows from it there

my $bob = $site2->join('bob', @v1);
my $welcome = $bob->recv_json();

is("$welcome->{head} $welcome->{modes}{slow} $welcome->{pins}[0]{text}",
   '5 60 m2', 'who comes is told');
$ann->send_json({ type => 'history' });
is($ann->recv_until(sub { $_[0]{type} eq 'history' })->{messages}[0]{text},
   '', 'the deleted text is not in history');
$bob->send_json({ type => 'message', text => 'x', cid => 'x' });
is($bob->recv_until(sub { $_[0]{type} eq 'ack' })->{seq}, 6, 'one message');
$bob->send_json({ type => 'message', text => 'y', cid => 'y' });
is($bob->recv_until(sub { $_[0]{type} eq 'error' })->{code}, 'slow_mode',
   'and no other so soon');
is(acted('ban', username => 'bob'), '7 mia', 'a ban');
is(($bob->recv_close())[0], 4403, 'closes the socket');
is(acted('unban', username => 'bob'), '8 mia', 'an unban');
is(acted('timeout', username => 'bob', seconds => 5), '9 mia', 'a timeout');
is(acted('ban', username => 'bob'), '10 mia', 'a ban again');
is_deeply([ map { $old->recv_until(sub {
                $_[0]{message_type} eq 'moderation' }) } 1 .. 7 ],
          [ map { { username => 'mia', message => $_, timestamp => undef,
                    message_type => 'moderation' } }
            'メッセージがピン留めされました。', 'メッセージが削除されました。',
            '低速モード: 発言は 60 秒に 1 回までです。',
            'bob さんはこのチャットに参加できなくなりました。',
            'bob さんの制限が解除されました。', 'bob さんは 5 秒間発言できません。',
            'bob さんはこのチャットに参加できなくなりました。' ],
          'all of it to an old page');

my $there = FC::Api->new(port => port(8081), cookie => $site->cookie('mia'));

ok(wait_for(sub {
    my $r = $there->get('/api/chat/stream_1/bans');

    return $r->{status} == 200
           && $r->{json}{bans}[0]{target}{user}{username} eq 'bob';
}), 'and is in the list');
