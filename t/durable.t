#!/usr/bin/perl

# What is acknowledged is on the disk of PostgreSQL, whatever the database says
# of synchronous_commit; where it says more than that, it is left so.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Site;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my %want = (off => 'on', local => 'on', on => 'on',
            remote_write => 'remote_write', remote_apply => 'remote_apply');
my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(keys(%want) + 0);

$t->write_file('api_secret', 's' x 32 . "\n");
chmod 0600, $t->testdir() . '/api_secret';

my $site = FC::Site->new($t, pg => { private => 1, fsync => 0 },
                         more => <<'EOF_MORE');
        location /api/chat/ {
            fcchat_api;
            fcchat_api_rate off;
            fcchat_api_secret_file %%TESTDIR%%/api_secret;
        }
EOF_MORE
my $pg = $site->pg;

$site->django->user('boss', is_staff => 1);
$site->cookie('boss');

# how each event was committed, seen when that is about to happen

$pg->sql(<<'EOF_SQL');
create table localhost.seen (kind text, how text);
create function localhost.see() returns trigger language plpgsql as
$$ begin
    insert into localhost.seen
    values (case when new.cid like 'p%' then 'publish' else new.kind end,
            current_setting('synchronous_commit'));
    return null;
end $$;
create constraint trigger see after insert on localhost.fcchat_event
    deferrable initially deferred for each row
    execute function localhost.see();
EOF_SQL

$t->run();

my $ws = $site->join('boss', protocol => 'fcchat.v1');
my $api = FC::Api->new();
my $n = 0;

for my $how (sort keys %want) {
    $pg->sql('alter database ' . $pg->name() . " set synchronous_commit = $how");
    $pg->drop_connections();
    $pg->sql('delete from localhost.seen');

    my $ack = ask(type => 'message', text => $how);

    ask(type => 'pin', seq => $ack->{seq} // 0);
    $api->post('/api/chat/stream_1/publish', { text => $how, cid => "p$how" },
               headers => { Authorization => 'Bearer ' . 's' x 32 });

    is(join(' ', map { "$_->[0] $_->[1]" } $pg->sql(
           'select distinct kind, how from localhost.seen order by kind')),
       "message $want{$how} pin $want{$how} publish $want{$how}",
       "synchronous_commit = $how");
}


sub ask {
    my (%m) = @_;

    $ws->send_json({ %m, cid => 'c' . ++$n });

    return $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ }) // {};
}
