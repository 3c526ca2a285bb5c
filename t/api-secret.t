#!/usr/bin/perl

# Guessing the secret of the site's back end: an address has fcchat_auth_rate
# for it, together with cookies that are no session; above that even the right
# one is 429.
#
# S31, S44 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Site;
use FC::Util qw/ slurp wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http realip rewrite/)->plan(38);

my %secret = (now => 'n' x 16, before => 'b' x 40);

for my $name (keys %secret) {
    $t->write_file($name, "$secret{$name}\n");
    chmod 0600, $t->testdir() . "/$name";
}

# with a rate this low no token comes back while the test runs

my $site = FC::Site->new($t, workers => 2, rate => <<'EOR', more => <<'EOF');
    error_log %%TESTDIR%%/error.log debug;
    error_log %%TESTDIR%%/told.log info;
    fcchat_auth_rate 1r/m burst=3;
    fcchat_api_rate off;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Test-Address;
EOR
        location /api/ {
            fcchat_api;
            fcchat_api_secret_file now before;
            fcchat_guests read;
        }

        location /off/ {
            fcchat_api;
            fcchat_api_secret_file now;
            fcchat_auth_rate off;
        }

        location /none/ {
            fcchat_api;
        }

        location /rated/ {
            fcchat_api;
            fcchat_api_rate 1r/m burst=1;
        }
EOF

$site->django->user('mod', is_staff => 1);

my ($cookie, $ann) = map { $site->cookie($_) } qw/ mod ann /;

$t->run();

my $told = $t->testdir() . '/told.log';
my $serial = 0;

# a connection each, so that both workers are asked

sub asked {
    my ($address, $auth, %o) = @_;

    my $path = delete $o{path} // '/api/stream_1/publish';
    my $method = $path =~ /publish|moderation/ ? 'POST' : 'GET';

    return FC::Api->new()->call(
        $path, method => $method, %o,
        $method eq 'POST' ? (json => { text => 'hi', cid => 'c1' }) : (),
        headers => { 'X-Test-Address' => $address, Authorization => $auth });
}

sub statuses { return join ' ', map { $_->{status} } @_ }

sub guesses {
    my ($n, $address, %o) = @_;

    return statuses(map {
        asked($address, 'Bearer guess-' . $serial++ . 'x' x 10, %o)
    } 1 .. $n);
}

# the right ones cost nothing, however often

is(statuses(map { asked('192.0.2.1', "Bearer $_") }
            (@secret{qw/ now before /}) x 5), join(' ', (200) x 10),
   'S31: the right secrets');

# three wrong ones, and not one more

is(guesses(6, '192.0.2.1'), '401 401 401 429 429 429',
   'S31: wrong ones of one address');

my $r = asked('192.0.2.1', 'Bearer wrong');

is($r->{json}{error}{code}, 'rate_limited', 'S31: which is told');
cmp_ok($r->{json}{error}{retry_after_ms}, '>', 30000, 'S31: when again');
cmp_ok($r->{json}{error}{retry_after_ms}, '<=', 60000, 'S31: at most');
is($r->{header}{'retry-after'},
   int(($r->{json}{error}{retry_after_ms} + 999) / 1000), 'S31: in seconds');

# which of them is right is not told any more

for my $name (sort keys %secret) {
    $r = asked('192.0.2.1', "Bearer $secret{$name}");
    is("$r->{status} $r->{json}{error}{code}", '429 rate_limited',
       "S31: nor is the right one looked at: $name");
}

is(asked('192.0.2.2', "Bearer $secret{now}")->{status}, 200,
   'S31: from another address it is');

is(guesses(3, '192.0.2.3') . ' ' . asked('192.0.2.3', undef)->{status},
   '401 401 401 401', 'S31: without one nothing is guessed');
is(statuses(map { asked('192.0.2.3', $_) } 'Basic eDp5', 'Bearer'),
   '401 401', 'S31: nor with another scheme');

# a read or a change of a session is a way to guess as well

is(guesses(4, '192.0.2.4', path => '/api/stream_1/viewers'),
   '200 200 200 429', 'S31: reading as a guest');
is(guesses(4, '192.0.2.5', path => '/api/stream_1/moderation'),
   '401 401 401 429', 'S31: moderating');
is(asked('192.0.2.4', undef, path => '/api/stream_1/viewers')->{status}, 200,
   'S31: without a secret a guest reads on');
is(asked('192.0.2.4', undef, path => '/none/stream_1/bans',
         cookie => $cookie)->{status}, 429,
   'S31: a session that has to be asked for does not');
is(asked('192.0.2.6', undef, path => '/none/stream_1/bans',
         cookie => $cookie)->{status}, 200, 'S31: from elsewhere it does');
is(asked('192.0.2.4', undef, path => '/none/stream_1/bans',
         cookie => $cookie)->{status}, 200, 'S31: and when it is known');

# together with cookies

is(statuses(map { asked('192.0.2.7', undef, path => '/none/stream_1/bans',
                        cookie => sprintf 'z%031d', $_) } 1 .. 4),
   '401 401 401 429', 'S31: cookies that are no session');

$r = asked('192.0.2.7', undef, path => '/none/stream_1/bans',
           cookie => 'z' x 32);
is($r->{json}{error}{code}, 'rate_limited', 'S31: which is told');
is($r->{header}{'retry-after'}, 5, 'S31: to be tried again');
is(guesses(1, '192.0.2.7'), '429', 'S31: are of the same limit');

# of IPv6 half is one address

is(join(' ', map { guesses(1, "2001:db8:0:1::$_") } 1 .. 4),
   '401 401 401 429', 'S31: of IPv6 half is one address');
is(guesses(1, '2001:db8:0:2::1'), '401', 'S31: and the next is another');

# what is not limited

is(guesses(8, '192.0.2.8', path => '/off/stream_1/publish'),
   join(' ', (401) x 8), 'fcchat_auth_rate off');
is(asked('192.0.2.8', "Bearer $secret{now}", path => '/off/stream_1/publish')
   ->{status}, 200, 'and the right one');
is(guesses(8, '192.0.2.8', path => '/none/stream_1/publish'),
   join(' ', (401) x 8), 'where there is no secret there is none to guess');

is($site->pg->sql('select count(*) from localhost.chat_chatmessage'), 1,
   'one message');

# what the log says of it

my $bans = '/stream_1/bans';

for my $case ([ 'wrong secret', undef, '/off/stream_1/publish',
                auth => 'Bearer guess-again' ],
              [ 'too many wrong secrets', undef, '/api/stream_1/publish',
                auth => 'Bearer guess-again', from => '192.0.2.1' ],
              [ 'too many bad sessions', undef, "/none$bans",
                cookie => 'z' x 32, from => '192.0.2.7' ],
              [ 'no valid session', undef, "/off$bans", cookie => 'y' x 32 ],
              [ 'no session', undef, "/none$bans" ],
              [ 'no such room', 'mod', '/none/nowhere/bans',
                cookie => $cookie ],
              [ 'no moderator', 'ann', "/none$bans", cookie => $ann ],
              [ 'too many requests', 'ann', '/rated/stream_1/viewers',
                cookie => $ann ])
{
    my ($reason, $user, $path, %o) = @$case;
    my $room = $path =~ /nowhere/ ? 'nowhere' : 'stream_1';
    my $from = delete $o{from} // '192.0.2.6';
    my $auth = delete $o{auth};
    my $line = "fcchat security: $reason, "
               . ($user ? qq(user: "$user", ) : '')
               . qq(room: "$room", address: "$from");

    # another line of this kind may have been the one of this second

    ok(wait_for(sub {
        asked($from, $auth, path => $path, %o);
        index(slurp($told), $line) >= 0;
    }), "S44: $reason");
}

unlike(slurp($told), qr/guess-|n{16}|b{16}|\Q$cookie\E|\Q$ann\E/,
       'S12, S44: no secret, no cookie');

my %lines;

for (split /\n/, slurp($told)) {
    $lines{"$1 $2 $3"}++
        if /^(\S+ \S+) \[warn\] (\d+).* fcchat security: ([^,]+)/;
}

is(join('', grep { $lines{$_} > 1 } sort keys %lines), '',
   'S37: one line of a kind in a second');
is_deeply([ $t->read_file('error.log') =~ /\[(?:crit|emerg)\].*/g ], [],
          'a clean log');
