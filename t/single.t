#!/usr/bin/perl

# "master_process off": the chat is served by a process that is all there is.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(4);
my $site = FC::Site->new($t, main => 'master_process off;');

$site->cookie('alice');
$t->run();

my $ws = $site->join('alice');

is($ws->status(), 101, 'a process that is alone');
$ws->send_json({ message => 'here' });
is($ws->recv_json()->{message}, 'here', 'serves the chat');

$t->stop();

is(($ws->recv_close())[0], 1012, 'and leaves as a worker does');
is(join('', log_lines($t, qr/\[(?:error|crit|emerg)\]/)), '', 'a clean log');
