#!/usr/bin/perl

# Messages of the site's own back end over HTTP: its secret, the body however
# it comes, one number for one cid, and all readers get it.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Api;
use FC::Site;
use FC::Util qw/ log_lines wait_for /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(62);

$t->write_file($_->[0], "$_->[1]\n")
    for [ secret1 => 'now-1234-567890a' ], [ secret2 => 'before-the-others' ];
chmod 0600, map { $t->testdir() . "/$_" } qw/ secret1 secret2 /;

my $site = FC::Site->new($t, workers => 2, pg => { private => 1 },
                         more => <<'EOF');
        location /api/chat/ {
            fcchat_api;
            fcchat_api_secret_file secret1 secret2;
            client_body_timeout 1s;
        }

        location /none/ {
            fcchat_api;
        }

        location /long/ {
            fcchat_api;
            fcchat_api_secret_file secret1;
            fcchat_message_length 16384;
            client_body_buffer_size 1k;
        }
EOF

my ($pg, $django) = ($site->pg(), $site->django());

$django->room('old', is_active => 0);
$t->run();

my $PATH = '/api/chat/stream_1/publish';
my $api = FC::Api->new(headers => { Authorization => 'Bearer now-1234-567890a' });

sub said { my ($data, %o) = @_; return $api->post($PATH, $data, %o) }

sub code {
    my ($status, $r) = @_;

    return "$r->{status} " . ($r->{body} // '') if $r->{status} != $status;
    return $r->{json}{error}{code};
}

# one message, and who gets it

my @v1 = map { $site->join($_, protocol => 'fcchat.v1') } qw/ ann bob cat /;
my $old = $site->join('dan');

$_->recv_json() for @v1;

my $r = said({ text => 'Welcome <b>all</b>', cid => 'c1' });

is($r->{status}, 200, 'said');
is_deeply([ @{$r->{json}}{qw/ type cid seq /} ], [ 'ack', 'c1', 1 ], 'its ack');
is($r->{header}{'cache-control'}, 'no-store', 'not to be kept');
ok(!$r->{header}{etag}, 'no ETag');

my $id = $r->{json}{id};

for my $ws (@v1) {
    my $m = $ws->recv_until(sub { $_[0]{type} eq 'message' });

    is_deeply({ %$m, at => '' },
              { type => 'message', seq => 1, id => $id, user => undef, at => '',
                text => 'Welcome <b>all</b>', message_type => 'system' },
              'a reader gets it');
}

is_deeply($old->recv_json(),
          { username => '', message => 'Welcome &lt;b&gt;all&lt;/b&gt;',
            message_type => 'system', timestamp => undef }, 'an old page, too');
is_deeply([ $pg->sql('select id, user_id, content, message_type, is_deleted'
                     . ' from localhost.chat_chatmessage') ],
          [ [ $id, undef, 'Welcome <b>all</b>', 'system', 'f' ] ], 'its row');
is($api->get("/api/chat/stream_1/messages/$id")->{json}{seq}, 1,
   'the secret may read');

# the same cid is the same message, for a room

is_deeply(said({ text => 'other', cid => 'c1' })->{json}, $r->{json},
          'the same cid') for 1, 2;
is($api->post('/api/chat/stream_2/publish', { text => 'x', cid => 'c1' })
   ->{json}{seq}, 1, 'another room');
is(said({ text => 'x', cid => 'c2' })->{json}{seq}, 2, 'another cid');
is(said({ text => 'x' })->{json}{seq}, 3, 'without one');
is(said({ text => 'x' })->{json}{seq}, 4, 'and once more');
ok(!exists said({ text => 'x' })->{json}{cid}, 'none in the ack');

# a user's cid is not the site's

$v1[0]->send_json({ type => 'message', text => 'mine', cid => 'c1' });
my $ack = $v1[0]->recv_until(sub { $_[0]{type} eq 'ack' });
is($ack->{seq}, 6, 'a user\'s cid');
is(said({ text => 'y', cid => 'c1' })->{json}{seq}, 1, 'is not the site\'s');

# all at once on many connections: one number each, and one row a cid

my @many = map { FC::Api->new(headers => { %{$api->{headers}} }) } 1 .. 8;
my @socket = map { $_->socket() } @many;

for my $i (0 .. $#many) {
    my $s = $socket[$i];
    my $cid = 'many' . $i % 4;

    print $s $many[$i]->request($PATH, method => 'POST',
                                json => { text => "at once $cid",
                                          cid => $cid });
}

my %seq;
push @{$seq{$_->{json}{cid}}}, $_->{json}{seq}
    for map { { json => JSON::PP::decode_json($_->{body}) } }
        map { $many[$_]->answer($socket[$_]) } 0 .. $#many;
is_deeply([ sort { $a <=> $b } map { $seq{$_}[0] } keys %seq ], [ 7 .. 10 ],
          'no hole');
is(scalar(grep { $seq{$_}[0] == $seq{$_}[1] } keys %seq), 4, 'each cid once');
is($pg->sql('select count(*) from localhost.chat_chatmessage'), 11, 'rows');

# the secret

my %auth = (Authorization => 'Bearer before-the-others');
is(said({ text => 'x', cid => 'c1' }, headers => \%auth)->{status}, 200,
   'the secret before');

for my $h ('Bearer wrong', 'Bearer', 'Bearer now-1234-567890',
           'bearer now-1234-567890ab', 'Bearer now-1234-567890A',
           'Basic now-1234-567890a', undef)
{
    $r = said({ text => 'x' }, headers => { Authorization => $h });
    is(code(401, $r), 'bad_secret', $h // 'none');
}

is($r->{header}{'www-authenticate'}, 'Bearer', 'what is wanted');
is(code(401, said({ text => 'x' }, headers => { Authorization => undef },
                  cookie => $site->cookie('ann'))), 'bad_secret',
   'a session is not enough');
is(code(401, $api->post('/none/stream_1/publish', { text => 'x' })),
   'bad_secret', 'where there is no secret');

# what is wrong with a message

for my $case ([ bad_json => '' ], [ bad_json => 'x' ], [ bad_json => '[]' ],
              [ bad_json => '{"text":"x","text":"y"}' ],
              [ bad_request => '{}' ], [ bad_request => '{"text":1}' ],
              [ bad_request => '{"text":"x","cid":""}' ],
              [ empty => '{"text":" "}' ],
              [ bad_text => '{"text":"\u0000"}' ],
              [ unknown_type => '{"type":"reaction","stamp_id":1}' ],
              [ too_long => '{"text":"' . 'x' x 501 . '"}' ])
{
    is(code(400, said(undef, body => $case->[1])), $case->[0],
       'refused: ' . substr $case->[1], 0, 40);
}

is(code(404, $api->post('/api/chat/old/publish', { text => 'x' })),
   'not_found', 'not active');

for my $type (undef, '', 'text/plain', 'application/jsonx',
              'application/x-www-form-urlencoded')
{
    $r = said(undef, body => '{"text":"x"}',
              headers => { 'Content-Type' => $type // '' });
    is(code(415, $r), 'unsupported_type', 'type ' . ($type // 'none'))
        if defined $type;
}

is(said({ text => 'x', cid => 'c1' },
        headers => { 'Content-Type' => 'Application/JSON; charset=utf-8' })
   ->{status}, 200, 'a type with a parameter');

# the body: too large by its length, by its chunks, or all of it needed

is(code(413, said(undef, body => '{"text":"' . 'x' x 8000 . '"}')),
   'too_large', 'too large');

my %chunked = ('Transfer-Encoding' => 'chunked');
my $big = '{"text":"' . 'x' x 8000 . '"}';

is(code(413, said(undef, headers => \%chunked,
                  body => sprintf "%x\r\n%s\r\n0\r\n\r\n", length $big, $big)),
   'too_large', 'too large in chunks');

my $text = "\x{1f600}" x 16384;
my $json = JSON::PP->new->utf8->encode({ text => $text, cid => 'long' });

$r = $api->post('/long/stream_2/publish', undef, body => $json);
is($r->{status}, 200, 'a long one, by pieces');
is($api->post('/long/stream_2/publish', undef, headers => \%chunked,
              body => join('', map { sprintf "%x\r\n%s\r\n", length $_, $_ }
                                   $json =~ /(.{1,1000})/gs) . "0\r\n\r\n")
   ->{json}{seq}, $r->{json}{seq}, 'and in chunks');
is($pg->sql("select content = repeat(chr(128512), 16384)"
            . " from localhost.chat_chatmessage where id = $r->{json}{id}"),
   't', 'as it was sent');

# a body that comes slowly, or not at all

my $s = $api->socket();
my $request = $api->request($PATH, method => 'POST',
                            json => { text => 'slowly', cid => 'slow' });

for my $part ($request =~ /(.{1,40})/gs) {
    print $s $part;
    select undef, undef, undef, 0.01;
}

like($api->answer($s)->{body}, qr/"cid":"slow"/, 'slowly');

print $s substr $request, 0, -5;
is($api->answer($s), undef, 'never: the connection is closed');
delete $api->{s};
ok(!$pg->sql("select count(*) from localhost.chat_chatmessage"
             . " where content = ''"), 'nothing stored');

# refused by the database

$pg->sql(q{alter table localhost.chat_chatmessage add constraint nice
           check (content <> 'ugly')});
is(code(409, said({ text => 'ugly' })), 'rejected', 'rejected');

# PostgreSQL is away

$pg->stop();
$r = said({ text => 'x', cid => 'away' });
is(code(503, $r), 'unavailable', 'away');
is($r->{header}{'retry-after'}, 1, 'when again');
$pg->start();
ok(wait_for(sub {
    said({ text => 'x', cid => 'away' })->{status} == 200;
}), 'back');
