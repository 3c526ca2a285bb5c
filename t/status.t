#!/usr/bin/perl

# fcchat_status: each figure moves by what was done, whatever becomes of the
# workers that counted it; the three formats.
#
# S03 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Metrics;
use FC::Site;
use FC::Util qw/ free_port wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(69);

my $nowhere = free_port();
my $site = FC::Site->new($t, workers => 2, more => <<"EOT");
        location /status {
            fcchat_status;
        }

        location /close/ {
            fcchat;
            fcchat_refuse close;
        }

        location /packed/ {
            fcchat;
            fcchat_deflate on;
        }

        location /echo {
            fcchat_echo;
        }

        location /few/ {
            fcchat;
            fcchat_connections user=1;
        }

        location /away/ {
            fcchat;
            fcchat_postgres "host=127.0.0.1 port=$nowhere";
            fcchat_redis off;
        }
EOT

$t->run();

sub metrics { return FC::Metrics->read(port(8080), '/status') }


# What has moved since $before, when it is what was wanted or time is over;
# what depends on timing alone is left out.

my $noise = qr/^(?:postgres|redis|sends|bytes|catchups|fanout|session_cache
                 |deflate_bytes|deliveries_total\{kind="notice"\})/x;

sub moves {
    my ($before, $want, $name) = @_;

    my $got;

    wait_for(sub {
        my $moved = $before->moved(metrics());

        $got = { map { $_ => $moved->{$_} } grep { !/$noise/ || $want->{$_} }
                 keys %$moved };
        return !grep { ($got->{$_} // 0) != ($want->{$_} // 0) }
                keys %{{ %$got, %$want }};
    }, 5);

    is_deeply($got, $want, $name);
}


sub get {
    my ($method, $uri, $accept) = @_;

    return http("$method $uri HTTP/1.0\r\nHost: localhost\r\n"
                . ($accept ? "Accept: $accept\r\n" : '') . "\r\n");
}


sub json { return FC::WS::json()->decode((split /\r\n\r\n/, get(@_), 2)[1]) }


# the formats

my $first = metrics();

is($first->errors(), '', 'Prometheus: the text is well-formed');
like(get('GET', '/status?format=prometheus'),
     qr/^HTTP\S+ 200 .*^Content-Type: text\/plain; version=0\.0\.4; charset=/ms,
     'Prometheus: its type');

my %accept = (
    'text/html,application/xhtml+xml,*/*;q=0.8' => 'text/html; charset=utf-8',
    'application/openmetrics-text;version=1.0.0,*/*;q=0.1'
        => 'text/plain; version=0.0.4; charset=utf-8',
    'text/plain;version=0.0.4;q=0.3' => 'text/plain; version=0.0.4; charset=utf-8',
    '*/*' => 'application/json',
    'text/plain' => 'application/json',
    '' => 'application/json',
);

for my $accept (sort keys %accept) {
    my ($type) = get('GET', '/status', $accept) =~ /^Content-Type: (.*?)\r$/m;

    is($type, $accept{$accept}, "Accept: $accept");
}

for my $format (qw/ json prometheus html /) {
    my $head = get('HEAD', "/status?format=$format", 'x/y');
    my $got = get('GET', "/status?format=$format", 'x/y');

    like($head, qr/^HTTP\S+ 200 .*\r\n\r\n\z/s, "HEAD: $format has no body");
    like($got, qr/\r\n\r\n.{100}/s, "GET: $format has one");
}

my ($page) = get('GET', '/status?format=html') =~ /\r\n\r\n(.*)/s;

unlike($page, qr/(?:src|href)\s*=\s*['"]?(?:https?:)?\/\//, 'html: nothing from outside');
unlike($page, qr/innerHTML|document\.write|insertAdjacentHTML|\beval\b/,
       'html: nothing that would read names as HTML');
like(get('GET', '/status'), qr/^Cache-Control: no-store\r$/m, 'not to be kept');
like(get('GET', '/status?format=xml'), qr/^HTTP\S+ 400 /, 'an unknown format');
like(get('POST', '/status'), qr/^HTTP\S+ 405 .*^Allow: GET, HEAD\r$/ms, 'POST');

my $json = json('GET', '/status');

is(scalar @{$json->{workers}}, 2, 'json: two workers');
is_deeply([ sort map { $_->{pid} } @{$json->{workers}} ],
          [ sort(workers($t)) ], 'json: their pids');
is($json->{messages}, 0, 'json: a number');
is($json->{connections_closed}{1000}, 0, 'json: by label');
is(scalar @{$json->{commit_seconds}{buckets}},
   @{$json->{bucket_seconds}} + 1, 'json: a histogram');
cmp_ok($json->{zone_bytes}{free}, '<', $json->{zone_bytes}{size},
       'json: the zone');

# bytes

my $ws = FC::WS->connect(port => port(8080), path => '/echo');

wait_for(sub { metrics()->sum('fcchat_connections') == 1 }, 5);

my $before = metrics();

$ws->send_text('x' x 50);
$ws->recv_message();
moves($before, { client_messages_total => 1,
                 'bytes_total{direction="in"}' => 2 + 4 + 50,
                 'bytes_total{direction="out"}' => 2 + 50 }, 'bytes');
$ws->close();
wait_for(sub { metrics()->sum('fcchat_connections') == 0 }, 5);

# connections and messages

$before = metrics();

my @old = map { $site->join('alice') } 1 .. 2;
my @v1 = map { $site->join('bob', protocol => 'fcchat.v1') } 1 .. 3;

moves($before, { 'connections_opened_total{protocol="old"}' => 2,
                 'connections_opened_total{protocol="fcchat.v1"}' => 3 },
      'connections are opened');
is(metrics()->sum('fcchat_connections'), 5, 'connections over all workers');
is(json('GET', '/status')->{connections}, 5, 'json: the same');
ok(wait_for(sub {
    (metrics()->get('fcchat_room_readers{tenant="localhost",room="stream_1"}')
     // 0) == 5
}, 5), 'readers of the room');

$before = metrics();

for my $n (1 .. 7) {
    $v1[0]->send_json({ type => 'message', text => "m$n", cid => "c$n" });
    $_->recv_until(sub { ($_[0]{text} // '') eq "m$n" }) for @v1;
    $_->recv_until(sub { ($_[0]{message} // '') eq "m$n" }) for @old;
}

moves($before, { client_messages_total => 7, messages_total => 7,
                 'deliveries_total{kind="message"}' => 35,
                 commit_seconds_count => 7 }, 'messages and deliveries');

$before = metrics();

$v1[0]->send_json({ type => 'message', text => "m1", cid => "c1" });
$v1[0]->recv_until(sub { $_[0]{type} eq 'ack' });
moves($before, { client_messages_total => 1, message_repeats_total => 1,
                 commit_seconds_count => 1 }, 'a repeat is no message');

# errors, reactions, history

$before = metrics();

$v1[0]->send_json($_) for { type => 'message', text => '' },
                          { type => 'message', text => 'x' x 501 },
                          { type => 'message', text => 'x' x 501 },
                          { type => 'nothing' },
                          { type => 'reaction', stamp_id => 999 };
$v1[0]->recv_until(sub { $_[0]{type} eq 'error' }) for 1 .. 5;
moves($before, { client_messages_total => 5, 'errors_total{code="empty"}' => 1,
                 'errors_total{code="too_long"}' => 2,
                 'errors_total{code="unknown_type"}' => 1,
                 'errors_total{code="unknown_stamp"}' => 1 }, 'errors by code');

$before = metrics();

for (1 .. 2) {
    $old[0]->send_json({ type => 'reaction', stamp_id => 1 });
    $_->recv_until(sub { ($_[0]{type} // '') eq 'reaction' }) for @old;
}

$v1[0]->send_json({ type => 'history' });
$v1[0]->recv_until(sub { $_[0]{type} eq 'history' });
moves($before, { client_messages_total => 3, reactions_total => 2,
                 history_pages_total => 1 }, 'reactions, a page of history');

# resumes and resets

my $welcome = do {
    my $ws2 = $site->join('bob', protocol => 'fcchat.v1');
    my $w = $ws2->recv_until(sub { $_[0]{type} eq 'welcome' });
    $ws2->close();
    wait_for(sub { metrics()->sum('fcchat_connections') == 5 }, 5);
    $w;
};

$before = metrics();

$ws = $site->join('bob', protocol => 'fcchat.v1',
                  query => "since=$welcome->{epoch}:3");
$ws->recv_until(sub { ($_[0]{seq} // 0) == 7 });
$ws->close();

for my $since ('x:1', 'nothing') {
    $ws = $site->join('bob', protocol => 'fcchat.v1', query => "since=$since");
    $ws->recv_until(sub { $_[0]{type} eq 'reset' });
    $ws->close();
}

moves($before, { 'connections_opened_total{protocol="fcchat.v1"}' => 3,
                 'connections_closed_total{code="1000"}' => 3,
                 resumes_total => 1, 'resets_total{reason="epoch"}' => 1,
                 'resets_total{reason="malformed"}' => 1,
                 $before->get('fcchat_backfills_total')
                     == metrics()->get('fcchat_backfills_total')
                     ? () : (backfills_total => 1) }, 'resumes and resets');

# how they end

for my $end ([ 1001, sub { $_[0]->close(1001) } ],
             [ 1002, sub { $_[0]->send_frame(op => 3); $_[0]->recv_close();
                           $_[0]->drop() } ],
             [ 1005, sub { $_[0]->send_close(); $_[0]->recv_close() } ],
             [ 1006, sub { $_[0]->drop() } ],
             [ 'other', sub { $_[0]->close(3999) } ])
{
    my ($code, $sub) = @$end;

    $before = metrics();
    $ws = $site->join('alice');
    $sub->($ws);
    moves($before, { 'connections_opened_total{protocol="old"}' => 1,
                     "connections_closed_total{code=\"$code\"}" => 1 },
          "closed: $code");
}

# refusals

$before = metrics();

my $only = $site->join('alice', path => '/few/stream_1/');

moves($before, { 'connections_opened_total{protocol="old"}' => 1 },
      'the only one comes');

for ([ 'no_session', cookie => 'a' x 32 ],
     [ 'no_session', cookie => undef ],
     [ 'no_room', room => 'stream_404' ],
     [ 'origin', origin => 'https://elsewhere.example' ],
     [ 'version', version => 12 ],
     [ 'too_many', path => '/few/stream_1/' ],
     [ 'unavailable', path => '/away/stream_1/', cookie => 'c' x 32 ])
{
    my ($reason, %o) = @$_;

    $before = metrics();
    $site->join('alice', %o);
    moves($before, { "handshakes_refused_total{reason=\"$reason\"}" => 1 },
          "refused: $reason");
}

$before = metrics();
get('GET', '/ws/chat/stream_1/');
get('POST', '/ws/chat/stream_1/');
moves($before, { 'handshakes_refused_total{reason="malformed"}' => 1,
                 'handshakes_refused_total{reason="method"}' => 1 },
      'refused: no handshake');

$before = metrics();
$only->close();
moves($before, { 'connections_closed_total{code="1000"}' => 1 },
      'the only one leaves');

$before = metrics();
$ws = $site->join('alice', cookie => 'b' x 32, path => '/close/stream_1/');
$ws->recv_close();
$ws->drop();
moves($before, { 'handshakes_refused_total{reason="no_session"}' => 1,
                 'connections_opened_total{protocol="old"}' => 1,
                 'connections_closed_total{code="4401"}' => 1 },
      'refused after the upgrade');

$site->pg()->sql('insert into localhost.fcchat_ban (room_id, user_id) select'
                 . ' r.id, u.id from localhost.chat_chatroom r,'
                 . " localhost.accounts_user u where r.name = 'stream_2'"
                 . " and u.username = 'bob'");
ok(wait_for(sub {
    4 == grep { $_->status() == 403 }
         map { $site->join('bob', room => 'stream_2') } 1 .. 4;
}), 'somebody is banned');
$before = metrics();
$site->join('bob', room => 'stream_2');
moves($before, { 'handshakes_refused_total{reason="banned"}' => 1 },
      'refused: banned');

# compression

$before = metrics();
$ws = $site->join('alice', path => '/packed/stream_1/',
                  extensions => 'permessage-deflate');
$ws->send_json({ message => 'packed ' x 40 });
moves($before, { 'connections_opened_total{protocol="old"}' => 1,
                 client_messages_total => 1, messages_total => 1,
                 commit_seconds_count => 1,
                 'deliveries_total{kind="message"}' => 6,
                 deflate_messages_total => 1 }, 'compressed');

my $packed = metrics();

cmp_ok($packed->get('fcchat_deflate_bytes_total{form="packed"}'), '<',
       $packed->get('fcchat_deflate_bytes_total{form="plain"}') / 2,
       'to less');
$ws->close();

# the session cache

$before = metrics();
$site->join('carol')->close();
$site->join('carol')->close();
$site->join('x', cookie => 'c' x 32) for 1 .. 2;
moves($before, { 'connections_opened_total{protocol="old"}' => 2,
                 'connections_closed_total{code="1000"}' => 2,
                 'handshakes_refused_total{reason="no_session"}' => 2,
                 'session_cache_total{result="hit"}' => 1,
                 'session_cache_total{result="none"}' => 1,
                 'session_cache_total{result="miss"}' => 2 },
      'the session cache');

# the backends

my $m = metrics();

is($m->sum('fcchat_redis_links_up'), 2, 'both links to Redis are up');
is($m->sum('fcchat_postgres_connections'), 4, 'connections to PostgreSQL');
is($m->sum('fcchat_unstored_messages'), 0, 'nothing waits');
cmp_ok($m->get('fcchat_postgres_jobs_total{result="ok"}'), '>', 0,
       'transactions');

# a worker is killed: its counters stay, its connections do not

$before = metrics();
my ($busy) = sort { $b->{connections} <=> $a->{connections} }
             @{json('GET', '/status')->{workers}};
kill 'KILL', $busy->{pid};

ok(wait_for(sub {
    my @now = @{json('GET', '/status')->{workers}};
    @now == 2 && !grep { $_->{pid} == $busy->{pid} } @now;
}, 10), 'killed: another one takes its place');
is(metrics()->sum('fcchat_connections'),
   $before->sum('fcchat_connections') - $busy->{connections},
   'killed: its connections are gone');
is(FC::Util::forgive($t, qr/\[alert\].*exited on signal 9/), 1,
   'killed: which nginx says');
moves($before, {}, 'killed: nothing is lost, nothing counted twice');

# and a reload

$ws = $site->join('alice');
$before = metrics();
kill 'HUP', $t->read_file('nginx.pid');
$ws->recv_close();
$ws->drop();

ok(wait_for(sub {
    my %now = map { $_ => 1 } workers($t);
    my @told = @{json('GET', '/status')->{workers}};

    keys %now == 2 && @told == 2 && !grep { !$now{$_->{pid}} } @told;
}, 15), 'reload: the old workers are gone');

my $after = metrics();

is($after->sum('fcchat_connections'), 0, 'reload: no connections');
is($after->get('fcchat_messages_total'), $before->get('fcchat_messages_total'),
   'reload: messages stay');
is($after->sum('fcchat_connections_opened_total'),
   $after->sum('fcchat_connections_closed_total') + $busy->{connections},
   'reload: all that was opened was closed, but for what was killed');
is($after->errors(), '', 'well-formed to the end');
