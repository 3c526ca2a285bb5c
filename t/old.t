#!/usr/bin/perl

# The old protocol, key for key as the seed's pages expect it: messages,
# HTML escaping, errors as system messages, the ack of a "cid", reactions.
#
# S23 of SECURITY.md.

use warnings;
use strict;
use utf8;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

binmode Test::More->builder->$_(), ':utf8' for qw/ output failure_output /;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(43);

my $site = FC::Site->new($t, more => <<'EOF');
        location /raw/ {
            fcchat;
            fcchat_html_escape off;
        }

        location /short/ {
            fcchat;
            fcchat_message_length 5;
        }
EOF

my $django = $site->django;

$django->stamp(7, q{<i>&"'}, q{/media/a b/<i>"&'?x=1&y=2});
$django->stamp(8, ':elsewhere:', 'https://cdn.example/8.svg');

$t->run();

my $alice = $site->join('alice');
my $bob = $site->join('bob');
my $odd = $site->join(q{<b>&"'});
my $raw = $site->join('carol', path => '/raw/stream_1/');
my $other = $site->join('alice', room => 'stream_2');

ok($alice->accepted(), 'joined');

# a message, to the byte

$alice->send_json({ message => 'こんにちは！' });

my $want = '{"username":"alice","message":"こんにちは！",'
           . '"message_type":"message","timestamp":null}';

is($alice->recv_message()->{payload}, $want, 'a message, to its sender');
is($bob->recv_message()->{payload}, $want, 'to the others');
is($odd->recv_message()->{payload}, $want, 'to all of them');
is($raw->recv_message()->{payload}, $want, 'without escaping');

# with it: as django.utils.html.escape, in text and name

my $text = qq{<script>alert("x & 'y'")</script> \\ \t\x{2028}\x{2029}\x{1f600}};

$odd->send_json({ message => $text });

my $frame = $alice->recv_message()->{payload};

is_deeply(FC::WS::json()->decode($frame), {
    username     => '&lt;b&gt;&amp;&quot;&#x27;',
    message      => '&lt;script&gt;alert(&quot;x &amp; &#x27;y&#x27;&quot;)'
                    . "&lt;/script&gt; \\ \t\x{2028}\x{2029}\x{1f600}",
    message_type => 'message',
    timestamp    => undef,
}, 'escaped');

unlike($frame, qr/[<>&'\x{2028}\x{2029}]/, 'harmless in a script as well');

$frame = $raw->recv_message()->{payload};

is_deeply(FC::WS::json()->decode($frame), {
    username     => q{<b>&"'},
    message      => $text,
    message_type => 'message',
    timestamp    => undef,
}, 'fcchat_html_escape off: as sent');

unlike($frame, qr/[<>&\x{2028}\x{2029}]/, 'and still harmless in a script');

$_->recv_json() for $bob, $odd;

is_deeply([ $site->pg->sql('select u.username, m.content, m.message_type'
                           . ' from chat_chatmessage m join accounts_user u'
                           . ' on u.id = m.user_id order by m.id') ],
          [ [ 'alice', 'こんにちは！', 'message' ],
            [ q{<b>&"'}, $text, 'message' ] ], 'PostgreSQL has it as sent');

# what else is taken

$alice->send_json({ type => 'message', message => ' a ', unknown => [ {} ] });

is_deeply($alice->recv_json(), { username => 'alice', message => ' a ',
                                 message_type => 'message',
                                 timestamp => undef },
          'a type, keys nobody knows, blanks around the text');
$bob->recv_json();

# an ack for who asks for it, before the message comes back

$alice->send_json({ message => 'again', cid => 'c-1' });

my $id = wait_for(sub {
    $site->pg->sql("select id from chat_chatmessage where content = 'again'")
});

is_deeply($alice->recv_json(), { type => 'ack', cid => 'c-1', seq => 4,
                                 id => $id }, 'ack of a cid');
is($alice->recv_json()->{message}, 'again', 'then the message');
is_deeply($bob->recv_json(), { username => 'alice', message => 'again',
                               message_type => 'message',
                               timestamp => undef },
          'the others get no cid');

$alice->send_json({ message => 'again', cid => 'c-1' });

is_deeply($alice->recv_json(), { type => 'ack', cid => 'c-1', seq => 4,
                                 id => $id }, 'the same ack for the same cid');

# errors: a system message to the sender, and the socket lives

my @errors = (
    [ '', 'bad_json' ],
    [ '{', 'bad_json' ],
    [ '"hi"', 'bad_json' ],
    [ '[1]', 'bad_json' ],
    [ '{"message":"a","message":"b"}', 'bad_json' ],
    [ '{}', 'bad_request' ],
    [ '{"message":1}', 'bad_request' ],
    [ '{"message":null}', 'bad_request' ],
    [ '{"message":"a","cid":1}', 'bad_request' ],
    [ '{"type":1,"message":"a"}', 'bad_request' ],
    [ '{"type":"reaction"}', 'bad_request' ],
    [ '{"type":"reaction","stamp_id":"x"}', 'bad_request' ],
    [ '{"type":"join"}', 'unknown_type' ],
    [ '{"message":""}', 'empty' ],
    [ qq{{"message":" \x{3000}\\n"}}, 'empty' ],
    [ '{"message":"a\\u0000"}', 'bad_text' ],
    [ '{"type":"reaction","stamp_id":99}', 'unknown_stamp' ],
);

for my $case (@errors) {
    my ($sent, $code) = @$case;

    $alice->send_text($sent);

    my $error = $alice->recv_json();
    my $words = delete $error->{message};

    is_deeply([ $error, $words =~ /^[A-Z].*\.$/ ? 1 : $words ],
              [ { username => '', message_type => 'system',
                  timestamp => undef, code => $code }, 1 ],
              "$code: $sent");
}

$alice->send_json({ message => ' ', cid => 'c-2' });

is_deeply($alice->recv_json(), { username => '', message_type => 'system',
                                 message => 'The message is empty.',
                                 timestamp => undef, code => 'empty',
                                 cid => 'c-2' }, 'an error names its cid');

my $short = $site->join('bob', path => '/short/stream_2/');

$short->send_json({ message => "\x{1f600}" x 6 });
is($short->recv_json()->{code}, 'too_long', 'too long');

$short->send_json({ message => "\x{1f600}" x 5 });
is($short->recv_json()->{message}, "\x{1f600}" x 5, 'code points are counted');
is($other->recv_json()->{message}, "\x{1f600}" x 5, 'in the other room');

# reactions: what the database has, not what the client says

$_->recv_all(0.05) for $bob, $odd, $raw;

$alice->send_json({ type => 'reaction', stamp_id => 1, stamp_name => 'evil',
                    stamp_image_url => 'javascript:alert(1)' });

$want = '{"type":"reaction","username":"alice","stamp_id":1,'
        . '"stamp_name":":smile:",'
        . '"stamp_image_url":"/media/stamps/01_smile.svg"}';

is($alice->recv_message()->{payload}, $want, 'a reaction, to its sender');
is($bob->recv_message()->{payload}, $want, 'to the others');

$odd->send_json({ type => 'reaction', stamp_id => 7 }) for 1 .. 3;
$odd->send_json({ type => 'reaction', stamp_id => 8 });

my @got = map { $bob->recv_json() } 1 .. 4;

is_deeply($got[0], {
    type            => 'reaction',
    username        => '&lt;b&gt;&amp;&quot;&#x27;',
    stamp_id        => 7,
    stamp_name      => '&lt;i&gt;&amp;&quot;&#x27;',
    stamp_image_url => '/media/a b/%3Ci%3E%22&%27?x=1&y=2',
}, 'names are escaped');

is(join(' ', map { $_->{stamp_id} } @got), '7 7 7 8', 'one by one');
is($got[3]{stamp_image_url}, 'https://cdn.example/8.svg', 'a URL stays one');

$raw->recv_json();

is_deeply($raw->recv_json(), {
    type            => 'reaction',
    username        => q{<b>&"'},
    stamp_id        => 7,
    stamp_name      => q{<i>&"'},
    stamp_image_url => q{/media/a b/<i>"&'?x=1&y=2},
}, 'not escaped where messages are not');

ok(wait_for(sub {
    my @rows = $site->pg->sql('select u.username, r.stamp_id, r.stream_id,'
                              . ' count(*) from streaming_streamreaction r'
                              . ' join accounts_user u on u.id = r.user_id'
                              . ' group by 1, 2, 3 order by 1, 2');

    join(' ', map { @$_ } @rows) eq q{<b>&"' 7 1 3 <b>&"' 8 1 1 alice 1 1 1};
}), 'stored');
