#!/usr/bin/perl

# What is told of a socket: the access log at the upgrade or at the end, the
# variables, and the line of fcchat_log.

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

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(37);

my $site = FC::Site->new($t, http => <<'EOF', more => <<'EOT');
    log_format chat '$uri $status $request_time $bytes_sent '
                    'r=$fcchat_room u=$fcchat_user p=$fcchat_protocol '
                    'm=$fcchat_messages c=$fcchat_close_code '
                    'i=$fcchat_messages_in o=$fcchat_messages_out';
    access_log %%TESTDIR%%/told.log chat;
    fcchat_log %%TESTDIR%%/chat.log;
EOF
        location /attached/ {
            fcchat;
            fcchat_detach off;
        }

        location /quiet/ {
            fcchat;
            fcchat_log off;
        }

        location /other/ {
            fcchat;
            fcchat_log %%TESTDIR%%/other.log;
        }

        location /echo {
            fcchat_echo;
        }

        location /plain {
            return 204;
        }
EOT

my $dir = $t->testdir();
my $id = $site->django()->user('al"ice\\');

$t->run();

sub lines {
    my ($file, $n) = @_;

    my @lines;

    wait_for(sub {
        @lines = split /\n/, slurp("$dir/$file");
        return @lines >= $n;
    }, 3);

    return @lines;
}

sub parts {
    my ($line) = @_;

    my %parts;

    @parts{qw/ uri status time bytes r u p m c i o /} = split ' ', $line // '';

    return \%parts;
}

# detached: written at the upgrade

my $ws = $site->join('bob');
my ($line) = lines('told.log', 1);
my $p = parts($line);

is_deeply([ @$p{qw/ uri status r u p m c /} ],
          [ '/ws/chat/stream_1/', 101, 'r=stream_1', 'u=bob', 'p=old', 'm=0',
            'c=-' ], 'detach on: at the upgrade');
is($p->{bytes}, length $ws->head(), 'detach on: the bytes of the handshake');
is(scalar lines('chat.log', 0), 0, 'no line of fcchat_log yet');

$ws->send_json({ message => "m$_" }) for 1 .. 3;
$ws->recv_json() for 1 .. 3;
select undef, undef, undef, 0.3;
$ws->close(1000);

# the line at the end

my $log = chat_line('chat.log', 1);

is_deeply([ sort keys %$log ],
          [ qw/ addr bytes_in bytes_out code duration_ms messages protocol
                room tenant time user / ], 'its keys');
is_deeply([ @$log{qw/ addr tenant room user protocol messages code /} ],
          [ '127.0.0.1', 'localhost', 'stream_1', 'bob', 'old', 3, 1000 ],
          'its values');
like($log->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/,
     'its time');
cmp_ok($log->{duration_ms}, '>=', 300, 'its duration');
cmp_ok($log->{duration_ms}, '<', 30000, 'in milliseconds');
is($log->{bytes_in}, 3 * (2 + 4 + length '{"message":"m1"}') + 8,
   'bytes of frames in');

my $told = '{"username":"bob","message":"m1","message_type":"message",'
           . '"timestamp":null}';

is($log->{bytes_out}, 3 * (2 + length $told) + 4, 'bytes of frames out');
is(scalar lines('told.log', 1), 1, 'nothing more in the access log');

# attached: written at the end

$ws = $site->join('bob', path => '/attached/stream_1/',
                  protocol => 'fcchat.v1');
$ws->recv_json();
$ws->send_json({ type => 'message', text => 'hi' });
$ws->recv_until(sub { $_[0]{type} eq 'message' });
is(scalar lines('told.log', 1), 1, 'detach off: nothing at the upgrade');
select undef, undef, undef, 0.3;
$ws->close(1001);

$p = parts((lines('told.log', 2))[1]);
is_deeply([ @$p{qw/ uri status r u p m c i /} ],
          [ '/attached/stream_1/', 101, 'r=stream_1', 'u=bob', 'p=fcchat.v1',
            'm=1', 'c=1001', 'i=1' ], 'detach off: at the end');
like($p->{o}, qr/^o=[1-9]$/, 'detach off: frames of the room, viewers too');
cmp_ok($p->{time}, '>=', 0.3, 'detach off: $request_time');

$log = chat_line('chat.log', 2);
is($p->{bytes}, length($ws->head()) + $log->{bytes_out},
   'detach off: $bytes_sent');
is_deeply([ @$log{qw/ protocol messages code /} ], [ 'fcchat.v1', 1, 1001 ],
          'detach off: fcchat_log');

# how it ended

for my $end ([ 'nothing', 1006, sub { $_[0]->drop() } ],
             [ 'a reset', 1006, sub { $_[0]->drop(1) } ],
             [ 'an empty Close', 1005, sub { $_[0]->send_close();
                                             $_[0]->recv_close() } ],
             [ 'a bad frame', 1002, sub { $_[0]->send_frame(op => 3);
                                          $_[0]->recv_close();
                                          $_[0]->drop() } ])
{
    my ($name, $code, $sub) = @$end;
    my $n = lines('chat.log', 0);

    $ws = $site->join('bob', path => '/attached/stream_1/');
    $sub->($ws);
    is(chat_line('chat.log', $n + 1)->{code}, $code, "the code of $name");
    is(parts((lines('told.log', $n + 1))[$n])->{c}, "c=$code",
       "\$fcchat_close_code of $name");
}

# what one says and what it is told; an old page is told messages alone

my $n = lines('chat.log', 0);

$ws = $site->join('bob', path => '/attached/stream_1/');

for my $m (1 .. 3) {
    $ws->send_json({ message => "o$m" });
    $ws->recv_json();
}

my $ws2 = $site->join('bob', path => '/quiet/stream_1/');

$ws2->send_json({ message => 'o4' });
$ws->recv_json();
$ws2->close();
$ws->close();
chat_line('chat.log', $n + 1);

($p) = grep { $_->{m} eq 'm=3' } map { parts($_) } lines('told.log', $n + 2);
is("$p->{i} $p->{o}", 'i=3 o=4', 'detach off: messages in and out');

# what is not logged, logged elsewhere, or needs escapes

$n = lines('chat.log', 0);

$site->join('bob', path => '/quiet/stream_1/')->close();
$site->join('bob', path => '/other/stream_1/')->close();
is(chat_line('other.log', 1)->{user}, 'bob', 'another file');

$ws = $site->join('al"ice\\');
$ws->send_json({ message => 1 });
$ws->recv_json();
$ws->close();

$log = chat_line('chat.log', $n + 1);
is($log->{user}, 'al"ice\\', 'a name with quotes');
is($log->{messages}, 1, 'what was refused is counted: it was received');

FC::WS->connect(port => port(8080), path => '/echo')->close();
$log = chat_line('chat.log', $n + 2);
is_deeply([ sort keys %$log ], [ qw/ addr bytes_in bytes_out code duration_ms
                                     messages protocol time / ],
          'the keys of an echo');
is($log->{protocol}, 'echo', 'an echo');
is(scalar lines('chat.log', 0), $n + 2, 'fcchat_log off');

# refused, or no chat at all

my $m = lines('told.log', 0);

$site->join('bob', cookie => 'a' x 32);
$p = parts((lines('told.log', $m + 1))[$m]);
is_deeply([ @$p{qw/ status r u p m c /} ],
          [ 401, 'r=stream_1', 'u=', 'p=old', 'm=0', 'c=-' ], 'refused');
is(scalar lines('chat.log', 0), $n + 2, 'refused: not in fcchat_log');
http_get('/plain');
$p = parts((lines('told.log', $m + 2))[$m + 1]);
is_deeply([ @$p{qw/ status r u p m c /} ],
          [ 204, 'r=-', 'u=-', 'p=-', 'm=-', 'c=-' ], 'no chat');

# reopened, also by who is connected already

$ws = $site->join('bob');
rename "$dir/$_", "$dir/$_.1" for qw/ chat.log told.log /;
kill 'USR1', $t->read_file('nginx.pid');
ok(wait_for(sub { -e "$dir/chat.log" && -e "$dir/told.log" }), 'a new file');

# the master makes both; a line in one of them is a worker's that has both

wait_for(sub { $site->join('bob', path => '/quiet/stream_1/')->close();
               ((lines('told.log', 0))[-1] // '') =~ /quiet/ });
$ws->close();
is(chat_line('chat.log', 1)->{user}, 'bob', 'its line is in the new file');


sub chat_line {
    my ($file, $n) = @_;

    return FC::WS::json()->decode((lines($file, $n))[$n - 1] // '{}');
}
