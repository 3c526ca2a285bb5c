#!/usr/bin/perl

# What a schema may lack: the tables of sql/, which is told once; and users and
# sessions, which may be in public.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(17);

my $site = FC::Site->new($t, http => 'fcchat_session_cache 0;',
                         more => <<'EOF');
        location /bare/ {
            fcchat;
            fcchat_tenant bare;
        }

        location /django/ {
            fcchat;
            fcchat_tenant django;
        }

        location /shared/ {
            fcchat;
            fcchat_tenant shared;
        }
EOF

my ($pg, $django) = ($site->pg(), $site->django());

# nothing at all; Django's tables alone; and those of users in public

$pg->sql('create schema bare');
$django->tables('django');
$django->tables('shared');
$pg->sql("alter table shared.$_ set schema public")
    for qw/ django_session accounts_user /;
$pg->apply('shared');

my $user = $django->session('ann', schema => 'django');
my $shared = $django->session('bill', schema => 'shared');

is($pg->sql('select count(*) from public.django_session'), 1,
   'a session in public');

$t->run();

sub enter {
    my ($path, $cookie) = @_;

    return FC::WS->connect(port => port(8080), path => "$path/stream_1/",
                           cookie => $cookie);
}

my $ws;

for my $tenant (qw/ django bare /) {
    for my $i (1 .. 3) {
        $ws = enter("/$tenant", $tenant eq 'bare' ? $shared : $user);
        is($ws->status(), 503, "$tenant: $i");
    }

    is($ws->body(), "the chat is not available\n", "$tenant: the body");
    is($ws->header('Retry-After'), 1, "$tenant: Retry-After");

    my @lines = log_lines($t, qr/"$tenant"/);

    is(@lines, 1, "$tenant: one line");
    like($lines[0] // '', qr{\[error\].*apply sql/001_fcchat\.sql},
         "$tenant: it names the file");
}

# it heals without a restart

$pg->apply('django');
is(enter('/django', $user)->status(), 101, 'applied');

# users in public, the chat in the tenant

$ws = enter('/shared', $shared);
$ws->send_json({ message => 'hello' });
is_deeply($ws->recv_json(), { username => 'bill', message => 'hello',
                              message_type => 'message', timestamp => undef },
          'users in public');
