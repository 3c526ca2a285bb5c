#!/usr/bin/perl

# How a connection ends, as the other side sees it: the last frame arrives, and
# no reset instead of it; what a client has chosen is not written to the log as
# it is; and a tenant whose tables are locked holds up no other.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd;
use FC::Pg;
use FC::Site;
use FC::Util qw/ log_lines slurp wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl socket_ssl rewrite/)
    ->has_daemon('openssl')->plan(56);

# the small buffers of 8082 and 8443 are full soon; without Redis what others
# have said comes from PostgreSQL alone, over two connections that read

my $pg = FC::Pg->new();
my $site = FC::Site->new($t, pg => $pg, bus => 0, database => 0,
                         http => 'fcchat_postgres "' . $pg->dsn()
                                 . '" connections=3;' . <<'EOF_HTTP',

    reset_timedout_connection on;
    fcchat_message_length 6000;
    fcchat_log %%TESTDIR%%/sessions.log;
EOF_HTTP
                         location => 'fcchat_lag 16m;',
                         server => <<'EOF_SERVER', more => <<'EOF_MORE');
        listen 127.0.0.1:8082 sndbuf=16k;
        listen 127.0.0.1:8443 ssl sndbuf=8k;

        ssl_certificate %%TESTDIR%%/localhost.crt;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
EOF_SERVER
        location ~ ^/kept/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_detach off;
        }

        location ~ ^/short/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_lag 64k;
        }

        location ~ ^/by/(?<tenant>[^/]+)/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_tenant $tenant;
        }
EOF_MORE

my $d = $t->testdir();
my $django = $site->django();

system("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost "
       . "-out $d/localhost.crt -keyout $d/localhost.key "
       . ">>$d/openssl.out 2>&1") == 0
    or die "can't make a certificate: $!\n";

my @v1 = (protocol => 'fcchat.v1');

$django->user($_) for qw/ alice bob lost /;
$django->room('stuck');
$django->tables('east');
$pg->apply('east');
$django->user('ann', schema => 'east');

my $ann = $django->session('ann', schema => 'east');

$t->run();
wait_for(sub { workers($t) == 1 });

my ($slow, $lost) = stuck();

for my $case (['detached', '/ws/chat'], ['kept', '/kept']) {
    half_closed(@$case);
    ended(@$case);
}

tenant_name();
tenant_locked();
given_up($lost);
writable($slow);


# Close and FIN find the worker at once: our Close is sent all the same.

sub half_closed {
    my ($name, $path) = @_;

    my $ws = $site->join('alice', path => "$path/stream_1/");
    my ($pid) = workers($t);

    is($ws->status(), 101, "$name: in");

    kill 'STOP', $pid;
    $ws->send_close(1000, 'bye');
    shutdown $ws->socket(), 1;
    kill 'CONT', $pid;

    is_deeply([ $ws->recv_close() ], [ 1000, '' ], "$name: Close and FIN");
    ok($ws->recv_eof(), "$name: to the end");
    is($ws->{reset}, undef, "$name: without a reset");

    return;
}


# No end is a timeout, for which nginx may be told to send a reset.

sub ended {
    my ($name, $path) = @_;

    my @ws = map { $site->join('alice', path => "$path/stream_1/") } 1 .. 3;

    $ws[0]->send_close(1001);
    is(($ws[0]->recv_close())[0], 1001, "$name: the client's Close");

    $ws[1]->send_frame(rsv => 4, payload => 'x');
    is(($ws[1]->recv_close())[0], 1002, "$name: the server's Close");

    $ws[2]->send_text("\xff");
    is(($ws[2]->recv_close())[0], 1007, "$name: the server's, answered");
    $ws[2]->send_close(1007);

    for my $ws (@ws) {
        ok($ws->recv_eof(), "$name: the end of the stream");
        is($ws->{reset}, undef, "$name: which is no reset");
    }

    return;
}


# A name of a schema is a client's, where it is taken from the path.

sub tenant_name {
    for my $bad ('%0A', '%0D', '%1B', '%7F', '%01') {
        my $ws = $site->join('alice', path => "/by/no${bad}forged/stream_1/");

        is($ws->status() . ' ' . $ws->body(), "404 no such room\n",
           "a tenant with $bad");
    }

    # nginx's own debug lines have it

    my @lines = grep { !/^\S+ \S+ \[debug\]/ }
                map { split /^(?=\d{4}\/\d\d\/\d\d |\{)/m, slurp("$d/$_") }
                qw/ error.log sessions.log /;

    is(join('', grep { /forged/ && !/ request: "GET [^\n]*%/ } @lines), '',
       'in no line of the log');
    is(join('', grep { /[^\n\x20-\x7e]|\n./ } @lines), '',
       'and no such character');

    return;
}


# Without Redis heads are asked for: those of one tenant wait, others' don't.

sub tenant_locked {
    my $east = FC::WS->connect(port => port(8080), cookie => $ann, @v1,
                               path => '/by/east/stream_1/');
    my $here = $site->join('bob', @v1);

    is($_->recv_json()->{type}, 'welcome', 'a tenant')
        for $east, $here;

    my $lock = FC::Crowd->lock($pg, 'east.fcchat_head');

    ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'the poll of one waits');

    for my $k (1 .. 3) {
        $pg->sql('insert into chat_chatmessage (room_id, user_id, content,'
                 . ' message_type, is_deleted, is_pinned, created_at)'
                 . " select r.id, u.id, 'row $k', 'message', false, false,"
                 . ' now() from chat_chatroom r, accounts_user u'
                 . " where r.name = 'stream_1' and u.username = 'alice'");

        my $m = $here->recv_until(sub { $_[0]{type} eq 'message' }, 2);

        is($m->{text}, "row $k", 'a row of the other is seen');
    }

    ok(wait_for(sub { FC::Crowd->blocked($pg) }), 'meanwhile');
    $lock->release();
    $_->close() for $east, $here;

    return;
}


# Readers that don't read: some may be behind for long, the others may not, and
# have a TLS record half written.

sub stuck {
    my $bob = $site->join('bob', @v1, room => 'stuck');
    my @slow = map { $site->join('alice', @v1, room => 'stuck',
                                 rcvbuf => 4096, port => port(8082)) } 1 .. 3;
    my @lost = map { $site->join('lost', @v1, path => '/short/stuck/', ssl => 1,
                                 rcvbuf => 4096, port => port(8443)) } 1 .. 3;

    for my $k (1 .. 100) {
        $bob->send_json({ type => 'message', text => 'x' x 5000,
                          cid => "c$k" });
        $bob->recv_until(sub { $_[0]{type} eq 'ack' }) if $k % 10 == 0;
    }

    ok($bob->recv_until(sub { ($_[0]{seq} // 0) == 100 }), 'all is said');
    $bob->close();

    return (\@slow, \@lost);
}


# Who does not even read the Close is given up in the end, which is no error.

sub given_up {
    my ($lost) = @_;

    ok(wait_for(sub {
        @$lost == grep { /"user":"lost".*"code":4008/ }
                  split /^/, slurp("$d/sessions.log")
    }), 'TLS: given up');

    # which makes the connection writable for what nginx may have left to say

    for my $ws (@$lost) {
        1 while $ws->recv();
        ok($ws->eof(), 'TLS: and closed');
    }

    is(join('', log_lines($t, qr/\[crit\]/)), '', 'TLS: nothing critical');

    return;
}


# The worker leaves when readers that were stuck become writable in the same
# moment: their Close is sent.

sub writable {
    my ($slow) = @_;

    my ($pid) = workers($t);

    kill 'STOP', $pid;
    wait_for(sub { slurp("/proc/$pid/stat") =~ /\) T / });
    kill 'QUIT', $pid;

    my @seqs = map { [ seqs($_, 0.2) ] } @$slow;

    cmp_ok(scalar(@$_), '<', 100, 'a slow reader') for @seqs;

    kill 'CONT', $pid;

    for my $i (0 .. $#$slow) {
        push @{$seqs[$i]}, seqs($slow->[$i]);

        is(($slow->[$i]->recv_close())[0], 1012, 'its Close');
        is(join(' ', @{$seqs[$i]}), join(' ', 1 .. @{$seqs[$i]}),
           'after whole messages');
    }

    ok(wait_for(sub { !kill 0, $pid }), 'the worker is gone');

    return;
}


sub seqs {
    my ($ws, $quiet) = @_;      # for so long, or as long as ever

    my @seqs;

    while (defined(my $m = $ws->recv_json($quiet))) {
        push @seqs, $m->{seq} // 0 if $m->{type} ne 'welcome'
                                      && $m->{type} ne 'viewers';
    }

    return @seqs;
}
