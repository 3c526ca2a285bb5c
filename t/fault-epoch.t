#!/usr/bin/perl

# The log is another one: an operator says so, or an older backup is restored.
# Every client is told "reset", goes on from the head that it is told, and
# nobody has a hole that it does not know of.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib', 'fault';

use Test::Nginx;
use Time::HiRes qw/ sleep time /;

use Checker;
use FC::Util qw/ run_quiet wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(3 * 6 + 2);

# old pages can't be told

my $c = Checker->new($t, old => 0);
my $pg = $c->site->pg;
my $data = $pg->host() . '/data';

$c->run();

another('F19 a new epoch', sub {
    $pg->sql('update fcchat_head set epoch = gen_random_uuid()');
});

# a backup of a while ago, and one so new that its head is passed at once by
# what waits to be stored, both under the same epoch

restored('an older backup', 300);
restored('a backup of a moment ago', 5);


sub restored {
    my ($name, $messages) = @_;

    $c->call('talk', on => JSON::PP::false);
    $c->wait('idle');
    $pg->stop();
    run_quiet({ user => 'postgres' }, 'cp', '-a', $data, "$data.old");
    $pg->start();

    $c->call('talk', on => JSON::PP::true);
    $c->more($messages);

    another("F19 $name", sub {
        $pg->stop();
        run_quiet({ user => 'postgres' }, 'mv', $data, "$data.lost$messages");
        run_quiet({ user => 'postgres' }, 'mv', "$data.old", $data);
        $pg->start();
    });

    return;
}


sub another {
    my ($name, $code) = @_;

    my (%before, $by, $heads);

    $c->phase($name, sub {
        %before = epochs();

        my $from = time();

        $code->();
        $c->call('away', from => $from, to => time());

        wait_for(sub {
            my %now = epochs();
            my %stats = %{$c->stats(by => 1)->{by}};

            return !grep { $stats{$_}{epoch} ne $now{$_ =~ s/-.*//r}
                           || $now{$_ =~ s/-.*//r} eq $before{$_ =~ s/-.*//r} }
                         keys %stats;
        }, 10) or die "not all know\n";

        $by = $c->stats(by => 1)->{by};
        $c->more(150);
    }, delay => 2, resets => qr/^\w+$/);

    is(join(' ', grep { my %r = %{$by->{$_}{resets}};
                        my $n = 0;

                        $n += $_ for values %r;
                        $n != 1 } sort keys %$by),
       '', "$name: everybody was told once");
    is(join(' ', map { ($before{$_} // '') eq $heads->{$_}[0] ? $_ : () }
                 keys %{$heads = $c->heads()}), '', "$name: a new epoch");

    return;
}


sub epochs {
    my $heads = $c->heads();

    return map { ($_ => $heads->{$_}[0]) } keys %$heads;
}
