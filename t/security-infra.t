#!/usr/bin/perl

# What is around nginx: PostgreSQL over TLS, a role that may no more than it
# needs, a status page for this machine alone, a module that is hardened.  The
# numbers are those of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx qw/ :DEFAULT http_content /;

use FC::Api;
use FC::Pg;
use FC::Redis;
use FC::Site;
use FC::Util qw/ give_to log_lines run_quiet slurp tempdir top wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http realip rewrite/)
        ->has_daemon('openssl')->plan(78);
my $d = $t->testdir();

# a CA, and the certificate of a server of the name "db.test"

my $dir = tempdir('fctls');

sub openssl {
    run_quiet({}, 'openssl', @_);
}

for my $ca (qw/ ca other /) {
    openssl(qw/ req -x509 -newkey rsa:2048 -nodes -days 2 -subj /, "/CN=$ca",
            '-keyout', "$dir/$ca.key", '-out', "$dir/$ca.crt");
}

openssl(qw{ req -newkey rsa:2048 -nodes -subj /CN=db.test },
        '-keyout', "$dir/server.key", '-out', "$dir/server.csr");
openssl(qw/ x509 -req -days 2 -CAcreateserial /, '-in', "$dir/server.csr",
        '-CA', "$dir/ca.crt", '-CAkey', "$dir/ca.key",
        '-out', "$dir/server.crt");
chmod 0600, "$dir/server.key";
give_to('postgres', $_) for "$dir/server.key", "$dir/server.crt";

my $pg = FC::Pg->new(private => 1, fsync => 0,
                     conf => { ssl => 'on', ssl_cert_file => "$dir/server.crt",
                               ssl_key_file => "$dir/server.key",
                               log_connections => 'on' },
                     hba => <<'EOF');
local    all  all                trust
hostssl  all  all  127.0.0.1/32  trust
EOF

# the role has what the heads of the files say, word for word; another one what
# fcchat_retention needs as well, which says so in its own file

my (@grants, @more);

for my $file (sort glob(top() . '/sql/[0-9]*.sql')) {
    my $text = join ' ', slurp($file) =~ /^--(.*)$/mg;

    push @{$file =~ /retention/ ? \@more : \@grants},
         $text =~ /\b(GRANT [^;]+ TO chat;)/g;
}

cmp_ok(scalar @grants, '>=', 7, 'the files say what a role needs');
cmp_ok(scalar @more, '>=', 4, 'and one that deletes');
$pg->sql('create role chat login; create role cleaner login; '
         . join("\n", @grants, map { s/ TO chat;/ TO cleaner;/r } @grants,
                                                                  @more));

# so has the one of Redis: channels that begin with the prefix, and no key

my $redis = FC::Redis->new();

$redis->cmd(qw/ ACL SETUSER chat on >hush resetkeys resetchannels &fcchat:*
                -@all +publish +subscribe +unsubscribe +ping /);

my $bus = 'fcchat_redis ' . ($redis->url() =~ s{//}{//chat:hush@}r) . ';';

$t->write_file('api_secret', "the site's secret\n");
chmod 0600, "$d/api_secret";

my $tls = 'host=db.test hostaddr=127.0.0.1 port=' . $pg->port()
          . ' dbname=' . $pg->name() . ' user=chat';

my %location = (
    tls     => "$tls sslmode=verify-full sslrootcert=$dir/ca.crt",
    name    => $tls =~ s/db\.test/other.test/r
               . " sslmode=verify-full sslrootcert=$dir/ca.crt",
    foreign => "$tls sslmode=verify-full sslrootcert=$dir/other.crt",
    plain   => "$tls sslmode=disable",
);

my $more = join '', map { <<"EOF" } sort keys %location;
        location /$_/ {
            fcchat;
            fcchat_postgres "$location{$_}" connections=1;
        }
EOF

my $cleaner = $tls =~ s/user=chat/user=cleaner/r
              . " sslmode=verify-full sslrootcert=$dir/ca.crt";

my $site = FC::Site->new($t, pg => $pg, database => 0, redis => $redis,
                         bus => 0, location => 'fcchat_history 5;',
                         http => "fcchat_postgres \"$location{tls}\"; $bus",
                         server => <<'EOS', more => "$more" . <<"EOT");
        set_real_ip_from 127.0.0.0/8;
        real_ip_header X-Test-Address;
EOS
        location /api/ {
            fcchat_api;
            fcchat_api_secret_file %%TESTDIR%%/api_secret;
        }

        location /alone/ {
            fcchat;
            fcchat_redis off;
        }

        location /old/ {
            fcchat;
            fcchat_postgres "$cleaner";
            fcchat_retention 1m;
        }

        location = /status {
            fcchat_status;
        }

        location = /told {
            fcchat_status any;
        }
EOT

my $alice = $site->django->user('alice');

$site->django->user('bob');
$site->django->user('mod', is_staff => 1);
$site->django->room('stream_1');
$site->django->stamp(1, ':smile:', '/media/1.svg');
$site->cookie('alice');
$t->run();

# S39

my $ws;

ok(wait_for(sub {
    $ws = $site->join('alice', protocol => 'fcchat.v1');
    return $ws->status() == 101;
}), 'S39: over TLS');
is($pg->sql("select bool_and(ssl)::text from pg_stat_ssl join pg_stat_activity"
            . " using (pid) where usename = 'chat'"), 'true',
   'S39: all connections');

for my $case ([ 'name', qr/other\.test/ ], [ 'foreign', qr/certificate verify/ ],
              [ 'plain', qr/no pg_hba.conf entry|no encryption/ ])
{
    my ($name, $why) = @$case;

    is($site->join('alice', path => "/$name/stream_1/")->status(), 503,
       "S39: $name");
    ok(wait_for(sub { log_lines($t, $why) }), "S39: $name: the log says why");
}

# S40: all that it does, it may

$ws->recv_json();
$ws->send_json({ type => 'message', text => 'hi', cid => 'c1' });
is($ws->recv_until(sub { $_[0]{type} eq 'ack' })->{seq}, 1,
   'S40: a message');
$ws->send_json({ type => 'reaction', stamp_id => 1 });
is($ws->recv_until(sub { $_[0]{type} eq 'reactions' })->{counts}{1}, 1,
   'S40: a reaction');
ok(wait_for(sub {
    $pg->sql('select count(*) from streaming_streamreaction') == 1
}), 'S40: which is stored');
$ws->send_json({ type => 'history' });
is($ws->recv_until(sub { $_[0]{type} eq 'history' })->{messages}[0]{text}, 'hi',
   'S40: a page');
is($site->join('alice', protocol => 'fcchat.v1', query => 'since='
               . $pg->sql('select epoch from fcchat_head') . ':0')
   ->recv_until(sub { $_[0]{type} eq 'message' })->{text}, 'hi',
   'S40: a resume');
is($site->join('alice')->recv_json()->{message}, 'hi', 'S40: an old page');

# by a moderator, and over HTTP

my $mod = $site->join('mod', protocol => 'fcchat.v1');
my $api = FC::Api->new(cookie => $site->cookie('mod'));
my %bearer = (headers => { Authorization => "Bearer the site's secret" });

$mod->recv_json();

for my $act ({ type => 'pin', seq => 1 }, { type => 'unpin', seq => 1 },
             { type => 'timeout', user_id => $alice, seconds => 1 },
             { type => 'ban', username => 'bob', seconds => 60 },
             { type => 'ban', username => 'bob', scope => 'tenant' },
             { type => 'ban', address => '192.0.2.1' },
             { type => 'unban', username => 'bob' },
             { type => 'slow', seconds => 1 }, { type => 'slow', seconds => 0 },
             { type => 'delete', seq => 1, reason => 'why not' })
{
    $mod->send_json($act);
    is($mod->recv_until(sub { $_[0]{type} =~ /^(?:ack|error)$/ })->{type},
       'ack', "S40: $act->{type}");
}

for my $path ('', '/viewers', '/history', '/history/1', '/reactions', '/bans',
              '/bans?scope=tenant', '/audit')
{
    is($api->get("/api/stream_1$path")->{status}, 200, "S40: GET ROOM$path");
}

is($api->post('/api/stream_1/publish', { text => 'news' }, %bearer)->{status},
   200, 'S40: a message of the back end');
is($api->post('/api/stream_1/moderation', { action => 'slow', seconds => 0 },
              %bearer)->{status}, 200, 'S40: and what it moderates');

# without Redis, and one that deletes

my $alone = $site->join('alice', path => '/alone/stream_1/');

ok(wait_for(sub { $pg->sql('select count(*) from fcchat_viewers') }),
   'S40: viewers without Redis');
$pg->sql('set fcchat.numbering = off; update chat_chatmessage set created_at ='
         . " now() - interval '1 day' where content = 'hi'");
is($site->join('alice', path => '/old/stream_1/')->status(), 101,
   'S40: where old messages are deleted');
ok(wait_for(sub {
    !$pg->sql("select count(*) from chat_chatmessage where content = 'hi'")
}, 20), 'S40: they are');

is(join('', grep { /permission denied/ }
            map { split /\n/ } slurp($pg->host() . '/log'),
            $t->read_file('error.log')), '', 'S40: nothing was refused');

# S39: all that goes over Redis is under the prefix

is(join('', $t->read_file('error.log') =~ /.*NOPERM.*/g), '',
   'S39: an ACL of the prefix is enough');
cmp_ok($redis->cmd('INFO', 'commandstats') =~ /cmdstat_publish:calls=(\d+)/
       ? $1 : 0, '>=', 1, 'S39: for what was sent');
ok((grep { /^fcchat:room:/ } @{$redis->cmd('PUBSUB', 'CHANNELS', '*')}),
   'S39: and what is listened to');

# and no more

for my $sql ("update chat_chatmessage set content = 'x'",
             'delete from chat_chatmessage', 'truncate chat_chatmessage',
             "update accounts_user set is_staff = true",
             'select email from accounts_user', 'delete from accounts_user',
             "insert into django_session values ('a', 'b', now())",
             'update django_session set expire_date = now()',
             'delete from fcchat_event',
             'update fcchat_event set seq = seq + 1',
             'delete from fcchat_audit', 'update fcchat_audit set id = id',
             'delete from streaming_streamreaction',
             'insert into fcchat_moderator values (0, 1)',
             'update fcchat_moderator set user_id = 1',
             'update chat_chatmessage set user_id = 1',
             'delete from fcchat_head', "update chat_chatroom set name = 'x'",
             'drop table chat_chatmessage', 'drop function fcchat_append',
             'alter table fcchat_head add x int',
             'create table localhost.x (y int)',
             'create table public.x (y int)',
             'alter table chat_chatmessage disable trigger all')
{
    $pg->login('chat');

    my $said = eval { $pg->sql($sql); 'done' } // $@;

    $pg->login(undef);

    like($said, qr/permission denied|must be owner/, "S40: not: $sql");
}

# what a session sets is not run with the rights of a trigger's owner

$pg->sql('insert into chat_chatmessage (room_id, user_id, content, message_type,'
         . ' is_deleted, is_pinned, created_at) select id, :alice, \'yes\','
         . " 'message', false, false, now() from chat_chatroom limit 1",
         alice => $alice);
$pg->login('chat');
is($pg->sql("set fcchat.owner = 'select current_user::text::bigint'; update"
            . ' chat_chatmessage set is_pinned = not is_pinned;'
            . ' show fcchat.owner'), 'select current_user::text::bigint',
   'S40: by hand, and by no query of the session');
$pg->login(undef);

# S41

sub status {
    my ($path, $address) = @_;

    return http("GET $path HTTP/1.0\r\nHost: localhost\r\n"
                . (defined $address ? "X-Test-Address: $address\r\n" : '')
                . "\r\n");
}

like(status('/status'), qr/ 200 /, 'S41: the status, to this machine');
like(status('/status', '192.0.2.1'), qr/ 403 /, 'S41: to no other');
like(status('/told', '192.0.2.1'), qr/ 200 /, 'S41: but with "any"');

for my $format ([ json => qr/"rooms"/ ], [ prometheus => qr/^# TYPE /m ],
                [ html => qr/<html/i ])
{
    my ($name, $is) = @$format;
    my $page = http_content(status("/status?format=$name"));

    like($page, $is, "S41: $name");
    unlike($page, qr/alice|hush|the site's secret|\Q$dir\E/,
           "S41: $name, names no user and no secret");
}

# S43

SKIP: {
    my $module = $ENV{FC_MODULE};

    skip 'no module built, or no readelf', 1
        if !$module || !-x '/usr/bin/readelf';

    my $elf = `readelf -lW -dW -sW $module 2>&1`;
    my @missing = grep { $elf !~ $_ }
                  qr/GNU_RELRO/, qr/BIND_NOW|FLAGS.*NOW/,
                  qr/GNU_STACK.*RW /, qr/__stack_chk_fail/, qr/\w_chk\b/;

    is(join(' ', @missing, $elf =~ /(TEXTREL)/), '', 'S43: hardened');
}
