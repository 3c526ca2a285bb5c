#!/usr/bin/perl

# Statements that come again are prepared, and a connection that has forgotten
# them (behind a pooler it may be another one) costs no message.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(8);
my $site = FC::Site->new($t);
my $pg = $site->pg();

$site->django()->user('alice');

# what the session of a message has prepared, and what happens to it

$pg->sql('create table seen (names text)');
$pg->sql('create function look() returns trigger language plpgsql as $$ begin '
         . "insert into localhost.seen select string_agg(name, ',') "
         . "from pg_prepared_statements where name like 'fcchat_%'; "
         . 'return null; end $$');
$pg->sql('create function forget() returns trigger language plpgsql as $$ '
         . "begin execute 'deallocate all'; return null; end \$\$");
$pg->sql('create trigger look after insert on chat_chatmessage '
         . 'execute function look()');

$t->run();

my $n = 0;
my $alice = $site->join('alice', protocol => 'fcchat.v1');

is_deeply([ map { say() } 1 .. 3 ], [ 1 .. 3 ], 'messages');

my @seen = map { $_->[0] } $pg->sql('select names from seen');

like($seen[0], qr/^fcchat_[0-9a-f]{16}_0$/, 'it is prepared');
is($seen[2], $seen[0], 'once');

# each message forgets what the next one would use (after "look": by name)

$pg->sql('create trigger z_forget after insert on chat_chatmessage '
         . 'execute function forget()');

is_deeply([ map { say() } 4 .. 13 ], [ 4 .. 13 ], 'forgotten again and again');

$pg->sql('drop trigger z_forget on chat_chatmessage');

is_deeply([ map { say() } 14 .. 16 ], [ 14 .. 16 ], 'after that');
is($pg->sql('select count(*) from chat_chatmessage'), 16, 'each is stored once');
is($pg->sql('select count(*) from fcchat_event'), 16, 'and numbered once');

# it was prepared anew a few times, and given up then

is($pg->sql('select count(distinct names) from seen'), 4, 'under other names');


sub say {
    $alice->send_json({ type => 'message', text => 'hi', cid => 'c' . ++$n });

    return $alice->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ })->{seq};
}
