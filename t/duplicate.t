#!/usr/bin/perl

# With fcchat_rate the same text of the same user in the same room is refused
# for a while, unless it is the same message, or was not stored.
#
# S30 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd;
use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(20);
my $site = FC::Site->new($t, workers => 2, rate => 'fcchat_rate 1000r/s;');

$site->django->user($_) for qw/ alice bob /;
$site->django->user('boss', is_staff => 1);
$site->django->room($_) for qw/ stream_1 stream_2 /;
$t->run();

my %v1 = (protocol => 'fcchat.v1');
my $alice = $site->join('alice', %v1);
my $first = said($alice, 'hello', 'c1');

is($first->{type}, 'ack', 'the first');

my $r = said($alice, 'hello', 'c2');

is("$r->{type} $r->{code} $r->{cid}", 'error duplicate c2', 'the same');
is(said($alice, 'hello', 'c1')->{seq}, $first->{seq},
   'the same message is acknowledged again');
is(said($alice, 'hello ', 'c3')->{type}, 'ack', 'other bytes');
is(said($alice, 'hello', 'c4')->{code}, 'duplicate', 'the same after another');
is(said($site->join('alice', %v1), 'hello', 'c5')->{code}, 'duplicate',
   'on another socket');
is(said($site->join('alice', %v1, room => 'stream_2'), 'hello', 'c6')->{type},
   'ack', 'another room');
is(said($site->join('bob', %v1), 'hello', 'c7')->{type}, 'ack',
   'another user');

my $boss = $site->join('boss', %v1);

is(said($boss, 'again', 'b1')->{type}, 'ack', 'staff');
is(said($boss, 'again', 'b2')->{type}, 'ack', 'may say it twice');

# the last four texts are known

said($alice, "text $_", "t$_") for 1 .. 4;
is(said($alice, 'text 1', 't5')->{code}, 'duplicate', 'after three others');
is(said($alice, 'text 5', 't6')->{type}, 'ack', 'a fifth');
is(said($alice, 'text 1', 't7')->{type}, 'ack', 'after four others');

# the old protocol has no cid

my $old = $site->join('bob');

$old->send_json({ message => 'old' }) for 1 .. 2;
$r = $old->recv_until(sub { $_[0]{message_type} eq 'system' });
is($r->{code}, 'duplicate', 'the old protocol');
ok(!exists $r->{retry_after_ms}, 'is not to try again');

is($site->pg->sql('select count(*) from localhost.chat_chatmessage'), 13,
   'each is stored once');

# one that the database refuses was not said

$site->pg->sql(q{alter table localhost.chat_chatmessage
                 add constraint no_x check (content <> 'x')});
is(said($alice, 'x', 'x1')->{code}, 'rejected', 'not stored');

# nor was it when its sender has gone before that is known

my $gone = $site->join('alice', %v1);
my $lock = FC::Crowd->lock($site->pg, 'localhost.chat_chatmessage');
my $n = 1;

$gone->send_json({ type => 'message', text => 'x' });
is(($gone->close())[0], 1000, 'one whose sender goes first');
$lock->release();
ok(wait_for(sub { said($alice, 'x', 'x' . ++$n)->{code} ne 'duplicate' }),
   'is not stored either');
$site->pg->sql('alter table localhost.chat_chatmessage drop constraint no_x');
is(said($alice, 'x', 'last')->{type}, 'ack', 'it may be said again');


# the answer to a message

sub said {
    my ($ws, $text, $cid) = @_;

    $ws->send_json({ type => 'message', text => $text, cid => $cid });

    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/
                                 && $_[0]{cid} eq $cid });
}
