#!/usr/bin/perl

# While PostgreSQL refuses connections, while it takes them and says nothing, and
# while it only reads: what moderators, who reads the past, and who comes new are
# told, which is not what somebody waits for who has said something.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Pg;
use FC::Site;
use FC::Util qw/ slow wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(2 * 7 + 5 + 5);

my $pg = FC::Pg->new(private => 1, fsync => 0);
my $site = FC::Site->new($t, pg => $pg, database => 0, http =>
                         'fcchat_postgres "' . $pg->dsn() . '" timeout=2s;'
                         . ' fcchat_session_cache 60s;');

$site->django->user($_) for qw/ alice bob /;
$site->django->user('boss', is_staff => 1);

my @late = map { $site->django->session('bob') } 1 .. 3;

$site->cookie($_) for qw/ alice boss /;
$t->run();

my $alice = $site->join('alice', protocol => 'fcchat.v1');
my $boss = $site->join('boss', protocol => 'fcchat.v1');
my ($n, $cid) = (0, 0);

$_->recv_json() for $alice, $boss;
ok(said(), 'all is well');

away('refuses', sub { $pg->stop('immediate') }, sub { $pg->start() });
away('is silent', sub { $pg->pause() }, sub { $pg->resume() });

read_only('on');
$alice->send_json({ type => 'message', text => 'stored', cid => 'stored' });
$alice->send_json({ type => 'history' });
$boss->send_json({ type => 'slow', seconds => 0, cid => 'written' });

my $page = $alice->recv_until(sub { $_[0]{type} =~ /^(?:history|error)$/ });

is($page->{type}, 'history', 'only reads: a page of history');
is($boss->recv_until(sub { $_[0]{type} eq 'error' })->{code}, 'unavailable',
   'only reads: a moderator');
is($site->join(undef, cookie => shift @late)->status(), 101,
   'only reads: who comes new');
is($alice->recv_until(sub { $_[0]{type} eq 'error' }, 20)->{cid}, 'stored',
   'only reads: a message, at last');
read_only('off');
ok(wait_for(sub { said() }, 10), 'only reads: and then again');

# what was asked for while nothing was answered may be done all the same

is($pg->sql("select count(*) from fcchat_event where kind = 'slow'"), 2,
   'slow mode once each time');
is(join(' ', map { $_->[0] } $pg->sql(
       'select cid from fcchat_event where cid is not null group by cid'
       . ' having count(*) > 1')), '', 'nothing is there twice');
is($pg->sql('select count(*) = max(seq) from fcchat_event'), 't',
   'and no number is missing');
is(scalar(grep { $_->eof() } $alice, $boss), 0, 'nobody was disconnected');


sub away {
    my ($name, $code, $undo) = @_;

    my %told;

    $code->();
    $alice->send_json({ type => 'message', text => $name, cid => $name });
    $alice->send_json({ type => 'history' });
    $boss->send_json({ type => 'slow', seconds => 0, cid => "slow $name" });

    my $late = $site->join(undef, cookie => shift @late, nowait => 1);

    # what was said waits for longer

    my $first = $alice->recv_until(sub { $_[0]{type} eq 'error' }, 20);

    is_deeply([ @$first{qw/ code cid retry_after_ms /} ],
              [ 'unavailable', undef, 1000 ], "$name: a page of history");

    my $m = $boss->recv_until(sub { $_[0]{type} eq 'error' }, 20);

    is_deeply([ @$m{qw/ code cid retry_after_ms /} ],
              [ 'unavailable', "slow $name", 1000 ], "$name: a moderator");

    $late->{timeout} = 20;
    $late->handshake();
    is($late->status() . ' ' . ($late->header('Retry-After') // ''), '503 1',
       "$name: who comes new");

    $m = $alice->recv_until(sub { $_[0]{type} eq 'error' }, 20);
    is_deeply([ @$m{qw/ code cid /} ], [ 'unavailable', $name ],
              "$name: a message, at last");

    # more than 5 seconds after anybody has looked whether the room is there

    is($site->join('alice')->status(), 101, "$name: who was known before");

    $undo->();
    ok(wait_for(sub { said() }, 10), "$name: and then again");

    $boss->send_json({ type => 'slow', seconds => 0, cid => "slow $name" });
    is($boss->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ })->{type},
       'ack', "$name: the moderator, by the same cid");

    return;
}


sub read_only {
    my ($on) = @_;

    $pg->sql('set default_transaction_read_only = off; alter system'
             . " set default_transaction_read_only = $on;"
             . ' select pg_reload_conf()');

    return wait_for(sub {
        $pg->sql('show default_transaction_read_only') eq $on
    });
}


# A message and a page that are answered.

sub said {
    my $id = 'said ' . ++$cid;

    $alice->send_json({ type => 'message', text => $id, cid => $id });

    my $m = $alice->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ }, 10);

    return 0 if !$m || $m->{type} ne 'ack';

    $alice->send_json({ type => 'history' });

    return $alice->recv_until(sub { $_[0]{type} =~ /^(?:history|error)$/ }, 10)
                 ->{type} eq 'history';
}
