#!/usr/bin/perl

# The clock of nginx's machine jumps, an hour and a day, both ways: nobody is
# closed for it, nothing that waits is stuck, who does not answer is closed as
# ever, and what depends on the time of day follows.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Queries;
use FC::Site;
use FC::Util qw/ log_lines run_quiet slow top wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my @jumps = (0, 3600, -3600, 86400, -86400, 0);
my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(8 * @jumps + 4);

# who stays has the default time, less than the clock jumps: this process does
# not read all the while

my $site = FC::Site->new($t, http => 'fcchat_session_cache 1s;',
                         location => 'fcchat_ping 500ms;'
                                     . ' fcchat_timeout 1500ms;',
                         more => <<'EOF');
        location ~ ^/stay/(?<room>[\w-]+)/$ {
            fcchat;
            fcchat_rate 100r/s burst=20;
        }
EOF
my ($lib, $file) = map { $t->testdir() . "/clock$_" } '.so', '';
my @v1 = (protocol => 'fcchat.v1');
my @stay = (path => '/stay/stream_1/');

run_quiet({}, 'cc', '-shared', '-fPIC', '-O1', '-o', $lib,
          top() . '/t/fault/clock.c', '-ldl');

$site->django->user($_) for qw/ alice bob deaf /;
$site->django->user('boss', is_staff => 1);
$site->cookie($_) for qw/ alice bob deaf boss /;

my $queries = FC::Queries->new($site->pg);

jump(0);

{
    local @ENV{qw/ LD_PRELOAD FC_CLOCK /} = ($lib, $file);
    local $ENV{ASAN_OPTIONS} = ($ENV{ASAN_OPTIONS} // '')
                               . ':verify_asan_link_order=0';

    $t->run();
}

my $alice = $site->join('alice', @v1, @stay);
my $bob = $site->join('bob', @stay);
my $n = 0;

$alice->recv_json();

for my $seconds (@jumps) {
    my $name = sprintf 'the clock at %+d h', $seconds / 3600;
    my $deaf = $site->join('deaf', auto_pong => 0);

    jump($seconds);

    my $told;

    ok(wait_for(sub {
        my $new = $site->join('bob', @v1);

        $told = $new->recv_json()->{server_time} / 1000;
        $new->drop();

        return abs($told - time() - $seconds) < 60;
    }), "$name: is what nginx has");

    is(join(' ', map { said() } 1 .. 3), 'ack ack ack', "$name: messages");
    is(($bob->recv_json() // {})->{message}, 'm' . ($n - 2),
       "$name: are delivered");
    $bob->recv_json() for 1, 2;

    # their sessions are asked for again, who does not answer has to go

    $queries->since();
    is(closed($deaf), 4012, "$name: who does not answer is closed");
    ok(wait_for(sub { listen_to(0.1);
                      $queries->count(qr/django_session/) > 1 }),
       "$name: sessions are asked for");
    is(said(), 'ack', "$name: one more");
    is(($bob->recv_json() // {})->{message}, "m$n", "$name: as ever");
    is(join(' ', map { $_->eof() } $alice, $bob), '0 0',
       "$name: nobody is disconnected");
}

# a ban for ten minutes is over when the clock says so, and is one again

my $boss = $site->join('boss', @v1);

$boss->send_json({ type => 'timeout', username => 'alice', seconds => 600 });
$boss->recv_until(sub { $_[0]{type} eq 'ack' });
is(said(), 'timed_out', 'a timeout');
jump(3600);
ok(wait_for(sub { said() eq 'ack' }), 'is over an hour later');
jump(0);
ok(wait_for(sub { said() eq 'timed_out' }), 'and is not when that was wrong');
is(join('', log_lines($t, qr/\[(?:error|crit|alert|emerg)\]/)), '',
   'nothing to complain of');


sub jump {
    my ($seconds) = @_;

    open my $fh, -e $file ? '+<' : '>', $file or die "$file: $!\n";
    syswrite $fh, pack 'q<', $seconds;

    return;
}


sub said {
    my $id = 'm' . ++$n;

    $alice->send_json({ type => 'message', text => $id, cid => $id });

    my $m = $alice->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ }) // {};

    return $m->{code} // $m->{type} // 'nothing';
}


# Pings are answered while something is read.

sub listen_to {
    my ($seconds) = @_;

    return FC::WS->poll([$alice, $bob], sub { push @{$_[0]{kept}}, $_[1] },
                        $seconds);
}


sub closed {
    my ($ws) = @_;

    my $code;

    wait_for(sub {
        listen_to(0.1);
        ($code) = $ws->recv_close(0);
        return defined $code;
    });

    return $code;
}
