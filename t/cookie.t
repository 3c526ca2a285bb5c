#!/usr/bin/perl

# Which cookie is the session's: by the rules of Django, which are not those
# of nginx.
#
# S04 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(43);

my $site = FC::Site->new($t, more => <<'EOF');
        location /named/ {
            fcchat;
            fcchat_session_cookie __Host-sid;
        }
EOF

$t->run();

my $good = $site->cookie('alice');
my $bad = 'b' x 32;

my $first = substr $good, 0, 1;
my $rest = substr $good, 1;
my $octal = sprintf '\\%03o', ord $first;

# before digits a backslash may be an octal escape

my ($head, $tail) = $good =~ /\A(.+?)([a-z].*)\z/;

my $NONE = "401 no session\n";
my $INVALID = "401 no valid session\n";

# the Cookie header, what comes of it, and what the case is about

my @cases = (
    [ "sessionid=$good", 101, 'alone' ],
    [ "a=1;sessionid=$good;b=2", 101, 'between others, without blanks' ],
    [ "a=1;   sessionid=$good  ; b", 101, 'between others, with blanks' ],
    [ "a; \tsessionid \t=\t $good\t ; a=1", 101, 'blanks and tabs around it' ],
    [ ";; ;sessionid=$good;;", 101, 'empty pieces' ],
    [ "=x; sessionid=$good", 101, 'a piece without a name' ],

    [ "SESSIONID=$good", $NONE, 'upper case is another name' ],
    [ "Sessionid=$bad; sessionid=$good", 101, 'beside another case' ],
    [ "sessionid=$good; SESSIONID=$bad", 101, 'another case does not win' ],
    [ "xsessionid=$good", $NONE, 'a longer name' ],
    [ "sessionid2=$good", $NONE, 'a longer name at the end' ],
    [ "session=$good", $NONE, 'a shorter name' ],
    [ "a=sessionid=$good", $NONE, 'inside another value' ],
    [ 'sessionid', $NONE, 'a name alone' ],
    [ '', $NONE, 'an empty header' ],

    [ "a=1, sessionid=$good", $NONE, 'a comma separates nothing' ],
    [ "sessionid=$good, a=1", $INVALID, 'a comma is of the value' ],
    [ "a=1 sessionid=$good", $NONE, 'a blank separates nothing' ],

    [ "sessionid=$bad; sessionid=$good", 101, 'the last wins' ],
    [ "sessionid=$good; sessionid=$bad", $INVALID, 'the last wins: bad' ],
    [ "sessionid=$good; sessionid=", $NONE, 'the last wins: empty' ],

    [ qq(sessionid="$good"), 101, 'quotes' ],
    [ qq(a="1"; sessionid="$good"; b="2"), 101, 'quotes among others' ],
    [ qq(sessionid="$octal$rest"), 101, 'an octal escape in quotes' ],
    [ qq(sessionid="$head\\$tail"), 101, 'a backslash in quotes' ],
    [ "sessionid=$octal$rest", $INVALID, 'an octal escape without quotes' ],
    [ qq(sessionid="$good), $INVALID, 'one quote' ],
    [ qq(sessionid=$good"), $INVALID, 'one quote at the end' ],
    [ qq(sessionid=""), $NONE, 'nothing in quotes' ],
    [ qq(sessionid="), $INVALID, 'a lone quote' ],
    [ qq(a="x; sessionid=$good), 101, 'a quote elsewhere hides nothing' ],
    [ "sessionid==$good", $INVALID, 'the first = is the one' ],
    [ "sessionid=$good=", $INVALID, 'a = at the end' ],

    [ 'a=' . 'x' x 6000 . "; sessionid=$good", 101, 'a large header' ],
    [ "\xe3\x81\x82=\xff\xfe; sessionid=$good", 101, 'bytes that are no text' ],
);

is(enter('/ws/chat', cookies => $_->[0]), $_->[1], $_->[2]) for @cases;

# several headers: one after the other

is(enter('/ws/chat', headers => [ 'Cookie: a=1', "Cookie: sessionid=$good" ]),
   101, 'in the second header');
is(enter('/ws/chat', headers => [ "Cookie: sessionid=$good", 'cookie: a=1' ]),
   101, 'in the first header');
is(enter('/ws/chat', headers => [ "Cookie: sessionid=$bad",
                                  "cookie: sessionid=$good" ]),
   101, 'the last header wins');
is(enter('/ws/chat', headers => [ "COOKIE: sessionid=$good",
                                  "Cookie: sessionid=$bad" ]),
   $INVALID, 'the last header wins: bad');

# another name

is(enter('/named', cookies => "__Host-sid=$good"), 101,
   'fcchat_session_cookie');
is(enter('/named', cookies => "sessionid=$good"), $NONE, 'not by default');
is(enter('/named', cookies => "__host-sid=$good"), $NONE, 'its case counts');
is(enter('/named', cookies => "__Host-sid=$good; sessionid=$bad"), 101,
   'beside the default');


sub enter {
    my ($path, %o) = @_;

    my $ws = FC::WS->connect(port => port(8080), path => "$path/stream_1/",
                             %o);
    my $status = $ws->status();

    $ws->drop();

    return $status == 401 ? '401 ' . $ws->body() : $status;
}
