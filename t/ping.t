#!/usr/bin/perl

# fcchat_ping and fcchat_timeout: who is silent is pinged once, who says
# anything at all lives, and who does not is closed with 4012.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Site;
use FC::Util qw/ slow slurp wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(18);

my $site = FC::Site->new($t, location => 'fcchat_log %%TESTDIR%%/sessions.log;',
                         server => <<'EOF', more => <<'EOF_MORE');
        fcchat_ping 500ms;
        fcchat_timeout 1500ms;
EOF
        location /echo {
            fcchat_echo;
        }

        location ~ ^/default/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_ping 25s;
            fcchat_timeout 60s;
        }

        location ~ ^/patient/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_ping 500ms;
            fcchat_timeout 60s;
        }
EOF_MORE

$site->django->user('alice');
$t->run();

my @o = (auto_pong => 0, protocol => 'fcchat.v1');
my $before = time();
my %ws = (
    silent  => $site->join('alice', @o),
    polite  => $site->join('alice', @o),
    pinging => $site->join('alice', @o),
    typing  => $site->join('alice', @o),
    echo    => $site->join('alice', @o, path => '/echo'),
    default => $site->join('alice', @o, path => '/default/stream_1/'),
    patient => $site->join('alice', @o, path => '/patient/stream_1/'),
);

# its silence began between these two

my $start = time();
my (%pings, %first, %closed, %payload);

$_->{spoke} = $start for values %ws;

# Three seconds, in which each behaves as its name says.

while (time() < $start + 3 * (slow() > 1 ? 1.5 : 1)) {
    FC::WS->poll([values %ws], \&came, 0.1);

    for my $name (qw/ typing pinging /) {
        my $ws = $ws{$name};

        next if time() < $ws->{spoke} + 0.25;

        $ws->{spoke} = time();
        $name eq 'typing' ? $ws->send_json({ type => 'message', text => 'I' })
                          : $ws->send_ping('me');
    }
}


sub came {
    my ($ws, $m) = @_;

    my ($name) = grep { $ws{$_} == $ws } keys %ws;

    return if !$m->{op};

    if ($m->{op} == 9) {
        $pings{$name}++;
        $first{$name} //= time();
        $payload{$name} .= $m->{payload};
        $ws->send_pong($m->{payload}) if $name =~ /polite|patient/;
    }

    if ($m->{op} == 8) {
        $closed{$name} = [ unpack('n a*', $m->{payload}), time() ];
    }

    return;
}


is($pings{silent}, 1, 'the silent one is pinged once');
is($payload{silent}, '', 'with nothing in it');
cmp_ok($first{silent} - $before, '>', 0.45, 'not too early');
cmp_ok($first{silent} - $start, '<', 1.2 * slow(), 'nor too late');

is($closed{silent}[0], 4012, 'and closed');
is($closed{silent}[1], 'no pong', 'the reason');
cmp_ok($closed{silent}[2] - $before, '>', 1.4, 'not before the timeout');
cmp_ok($closed{silent}[2] - $start, '<', 2.3 * slow(), 'nor long after it');

is($closed{echo}[0], 4012, 'the echo has it too');

cmp_ok($pings{polite}, '>=', 3, 'a pong asks for the next ping');
cmp_ok($pings{patient}, '>=', 3, 'however long the timeout is');
is($pings{typing}, undef, 'who speaks is not pinged');
is($pings{pinging}, undef, 'nor who pings');
is($pings{default}, undef, 'nor whoever is silent for less');
is(join(' ', grep { $closed{$_} } sort keys %ws), 'echo silent',
   'nobody else is closed');

$ws{polite}->send_json({ type => 'message', text => 'alive' });
ok($ws{polite}->recv_until(sub { ($_[0]{text} // '') eq 'alive' }),
   'the polite one chats on');

# The silent one does not answer the Close either: it is let go.

ok($ws{silent}->recv_eof(7 * slow()), 'the end of the silent one');
ok(wait_for(sub { slurp($t->testdir() . '/sessions.log') =~ /"code":4012\}/ }),
   'in the log');
