#!/usr/bin/perl

# Clients whose network is gone, without a FIN and without a reset: all are let
# go in time with what they held, whatever was on its way to them, and the
# others do not notice.  Needs root, for a network that can go.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ asan fds rss slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my ($owner, $name, $child, @kept) = ($$, "fc$$");
my $net = '10.213.' . $$ % 256;

plan(skip_all => 'no network of our own') if !network();

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(10);
my $n = 300;

# who stays has the default time: this process does not read all the while

my $site = FC::Site->new($t, server => "listen $net.1:" . port(8085) . ';',
                         location => 'fcchat_ping 500ms; fcchat_timeout '
                                     . 3 * slow() . 's; fcchat_log'
                                     . ' %%TESTDIR%%/sessions.log;',
                         more => <<'EOF');
        location ~ ^/stay/(?<room>[\w-]+)/$ {
            fcchat;
        }
EOF

$site->django->user($_) for qw/ alice bob /;
$site->cookie($_) for qw/ alice bob /;
$t->run();
wait_for(sub { workers($t) == 1 });

my ($pid) = workers($t);
my $bob = $site->join('bob', path => '/stay/stream_1/',
                      protocol => 'fcchat.v1');
my $said = 0;

ok(said(), 'one that stays');

# what a crowd leaves for the next one

go(1);
ok(wait_for(sub { said(); $t->read_file('sessions.log') }), 'another goes');

my ($before, $memory) = (scalar fds($pid), rss($pid));

go($n);
is(fds($pid), $before + $n, "$n are in");
system("ip link set $name down") == 0 or die "ip: $?\n";

# what is said meanwhile is on its way to them, and gets nowhere

my $rounds = 0;

ok(wait_for(sub { $rounds++; said('x' x 400) && fds($pid) == $before },
            30, 0.1), "all are let go, $rounds messages later")
    or diag(fds($pid) - $before);

my @codes = $t->read_file('sessions.log') =~ /"code":(\d+)/g;

is(scalar(@codes), $n + 1, 'a line for each');
is(scalar(grep { $_ !~ /^(?:4012|1006)$/ } @codes), 0,
   'they did not answer') or diag("@codes");
is($bob->eof(), 0, 'and who stays has noticed nothing');
ok(said(), 'but goes on');

SKIP: {
    skip 'the sanitizers keep what is freed', 1 if asan();

    cmp_ok(rss($pid) - $memory, '<', 1024, 'what they held is free');
}

is(join(' ', workers($t)), $pid, 'the same worker');


# A message that comes back; pings are answered on the way.

sub said {
    my ($more) = @_;

    my $text = ++$said . ($more // '');

    $bob->send_json({ type => 'message', text => $text, cid => "c$said" });

    return $bob->recv_until(sub { ($_[0]{text} // '') eq $text });
}


sub network {
    return $> == 0
        && system("ip netns add $name 2>/dev/null") == 0
        && system("ip link add $name type veth peer name p netns $name"
                  . " && ip addr add $net.1/24 dev $name"
                  . " && ip link set $name up"
                  . " && ip -n $name addr add $net.2/24 dev p"
                  . " && ip -n $name link set p up") == 0;
}


# So many clients in that network, in a process of their own; all are in when it
# says so.  One of them goes, many stay until it is killed.

sub go {
    my ($many) = @_;

    $child = open my $from, '-|', 'ip', 'netns', 'exec', $name, $^X,
                  map({ "-I$_" } @INC), '-MFC::WS', '-e', <<'EOF_PERL',
        my ($many, $host, $port, $cookie) = @ARGV;
        my @all = FC::WS->connect_many($many, undef, host => $host,
                                       port => $port, cookie => $cookie,
                                       path => '/ws/chat/stream_1/');

        syswrite STDOUT, 'x' if !grep { $_->status() != 101 } @all;
        sleep(240) if $many > 1;
EOF_PERL
                  $many, "$net.1", port(8085), $site->cookie('alice')
        or die "ip netns exec: $!\n";

    sysread $from, my $ready, 1 or die "not all are in\n";

    if ($many > 1) {
        push @kept, $from;

    } else {
        close $from;
    }

    return;
}


END {
    if ($$ == $owner) {
        my $status = $?;

        kill 'KILL', $child if @kept;
        system("ip link del $name; ip netns del $name") if -e "/run/netns/$name";
        $? = $status;
    }
}
