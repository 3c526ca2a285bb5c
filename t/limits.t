#!/usr/bin/perl

# A worker that has no connection or no descriptor left refuses or lets wait,
# as nginx does, and says so; its own connections to PostgreSQL and Redis come
# back, and when clients leave all is as before.
#
# S33 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ gather /;
use FC::Site;
use FC::Util qw/ log_lines slurp wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(2 * 6 + 1);

my $site = FC::Site->new($t);
my $d = $t->testdir();

$site->django->user($_) for qw/ alice bob /;
$site->cookie($_) for qw/ alice bob /;

for my $case (['worker_connections', '', 'worker_connections 24;',
               qr/24 worker_connections are not enough/],
              ['worker_rlimit_nofile', 'worker_rlimit_nofile 48;', '',
               qr/accept4?\(\) failed \(24: /])
{
    my ($name, $main, $events, $re) = @$case;

    configure($main, $events);
    $t->run();

    my ($pid) = wait_for(sub { (workers($t))[0] });
    my $first = $site->join('alice', protocol => 'fcchat.v1');
    my @all = map { FC::WS->connect(
                        port => port(8080), nowait => 1,
                        path => '/ws/chat/stream_1/',
                        cookie => $site->cookie('bob')) } 1 .. 60;

    ok(wait_for(sub { log_lines($t, $re) }), "$name: reached");

    # with no place for them

    $site->redis->restart();
    $site->pg->sql('select pg_terminate_backend(pid) from pg_stat_activity'
                   . ' where datname = current_database()'
                   . ' and pid <> pg_backend_pid()');
    ok(wait_for(sub { log_lines($t, qr/fcchat redis .* is lost/) }),
       "$name: redis is lost");

    $_->drop() for @all;

    ok(wait_for(sub { log_lines($t, qr/\[notice\].*fcchat redis .* is up/) },
                20), "$name: and found again");

    my $ws;

    ok(wait_for(sub { $ws = $site->join('bob', protocol => 'fcchat.v1');
                      $ws && $ws->status() == 101 }, 10, 0.2),
       "$name: a client comes in");
    $ws->send_json({ type => 'message', text => 'again', cid => $name });
    ok(gather([$ws, $first], 1), "$name: and is heard");
    is(join(' ', workers($t)), $pid, "$name: by the same worker");

    $t->stop();

    # nginx's own, once a second at most

    forgive($re);
}

is(join('', log_lines($t, qr/\[(?:alert|emerg|crit)\]/)), '', 'nothing else');


sub configure {
    my ($main, $events) = @_;

    $site->write(main => $main);

    return if !$events;

    my $conf = slurp("$d/nginx.conf");

    $conf =~ s/worker_connections \d+;/$events/;
    $t->write_file('nginx.conf', $conf);

    return;
}


sub forgive {
    my ($re) = @_;

    my @rest = grep { $_ !~ $re } split /^/, slurp("$d/error.log");

    open my $fh, '>', "$d/error.log" or die "can't write the log: $!\n";
    print $fh @rest;
    close $fh;

    return;
}
