#!/usr/bin/perl

# PostgreSQL goes away and comes back, in every way: nobody is disconnected,
# what was acknowledged is there, each message once; who comes new meanwhile is
# told to try later.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Crowd;
use FC::Util qw/ wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(8 * 5 + 2 + 2 * 4 + 2);

my $c = Checker->new($t);
my $pg = $c->site->pg;
my $late = $c->site->django->session('late');

$c->run();

for my $mode (qw/ fast immediate /) {
    away("F8 postgres restarted, $mode", sub {
        $pg->stop($mode);

        if ($mode eq 'fast') {
            my $ws = $c->site->join(undef, cookie => $late);

            is($ws->status(), 503, 'a new handshake');
            like($ws->header('Retry-After') // '', qr/^[1-9]\d*$/,
                 'with Retry-After');
        }

        $pg->start();
    });
}

away('F8 postgres killed', sub {
    $pg->kill9();
    sleep(0.5);
    $pg->start();
});

away('F8 one backend killed', sub {
    kill 'KILL', scalar $pg->sql("select pid from pg_stat_activity"
                          . " where query ~ 'fcchat_append' limit 1");

    # the others end with it

    wait_for(sub { !eval { $pg->sql('select 1') } }, 2, 0.001);
    wait_for(sub { eval { $pg->sql('select 1') } }, 20);
});

$c->phase('F8 all backends terminated', sub {
    for (1 .. 10) {
        $pg->drop_connections();
        $c->more(20);
    }
}, delay => 2);

away('F8 postgres stopped for 2 s', sub {
    $pg->pause();
    sleep(2);
    $pg->resume();
});

away('F10 postgres is read-only for 2 s', sub {
    $c->read_only('on');
    sleep(2);
    $c->read_only('off');
});

away('F10 somebody holds the heads for 2 s', sub {
    my $lock = FC::Crowd->lock($pg);

    $lock->say('do $$ begin perform from fcchat_head for update; end $$;');
    sleep(2);
    $lock->release();
});

# longer than anybody waits

my $long = $c->seconds(7);

away("F8 postgres stopped for $long s", sub {
    $pg->pause();
    sleep($long);
    $pg->resume();
});

$c->phase('all is well', sub { $c->more(100) }, delay => 0.5);


# What was said meanwhile counts from the moment that PostgreSQL is back.

sub away {
    my ($name, $code) = @_;

    my ($from, $to);

    # nobody is told sooner than after five seconds, which a server that has to
    # recover on a busy machine may need

    $c->phase($name, sub {
        $from = time();
        $code->();
        $to = time();
        $c->call('away', from => $from, to => $to);
        $c->more(150);
    }, delay => 2, errors => sub {
        return $to && $to - $from > 4.5 ? qr/^unavailable$/ : undef;
    });

    $c->within(2, $c->call('first_ack', after => $to)->{took},
               "$name: acknowledged again");

    return;
}
