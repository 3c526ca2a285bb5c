#!/usr/bin/perl

# A message that is perhaps committed: the connection to PostgreSQL is cut
# between a commit and its answer, many times, in either protocol; and one cid that comes a hundred
# times from four connections on two nodes is one row.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Proxy;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(4 + 3 + 4 + 2 + 2);

my $pg = Checker->pg();
my $proxy = FC::Proxy->new(to => '127.0.0.1:' . $pg->port(),
                           filter => \&filter);
my $dsn = $pg->dsn('tcp') =~ s/port=\d+/'port=' . $proxy->port()/er;

my $c = Checker->new($t, pg => $pg, database => 0,
                     http => qq(fcchat_postgres "$dsn sslmode=disable )
                             . q(gssencmode=disable";));

$c->run();
$c->add('stream_1', name => 'page-', pages => 4);
$c->wait('ready') // die "not all are in\n";
$proxy->set(cut_commits => 1);

my $cuts = 0;

# where faults are long, as many as a release wants

my $want = $c->seconds(0) ? 1000 : 25;

$c->phase('F9 cut after the commit', sub {
    while (($cuts = $proxy->lines()) < $want) {
        $c->more(20) or die 'nothing is acknowledged';
    }

    $proxy->set(cut_commits => 0);
    $c->more(50);
}, delay => 2);

$c->remark("F9 was cut $cuts times");
cmp_ok($c->stats()->{echoed}, '>=', $want, 'pages without a cid spoke, too');
cmp_ok($cuts, '>=', $want, "$cuts times");
is($pg->sql('select count(*) from (select from fcchat_event'
            . ' group by room_id, user_id, cid having count(*) > 1) t'), 0,
   'one row for each cid');

# F20

my @ws = map { $c->site($_ % 2)->join('alice', protocol => 'fcchat.v1') } 0 .. 3;
my (%acks, %seqs, $acks, $reader);

$reader = $c->site(1)->join('bob', protocol => 'fcchat.v1');

for my $n (1 .. 25) {
    $_->send_json({ type => 'message', text => 'the same', cid => 'same' })
        for @ws;
}

FC::WS->poll([@ws, $reader], sub {
    my ($ws, $m) = @_;

    if ($m->{type} eq 'ack') {
        $acks{"$m->{seq} $m->{id}"}++;
        $acks++;

    } elsif ($m->{type} eq 'message' && $m->{text} eq 'the same') {
        push @{$seqs{$ws}}, $m->{seq};
    }
}, 10, sub { ($acks // 0) == 100 && keys %seqs == 5 });

is($acks, 100, 'F20 a hundred acks');
is(scalar(keys %acks), 1, 'all the same');
is($pg->sql("select count(*) from chat_chatmessage where content = 'the same'"),
   1, 'one row');
is(join(' ', map { scalar @{$seqs{$_} || []} } @ws, $reader), '1 1 1 1 1',
   'one delivery');

# the same cid of another user is another message, and in another room

my $bob = $c->site->join('bob', protocol => 'fcchat.v1');
my $away = $c->site(1)->join('alice', protocol => 'fcchat.v1',
                             room => 'stream_2');

for my $ws ($bob, $away) {
    $ws->send_json({ type => 'message', text => 'the same', cid => 'same' });
    $ws->recv_until(sub { $_[0]{type} eq 'ack' });
}

is($pg->sql("select count(*) from chat_chatmessage where content = 'the same'"),
   3, 'a cid is of one user in one room');
is($pg->sql("select count(*) from fcchat_event where kind = 'message'"),
   $pg->sql('select count(*) from chat_chatmessage'), 'all are numbered');


# In the proxy's process: every other answer to an append is not passed on,
# and the connection ends there.  Its end is the ready for query that follows
# the commit.

sub filter {
    my ($way, $bytes, $state, $set) = @_;

    our $n;

    if ($way eq 'up') {
        $state->{writes} = 1 if $bytes =~ /fcchat_append/;
        return $bytes;
    }

    return $bytes if !$state->{writes};

    $state->{in} .= $bytes;

    my $out = '';
    my $rows = 0;

    while (length $state->{in} >= 5) {
        my ($kind, $size) = unpack 'a N', $state->{in};

        last if length $state->{in} < $size + 1;

        my $answer = substr $state->{in}, 0, $size + 1, '';

        # a row of fcchat_append(): six columns

        $rows++ if $kind eq 'D' && unpack('x5 n', $answer) == 6;

        if ($kind eq 'Z' && $rows && $set->{cut_commits} && $n++ % 2) {
            FC::Proxy::tell('cut');
            return undef;
        }

        $rows = 0 if $kind eq 'Z';
        $out .= $answer;
    }

    return $out;
}
