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
use FC::Util qw/ run_quiet top wait_for /;
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
    id       => 'divergent',
    erase    => 'phantom',

    # of what a moderator did

    omit     => 'hole',
    again    => 'duplicate',
    later    => 'inversion',
    action   => 'divergent',
    target   => 'divergent',
    reason   => 'phantom',
    shown    => 'phantom',
    undelete => 'undeleted',
    unpin    => 'undeleted',

    # of a page of the history

    leaf     => 'hole',
    page     => 'undeleted',
);
my @page = qw/ leaf page /;
my @v1 = grep { !/leaf|page/ } sort keys %kinds;
my @old = qw/ drop repeat swap text exchange stall omit again /;

# these are seen by who comes back only, and are few

my %late = map { $_ => 1 } qw/ undelete unpin /;
my %few = map { $_ => 1 } qw/ omit again later action target reason shown /, @page;
my $seed = $ENV{FC_FAULT_SEED} // time();

diag("FC_FAULT_SEED=$seed");
srand($seed);

my @seeded = ((map { [$_, 'v1'], [$_, 'v1'] } @v1),
              (map { [$_, 'old'] } @old), map { [$_, 'page'] } @page);

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(3 + @seeded + 4 + 9 + 2);

my $c = Checker->new($t, nodes => 1, senders => 4, rate => 25, readers => 4,
                     old => 2, others => 2, moderates => 'all');

my $proxy = FC::Proxy->new(to => '127.0.0.1:' . port(8080),
                           filter => \&filter);

$c->run();

come($_) for grep { !$late{$seeded[$_][0]} } 0 .. $#seeded;
$c->wait('ready');

# those see in the log what is deleted by now, and the proxy has seen it before

wait_for(sub { $c->more(20); pins_deleted() }, 30);
come($_) for grep { $late{$seeded[$_][0]} } 0 .. $#seeded;
$c->wait('ready');

# until all have been hurt and more has come since

my $told = 0;

for (1 .. 200) {
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

# and one that goes by the name of another, who was banned at times

my $stats = $c->stats();

cmp_ok($stats->{moderated}, '>=', 20, 'somebody moderated');
cmp_ok($stats->{pages}, '>', 0, 'and asked for pages');
is($c->judge()->{by}{'stream_1-v0'}, undef, 'who is banned gets nothing');
$c->call('user', name => 'stream_1-r0', user => 'stream_1-v0');
cmp_ok($c->call('judge', $c->ledger(), grace => 0)
         ->{by}{'stream_1-r0'}{stray} // 0, '>', 0,
       'who is not banned gets it');
$c->call('user', name => 'stream_1-r0', user => 'stream_1-r0');

# the ledger, behind its back

$report = $c->judge();

my $room = $c->site->pg->sql(
    "select id from chat_chatroom where name = 'stream_1'");

# messages of somebody who got an ack for them, one after the other

my @some = map { $_->[0] } $c->site->pg->sql(
    "select e.seq from fcchat_event e join chat_chatmessage m"
    . " on m.id = e.message_id where e.room_id = $room and e.cid is not null"
    . " and e.kind = 'message' and not m.is_deleted"
    . " and m.content like 'stream_1|stream_1-s%' order by e.seq limit 40");

doctored('a row deleted', 'lost', "delete from fcchat_event"
         . " where room_id = $room and seq = $some[10]");
doctored('and delivered', 'phantom');
doctored('and not numbered', 'row_unnumbered');
doctored('leaves a hole', 'row_hole');
doctored('two rows exchanged', 'wrong_number',
         "update fcchat_event e set message_id = f.message_id"
         . " from fcchat_event f where e.room_id = $room"
         . " and e.seq in ($some[20], $some[21]) and f.room_id = $room"
         . " and f.seq = $some[20] + $some[21] - e.seq");
doctored('and their texts', 'divergent');
doctored('a row twice', 'row_twice',
         'insert into chat_chatmessage (room_id, user_id, content,'
         . ' message_type, is_deleted, is_pinned, created_at)'
         . ' select room_id, user_id, content, message_type, false, false,'
         . " now() from chat_chatmessage where room_id = $room limit 1");
doctored('a row changed', 'lost',
         "update chat_chatmessage m set content = 'another'"
         . " from fcchat_event e where e.message_id = m.id"
         . " and e.room_id = $room and e.seq = $some[30]");

# What is deleted before a page has it does not come to the page: that is no
# reason to wait for it.

is(run_quiet({}, 'python3', '-c', <<'EOF', top() . '/t/fault'),
import sys, types
sys.path.insert(0, sys.argv[1])
from client import Client, Event, Page
from moderator import Moderator
run = types.SimpleNamespace()
def made(kind, **o):
    return kind(run, dict(name="n", cookie="", node=("", 0), path="", room="r",
                          **o))
page, mod = made(Page), made(Moderator, moderates="all")
run.clients = [made(Client), page, mod]
for text in "ab":
    page.waiting[text] = [0, False]
print(page.settled())
mod.draw_delete(Event(1, "message", 1, "a", ""), 0)
print(page.settled())
mod.draw_delete(Event(2, "message", 2, "b", ""), 0)
print(page.settled())
EOF
   "False\nFalse\nTrue\n", 'a page does not wait for what was deleted');

# A page of a log that has gone back has less than was asked for, until it is
# told that it is another one.

is(run_quiet({}, 'python3', '-c', <<'EOF', top() . '/t/fault'),
import collections, sys, types
sys.path.insert(0, sys.argv[1])
from judge import Judge
from moderator import Moderator
run = types.SimpleNamespace()
mod = Moderator(run, dict(name="n", cookie="", node=("", 0), path="", room="r",
                          moderates="messages", since=("old", 9)))
mod.page = 10
mod.came({"before": 10, "messages": []})
for epoch in "old", "new":
    ledger = types.SimpleNamespace(heads={"r": (epoch, 9)}, bans={},
                                   rows=collections.defaultdict(dict),
                                   deleted=collections.defaultdict(dict))
    judge = Judge(run, ledger, 1)
    judge.mine = collections.Counter(mod.anomalies)
    judge.v1(mod)
    print(judge.mine["hole"])
EOF
   "1\n0\n", 'a page of a log that is gone is none with a hole');


sub come {
    my ($i) = @_;

    my ($kind, $how) = @{$seeded[$i]};
    my $n = $late{$kind} || $how eq 'page' ? 1
            : $few{$kind} ? 1 + int rand 3 : 5 + int rand 60;

    $c->moderator('stream_1', "x$i-m0") if $how eq 'page';
    $c->add('stream_1', name => "x$i-", port => $proxy->port(),
            headers => ["X-Fault: $kind $n"],
            $late{$kind} ? (since => [$c->heads()->{stream_1}[0], 0]) : (),
            $how eq 'old' ? (old => 1)
                          : $how eq 'page' ? (moderates => 'messages')
                          : $kind eq 'ack' ? (senders => 1) : (readers => 1));

    return;
}


sub pins_deleted {
    our $from //= $c->heads()->{stream_1}[1];

    return $c->site->pg->sql(
        'select count(*) from fcchat_event p, fcchat_event d'
        . " where p.kind = 'pin' and d.kind = 'delete'"
        . ' and p.message_id = d.message_id and p.seq < d.seq'
        . " and exists (select from fcchat_event m where m.kind = 'message'"
        . " and m.message_id = p.message_id and m.seq > $from)");
}


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

    my ($kind, $at) = @{$state->{fault}};
    my $whole = packed($frame);

    return '' if $state->{stalled} && $frame->{op} == 1;
    return $whole if $frame->{op} != 1 || !known($state, $frame->{payload})
                     || !hurts($kind, $frame->{payload});

    my $last = $state->{last};
    my $n = ++$state->{n};

    $state->{last} = $frame->{payload};

    if ($n != $at) {
        return $whole . (delete($state->{later}) // '');
    }

    FC::Proxy::tell("$kind $n");

    return '' if $kind =~ /drop|omit/;
    return $whole x 2 if $kind =~ /repeat|again/;

    if ($kind =~ /swap|later/) {
        $state->{later} = $whole;
        return '';
    }

    if ($kind eq 'stall') {
        $state->{stalled} = 1;
        return '';
    }

    return $whole . packed($frame, $last) if $kind eq 'replay';

    my $payload = changed($kind, $frame->{payload}, $last);

    return ($kind eq 'forge' ? $whole : '') . packed($frame, $payload);
}


# An old page can't miss what it was told of before its first text.

sub known {
    my ($state, $payload) = @_;

    return $state->{known}
               ||= $payload =~ /"type":"|"message_type":\s*"message"/;
}


# Whether it is a frame for that: of messages none that may be deleted.

sub hurts {
    my ($kind, $payload) = @_;

    our %texts;

    my $type = $kind eq 'ack' ? 'ack'
               : $kind =~ /undelete|leaf|page/ ? 'none'
               : $few{$kind} || $kind eq 'unpin' ? 'moderation' : 'message';

    $texts{$1} = $2
        if $payload =~ /\A\{"type":"message",.*?"id":(\d+),.*"text":"([^"]+)"/;

    if ($kind eq 'undelete') {
        return $payload =~ /"id":(\d+),.*"message_type":"deleted"/
               && $texts{$1};
    }

    if ($kind eq 'unpin') {
        return $payload =~ /"action":"pin".*"target":.*?"id":(\d+),.*"text":""/
               && $texts{$1};
    }

    if ($kind =~ /leaf|page/) {
        return $payload =~ /"type":"history"/
               && ($kind eq 'leaf' || page($payload) ne $payload);
    }

    return 0 if $payload !~ /"(?:message_)?type":\s*"$type"/;

    return $payload =~ /"action":"pin".*"text":"stream/ if $kind eq 'shown';
    return $payload =~ /"action":"(?:delete|pin|unpin)"/
        if $kind =~ /action|target|reason/;

    return $type ne 'message' || $payload =~ /[13579]\|\.*"/;
}


sub changed {
    my ($kind, $payload, $last) = @_;

    our %texts;

    if ($kind eq 'exchange') {
        my ($text) = $last =~ /(stream_1\|[^"]*)/;

        return $payload =~ s/stream_1\|[^"]*/$text/r;
    }

    if ($kind eq 'erase') {
        return $payload =~ s/"user":.*/"user":null,"text":"",/r
               . '"message_type":"deleted"}';
    }

    if ($kind eq 'leaf') {
        my $m = FC::WS::json()->decode($payload);

        splice @{$m->{messages}}, 1, 1;
        return FC::WS::json()->encode($m);
    }

    return page($payload) if $kind eq 'page';

    if ($kind =~ /undelete|unpin/) {
        my ($id) = $payload =~ /"id":(\d+),"(?:user":(?:null|\{)|target)/;

        ($id) = $payload =~ /"target":.*?"id":(\d+)/ if $kind eq 'unpin';
        $payload =~ s/,"message_type":"deleted"//;
        $payload =~ s/"text":""/"text":"$texts{$id}"/;
    }

    $payload =~ s/("seq":)(\d+)/$1 . ($2 + 1)/e if $kind =~ /number|ack|forge/;
    $payload =~ s/stream_1\|\w/stream_1|forged/ if $kind eq 'forge';
    $payload =~ s/stream_1\|/stream_1|not/ if $kind eq 'text';
    $payload =~ s/("reason":"stream_1\|)/$1not/ if $kind eq 'reason';
    $payload =~ s/("text":"stream_1\|)/$1not/ if $kind eq 'shown';
    $payload =~ s/stream_1\|/stream_2|/ if $kind eq 'room';
    $payload =~ s/("id":)(\d+)/$1 . ($2 + 1)/e if $kind eq 'id';
    $payload =~ s/("target":.*?"id":)(\d+)/$1 . ($2 + 1)/e
        if $kind eq 'target';
    $payload =~ s/("action":")\w+/$1slow/ if $kind eq 'action';
    $payload = substr $payload, 0, -3 if $kind eq 'truncate';

    return $payload;
}


# A page of the history with the text of a message that is deleted on it.

sub page {
    my ($payload) = @_;

    our %texts;

    for my $id ($payload =~ /"action":"delete".*?"target":.*?"id":(\d+)/g) {
        my $text = $texts{$id} // next;

        return $payload
            if $payload =~ s/("id":$id,"user":(?:null|\{[^{}]*\}),"text":")
                             ("[^{}]*)deleted"/$1$text$2message"/x;
    }

    return $payload;
}
