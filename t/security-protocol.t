#!/usr/bin/perl

# Characters that mean mischief: what is kept, what is refused, what is told
# otherwise than it is stored.  The numbers are those of SECURITY.md.

use warnings;
use strict;
use utf8;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(55);
my $site = FC::Site->new($t, more => <<'EOF');
        location /raw/ {
            fcchat;
            fcchat_html_escape off;
        }
EOF

my $pg = $site->pg();

$site->django->room('stream_1');
$site->cookie('alice');
$t->run();

my $old = $site->join('alice');
my $raw = $site->join('alice', path => '/raw/stream_1/');
my $new = $site->join('alice', protocol => 'fcchat.v1');

$new->recv_json();

# S21: a character is a character

for my $case ([ 'U+FFFE', "a\x{fffe}b" ], [ 'U+FFFF', "a\x{ffff}b" ],
              [ 'U+FDD0', "a\x{fdd0}b" ], [ 'U+1FFFE', "a\x{1fffe}b" ],
              [ 'U+0001', "a\x{1}b" ], [ 'U+0085', "a\x{85}b" ],
              [ 'U+FEFF', "a\x{feff}b" ], [ 'U+E0001', "a\x{e0001}b" ],
              [ 'marks', 'z' . "\x{0335}" x 400 ],
              [ 'U+202E', "\x{202e}txt.exe" ])
{
    my ($name, $text) = @$case;

    no warnings 'nonchar';

    $new->send_json({ type => 'message', text => $text, cid => $name });

    my $got = $new->recv_until(sub { ($_[0]{type} // '') eq 'message' })
              ->{text};

    # Perl's own decoder calls some of them invalid, and leaves bytes

    utf8::decode($got);
    is($got, $text, "S21: $name");
    utf8::encode(my $bytes = $text);
    is($pg->sql("select encode(convert_to(content, 'UTF8'), 'hex')"
                . ' from chat_chatmessage order by id desc limit 1'),
       unpack('H*', $bytes), "S21: $name, stored");
    $_->recv_json() for $old, $raw;
}

# S21: but for the one that PostgreSQL has no place for

for my $text ('{"type":"message","text":"a\u0000b"}',
              '{"type":"message","text":"a","cid":"\u0000"}',
              '{"type":"message","text":"a","x":[{"\u0000":["\u0000"]}]}',
              '{"type":"ban","username":"ann\u0000"}',
              '{"type":"ban","address":"192.0.2.1\u0000"}',
              '{"type":"slow","seconds":0,"reason":"\u0000"}')
{
    $new->send_text($text);
    like($new->recv_json()->{code}, qr/^bad_(?:text|request)$/,
         'S21: a NUL is refused');
}

for my $query ('since=%00', 'since=00000000-0000-0000-0000-000000000000:%00') {
    my $ws = $site->join('alice', protocol => 'fcchat.v1', query => $query);

    $ws->recv_json();
    is($ws->recv_json()->{reason}, 'malformed', "S21: ?$query");
    $ws->drop();
}

is($site->join('alice', room => 'stream_1%00')->status(), 400,
   'S21: a NUL in the name of a room');

# S22: names that would be somebody else's, as the site may let them be

my @marks = map { chr } 0x61c, 0x200e, 0x200f, 0x202a .. 0x202e,
                        0x2066 .. 0x2069;

for my $mark (@marks) {
    my $name = 'ad' . $mark . 'min';
    my $code = sprintf 'U+%04X', ord $mark;
    my $id = $site->django->user($name);
    my $ws = $site->join($name, protocol => 'fcchat.v1');

    is($ws->recv_json()->{you}{username}, "ad\x{fffd}min",
       "S22: $code in a name, to itself");
    $ws->send_json({ type => 'message', text => "by $code" });
    is($old->recv_json()->{username} . $raw->recv_json()->{username}
       . $new->recv_until(sub { $_[0]{type} eq 'message' })->{user}{username},
       "ad\x{fffd}min" x 3, "S22: $code, to others");
    $ws->drop();
}

# S22: other letters are left alone

my $name = 'ユーザー_ñ.مرحبا';

$site->django->user($name);

my $ws = $site->join($name, protocol => 'fcchat.v1');

is($ws->recv_json()->{you}{username}, $name, 'S22: letters of any script');
$ws->send_json({ type => 'message', text => "a \x{202e}b" });
is($ws->recv_until(sub { $_[0]{type} eq 'message' })->{text}, "a \x{202e}b",
   'S22: a text is told as it is; the page isolates it');
