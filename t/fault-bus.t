#!/usr/bin/perl

# A bus that loses, repeats, reorders, delays and cuts what it carries: nobody
# sees anything of it but the delay.  And no bus at all.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Proxy;
use FC::Redis;
use Mill;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(9 * 4 + 6);

my $seed = $ENV{FC_FAULT_SEED} // int(time());

diag("FC_FAULT_SEED=$seed");

my $redis = FC::Redis->new();
my $proxy = FC::Proxy->new(to => '127.0.0.1:' . $redis->port(),
                           filter => Mill::filter($seed));

my $c = Checker->new($t, redis => $redis, bus => 0,
                     http => "fcchat_redis redis://127.0.0.1:"
                             . $proxy->port() . ';');

$c->run();

for my $case (['drops 5 %', drop => 0.05], ['drops all', drop => 1],
              ['repeats 20 %', repeat => 0.2],
              ['reorders 20 %', reorder => 0.2], ['cuts 10 %', cut_short => 0.1],
              ['does all of it', drop => 0.05, repeat => 0.1, reorder => 0.1,
               cut_short => 0.05])
{
    my ($name, %set) = @$case;

    $proxy->set(%set);
    $c->phase("F7 a bus that $name", sub { $c->more($c->seconds(4) * 80) });
    $proxy->set(map { $_ => 0 } keys %set);
}

$proxy->set(delay => 0.4);
$c->phase('F7 a bus that is late', sub { $c->more($c->seconds(4) * 80) });
$proxy->set(delay => 0);

# PostgreSQL alone

$_->stop() for $c->nodes();
undef $c;

my $alone = Checker->new(Test::Nginx->new(), bus => 0);

$alone->run();
$alone->phase('F21 no bus', sub { $alone->more($alone->seconds(6) * 80) },
              delay => 0.3);

# and who comes back has what it missed

$alone->phase('F21 no bus, clients dropped', sub {
    for (1 .. 3) {
        $alone->call('drop', n => 12);
        $alone->more(40);
        $alone->wait('ready') // die "not all came back\n";
    }
}, delay => 1, ended => qr/^dropped$/);
