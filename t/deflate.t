#!/usr/bin/perl

# fcchat_deflate: permessage-deflate (RFC 7692) is agreed on or declined, a
# message is compressed once for all who read it so, and what comes compressed
# is inflated within the bounds of any other message.
#
# S17 of SECURITY.md.

use warnings;
use strict;
use utf8;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

use constant OFFER => 'permessage-deflate';
use constant ANSWER => 'permessage-deflate; server_no_context_takeover'
                       . '; client_no_context_takeover';

# bytes of a message, as fcchat_message_length has it

use constant MAX => 12 * 500 + 1024;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(89);

my $site = FC::Site->new($t, pg => {}, http => <<'END', more => <<'END2');
    fcchat_deflate on;
    fcchat_history 4;
    fcchat_guests read;
END
        location /echo {
            fcchat_echo;
        }

        location /kept {
            fcchat_echo;
            fcchat_detach off;
        }

        location /off {
            fcchat_echo;
            fcchat_deflate off;
        }

        location ~ ^/raw/(?<name>\w+)/$ {
            fcchat;
            fcchat_room $name;
            fcchat_html_escape off;
        }
END2

$t->run();


sub hello {
    my ($offer, @o) = @_;

    return FC::WS->connect(port => port(8080), path => '/echo',
                           extensions => $offer, @o);
}

sub answer {
    return hello(@_)->header('Sec-WebSocket-Extensions');
}

sub deflated {
    return FC::WS::deflated(@_);
}

# one compressed message, however many frames

sub send_deflated {
    my ($ws, $op, $packed, @at) = @_;

    my $rsv = 4;
    my $from = 0;

    for my $to (@at, length $packed) {
        $ws->send_frame(op => $op, rsv => $rsv, fin => $to == length $packed,
                        payload => substr($packed, $from, $to - $from));
        ($op, $rsv, $from) = (0, 0, $to);
    }
}

sub code {
    my ($ws) = @_;

    return ($ws->recv_close())[0];
}


# the handshake

is(answer(OFFER, path => '/off'), undef, 'off');
is(answer(undef), undef, 'nothing is offered');
is(answer('x-webkit-deflate-frame'), undef, 'something else is');
is(answer(OFFER), ANSWER, 'agreed');
is(answer(OFFER . '; client_max_window_bits'), ANSWER, 'as a browser asks');
is(answer(OFFER . '; server_max_window_bits=10'),
   ANSWER . '; server_max_window_bits=10', 'a smaller window');
is(answer(OFFER . '; server_max_window_bits=8'), undef, 'one that zlib lacks');
is(answer(OFFER . '; server_max_window_bits=8, ' . OFFER), ANSWER,
   'the next offer is better');
is(answer(OFFER . '; foo'), undef, 'an unknown parameter');
is(answer(OFFER . '; server_no_context_takeover=1'), undef,
   'a value where none belongs');
is(answer(OFFER . '; client_max_window_bits; client_max_window_bits'), undef,
   'a parameter twice');
is(answer('foo, ' . OFFER . '; bar',
          headers => ['Sec-WebSocket-Extensions: ' . OFFER]), ANSWER,
   'offers in two headers');
is(hello(OFFER . '; a b')->status(), 400, 'no list of extensions');
is(hello(OFFER, headers => ['Sec-WebSocket-Extensions: ;'])->status(), 400,
   'nor one in the second header');

# there and back

my $text = join '', map { "こんにちは $_ " } 1 .. 100;

for my $path (qw(/echo /kept)) {
    my $ws = hello(OFFER, path => $path);

    send_deflated($ws, 1, deflated($text));

    my $m = $ws->recv_message();

    is($m->{payload}, $text, "$path: a message that is compressed");
    is($m->{rsv}, 4, "$path: so is the answer");
    cmp_ok(length $m->{packed}, '<', 800, "$path: which is shorter");

    $ws->send_text($text);
    is($ws->recv_message()->{payload}, $text, "$path: one that is not");

    send_deflated($ws, 2, deflated("\x00\xff" x 300), 1, 2, 9);
    $m = $ws->recv_message();
    is($m->{payload}, "\x00\xff" x 300, "$path: in fragments");
    is("$m->{op} $m->{fin}", '2 1', "$path: one frame out");
}

my $ws = hello(OFFER);

send_deflated($ws, 1, deflated('short'));
is_deeply($ws->recv(), { op => 1, fin => 1, rsv => 0, masked => 0,
                         payload => 'short' }, 'a short one stays');

send_deflated($ws, 1, "\x00");
is($ws->recv()->{payload}, '', 'an empty one');

$ws->send_frame(op => 1, rsv => 4, fin => 0,
                payload => substr(deflated('ab' x 200), 0, 3));
$ws->send_ping('between');
is($ws->recv()->{payload}, 'between', 'a ping inside of one');
$ws->send_frame(op => 0, payload => substr(deflated('ab' x 200), 3));
is($ws->recv_message()->{payload}, 'ab' x 200, 'which goes on');

my $random = join '', map { chr int rand 256 } 1 .. 1000;

send_deflated($ws, 2, deflated($random));
is_deeply($ws->recv(), { op => 2, fin => 1, rsv => 0, masked => 0,
                         payload => $random }, 'what gets no shorter stays');

my $wide = join('', map { chr(97 + rand 26) } 1 .. 700) x 4;

for my $bits (9, 10, 12, 15) {
    my $ws = hello(OFFER . "; server_max_window_bits=$bits");

    send_deflated($ws, 1, deflated($wide, $bits));
    is($ws->recv_message()->{payload}, $wide, "a window of $bits bits");
}

# many that are unfinished at once

my @many = map { hello(OFFER) } 1 .. 20;
my @packed = map { deflated("message $_ " x 50) } 0 .. $#many;

$many[$_]->send_frame(op => 1, rsv => 4, fin => 0,
                      payload => substr($packed[$_], 0, 7)) for 0 .. $#many;
$many[$_]->send_frame(op => 0, payload => substr($packed[$_], 7))
    for reverse 0 .. $#many;

is(join(' ', map { substr $_->recv_message()->{payload}, 0, 10 } @many),
   join(' ', map { substr "message $_ " x 50, 0, 10 } 0 .. $#many),
   'messages of many sockets in pieces');

# what is wrong

sub fails {
    my ($name, $want, @frames) = @_;

    my $ws = hello(OFFER);

    $ws->send_frame(@$_) for @frames;
    is(code($ws), $want, $name);
}

fails('RSV1 in a continuation', 1002,
      [op => 1, rsv => 4, fin => 0, payload => 'x'], [op => 0, rsv => 4]);
fails('RSV1 in a continuation of what is not compressed', 1002,
      [op => 1, fin => 0, payload => 'x'], [op => 0, rsv => 4]);
fails('RSV1 in a ping', 1002, [op => 9, rsv => 4]);
fails('RSV1 in a Close', 1002, [op => 8, rsv => 4]);
fails('RSV2', 1002, [op => 1, rsv => 2]);
fails('RSV1 and RSV3', 1002, [op => 1, rsv => 5]);
fails('no deflate data', 1007, [op => 1, rsv => 4, payload => "\xff\xff"]);
fails('deflate data cut off', 1007,
      [op => 1, rsv => 4, payload => substr deflated('Hello'), 0, 4]);
fails('nothing where something is due', 1007, [op => 1, rsv => 4]);
fails('text that is not UTF-8', 1007,
      [op => 1, rsv => 4, payload => deflated("a\xff" x 100)]);
fails('text that ends inside of a character', 1007,
      [op => 1, rsv => 4, payload => deflated("a\xe3\x81")]);
fails('a reference to the message before', 1007,
      [op => 1, rsv => 4, payload => "\xf2\x48\xcd\xc9\xc9\x07\x00"],
      [op => 1, rsv => 4, payload => "\xf2\x00\x11\x00\x00"]);

$ws = hello(OFFER, path => '/off');
$ws->send_frame(op => 1, rsv => 4, payload => deflated('x'));
is(code($ws), 1002, 'RSV1 that was not agreed on');

$ws = hello(OFFER);
send_deflated($ws, 1, deflated('A' x MAX));
is(length $ws->recv_message()->{payload}, MAX, 'as large as may be');
send_deflated($ws, 1, deflated('A' x (MAX + 1)));
is(code($ws), 1009, 'and one byte more');

# many that are legal and small, and not small any more

$ws = hello(OFFER);

my $beside = hello(OFFER);
my $small = FC::WS::frame(op => 1, rsv => 4, payload => deflated('A' x MAX));

$ws->send_raw($small x 256);
is(scalar(grep { length $_->{payload} == MAX }
          map { $ws->recv_message() // { payload => '' } } 1 .. 256), 256,
   '256 times the limit in a second');
$ws->drop();

$ws = hello(OFFER);
$ws->send_raw($small x 257);
$beside->send_text('beside');
is($beside->recv_message()->{payload}, 'beside', 'a socket beside it');
is(code($ws), 1008, 'more than 256 times the limit in a second');

fails('a bomb', 1009, [op => 1, rsv => 4, payload => deflated("\0" x 4e6)]);
fails('too large as it is sent', 1009,
      [op => 1, rsv => 4, payload => 'x' x (MAX + 1)]);

# a room: each encoding, compressed and not

my %readers = map {
    my ($name, @o) = @$_;

    ($name => $site->join('bob', @o),
     "$name, compressed" => $site->join('bob', @o, extensions => OFFER),
     "$name, small" => $site->join('bob', @o, extensions => OFFER
                                   . '; server_max_window_bits=9'))
} ['old'], ['raw', path => '/raw/stream_1/'], ['v1', protocol => 'fcchat.v1'];

my $guest = $site->join(undef, protocol => 'fcchat.v1', extensions => OFFER);
my $alice = $site->join('alice', protocol => 'fcchat.v1', extensions => OFFER);

my $welcome = $alice->recv_json();

is($welcome->{type}, 'welcome', 'welcome is compressed, or not');

my $said = '<b>' . join('', map { "吾輩は猫である $_ " } 1 .. 20);

sub say_it {
    my ($said, $cid) = @_;

    my $json = FC::WS::json()->encode({ type => 'message', text => $said,
                                        cid => $cid });

    utf8::encode($json);
    send_deflated($alice, 1, FC::WS::deflated($json));

    return $alice->recv_until(sub { $_[0]{type} eq 'ack' })->{seq};
}

# the next message of the room as it is on the wire

sub heard {
    my ($ws) = @_;

    for ( ;; ) {
        my $m = $ws->recv_message() or return {};
        my $data = FC::WS::decoded($m);

        return { %$m, data => $data }
            if ($data->{type} // $data->{message_type}) eq 'message';
    }
}

is(say_it($said, 'c1'), 1, 'said by one who compresses');

my %heard = map { $_ => heard($readers{$_}) } keys %readers;

for my $name (qw/old raw v1/) {
    my ($plain, $packed, $small)
        = map { $heard{"$name$_"} } '', ', compressed', ', small';

    is_deeply($packed->{data}, $plain->{data}, "$name: the same message");
    is_deeply($small->{data}, $plain->{data}, "$name: and by a small window");
    is("$plain->{rsv} $packed->{rsv} $small->{rsv}", '0 4 0',
       "$name: compressed where it was agreed on");
    utf8::encode($plain->{payload});
    cmp_ok(length $packed->{packed}, '<', length($plain->{payload}) / 2,
           "$name: it is worth it");
}

is($heard{old}{data}{message} =~ /^&lt;b/ ? 1 : 0, 1, 'escaped in one');
is($heard{raw}{data}{message} =~ /^<b/ ? 1 : 0, 1, 'and not in the other');
is(heard($guest)->{packed}, $heard{'v1, compressed'}{packed},
   'the same bytes for all');

is(say_it('short', 'c2'), 2, 'a short message');
is(heard($readers{'old, compressed'})->{rsv}, 0,
   'is not compressed for the old page');

# what was missed, from this worker's log and from PostgreSQL; with pages of
# history, which is for one reader alone

say_it("$said $_", "d$_") for 3 .. 6;

sub since {
    my ($seq, @o) = @_;

    my $ws = $site->join('bob', protocol => 'fcchat.v1', @o,
                         query => "since=$welcome->{epoch}:$seq");
    my @got;

    while (@got < 6 - $seq) {
        my $m = heard($ws);

        last if !$m->{data};
        push @got, "$m->{data}{seq}/$m->{rsv}";
    }

    return "@got";
}

is(since(2, extensions => OFFER), '3/4 4/4 5/4 6/4', 'coming back');

my $old = $site->join('bob', extensions => OFFER);

is(join(' ', map { heard($old)->{rsv} } 1 .. 4), '4 4 4 4',
   'an old page is sent the last ones');

$alice->send_json({ type => 'history', limit => 4 });

my $page;

do { $page = $alice->recv_message() } until !$page
    || FC::WS::decoded($page)->{type} eq 'history';

is($page->{rsv}, 4, 'a page of history is compressed');
is(join(' ', map { $_->{seq} } @{FC::WS::decoded($page)->{messages}}),
   '3 4 5 6', 'and whole');

# a reaction, which old pages are shown one by one

$alice->send_json({ type => 'reaction', stamp_id => 1 });

for my $name ('old', 'old, compressed', 'v1, compressed') {
    ok($readers{$name}->recv_until(sub { ($_[0]{type} // '')
                                         =~ /^reactions?$/ }),
       "a reaction reaches $name");
}

# what is deleted is gone from the compressed log as well

$site->django()->user('boss', is_staff => 1);

my $boss = $site->join('boss', protocol => 'fcchat.v1', extensions => OFFER);

$boss->recv_json();
$boss->send_json({ type => 'delete', seq => 5, cid => 'm1' });
is($boss->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ })->{seq}, 7,
   'a message is deleted');

for my $name ('v1', 'v1, compressed') {
    is($readers{$name}->recv_until(sub { $_[0]{type} eq 'moderation' })
       ->{target}{seq}, 5, "$name: told");
}

for my $o ([], [extensions => OFFER]) {
    my $ws = $site->join('bob', protocol => 'fcchat.v1', @$o,
                         query => "since=$welcome->{epoch}:4");
    my @got = map { $ws->recv_until(sub { $_[0]{type} =~ /^mess|^mod/ }) }
              1 .. 3;

    is(join(' ', map { ($_->{seq} // '') . ($_->{message_type} // '')
                       . (length($_->{text} // '') ? 'text' : '') } @got),
       '5deleted 6text 7', 'coming back: ' . (@$o ? 'compressed' : 'not'));
}

# a worker that has kept nothing asks PostgreSQL, for all that come at once

my @before = workers();

$t->reload();
wait_for(sub { my @p = workers(); @p == 1 && $p[0] != $before[0] });

is(since(0), '1/0 2/0 3/0 4/0 5/0 6/0', 'from PostgreSQL');
is(since(0, extensions => OFFER), '1/4 2/4 3/4 4/4 5/4 6/4',
   'from PostgreSQL, compressed');


sub workers {
    my $pid = $t->read_file('nginx.pid') + 0;
    return split ' ', `cat /proc/$pid/task/$pid/children`;
}
