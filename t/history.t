#!/usr/bin/perl

# {"type":"history"}: pages of the log, backwards, for fcchat.v1.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(19);
my $site = FC::Site->new($t);

$t->run();

my $alice = $site->join('alice', protocol => 'fcchat.v1');
$alice->recv_json;


sub page {
    my ($ws, %o) = @_;

    $ws->send_json({ type => 'history', %o });
    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:history|error)$/ });
}

sub seqs { return join(' ', map { $_->{seq} } @{ $_[0]{messages} }) }


is_deeply(page($alice), { type => 'history', before => 1, messages => [] },
          'nothing yet');

$alice->send_json({ type => 'message', text => "m$_", cid => "m$_" })
    for 1 .. 60;
$alice->recv_until(sub { $_[0]{type} eq 'message' && $_[0]{seq} == 60 });

my $page = page($alice);

is(seqs($page), join(' ', 11 .. 60), 'the last fifty');
is($page->{before}, 61, 'before what');
is_deeply([ sort keys %{ $page->{messages}[0] } ],
          [qw/ at id seq text type user /], 'keys of a message');
is($page->{messages}[0]{text}, 'm11', 'its text');
is($page->{messages}[0]{user}{username}, 'alice', 'its author');

is(seqs(page($alice, before => 11)), join(' ', 1 .. 10), 'the page before');
is(seqs(page($alice, before => 1)), '', 'and before that');
is(seqs(page($alice, before => 31, limit => 3)), '28 29 30', 'a limit');
is(seqs(page($alice, before => 1000, limit => 1)), '60', 'beyond the head');

for my $bad ({ limit => 0 }, { limit => 101 }, { limit => 'x' },
             { before => 0 }, { before => '5' })
{
    my ($key) = %$bad;
    is(page($alice, %$bad)->{code}, 'bad_request', "bad $key $bad->{$key}");
}

$site->pg->sql('update chat_chatmessage set is_deleted = true '
               . "where content = 'm59'");

$page = page($alice, limit => 2);

is($page->{messages}[0]{message_type}, 'deleted', 'a deleted one is marked');
is($page->{messages}[0]{text}, '', 'and has no text');

# an answer that comes after its client is gone hurts nobody

my $bob = $site->join('bob', protocol => 'fcchat.v1');
$bob->recv_json;
$bob->send_json({ type => 'history' });
$bob->drop();

is(seqs(page($alice, limit => 1)), '60', 'the others go on');

my $old = $site->join('bob');
$old->send_json({ type => 'history' });
is($old->recv_json->{code}, 'unknown_type', 'not in the old protocol');
