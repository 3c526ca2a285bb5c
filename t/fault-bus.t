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

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(9 * 4 + 6);

my $seed = $ENV{FC_FAULT_SEED} // int(time());

diag("FC_FAULT_SEED=$seed");

my $redis = FC::Redis->new();
my $proxy = FC::Proxy->new(to => '127.0.0.1:' . $redis->port(),
                           filter => \&filter);

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


# In the proxy's process.  What a subscriber is told goes through the mill; the
# beats by which a worker knows that Redis lives do not.

sub filter {
    my ($way, $bytes, $state, $set) = @_;

    return $bytes if $way eq 'up';

    srand($seed++) if !$state->{srand}++;

    $state->{in} .= $bytes;

    my $out = '';

    while ($state->{in} ne '') {

        # *3 $7 message $N channel $N payload

        if ($state->{in} =~ /\A\*3\r\n\$7\r\nmessage\r\n\$(\d+)\r\n/) {
            my $pos = $+[0] + $1 + 2;

            pos($state->{in}) = $pos;
            last if $state->{in} !~ /\G\$(\d+)\r\n/g;

            my $start = pos $state->{in};
            my $end = $start + $1 + 2;

            last if length $state->{in} < $end;

            my $message = substr $state->{in}, 0, $end, '';

            $out .= $message =~ /:beat:/ ? $message
                    : milled($message, $pos, $start, $state, $set);

        } elsif ($state->{in} =~ /\A\*3\r\n\$7\r\nm/
                 || $state->{in} !~ /\n/) {
            last;

        } else {
            $state->{in} =~ s/\A(.*?\n)//s;
            $out .= $1;
        }
    }

    return $out;
}


sub milled {
    my ($message, $pos, $start, $state, $set) = @_;

    my $chance = sub { rand() < ($set->{$_[0]} // 0) };

    return '' if $chance->('drop');

    if ($chance->('cut_short')) {
        my $payload = substr $message, $start, -2;
        my $cut = substr $payload, 0, rand length $payload;

        $message = substr($message, 0, $pos) . '$' . length($cut)
                   . "\r\n$cut\r\n";
    }

    $message x= 2 if $chance->('repeat');

    if ($chance->('reorder')) {
        push @{$state->{later}}, $message;
        return '';
    }

    return $message . join '', reverse splice @{$state->{later} ||= []};
}
