#!/usr/bin/perl

# "fcchat_guests read": whoever has no valid session may watch, and no more.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ slurp wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(26);

my $site = FC::Site->new($t, pg => { private => 1 },
                         http => 'fcchat_guests read;', more => <<'EOF');
        location /off/ {
            fcchat;
            fcchat_guests off;
        }

        location /history/ {
            fcchat;
            fcchat_history 10;
            fcchat_log %%TESTDIR%%/sessions;
        }
EOF

my ($pg, $django) = ($site->pg(), $site->django());
my $expired = $django->session('old', age => -10);
my $cookie = $site->cookie('ann');
my $unseen = $django->session('bob');

$t->run();

sub enter {
    my (%o) = @_;

    return FC::WS->connect(port => port(8080), path => '/ws/chat/stream_1/',
                           %o);
}

my $YOU = { id => undef, username => '', role => 'guest' };
my @v1 = (protocol => 'fcchat.v1');

# who is a guest

for my $c ([ 'no cookie' ], [ 'an unknown one', cookie => 'x' x 32 ],
           [ 'an expired one', cookie => $expired ],
           [ 'no session\'s', cookie => 'x' ])
{
    my ($name, @cookie) = @$c;

    my $ws = enter(@v1, @cookie);
    is($ws->status(), 101, $name);
    is_deeply($ws->recv_json()->{you}, $YOU, "$name: a guest");
    $ws->drop();
}

is(enter(path => '/off/stream_1/')->body(), "no session\n", 'off');
is(enter(path => '/off/stream_1/', cookie => $expired)->body(),
   "no valid session\n", 'off: expired');
is(enter(path => '/ws/chat/nowhere/')->status(), 404, 'no room');

# what a guest sees

my $ann = enter(@v1, cookie => $cookie);
is($ann->recv_json()->{you}{role}, 'member', 'a member is none');

my $guest = enter(@v1);
is($guest->recv_json()->{viewers}, 2, 'a guest is a viewer');

my $old = enter();
$ann->send_json({ type => 'message', text => 'hello', cid => 'c' });

is($guest->recv_until(sub { $_[0]{type} eq 'message' })->{text}, 'hello',
   'a message');
is_deeply($old->recv_json(), { username => 'ann', message => 'hello',
                               message_type => 'message',
                               timestamp => undef }, 'an old page, too');

# and may do

for my $m ({ type => 'message', text => 'x', cid => 'c1' },
           { type => 'reaction', stamp_id => 1, cid => 'c1' })
{
    $guest->send_json($m);

    my $e = $guest->recv_until(sub { $_[0]{type} eq 'error' });
    is_deeply([ @$e{qw/ code cid /} ], [ 'login_required', 'c1' ],
              "a guest's $m->{type}");
}

for my $m ({ message => 'x' },
           { type => 'reaction', stamp_id => 1, stamp_name => ':smile:' })
{
    $old->send_json($m);

    my $e = $old->recv_json();
    is_deeply([ @$e{qw/ message_type code /} ], [ 'system', 'login_required' ],
              'by an old page');
}

$guest->send_json({ type => 'history' });
my $page = $guest->recv_until(sub { $_[0]{type} eq 'history' });
is(scalar @{$page->{messages}}, 1, 'history');
is($pg->sql('select (select count(*) from localhost.chat_chatmessage)'
            . ' + (select count(*) from localhost.streaming_streamreaction)'),
   1, 'nothing was stored');

my $ws = enter(path => '/history/stream_1/');
is($ws->recv_json()->{message}, 'hello', 'history of an old page');
$ws->close(1000);
ok(wait_for(sub {
    slurp($t->testdir() . '/sessions') =~ /"user":""/;
}), 'no name in the log');

# PostgreSQL is away: a cookie that can't be checked may be somebody's

$pg->stop();
is(enter(cookie => $unseen)->status(), 503, 'away: a cookie');
is(enter(@v1)->status(), 101, 'away: none');
is(enter(@v1, cookie => 'x')->status(), 101, 'away: one that is none');
