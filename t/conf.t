#!/usr/bin/perl

# nginx -t: what each directive refuses, with the file, the line and what would
# be right; duplicates, contexts, inheritance, and what "fcchat" can't do
# without.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Util;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(395);

my $d = $t->testdir();

$t->write_file('secret', "secret\n");
$t->write_file('old', "old key\r\nsecond line\n");
$t->write_file('empty', '');
$t->write_file('blank', "\nsecret\n");
$t->write_file('long', 'x' x 4096);
$t->write_file('open', "secret\n");
$t->write_file('sealed', 's' x 32 . "\n");
$t->write_file('enough', 's' x 16 . "\r\n");
$t->write_file('short', 's' x 15 . "\n");
chmod 0600, map { "$d/$_" }
            qw/ secret old empty blank long sealed enough short /;
chmod 0644, "$d/open";

my $pg = 'fcchat_postgres "host=/tmp dbname=x user=x"';
my $ready = "$pg; fcchat_secret_key_file secret;";

# What nginx -t says of the pieces, which begin at lines 30, 40, 50 and 60:
# in http, in a server, in its location, in another server.

sub tested {
    my $out = said(@_);

    return 'ok' if $out =~ /nginx\.conf test is successful$/m;

    return join '', map { s/^nginx: //r } grep { /^nginx: \[emerg\]/ }
                    split /^/, $out;
}

# nginx frees nothing when it ends after a test.

sub said {
    my (%in) = @_;

    my $conf = "%%TEST_GLOBALS%%\nevents { }\nhttp {\n%%TEST_GLOBALS_HTTP%%\n";

    for my $part ([ http => 30, '' ], [ server => 40, 'server { listen'
                                        . ' 127.0.0.1:8080;' ],
                  [ location => 50, 'location /x/ {' ], [ end => 60, '} }' ])
    {
        my ($name, $line, $open) = @$part;

        $t->write_file_expand('nginx.conf', $conf);
        $conf .= "\n" x ($line - 2 - ($t->read_file('nginx.conf') =~ tr/\n//))
                 . "$open\n" . ($in{$name} // '') . "\n";
    }

    $t->write_file_expand('nginx.conf', "$conf}\n");

    local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} || (),
                               'detect_leaks=0';

    return $t->dump_config();
}

sub wrong {
    my ($directive, $why, $name, $where) = @_;

    is(tested($where // 'http' => "$directive;"), "[emerg] $why in $d/nginx.conf"
       . { http => ':30', server => ':40', location => ':50' }->{$where
                                                                 // 'http'}
       . "\n", $name // $directive);
}

sub right {
    my ($directive, $name) = @_;

    is(tested(http => "$directive;"), 'ok', $name // $directive);
}

is(tested(), 'ok', 'nothing');
is(tested(location => "$ready fcchat;"), 'ok', 'a chat');

# values

for my $name (qw/ fcchat_ping fcchat_timeout fcchat_session_cache
                  fcchat_session_age fcchat_tenant_cache
                  fcchat_handshake_timeout /)
{
    wrong("$name $_", qq("$name" directive must have a time as "30s"))
        for 'x', '-1s', '1.5s', '""', '5z';
    right("$name 90s");
}

wrong("$_ 0", qq("$_" directive must have a time above zero))
    for qw/ fcchat_handshake_timeout fcchat_ping /;

right('fcchat_redis_secret_file sealed sealed');
right('fcchat_redis_secret_file enough', 'a secret of 16');
wrong('fcchat_redis_secret_file short',
      qq(the key in "$d/short" must have at least 16 characters, as "openssl)
      . ' rand -hex 32" makes them');
wrong('fcchat_redis_secret_file' . ' sealed' x 9,
      'too many key files, there can be 8');

for my $name (qw/ fcchat_html_escape fcchat_detach fcchat_deflate /) {
    wrong("$name yes", qq(invalid value "yes" in "$name" directive, it must be)
                       . ' "on" or "off"');
    right("$name off");
}

wrong("fcchat_session_engine $_", qq(invalid value "$_" in)
      . ' "fcchat_session_engine" directive, it must be "db" or "cached_db" or'
      . ' "cache" or "signed_cookies"') for 'DB', 'file';
wrong('fcchat_guests on', 'invalid value "on" in "fcchat_guests" directive,'
                          . ' it must be "off" or "read"');
right("fcchat_guests $_") for qw/ off read /;
wrong('fcchat_refuse 403', 'invalid value "403" in "fcchat_refuse" directive,'
                           . ' it must be "http" or "close"');

right("fcchat_session_engine $_") for qw/ db cached_db signed_cookies /;
right("fcchat_refuse $_") for qw/ http close /;

wrong("fcchat_message_length $_", 'value must be between 1 and 16384')
    for 0, 16385;
wrong("fcchat_message_length $_",
      '"fcchat_message_length" directive must have a number')
    for '-1', '5k', 'x';
right("fcchat_message_length $_") for 1, 16384;

wrong('fcchat_history 1001', 'value must be between 0 and 1000');
wrong('fcchat_history x', '"fcchat_history" directive must have a number');
right("fcchat_history $_") for 0, 1000;

for my $name (qw/ fcchat_rate fcchat_reaction_rate fcchat_api_rate
                  fcchat_history_rate fcchat_auth_rate /)
{
    wrong("$name $_", sprintf('invalid rate "%s", it must be "off" or as'
                              . ' "5r/s" or "30r/m", up to 1000000',
                              (split)[0]))
        for 'x', '5', '0r/s', '5r/h', '-1r/s', '1000001r/s', 'off burst=5';
    wrong("$name 5r/s $_", qq(invalid parameter "$_", it must be "burst=N",)
                           . ' from 1 to 1000000')
        for 'burst=0', 'burst=x', 'burst=1000001', 'nodelay';
    right("$name $_") for 'off', '30r/m', '1000000r/s burst=1000000';
}

wrong("fcchat_connections $_",
      qq(invalid parameter "$_", it must be "user=N" or "ip=N", from 1 to)
      . ' 1000000 or "off"')
    for 'user=0', 'ip=x', 'ip=', '5', 'user=1000001';
right("fcchat_connections $_") for 'user=off', 'ip=off user=5';

my $presence = 'it must be "limit=N", from 1 to 400, or "grace=TIME", up to 5m';

wrong("fcchat_presence on $_", qq(invalid parameter "$_", $presence))
    for qw/ limit=0 limit=401 limit=x grace=6m grace=x x /;
wrong("fcchat_presence $_", '"fcchat_presence" directive must be "off", or "on"'
                            . ' with "limit=N" and "grace=TIME"')
    for 'x', 'off limit=5';
right("fcchat_presence $_") for 'off', 'on', 'on grace=0 limit=400';

wrong("fcchat_lag $_", 'size must be from 16k to 64m')
    for '0', '1k', '16383', '65m';
wrong('fcchat_coalesce 2s', 'time must be at most 1s');
wrong('fcchat_coalesce x',
      '"fcchat_coalesce" directive must have a time as "30s"');
right("fcchat_coalesce $_") for '0', '20ms', '1s';
wrong('fcchat_lag x', '"fcchat_lag" directive must have a size as "256k"');
right("fcchat_lag $_") for '16k', '64m';

wrong('fcchat_zone 1', 'zone size "1" is too small, it must be at least 64k');
wrong("fcchat_zone $_", qq(invalid zone size "$_", it must be a size as "16m"))
    for 'x', '-1', '1g1';
right('fcchat_zone 64k');

wrong('fcchat_redis_prefix ""', 'prefix must have 1 to 64 characters');
wrong('fcchat_redis_prefix ' . 'x' x 65, 'prefix must have 1 to 64 characters',
      'a prefix of 65');
wrong('fcchat_redis_prefix "a b"',
      'prefix "a b" must be printable ASCII without blanks');
right('fcchat_redis_prefix site:chat');

wrong("fcchat_session_cookie \"$_\"", qq("$_" is no name of a cookie))
    for '', 'a b', 'a=b', 'a,b', "\x{7f}";
right('fcchat_session_cookie __Host-session');
wrong('fcchat_csrf_cookie "a b"', '"a b" is no name of a cookie');
right('fcchat_csrf_cookie __Host-csrf');

# the Origin

my $must = 'it must be "same", "any", "scheme://host[:port]" or ".domain"';

wrong("fcchat_origin \"$_\"", qq(invalid origin "$_", $must))
    for '', 'null', '*', 'example.com', 'https://*.example.com',
        'https://example.com/', 'https://example.com:', 'https://',
        '.', '.example.com.', '.example.com/', '.example.com:80',
        'https://example.com:99999';
wrong('fcchat_origin any same',
      '"fcchat_origin" directive can\'t have "any" beside other values');
right("fcchat_origin $_") for 'any', 'same .example.com https://a.example:81';

# PostgreSQL

for my $case ([ 'x', 'missing "=" after "x" in connection info string' ],
              [ 'nokey=x', 'invalid connection option "nokey"' ],
              [ 'host=/tmp sslmode=yes', 'bad sslmode "yes": one of disable,'
                . ' allow, prefer, require, verify-ca, verify-full is right' ],
              [ 'host=/tmp port=0', 'bad port "0": 1 to 65535 is right' ],
              [ 'host=/tmp port=70000', 'bad port "70000": 1 to 65535 is'
                . ' right' ],
              [ 'service=x', '"service" would be a file to read for each'
                . ' connection: write its parameters here instead' ],
              [ 'postgresql://h:x/', 'bad port "x": 1 to 65535 is right' ])
{
    my ($info, $why) = @$case;
    my $out = tested(http => "fcchat_postgres '$info';");

    like($out, qr/^\[emerg\]\ invalid\ connection\ string:\ .*\Q$why\E
                  \ in\ \Q$d\E\/nginx\.conf:30$/mx, "conninfo $info");
}

wrong("$pg connections=$_", qq(invalid parameter "connections=$_", the number)
                            . ' must be from 1 to 64') for '', 0, 65, 'x';
wrong("$pg timeout=$_", qq(invalid parameter "timeout=$_", it must be a time)
                        . ' as "timeout=5s"') for '', 0, 'x', '-1s';
wrong("$pg pool=2", 'invalid parameter "pool=2", it must be "connections=N" or'
                    . ' "timeout=T"');
right("$pg connections=64 timeout=500ms");
right('fcchat_postgres postgresql://u@127.0.0.1:5433/x?sslmode=disable');
like(tested(http => 'fcchat_postgres "password=hush x";'), qr/^(?!.*hush)/s,
     'a password is not shown');

# Redis

my $is = 'invalid Redis URL in argument';
my $form = 'not a URL of Redis: redis://[user:password@]host[:port] or'
           . ' unix:/path is right';

wrong("fcchat_redis $_", "$is 1: $form") for '127.0.0.1:6379', 'http://x', 'x';
wrong('fcchat_redis redis://127.0.0.1 x', "$is 2: $form");
wrong('fcchat_redis redis://127.0.0.1 off', "$is 2: $form");
wrong('fcchat_redis unix:x', "$is 1: not an absolute path of a Unix socket:"
                             . ' unix:/path is right');
wrong('fcchat_redis unix:/' . 'x' x 108, "$is 1: too long a path of a Unix"
                                         . ' socket', 'a long path');
wrong('fcchat_redis redis://127.0.0.1/1', "$is 1: nothing may follow the port:"
      . " channels are the same in all of Redis's databases");
wrong('fcchat_redis redis://:6379', "$is 1: no host in the URL");
wrong('fcchat_redis redis://127.0.0.1:x', "$is 1: invalid port");
wrong('fcchat_redis redis://u@127.0.0.1', "$is 1: no password in the URL:"
      . ' redis://user:password@host or redis://:password@host is right');
wrong('fcchat_redis redis://:%zz@127.0.0.1', "$is 1: \"%\" in user and"
      . ' password must be followed by two hexadecimal digits');
wrong('fcchat_redis rediss://127.0.0.1', "$is 1: TLS is not spoken to Redis:"
      . ' use a Unix socket or a tunnel');
right("fcchat_redis $_") for 'off', 'unix:/x', 'redis://u:p%40@127.0.0.1:1',
    'redis://127.0.0.1 redis://[::1]:6380';

# key files

wrong('fcchat_secret_key_file nowhere', qq{open() "$d/nowhere" failed}
      . ' (2: No such file or directory)');
wrong("fcchat_secret_key_file $_", qq(key file "$d/$_" must have a key in its)
      . ' first line') for qw/ empty blank long /;
wrong('fcchat_secret_key_file .', qq(could not read key file "$d/."));
wrong('fcchat_secret_key_file ' . 'secret ' x 9, 'too many key files, there'
      . ' can be 8', 'nine key files');
right('fcchat_secret_key_file secret old', 'a key and a fallback');
wrong('fcchat_api_secret_file empty', qq(key file "$d/empty" must have a key in)
      . ' its first line');
wrong("fcchat_api_secret_file $_",
      qq(the key in "$d/short" must have at least 16 characters, as "openssl)
      . ' rand -hex 32" makes them') for 'short', 'sealed short';
right('fcchat_api_secret_file sealed enough', 'a secret and the one before');
wrong('fcchat_api_secret_file' . ' sealed' x 9, 'too many key files, there can'
      . ' be 8', 'nine secrets');

like(said(http => 'fcchat_secret_key_file open;'),
     qr/^nginx:\ \[warn\]\ key\ file\ "\Q$d\E\/open"\ can\ be
                           \ read\ by\ everybody\ in\ \S+:30$/mx,
     'S12: a warning of a key that all can read');

# S12, S39, S42

sub warned {
    my ($conf) = @_;

    return join ' ', said(location => "$conf; fcchat;")
                     =~ /\[warn\] (.*?) in \S+:\d+$/mg;
}

my $key = 'fcchat_secret_key_file secret';
my $host = 'host=192.0.2.1 dbname=x user=x';

is(warned($ready =~ s/;$//r), '', 'S42: nothing to warn of');
like(warned("$ready fcchat_origin any"), qr/^with "fcchat_origin any" in/,
     'S42: any Origin');
like(warned("$ready fcchat_rate off; fcchat_history_rate off;"
            . ' fcchat_auth_rate off; fcchat_connections user=off ip=off'),
     qr/^nothing limits a client in location "\/x\/"$/, 'S42: no limit');
is(warned("$ready fcchat_rate off; fcchat_connections user=off ip=off"), '',
   'S42: one of them');
like(warned(qq(fcchat_postgres "$host"; $key)),
     qr/^"fcchat_postgres" of .* leaves this machine without/,
     'S42: PostgreSQL elsewhere without TLS');
like(warned(qq(fcchat_postgres "$host sslmode=require"; $key)),
     qr/without "sslmode=verify-full"/, 'S42: without verification');
is(warned(qq(fcchat_postgres "$host sslmode=verify-full"; $key)), '',
   'S42: with it');
is(warned(qq(fcchat_postgres "$_ dbname=x user=x"; $key)), '', "S42: $_")
    for 'host=127.0.0.1', 'host=localhost', 'host=/tmp', 'hostaddr=::1';
like(warned('fcchat_postgres "host=/tmp dbname=x user=x password=hidden";'
            . " $key"),
     qr/^the password in "fcchat_postgres" is shown by "nginx -T"/,
     'S12: a password in the configuration');
unlike(warned('fcchat_postgres "host=/tmp dbname=x user=x password=hidden";'
              . " $key"), qr/hidden/, 'S12: which is not told again');
wrong('fcchat_redis rediss://127.0.0.1', 'invalid Redis URL in argument 1: TLS'
      . ' is not spoken to Redis: use a Unix socket or a tunnel',
      'S39: TLS to Redis');
wrong('fcchat_status all', 'invalid parameter "all", there is "any"', undef,
      'location');

# the rest

is(tested(http => "$_ \$nowhere;"), qq([emerg] unknown "nowhere" variable\n),
   "$_, unknown variable") for qw/ fcchat_tenant fcchat_room /;
wrong("fcchat_session_redis $_", 'invalid number of a database, "/1" behind'
      . ' the URL or "db=1" is right, up to 65535')
    for 'redis://127.0.0.1/x', 'redis://127.0.0.1/0/1', 'unix:/x db=',
        'unix:/x db=-1', 'unix:/x 1', 'unix:/x db=65536';
wrong('fcchat_session_redis redis://127.0.0.1/0 db=1',
      'invalid Redis URL in argument 1: nothing may follow the port: channels'
      . " are the same in all of Redis's databases");
wrong('fcchat_session_redis http://x', 'invalid Redis URL in argument 1: not a'
      . ' URL of Redis: redis://[user:password@]host[:port] or unix:/path is'
      . ' right');
right("fcchat_session_redis $_")
    for 'redis://127.0.0.1', 'redis://127.0.0.1:6379/', 'redis://u:p@[::1]/15',
        'unix:/x', 'unix:/x db=3';
wrong('fcchat_session_key_prefix ' . 'x' x 129,
      'prefix must have at most 128 characters', 'a long prefix');
wrong('fcchat_session_key_version x', '"fcchat_session_key_version" directive'
      . ' must have a number');
wrong("fcchat_tenant_tables $_ b", qq(invalid names of tables "$_" and "b",)
      . ' each must be "name" or "schema.name" of letters, digits and "_"')
    for 'a-b', 'a.b.c', '.a', 'a.', "a'", 'x' x 64;
wrong('fcchat_tenant_tables a', 'invalid number of arguments in'
      . ' "fcchat_tenant_tables" directive');
right("fcchat_tenant_tables $_") for 'a b', 'x.Y_1 z.a', 'x' x 63 . ' b';
wrong("fcchat_retention $_", qq(invalid time "$_", it must be "off" or as)
      . ' "30d", at least "1m"') for '59s', 'x', '-1d', '0';
right("fcchat_retention $_") for 'off', '1m', '2y';
wrong('fcchat_query x "SELECT 1"', 'unknown query "x", it must be "session" or'
      . ' "user" or "room" or "stamps" or "owner" or "reaction"');
wrong("fcchat_query user '$_->[0]'", qq(query "user" $_->[1]), "query $_->[0]")
    for [ 'SELECT 1', 'must use $1' ],
        [ 'SELECT $1, $2', 'must not use $2' ],
        [ 'SELECT $0, $1', 'must not use $0' ],
        [ 'SELECT "$1"', 'must use $1' ],
        [ 'SELECT $1;', 'must be one statement without ";"' ],
        [ 'SELECT $1 "', 'has a string, a name or a comment without an end' ],
        [ '', 'must begin with SELECT or WITH' ],
        [ 'DELETE FROM x WHERE y = $1', 'must begin with SELECT or WITH' ];
wrong('fcchat_query stamps "SELECT $1"', 'query "stamps" must not use $1');
wrong('fcchat_query reaction "SELECT $1, $2, $4"',
      'query "reaction" must use $3');
wrong('fcchat_query reaction "DELETE FROM x"', 'query "reaction" must begin'
      . ' with SELECT, INSERT or WITH');
wrong('fcchat_query user default; fcchat_query user "SELECT $1"',
      'query "user" is duplicate');
right("fcchat_query $_")
    for 'user default', 'room "with x as (select $1) select * from x"',
        'stamps "SELECT 1"; fcchat_query user "SELECT $1"',
        'reaction "insert into x values ($1, $2, $3, $4)"';
wrong('fcchat_auth_backends', 'invalid number of arguments in'
      . ' "fcchat_auth_backends" directive');
right('fcchat_auth_backends a.B c.D');

# contexts, arguments, repeats

wrong('fcchat', '"fcchat" directive is not allowed here', undef, $_)
    for qw/ http server /;
wrong($_, qq("$_" directive is not allowed here))
    for qw/ fcchat_echo fcchat_api /;
wrong('fcchat_zone 1m', '"fcchat_zone" directive is not allowed here', undef,
      $_) for qw/ server location /;
wrong('fcchat on', 'invalid number of arguments in "fcchat" directive', undef,
      'location');

my @all = ('fcchat_zone 1m', $pg, 'fcchat_redis off', 'fcchat_redis_prefix x',
           'fcchat_tenant x', 'fcchat_room x', 'fcchat_secret_key_file secret',
           'fcchat_session_engine db', 'fcchat_session_cookie x',
           'fcchat_session_age 1d', 'fcchat_session_cache 1s',
           'fcchat_auth_backends any', 'fcchat_origin any',
           'fcchat_refuse http', 'fcchat_message_length 5',
           'fcchat_html_escape on', 'fcchat_ping 1s', 'fcchat_timeout 90s',
           'fcchat_detach on', 'fcchat_deflate on', 'fcchat_lag 64k',
           'fcchat_coalesce 1s', 'fcchat_media_url /x/',
           'fcchat_log off', 'fcchat_history 5', 'fcchat_tenant_tables a b',
           'fcchat_tenant_cache 1s', 'fcchat_retention 1d', 'fcchat_rate off',
           'fcchat_history_rate off', 'fcchat_auth_rate off',
           'fcchat_connections ip=5', 'fcchat_presence on',
           'fcchat_reaction_rate 5r/s', 'fcchat_api_rate 5r/s',
           'fcchat_api_secret_file sealed', 'fcchat_csrf_cookie x',
           'fcchat_session_redis unix:/x',
           'fcchat_guests read', 'fcchat_session_key_prefix x',
           'fcchat_session_key_version 2', 'fcchat_handshake_timeout 5s',
           'fcchat_redis_secret_file sealed');

for my $directive (@all) {
    my ($name) = $directive =~ /^(\w+)/;

    wrong("$directive; $directive", qq("$name" directive is duplicate),
          "$name twice");
}

wrong("$ready fcchat; fcchat", '"fcchat" directive is duplicate', undef,
      'location');
wrong("$ready fcchat; $_", qq("$_" directive is duplicate), undef,
      'location') for qw/ fcchat_echo fcchat_api /;

is(tested(http => join(' ', map { "$_;" } @all),
          server => join(' ', map { "$_;" } grep { !/_zone/ } @all),
          location => join(' ', map { "$_;" } grep { !/_zone/ } @all)), 'ok',
   'at each level once');

# what a chat needs, from wherever it comes

my $needs = '[emerg] "fcchat" in location "/x/" needs';

like(tested(location => 'fcchat;'), qr/^\Q$needs\E "fcchat_postgres" in /,
     'no fcchat_postgres');
like(tested(location => "$pg; fcchat;"),
     qr/^\Q$needs\E "fcchat_secret_key_file" in /, 'no key');
like(tested(http => 'fcchat_tenant domain;', location => "$ready fcchat;"),
     qr/"fcchat_tenant domain" in location "\/x\/" needs "fcchat_tenant_tables"/,
     'no tables');
is(tested(http => 'fcchat_tenant domain;', server => 'fcchat_tenant_tables a b;',
          location => "$ready fcchat;"), 'ok', 'tables from the server');
like(tested(http => 'fcchat_session_engine cache;',
            location => "$ready fcchat;"),
     qr/"fcchat_session_engine cache" in location "\/x\/" needs "fcchat_session_/,
     'no Redis for sessions');
is(tested(http => 'fcchat_session_engine cache;',
          server => 'fcchat_session_redis unix:/x;',
          location => "$ready fcchat;"), 'ok', 'one from the server');
is(tested(http => 'fcchat_tenant domain;',
          location => "$ready fcchat; fcchat_tenant x;"), 'ok',
   'a schema below "domain"');
is(tested(location => 'fcchat_echo;'), 'ok', 'an echo needs none');
like(tested(location => 'fcchat_api;'),
     qr/"fcchat_api" in location "\/x\/" needs "fcchat_postgres"/,
     'an API does');
like(tested(location => "$pg; fcchat_api;"),
     qr/"fcchat_api" in location "\/x\/" needs "fcchat_secret_key_file"/,
     'and a key');
is(tested(location => "$ready fcchat_api;"), 'ok', 'an API');

is(tested(http => $ready, location => 'fcchat;'), 'ok', 'from http');
is(tested(server => $ready, location => 'fcchat;'), 'ok', 'from server');
is(tested(http => "$pg;", server => 'fcchat_secret_key_file secret;',
          location => 'fcchat;'), 'ok', 'from both');
like(tested(location => "$ready } location /y/ { fcchat;"),
     qr/^\[emerg\] "fcchat" in location "\/y\/" needs "fcchat_postgres"/,
     'not from a location beside');
is(tested(location => 'fcchat; location /x/y/ { }', server => $ready), 'ok',
   'a location inside');

my $longer = '[emerg] "fcchat_timeout" must be longer than "fcchat_ping" in'
             . ' location "/x/"';

like(tested(location => 'fcchat_echo; fcchat_ping 60s;'), qr/^\Q$longer\E in /,
     'ping as long as the default timeout');
like(tested(http => 'fcchat_timeout 20s;', location => 'fcchat_echo;'),
     qr/^\Q$longer\E in /, 'timeout below the default ping');
is(tested(http => 'fcchat_timeout 20s;',
          location => 'fcchat_echo; fcchat_ping 5s;'), 'ok', 'merged');
