#!/usr/bin/perl

# A reader that stops reading: past fcchat_lag it is closed with 4008, after
# whole frames without a hole; before that it misses nothing.  Nobody else
# notices.  The same over TLS.
#
# S32 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;
use Time::HiRes qw/ time /;

use FC::Crowd qw/ gather texts /;
use FC::Site;
use FC::Util qw/ slow slurp wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl socket_ssl rewrite/)
    ->has_daemon('openssl')->plan(38);

# the small buffers of 8082 and 8443 are full soon

my $site = FC::Site->new($t, location => 'fcchat_lag 16k; '
                             . 'fcchat_log %%TESTDIR%%/sessions.log;',
                         server => <<'EOF_SERVER', more => <<'EOF_MORE');
        listen 127.0.0.1:8082 sndbuf=8k;
        listen 127.0.0.1:8443 ssl sndbuf=8k;

        ssl_certificate %%TESTDIR%%/localhost.crt;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
EOF_SERVER
        location ~ ^/patient/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_lag 64k;
        }
EOF_MORE

my $d = $t->testdir();

system("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost "
       . "-out $d/localhost.crt -keyout $d/localhost.key "
       . ">>$d/openssl.out 2>&1") == 0
    or die "can't make a certificate: $!\n";

$site->django->user($_) for qw/ alice bob slow /;
$t->run();

my $seq = 0;

for my $case (['plain', 0, 0], ['plain v1', 0, 1],
              ['TLS', 1, 0], ['TLS v1', 1, 1])
{
    lagged(@$case);
}

for my $case (['plain', 0], ['TLS', 1]) {
    patient(@$case);
}


# The others: they read all the time, one by TLS.

sub others {
    my ($room) = @_;

    $site->django->room($room);

    return map { $site->join('bob', room => $room, %$_) }
           {}, { protocol => 'fcchat.v1' },
           { ssl => 1, port => port(8443) };
}


# n messages of half a kilobyte, in steps that the others see at once.

sub say {
    my ($from, $n, $others, $name) = @_;

    my $start = time();
    my $have = texts($others->[0]);
    my $all = 1;

    for my $k ($have + 1 .. $have + $n) {
        my $text = "$name-$k-";

        $text .= 'x' x (450 - length $text);
        $from->send_json({ type => 'message', text => $text, cid => $k });

        $all &&= gather($others, $k) if $k % 10 == 0 || $k == $have + $n;
    }

    $from->recv_all(0);

    return ($all, time() - $start);
}


sub slow_reader {
    my ($tls, %o) = @_;

    return $site->join('slow', rcvbuf => 4096, auto_pong => 0, %o,
                       $tls ? (ssl => 1, port => port(8443))
                            : (port => port(8082)));
}


sub lagged {
    my ($name, $tls, $v1) = @_;

    my $room = "lag_$tls$v1";
    my @others = others($room);
    my $alice = $site->join('alice', room => $room, protocol => 'fcchat.v1');
    my $slow = slow_reader($tls, room => $room,
                           $v1 ? (protocol => 'fcchat.v1') : ());

    is($slow->status(), 101, "$name: a slow reader");

    my ($all, $took) = say($alice, 200, \@others, $room);

    ok($all, "$name: the others have all");
    cmp_ok($took, '<', 20 * slow(), "$name: in time");

    # now it reads: whole frames, one after the other, and the Close

    my (@texts, @bad, $close);

    while (my $m = $slow->recv_message(3)) {
        if ($m->{op} == 8) {
            $close = $m;
            last;
        }

        my $data = FC::WS::decoded($m);
        my $kind = $data->{type} // $data->{message_type} // 'bad';

        push @texts, $data->{text} // $data->{message} if $kind eq 'message';
        push @bad, $m if $kind eq 'bad' || $m->{op} != 1 || !$m->{fin};
    }

    my @said = texts($others[0]);

    is(scalar(@bad), 0, "$name: whole frames");
    cmp_ok(scalar(@texts), '<', 200, "$name: not all");
    is(join("\n", @texts), join("\n", @said[0 .. $#texts]),
       "$name: and no hole");
    is(unpack('H*', $close ? $close->{payload} : ''),
       unpack('H*', pack('n a*', 4008, 'lagged')), "$name: then Close 4008");

    $slow->send_close(4008);
    ok($slow->recv_eof(), "$name: and the end");
    $slow->drop();

    return;
}


sub patient {
    my ($name, $tls) = @_;

    my $room = "patient_$tls";
    my @others = others($room);
    my $alice = $site->join('alice', room => $room, protocol => 'fcchat.v1');
    my $slow = slow_reader($tls, path => "/patient/$room/");
    my $n = 0;

    for (1 .. 4) {

        # more than its buffers hold, less than it may be behind

        say($alice, 110, \@others, $room);
        $n += 110;
        gather([$slow], $n);
    }

    is(join("\n", texts($slow)), join("\n", texts($others[0])),
       "$name: one that comes back has all");
    is(scalar(@{$slow->{others} || []}), 0, "$name: and nothing else");

    $slow->send_json({ message => 'here' });

    ok(gather([$slow], $n + 1), "$name: and goes on");

    return;
}
