#!/usr/bin/perl

# The watch page of the demo in a real browser: two windows, two users, the
# real server behind them.  FCCHAT_DEMO_URL names a running demo to use
# instead of one of its own.

use strict;
use warnings;
use utf8;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/browser";

use Chrome;
use Demo;
use Xss;

binmode $_, ':utf8'
    for Test::More->builder->output, Test::More->builder->failure_output;

plan skip_all => 'chromium is not installed' unless Chrome->program();

my $demo = Demo->new();
my $chrome = Chrome->new();

# what the page hands to its socket, and a way to lose it

my $PROBE = <<'JS';
window.hacked = 0;
window.sockets = [];
window.sent = [];
window.lose = 0;
window.WebSocket = class extends WebSocket {
    constructor(...args) {
        super(...args);
        window.sockets.push(this);
    }
    send(text) {
        window.sent.push(JSON.parse(text));
        if (window.lose) {
            window.lose = 0;
            this.close(4001);
            return;
        }
        super.send(text);
    }
};
JS

my $ONLINE = 'document.body.dataset.state === "online"';


sub js {
    my ($value) = @_;
    return JSON::PP->new->ascii->allow_nonref->encode($value);
}


sub open_window {
    my ($language, %query) = @_;

    my $w = $chrome->window($demo->url(%query),
        language => $language, probe => $PROBE);

    ok($w->wait_for($ONLINE), "$query{user} is connected");
    return $w;
}


# how often a text stands in the list, confirmed by the server

sub shown {
    my ($text) = @_;

    return '[...document.querySelectorAll(".msg:not(.pending) .text, '
        . '.note .text")].filter(e => e.textContent === '
        . js($text) . ').length';
}


SKIP: {
    skip 'another demo than ours', 2 unless $demo->taken();

    my ($address, $port) = $demo->url() =~ m!//([\w.]+):(\d+)/!;

    is($address, '127.0.0.2', 'the demo listens where it is told to');
    cmp_ok($port, '>', $demo->taken(), 'at the next free port');
}


# two windows that share one cookie jar are two users

my $alice = open_window('en-US', user => 'alice');
my $bob = open_window('ja-JP', user => 'bob');

is($alice->value('document.getElementById("user").value'), 'alice',
    'the first window is alice');
is($bob->value('document.getElementById("user").value'), 'bob',
    'the second window is bob');
is($alice->value('document.documentElement.lang'), 'en', 'in English');
is($bob->value('document.documentElement.lang'), 'ja', 'in Japanese');
ok($alice->wait_for('document.getElementById("viewers").textContent'
    . '.replace(/\D/g, "") >= 2'), 'two viewers at least');


# messages

my $hello = "こんにちは！ 👋 from $$";

$alice->say($hello);

ok($bob->wait_for(shown($hello)), 'bob sees what alice said');
ok($alice->wait_for(shown($hello)), 'so does alice');
is($alice->value('document.querySelectorAll(".pending").length'), 0,
    'nothing is left pending');
is($alice->value('document.getElementById("text").value'), '',
    'the input is empty again');
is($bob->value('[...document.querySelectorAll(".msg")].at(-1)'
    . '.querySelector(".name").textContent'), 'alice', 'under her name');
is($alice->value('document.querySelector(".msg.own") !== null'), 1,
    'as her own');
is($bob->value('document.querySelector(".msg.own")'), undef,
    'but not as his');


# S23: markup is text

my @markup = (
    '<script>window.hacked = 1</script>',
    '<img src=x onerror="window.hacked = 1">',
    '"><svg/onload=window.hacked=1>&lt;b&gt;&amp;amp;',
);

for my $text (@markup) {
    $bob->say($text);
    ok($alice->wait_for(shown($text)), "shown as typed: $text");
}

is($_->value('window.hacked + document.querySelectorAll('
    . '"#messages script, #messages img, #messages svg").length'), 0,
    'no markup in the list, nothing has run') for $alice, $bob;


# stamps

for my $stamp (1, 4) {
    my $floats = "document.querySelector('.float[data-stamp=\"$stamp\"]')";

    $bob->click(".stamps [data-stamp=\"$stamp\"]");
    ok($alice->wait_for("$floats !== null"), "stamp $stamp rises at alice's");
    ok($bob->wait_for("$floats !== null"), 'and at bob\'s');
    ok($alice->wait_for("$floats.querySelector('img').naturalWidth > 0"),
        'its picture is there');
    ok($alice->wait_for("$floats === null"), 'and it goes');
}


# the input

$alice->type('にほんご');
$alice->value('document.getElementById("text").dispatchEvent('
    . 'new KeyboardEvent("keydown", { key: "Enter", isComposing: true, '
    . 'bubbles: true, cancelable: true }))');
is($alice->value('document.getElementById("text").value'), 'にほんご',
    'the Enter of an input method sends nothing');
$alice->enter();
ok($bob->wait_for(shown('にほんご')), 'the next one does');

$alice->type('𠮷' x 500);
is($alice->value('document.getElementById("send").disabled'), 0,
    '500 code points may be sent');
$alice->type('x');
is($alice->value('document.getElementById("send").disabled'), 1,
    '501 may not');
$alice->enter();
is($alice->value('[...document.getElementById("text").value].length'), 501,
    'and stay in the input');
$alice->value('document.getElementById("text").value = ""');


# a lost message is sent again, as the same one

my $lost = "lost on the way $$";

$alice->value('window.lose = 1');
$alice->say($lost);
ok($bob->wait_for(shown($lost)), 'a message survives its connection');
ok($alice->wait_for(shown($lost) . ' && ' . $ONLINE), 'alice is back');
is($alice->value('new Set(window.sent.filter(m => m.text === ' . js($lost)
    . ').map(m => m.cid)).size'), 1, 'with one cid');
is($bob->value(shown($lost)), 1, 'and stands there once');
like($alice->value('window.sockets.at(-1).url'), qr/[?&]since=[^:]+:\d+$/,
    'the new socket asks for what was missed');


# what was said meanwhile

my $meanwhile = "meanwhile $$";

$alice->value('window.sockets.at(-1).close(4001)');
$bob->say($meanwhile);
ok($alice->wait_for($ONLINE), 'alice is back again');
ok($alice->wait_for(shown($meanwhile)), 'and has what she missed');
is($alice->value(shown($hello)), 1, 'nothing twice');
is($alice->value('document.querySelectorAll(".note.gap").length'), 0,
    'and no gap');


# a reader who has scrolled up is left in peace

$bob->size(1280, 420);
ok($bob->wait_for('innerHeight === 420'), 'a low window');

# the page follows the end when its size changes: until it has stopped to

$bob->wait_for('(() => { const s = document.getElementById("scroller");'
    . 'if (s.scrollTop || s.scrollHeight <= s.clientHeight + 60) {'
    . ' s.scrollTop = window.calm = 0; }'
    . 'return (window.calm = (window.calm || 0) + 1) > 10; })()');
$alice->say('news');
ok($bob->wait_for('!document.getElementById("newer").hidden'),
    'a pill tells of news');
is($bob->value('document.getElementById("scroller").scrollTop'), 0,
    'the list stays where it is');
$bob->click('#newer');
ok($bob->wait_for('document.getElementById("newer").hidden'),
    'the pill leads to the end');
$bob->size(1280, 800);


# "do not reconnect" is respected

my $sockets = $bob->value('window.sockets.length');

$bob->value('window.sockets.at(-1).close(4403)');
ok($bob->wait_for('document.body.dataset.state === "closed"'),
    'closed for good');
sleep 2;
is($bob->value('window.sockets.length'), $sockets, 'no reconnect');
like($bob->value('document.getElementById("notice-text").textContent'),
    qr/禁止/, 'the reason is told in Japanese');
$bob->click('#notice-action');
ok($bob->wait_for($ONLINE), 'until the viewer asks for it');


# the old protocol, beside the new one

my $old = open_window('ja-JP', user => 'bob', old => 1);
my $both = qq{old & new: <b> "double" 'single' &lt; $$};

is($old->value('window.sockets[0].protocol'), '', 'no subprotocol');
$old->say($both);
is($old->value('Object.keys(window.sent[0]).join()'), 'message',
    'the frame of the seed\'s page');
ok($old->wait_for(shown($both)), 'old to old');
ok($alice->wait_for(shown($both)), 'old to new');
$alice->say("$both!");
ok($old->wait_for(shown("$both!")), 'new to old');
$alice->click('.stamps [data-stamp="2"]');
ok($old->wait_for('document.querySelector(".float[data-stamp=\"2\"]")'
    . '!== null'), 'a stamp too');
is($old->value('window.hacked'), 0, 'nothing has run');


# S23: a corpus of what would run if a page took it for markup, to this page
# and to a careless one, which puts what the old protocol brings into innerHTML

my $boss = open_window('en-US', user => 'streamer');
my @corpus = map { "$_ $$" } Xss::payloads();

cmp_ok(scalar @corpus, '>=', 100, 'S23: a hundred texts and more');

$old->value('window.careless = document.body.appendChild('
    . 'document.createElement("div")); window.sockets.at(-1)'
    . '.addEventListener("message", e => { const m = JSON.parse(e.data); '
    . 'window.careless.insertAdjacentHTML("beforeend", `<p title="${m.username}">'
    . '${m.message}</p>`); })');
$boss->value('(texts => { texts.forEach((text, i) => window.sockets.at(-1).send('
    . 'JSON.stringify({ type: "message", text, cid: "xss" + i }))); })('
    . js(\@corpus) . ')');

for my $w ($alice, $bob, $old) {
    ok($w->wait_for('(texts => { const all = new Set([...document'
        . '.querySelectorAll(".text")].map(e => e.textContent)); '
        . 'return texts.every(t => all.has(t)); })(' . js(\@corpus) . ')', 30),
        'S23: all are shown as typed');
    is($w->value('window.hacked'), 0, 'S23: none has run');
    is($w->value('document.querySelectorAll(".text *").length'), 0,
        'S23: nor is markup');
}

is($old->value('window.careless.querySelectorAll("p").length >= '
    . scalar @corpus), 1, 'S23: the careless page has them all');
is($old->value('window.careless.querySelectorAll(":not(p)").length'), 0,
    'S23: as text');
$old->value('window.careless.remove()');


# a moderator

my $mod = open_window('en-US', user => 'streamer');

sub act {
    my ($text, $action) = @_;

    my $row = '[...document.querySelectorAll(".msg")].find(m => '
        . 'm.querySelector(".text").textContent === ' . js($text) . ')';

    ok($mod->wait_for("$row ?. querySelector('[data-act=\"$action\"]')"),
        "the moderator finds $action");
    $mod->value("void $row.querySelector('[data-act=\"$action\"]').click()");
}

is($alice->value('getComputedStyle(document.querySelector(".acts")).display'),
    'none', 'who may not moderate has no menu');
is($mod->value('document.getElementById("pace").hidden'), 0,
    'the moderator chooses the pace');

my $spam = "spam $$";

$alice->say($spam);
ok($bob->wait_for(shown($spam)), 'something to delete');
act($spam, 'delete');
ok($_->wait_for(shown($spam) . ' === 0'), 'it is gone') for $bob, $alice, $mod;
ok($bob->wait_for('document.querySelector(".msg.deleted") !== null'),
    'with a word in its place');
ok($alice->wait_for('document.querySelector(".note.moderation .name")'
    . '?.textContent === "streamer"'), 'who did it is told');

my $pinned = "<i>pinned</i> $$";

$alice->say($pinned);
act($pinned, 'pin');
ok($_->wait_for('document.querySelector("#pins .text")?.textContent === '
    . js($pinned)), 'pinned, as it was typed') for $bob, $alice;
is($bob->value('document.querySelector("#pins button")'), undef,
    'it is not bob\'s to unpin');

my $late = open_window('en-US', user => '花子');

ok($late->wait_for('document.querySelector("#pins .text")?.textContent === '
    . js($pinned)), 'who comes later sees it');
ok($mod->wait_for('document.querySelector("#pins button")'),
    'the moderator may unpin');
$mod->value('void document.querySelector("#pins button").click()');
ok($_->wait_for('document.getElementById("pins").hidden'), 'unpinned')
    for $bob, $late;

$mod->value('(() => { const p = document.getElementById("pace"); '
    . 'p.value = "5"; p.dispatchEvent(new Event("change")); })()');
ok($alice->wait_for('!document.getElementById("slow").hidden'),
    'slow mode is shown');
$alice->say("slow one $$");
ok($bob->wait_for(shown("slow one $$")), 'the first goes through');
$alice->say("slow two $$");
ok($alice->wait_for('/Slow mode.* [0-9.]+ s/.test(document.getElementById('
    . '"notice-text").textContent)'), 'the second has to wait');

my $wait = 'parseFloat(document.getElementById("notice-text").textContent'
    . '.replace(/^\D+/, ""))';
my $before = $alice->value($wait);

ok($alice->wait_for("$wait < $before || document.getElementById('notice')"
    . '.hidden'), 'the time counts down');
$alice->value('document.getElementById("text").value = ""');
$mod->value('(() => { const p = document.getElementById("pace"); '
    . 'p.value = "0"; p.dispatchEvent(new Event("change")); })()');
ok($alice->wait_for('document.getElementById("slow").hidden'), 'and is over');

my $loud = "loud $$";

$late->say($loud);
act($loud, 'timeout');
ok($late->wait_for('/ muted /.test([...document.querySelectorAll('
    . '".note.moderation")].at(-1)?.textContent)'), 'muted');
$late->say('muted');
ok($late->wait_for('/muted/.test(document.getElementById("notice-text")'
    . '.textContent)'), 'and told so');

$mod->value('window.confirm = () => true');
act($loud, 'ban');
ok($late->wait_for('document.body.dataset.state === "closed"'), 'banned');
is($late->value(shown($loud)), 1, 'what was said stays');


# who is banned, and the way back

is($alice->value('document.getElementById("bans-open").hidden'), 1,
    'the list is not for alice');
$mod->click('#bans-open');
ok($mod->wait_for('[...document.querySelectorAll("#bans .ban .badge")].map('
    . 'e => e.textContent).sort().join() === "Banned,Muted"'),
    'the moderator sees a ban and a timeout');
is($mod->value('[...new Set([...document.querySelectorAll('
    . '"#bans .ban .name")].map(e => e.textContent))].join()'), '花子',
    'and whose they are');
is($mod->value('document.querySelector("#bans .ban small").textContent'),
    'until it is undone · by streamer', 'until when and by whom');
$mod->click('#bans .ban .button');
ok($mod->wait_for('!document.getElementById("bans-note").hidden'),
    'undone, both of them');
$mod->click('#bans-close');
is($mod->value('document.getElementById("bans").open'), 0, 'closed');
ok($alice->wait_for('[...document.querySelectorAll(".note.moderation .text")]'
    . '.at(-1)?.textContent === "lifted the ban of 花子."'), 'all are told');
$late->click('#notice-action');
ok($late->wait_for($ONLINE), 'and she is back');


# who comes and goes

my $note = '[...document.querySelectorAll(".note.%s .text")].at(-1)'
    . '?.textContent === "花子 has %s"';

$late->close();
ok($alice->wait_for(sprintf($note, 'leave', 'left'), 40), 'she leaves');
$late = open_window('en-US', user => '花子');
ok($alice->wait_for(sprintf($note, 'join', 'joined'), 20), 'and joins');


# the width of a phone

$alice->size(375, 700);
ok($alice->wait_for('innerWidth === 375'), 'fits the width of a phone');
is($alice->value('document.documentElement.scrollWidth'), 375,
    'without scrolling sideways');
is($alice->value('(() => { const b = document.getElementById("send")'
    . '.getBoundingClientRect(); return b.bottom <= 700 && b.right <= 375; '
    . '})()'), 1, 'the input is in view');
$alice->say('from a phone');
ok($bob->wait_for(shown('from a phone')), 'and works');


is_deeply([ $_->complaints() ], [], 'no error in the console')
    for $alice, $bob, $old, $mod;

$chrome->stop();
ok($demo->stop(), 'the demo ends when it is told to');

done_testing();
