#!/usr/bin/perl

# The checker of the fault tests is checked itself: a proxy between nginx and
# some clients hurts one frame of each, and rows of the ledger are changed
# behind its back.  Each fault must be found, and none where there is none.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;

use Checker;
use FC::Proxy;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

# what is done to a frame, and as what it is to be found

my %kinds = (
    drop     => 'hole',
    stall    => 'hole',
    repeat   => 'duplicate',
    replay   => 'duplicate',
    swap     => 'inversion',
    number   => 'hole',
    text     => 'phantom',
    forge    => 'phantom',
    exchange => 'divergent',
    truncate => 'broken',
    room     => 'stray',
    ack      => 'wrong_number',
);
my @v1 = sort keys %kinds;
my @old = qw/ drop repeat swap text exchange stall /;
my $seed = $ENV{FC_FAULT_SEED} // time();

diag("FC_FAULT_SEED=$seed");
srand($seed);

my @seeded = ((map { [$_, 'v1'], [$_, 'v1'] } @v1), map { [$_, 'old'] } @old);

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(3 + @seeded + 9);

my $c = Checker->new($t, nodes => 1, senders => 4, rate => 25, readers => 4,
                     old => 2, others => 2);

my $proxy = FC::Proxy->new(to => '127.0.0.1:' . port(8080),
                           filter => \&filter);

$c->run();

for my $i (0 .. $#seeded) {
    my ($kind, $how) = @{$seeded[$i]};
    my $n = 5 + int rand 60;

    $c->add('stream_1', name => "x$i-", port => $proxy->port(),
            headers => ["X-Fault: $kind $n"],
            $how eq 'old' ? (old => 1)
                          : $kind eq 'ack' ? (senders => 1) : (readers => 1));
}

$c->wait('ready');

# until all have been hurt and more has come since

my $told = 0;

for (1 .. 40) {
    $c->more(30);
    $told = () = $proxy->lines();
    last if $told == @seeded;
}

is($told, scalar @seeded, 'all frames were hurt');
$c->more(100);

$c->call('talk', on => JSON::PP::false);
$c->wait('idle');
$c->wait('heads', heads => $c->heads(), name => 'stream');

my $report = $c->judge();
my %by = %{$report->{by}};

for my $i (0 .. $#seeded) {
    my ($kind, $how) = @{$seeded[$i]};
    my ($found) = map { $by{$_} } grep { /^x$i-/ } keys %by;

    # without numbers, the text of another one is a second one

    my $as = $how eq 'old' && $kind eq 'exchange' ? 'duplicate' : $kinds{$kind};

    cmp_ok($found->{$as} // 0, '>', 0, "$kind, $how: found")
        or diag(FC::WS::json()->encode($found));
}

is(join(' ', grep { !/^x/ } sort keys %by), '', 'nothing where nothing was');
is(join(' ', map { $report->{anomalies}{$_} }
             qw/ lost row_twice row_hole row_unnumbered /),
   '0 0 0 0', 'nor in the ledger');

# a reader of another room than it says

$c->add('stream_2', name => 'liar-', path => '/ws/chat/stream_1/',
        readers => 1);
$c->wait('ready');
$c->call('talk', on => JSON::PP::true);
$c->more(50);
$c->call('talk', on => JSON::PP::false);
$c->wait('idle');

cmp_ok($c->judge()->{by}{'liar-r0'}{stray} // 0, '>', 0, 'another room');

# the ledger, behind its back

$report = $c->judge();

my $room = $c->site->pg->sql(
    "select id from chat_chatroom where name = 'stream_1'");

doctored('a row deleted', 'lost',
         "delete from fcchat_event where room_id = $room and seq = 11");
doctored('and delivered', 'phantom');
doctored('and not numbered', 'row_unnumbered');
doctored('leaves a hole', 'row_hole');
doctored('two rows exchanged', 'wrong_number',
         "update fcchat_event e set message_id = f.message_id"
         . " from fcchat_event f where e.room_id = $room and e.seq in (21, 22)"
         . " and f.room_id = $room and f.seq = 43 - e.seq");
doctored('and their texts', 'divergent');
doctored('a row twice', 'row_twice',
         'insert into chat_chatmessage (room_id, user_id, content,'
         . ' message_type, is_deleted, is_pinned, created_at)'
         . ' select room_id, user_id, content, message_type, false, false,'
         . " now() from chat_chatmessage where room_id = $room limit 1");
doctored('a row changed', 'lost',
         "update chat_chatmessage m set content = 'another'"
         . " from fcchat_event e where e.message_id = m.id"
         . " and e.room_id = $room and e.seq = 31");


# The kind is found more often than before the statement.

sub doctored {
    my ($name, $kind, $sql) = @_;

    our $before;

    if ($sql) {
        $before = $report;
        $c->site->pg->sql($sql);
        $report = $c->judge();
    }

    cmp_ok($report->{anomalies}{$kind}, '>', $before->{anomalies}{$kind},
           "$name: $kind");

    return;
}


# In the proxy's process.  The client says in its handshake what is to be done
# to it, and at which of its messages (or acks).

sub filter {
    my ($way, $bytes, $state) = @_;

    if ($way eq 'up') {
        $state->{fault} //= [$1, $2] if $bytes =~ /^X-Fault: (\w+) (\d+)/m;
        return $bytes;
    }

    my $in = ($state->{in} // '') . $bytes;
    my $out = '';

    if (!$state->{upgraded}) {
        return $bytes if $in !~ s/\A(HTTP.*?\r\n\r\n)//s;
        $out = $1;
        $state->{upgraded} = 1;
    }

    my $ws = bless { in => $in }, 'FC::WS';

    while (my $frame = $ws->take()) {
        $out .= hurt($state, $frame);
    }

    $state->{in} = $ws->{in};

    return $out;
}


sub packed {
    my ($frame, $payload) = @_;

    return FC::WS::frame(op => $frame->{op}, mask => undef,
                         payload => $payload // $frame->{payload});
}


sub hurt {
    my ($state, $frame) = @_;

    my $payload = $frame->{payload};
    my ($kind, $at) = @{$state->{fault}};
    my $type = $kind eq 'ack' ? 'ack' : 'message';
    my $whole = packed($frame);

    return '' if $state->{stalled} && $frame->{op} == 1;
    return $whole if $frame->{op} != 1
                     || $payload !~ /"(?:message_)?type":\s*"$type"/;

    my $last = $state->{last};
    my $n = ++$state->{n};

    $state->{last} = $payload;

    if ($n != $at) {
        return $whole . (delete($state->{later}) // '');
    }

    FC::Proxy::tell("$kind $n");

    return '' if $kind eq 'drop';
    return $whole x 2 if $kind eq 'repeat';

    if ($kind eq 'swap') {
        $state->{later} = $whole;
        return '';
    }

    if ($kind eq 'stall') {
        $state->{stalled} = 1;
        return '';
    }

    return $whole . packed($frame, $last) if $kind eq 'replay';

    return $whole . packed($frame,
                           $payload =~ s/("seq":)(\d+)/$1 . ($2 + 1)/er
                                    =~ s/stream_1\|\w/stream_1|forged/r)
        if $kind eq 'forge';

    if ($kind eq 'exchange') {
        my ($text) = $last =~ /(stream_1\|[^"]*)/;

        return packed($frame, $payload =~ s/stream_1\|[^"]*/$text/r);
    }

    $payload =~ s/("seq":)(\d+)/$1 . ($2 + 1)/e if $kind =~ /number|ack/;
    $payload =~ s/stream_1\|/stream_1|not/ if $kind eq 'text';
    $payload =~ s/stream_1\|/stream_2|/ if $kind eq 'room';
    $payload = substr $payload, 0, -3 if $kind eq 'truncate';

    return packed($frame, $payload);
}
