#!/usr/bin/perl

# What waits for PostgreSQL in a worker, of that hosts, what comes from Redis at
# once, and how many other workers are counted: as much as there may be, and one
# more.
#
# S33, S38 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Pg;
use FC::Site;
use FC::Util qw/ log_lines slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

use constant QUESTIONS => 4096;
use constant HOSTS     => 1024;
use constant ANSWER    => 16 * 1024 * 1024;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(21);
my $pg = FC::Pg->new(private => 1, fsync => 0);

# nothing is asked but what the test lets ask

my $site = FC::Site->new($t, pg => $pg, database => 0, http =>
                         'fcchat_handshake_timeout 60s; fcchat_postgres "'
                         . $pg->dsn() . '" connections=1 timeout=60s;',
                         more => <<'EOF');
        fcchat_tenant_tables domains tenants;

        location /domain/ {
            fcchat;
            fcchat_tenant domain;
        }

        location /api/ {
            fcchat_api;
            fcchat_tenant domain;
        }
EOF

$site->django->room('stream_1');
$site->cookie('alice');
$pg->sql("create table public.tenants as select 1 as id,"
         . " 'localhost' as schema_name; create table public.domains as"
         . " select 'known.test' as domain, 1 as tenant_id");

# more sockets than FC::Site has connections for

(my $conf = $t->read_file('nginx.conf'))
    =~ s/worker_connections \d+;/worker_connections 8192;/;
$t->write_file('nginx.conf', $conf);
$t->run();

my ($pid) = @{wait_for(sub { my @w = workers($t); @w && \@w })};

is($site->join('alice', room => 'nowhere')->status(), 404, 'all is well');

# 4,096 questions, each for a cookie of its own

$pg->pause();

my @waiting = map { stranger($_) } 1 .. QUESTIONS;

is(scalar(grep { !$_->{s} } @waiting), 0, 'S33: 4096 handshakes');

my @refused = map { stranger(QUESTIONS + $_) } 1 .. 4;

$_->handshake() for @refused;
is(join(' ', map { $_->status() } @refused), '503 503 503 503',
   'S33: more than 4096 questions are not asked');
is($refused[0]->header('Retry-After'), 1, 'S33: to be tried again');
is(scalar(grep { $_->fill(0) } @waiting[0, QUESTIONS / 2, QUESTIONS - 1]), 0,
   'S33: nobody else is refused');
$pg->resume();

my %got;

for (@waiting) {
    $_->{timeout} = 30 * slow();
    $_->handshake();
    $got{$_->status()}++;
    $_->drop();
}

is(join(' ', %got), '401 ' . QUESTIONS, 'S33: all that were asked are answered');
is($site->join('alice', cookie => 'z' x 32)->status(), 401,
   'S33: there is room again');

# 1,024 hosts, and one that is known

my $known = "GET /api/stream_1/ HTTP/1.0\r\nHost: known.test\r\n\r\n";

like(http($known), qr/ 401 /, 'a host');
$pg->pause();
@waiting = map { host("h$_.test") } 1 .. HOSTS;
@refused = map { host("more$_.test") } 1 .. 2;
$_->handshake() for @refused;
is(join(' ', map { $_->status() } @refused), '503 503',
   'S33: more than 1024 hosts are not asked for');
is($refused[0]->header('Retry-After'), 1, 'S33: but may be later');
is(scalar(grep { $_->fill(0) } @waiting), 0, 'S33: the others are');
like(http($known), qr/ 401 /, 'S33: who is known is served');
$pg->resume();
%got = ();
$_->{timeout} = 30 * slow() for @waiting;
$got{$_->handshake()->status()}++ for @waiting;
$_->drop() for @waiting;
is(join(' ', %got), '404 ' . HOSTS, 'S33: all that were asked for are nobody\'s');

# 16 MB of Redis

my $reader = $site->join('alice', protocol => 'fcchat.v1');

$reader->recv_json();

my $channel;

ok(wait_for(sub {
    ($channel) = @{$site->redis->cmd('PUBSUB', 'CHANNELS', '*:room:*')};
}), 'the room is listened to');

$site->redis->cmd('PUBLISH', $channel, 'x' x (ANSWER - 1024));
ok(wait_for(sub { log_lines($t, qr/\[warn\].*no envelope/) }),
   'S33, S38: 16 MB are no envelope');
is(scalar(log_lines($t, qr/too long an answer/)), 0, 'S33: and no more');

$site->redis->cmd('PUBLISH', $channel, 'x' x (ANSWER + 65536));
ok(wait_for(sub { log_lines($t, qr/too long an answer/) }),
   'S33: what is longer ends the connection');
ok(wait_for(sub {
    $site->redis->cmd('PUBSUB', 'NUMSUB', $channel)->[1] == 1
}), 'S33: which is made anew');

# 256 other workers

my $client = $site->redis->client();

for my $i (1 .. 300) {
    $client->cmd('PUBLISH', $channel, sprintf
                 '{"v":1,"w":"%016x","t":"viewers","count":1}', $i);
}

my ($most, $count) = (0, 0);

$reader->recv_until(sub {
    $count = $_[0]{count} if $_[0]{type} eq 'viewers';
    $most = $count if $count > $most;
    return $count >= 257;
}, 10 * slow());

for (grep { $_->{type} eq 'viewers' } $reader->recv_all(1)) {
    $most = $_->{count} if $_->{count} > $most;
}

is($most, 257, 'S33: 256 other workers are counted');

$reader->send_json({ type => 'message', text => 'well', cid => 'c1' });
is($reader->recv_until(sub { $_[0]{type} eq 'message' })->{text}, 'well',
   'the reader has noticed nothing');
is(join(' ', workers($t)), $pid, 'the same worker');


sub host {
    my ($name) = @_;

    return FC::WS->connect(port => port(8080), path => '/domain/stream_1/',
                           nowait => 1, cookie => 'z' x 32,
                           host_header => $name);
}


sub stranger {
    my ($i) = @_;

    return FC::WS->connect(port => port(8080), path => '/ws/chat/stream_1/',
                           nowait => 1, cookie => sprintf 'z%031d', $i);
}
