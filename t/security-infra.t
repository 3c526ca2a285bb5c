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

use FC::Pg;
use FC::Site;
use FC::Util qw/ give_to log_lines run_quiet slurp tempdir top wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http realip rewrite/)
        ->has_daemon('openssl')->plan(38);
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

# the role has what the heads of the files say, word for word

my @grants;

# what deletes by fcchat_retention needs more, and says so in its own file

for my $file (grep { !/retention/ } sort glob(top() . '/sql/[0-9]*.sql')) {
    my $text = join ' ', slurp($file) =~ /^--(.*)$/mg;

    push @grants, $text =~ /\b(GRANT [^;]+ TO chat;)/g;
}

cmp_ok(scalar @grants, '>=', 7, 'the files say what a role needs');
$pg->sql('create role chat login; ' . join "\n", @grants);

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

my $site = FC::Site->new($t, pg => $pg, database => 0,
                         http => "fcchat_postgres \"$location{tls}\";",
                         server => <<'EOS', more => "$more" . <<'EOT');
        set_real_ip_from 127.0.0.0/8;
        real_ip_header X-Test-Address;
EOS
        location = /status {
            fcchat_status;
        }

        location = /told {
            fcchat_status any;
        }
EOT

$site->django->user('alice');
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
is(join('', grep { /permission denied/ } log_lines($t, qr/\[error\]/)), '',
   'S40: nothing was refused');

# and no more

for my $sql ("update chat_chatmessage set content = 'x'",
             'delete from chat_chatmessage', 'truncate chat_chatmessage',
             "update accounts_user set is_staff = true",
             'select email from accounts_user', 'delete from accounts_user',
             "insert into django_session values ('a', 'b', now())",
             'update django_session set expire_date = now()',
             'delete from fcchat_event',
             'update fcchat_event set seq = seq + 1',
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
unlike(status('/status'), qr/alice/, 'S41: it names no user');

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
