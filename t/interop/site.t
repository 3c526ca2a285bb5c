#!/usr/bin/perl

# A site on a Django of today, with django-tenants and Channels: whom its pages
# and its sockets take a cookie for is whom the module takes it for, its host
# the same tenant, its tables those that the module knows.  By t/interop/run.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir("$FindBin::Bin/.."); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Django;
use FC::Pg;
use FC::Redis;
use FC::Site;
use FC::Util qw/ log_lines top /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

plan(skip_all => 'by t/interop/run') if !$ENV{FC_INTEROP};

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(78 + 11);

my $big = $ENV{FC_INTEROP} =~ m{/4\.} ? 0 : 1;
my $d = $t->testdir();
my $pg = FC::Pg->new(tables => 0);
my $redis = FC::Redis->new();
my $url = $redis->url();

$ENV{FCCHAT_REDIS} = $url;
$ENV{FCCHAT_SITE} = "$d/site";
$ENV{FCCHAT_AUTO_FIELD} = $big ? 'BigAutoField' : 'AutoField';

my $django = FC::Django->new(pg => $pg, python => $ENV{FC_INTEROP},
                             serve => top() . '/t/interop/site/serve.py');
my $secret = $django->secret();
my @rotated = ($secret, 'the one before');

my $site = FC::Site->new($t, pg => $pg, redis => $redis, django => $django,
                         server => <<'EOF', more => <<"EOF2");
        fcchat_origin any;
        fcchat_tenant domain;
        fcchat_tenant_tables customers_domain customers_client;
        fcchat_session_cache 0;
        fcchat_tenant_cache 0;
EOF
        fcchat_secret_key_file %%TESTDIR%%/secret %%TESTDIR%%/before;

        location /api/chat/ {
            fcchat_api;
        }

        location /cached_db/ {
            fcchat;
            fcchat_session_engine cached_db;
        }

        location /signed_cookies/ {
            fcchat;
            fcchat_session_engine signed_cookies;
        }

        location /redis/ {
            fcchat;
            fcchat_session_engine cache;
            fcchat_session_redis $url/1;
        }

        location /django_redis/ {
            fcchat;
            fcchat_session_engine cache;
            fcchat_session_redis $url/2;
            fcchat_session_key_prefix site;
            fcchat_session_key_version 3;
        }
EOF2

$django->secret_file("$d/before", $rotated[1]);

my $version = $django->call('tables', tenants => {
    west => ['west.test', 'w.test'], east => ['east.test'] });

diag("Django $version, ids as $ENV{FCCHAT_AUTO_FIELD}");
$pg->apply($_) for qw/ west east /;
$django->call('user', username => $_, schema => 'west') for qw/ ann bill /;
$django->call('user', username => 'eve', schema => 'east');
$t->run();

tables();

my %engines = (
    db           => ['db'],
    cached_db    => ['cached_db'],
    signed       => ['signed_cookies'],
    redis        => ['cache', 'redis'],
    django_redis => ['cache', 'django_redis'],
    zlib         => ['cache', 'zlib'],
);

my %paths = (db => 'ws/chat', zlib => 'django_redis',
             signed => 'signed_cookies');

sessions($_, $paths{$_} // $_, engine => $engines{$_}[0],
         $engines{$_}[1] ? (cache => $engines{$_}[1]) : ())
    for sort keys %engines;

tenants();
messages();
tokens();

is(join('', log_lines($t, qr/\[(?:alert|emerg|crit|error)\]/)), '',
   'nothing to complain of');


# The name that the module has for a cookie, or its refusal.

sub who {
    my ($path, $cookie, %o) = @_;

    my $ws = enter($path, $cookie, %o);
    my $who = $ws->status() == 101 ? $ws->recv_json()->{you}{username}
                                   : $ws->status();

    $ws->drop();

    return $who;
}


sub enter {
    my ($path, $cookie, %o) = @_;

    return FC::WS->connect(port => port(8080), path => "/$path/stream_1/",
                           cookie => $cookie, protocol => 'fcchat.v1',
                           host_header => 'west.test', %o);
}


sub login {
    my ($name, %o) = @_;

    return $django->call('login', username => $name, host => 'west.test',
                         schema => 'west', %o)->{session};
}


# The three agree; nobody is '' to Django.

sub agree {
    my ($name, $path, $cookie, $who, %o) = @_;

    my %cookies = (cookies => { sessionid => $cookie });

    is($django->call('who', host => 'west.test', %cookies, %o), $who,
       "$name: Django");
    is($django->call('channels', schema => 'west', %cookies, %o), $who,
       "$name: Channels");
    is(who($path, $cookie), $who eq '' ? 401 : $who, "$name: the module");

    return;
}


sub sessions {
    my ($name, $path, %o) = @_;

    my $cookie = login('ann', %o);

    agree($name, $path, $cookie, 'ann', %o);

    # SECRET_KEY was another one, and is a fallback now: Django accepts that and
    # makes another session of it at once, so it is asked last; Channels knows
    # no fallbacks.  And one that is none.

    $cookie = login('ann', %o, secrets => [ $rotated[1] ]);
    is(who($path, $cookie), 'ann', "$name, a rotated key: the module");
    is($django->call('who', host => 'west.test', %o, secrets => \@rotated,
                     cookies => { sessionid => $cookie }), 'ann',
       "$name, a rotated key: Django");
    is(who($path, login('ann', %o, secrets => [ 'of another site' ])), 401,
       "$name, the key of another site");

    # with the password old sessions are void

    $cookie = login('bill', %o);
    $django->call('user', username => 'bill', schema => 'west',
                  password => 'new');
    agree("$name, another password", $path, $cookie, '', %o);
    $django->call('user', username => 'bill', schema => 'west');

    return;
}


sub tenants {
    my $west = login('ann');
    my $east = login('eve', schema => 'east', host => 'east.test');

    for my $case (['west.test', 'ann'], ['w.test', 'ann'],
                  ['www.west.test', 'ann'], ['west.test:8080', 'ann'],
                  ['east.test', ''], ['nobody.test', 404])
    {
        my ($host, $who) = @$case;

        is($django->call('who', host => $host,
                         cookies => { sessionid => $west }), $who,
           "$host: Django");
        is(who('ws/chat', $west, host_header => $host),
           $who eq '' ? 401 : $who, "$host: the module");
    }

    is(who('ws/chat', $east, host_header => 'east.test'), 'eve',
       'the other tenant');
    is(who('ws/chat', $east), 401, 'and it alone');

    return;
}


# What one writes the other reads.

sub messages {
    my $ann = enter('ws/chat', login('ann'));
    my $text = "it's <b>\x{3053}\x{3093}</b> \x{1F600}";

    $ann->send_json({ type => 'message', text => $text, cid => 'c1' });

    my $told = $ann->recv_until(sub { $_[0]{type} eq 'message' });
    my ($row) = @{$django->call('messages', schema => 'west')};

    is_deeply($row, [ $told->{id}, 'ann', $text, 'message',
                      JSON::PP::false, JSON::PP::false,
                      $told->{at} =~ s/Z/+00:00/r ], 'the ORM reads it');

    my $id = $django->call('say', schema => 'west', username => 'bill',
                           text => 'from a view');

    $told = $ann->recv_until(sub { $_[0]{type} eq 'message' });
    is_deeply([ @$told{qw/ seq id text /}, $told->{user}{username} ],
              [ 2, $id, 'from a view', 'bill' ], 'the ORM writes one');

    return;
}


# Tokens against forgery: the cookie with what a page has got, with itself as a
# script sends it, and with another one's.

sub tokens {
    my @page = map { $django->call('login', username => 'ann',
                                   host => 'west.test', schema => 'west') }
               1, 2;
    my ($cookie, $token) = @{$page[0]}{qw/ csrf token /};
    my $api = FC::Api->new(host => 'west.test', csrf => $cookie,
                           cookie => $page[0]{session});

    isnt($token, $cookie, 'tokens: that of a page is masked');

    for my $case (['of the page', $token, 200], ['of the cookie', $cookie, 200],
                  ['of another page', $page[1]{token}, 403],
                  ['cut', substr($token, 1), 403], ['none', '', 403])
    {
        my ($name, $given, $status) = @$case;

        is($django->call('post', host => 'west.test', csrf => JSON::PP::true,
                         cookies => { csrftoken => $cookie },
                         given => $given), $status, "token $name: Django");
        # past that, a member may not moderate

        is($api->post('/api/chat/stream_1/moderation',
                      { action => 'slow', seconds => 1 },
                      headers => { 'X-CSRFToken' => $given })
           ->{json}{error}{code},
           $status == 200 ? 'forbidden' : 'csrf_failed',
           "token $name: the module");
    }

    return;
}


# Columns as sql/seed.sql has them, but for the type of ids.

sub tables {
    $pg->sql('create schema plain');
    $pg->apply('plain', top() . '/sql/seed.sql');

    for my $table (qw/ accounts_user chat_chatmessage chat_chatroom
                       chat_chatstamp django_session streaming_stream
                       streaming_streamreaction /)
    {
        my ($seed, $real) = map { columns($_, $table) } qw/ plain west /;

        $seed =~ s/(\bid|_id) integer/$1 bigint/g if $big;
        is($real, $seed, "$table: as the seed has it");
    }

    return;
}


sub columns {
    my ($schema, $table) = @_;

    return join "\n", map { join ' ', map { $_ // '-' } @$_ } $pg->sql(
        "select column_name, data_type, character_maximum_length, is_nullable"
        . " from information_schema.columns where table_schema = '$schema'"
        . " and table_name = '$table' order by column_name");
}
