#!/usr/bin/perl

# More users than the shared zones have places for: a full set forgets the bucket
# that was unused for longest, sockets are let in uncounted, and that is all.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Site;
use FC::Util qw/ log_lines wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite realip/)->plan(11);

# the smallest there are: 8 pages each for the buckets and for the sockets

my $site = FC::Site->new($t, http => 'fcchat_zone 64k;', rate => <<'RATE');
    fcchat_rate 1r/m burst=1;
    fcchat_connections user=1 ip=1;
    fcchat_auth_rate 1000000r/s burst=1000000;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
RATE

my $n = 800;
my @cookies = $site->django->sessions($n, 'many');

$t->run();

my $start = time();

# each has a place for the user and one for the address

my @ws = map { come($_) } 0 .. $n - 1;

is((grep { $_->status() != 101 } @ws), 0, "$n users come");
ok(scalar(log_lines($t, qr/fcchat_zone is too small/)),
   'some are not counted, which is told');

# places of some sets are taken, of most are not

my @again = map { come($_) } $n - 200 .. $n - 1;
my $more = grep { $_->status() == 101 } @again;

cmp_ok($more, '>', 0, 'some are let in uncounted');
cmp_ok($more, '<', @again, 'and not all');
is((grep { $_->status() !~ /^(?:101|429)$/ } @again), 0, 'as it should be');

# of 250 who speak all but the last are forgotten

is(join(' ', map { says($ws[$_], "first $_") eq 'ack' ? () : $_ } 0 .. 249),
   '', '250 speak');
is(says($ws[249], 'again'), 'rate_limited', 'the last one is known');
cmp_ok((grep { says($ws[$_], 'again') eq 'ack' } 0 .. 9), '>', 0,
       'the first are forgotten');

# what goes was counted or was not

$_->drop() for @again, @ws;

my $one;

ok(wait_for(sub { $one = come(0); $one->status() == 101 }), 'all are gone');
is(come(0)->status(), 429, 'and one is counted');
cmp_ok(log_lines($t, qr/fcchat_zone is too small/), '<=',
       1 + (time() - $start) / 60, 'once a minute');


sub come {
    my ($i) = @_;

    my $address = '10.0.' . int($i / 250) . '.' . ($i % 250 + 1);

    return $site->join(undef, cookie => $cookies[$i], protocol => 'fcchat.v1',
                       headers => ["X-Forwarded-For: $address"]);
}


sub says {
    my ($ws, $text) = @_;

    $ws->send_json({ type => 'message', text => $text, cid => $text });

    my $m = $ws->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ });

    return $m->{type} eq 'ack' ? 'ack' : $m->{code};
}
