#!/usr/bin/perl

# Stamps come from the database, whatever the client says of them; reactions
# go there.
#
# S26 of SECURITY.md.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Queries;
use FC::Site;
use FC::Util qw/ wait_for /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(30);

my $site = FC::Site->new($t, more => <<'EOF');
        location /cdn/ {
            fcchat;
            fcchat_media_url https://cdn.example.com/m/;
        }
EOF

my ($pg, $django) = ($site->pg(), $site->django());
my $queries = FC::Queries->new($pg);
my $STAMPS = qr/FROM chat_chatstamp/;

my @images = (
    [ 11, 'stamps/a b.svg', '/media/stamps/a b.svg',
      'https://cdn.example.com/m/stamps/a b.svg' ],
    [ 12, '/static/b.svg', '/static/b.svg', '/static/b.svg' ],
    [ 13, 'https://x.example/c.svg?a=1', 'https://x.example/c.svg?a=1',
      'https://x.example/c.svg?a=1' ],
    [ 14, 'http://x.example/d.svg', 'http://x.example/d.svg',
      'http://x.example/d.svg' ],
    [ 15, '', '', '' ],
);

$django->stamp($_->[0], ":s$_->[0]:", $_->[1]) for @images;

my $alice = $django->user('alice');
my $bob = $django->user('bob');

$t->run();

my $old = $site->join('alice');
my $new = $site->join('bob', protocol => 'fcchat.v1');

$new->recv_until(sub { $_[0]{type} eq 'welcome' });

sub react {
    my ($ws, $id) = @_;

    $ws->send_json({ type => 'reaction', stamp_id => $id + 0 });

    return $old->recv_json();
}

# the client's own words about a stamp are not heard

$old->send_json({ type => 'reaction', stamp_id => 1, stamp_name => '<b>',
                  stamp_image_url => 'javascript:alert(1)' });
is_deeply($old->recv_json(),
          { type => 'reaction', username => 'alice', stamp_id => 1,
            stamp_name => ':smile:',
            stamp_image_url => '/media/stamps/01_smile.svg' },
          'a reaction');
is_deeply($new->recv_until(sub { $_[0]{type} eq 'reactions' }),
          { type => 'reactions', counts => { 1 => 1 } }, 'counts');

# cached

react($old, 1 + $_ % 6) for 1 .. 12;
is($queries->count($STAMPS), 1, 'the table was read once');

# images

for my $image (@images) {
    is(react($new, $image->[0])->{stamp_image_url}, $image->[2],
       "an image: $image->[1]");
}

my $cdn = $site->join('alice', path => '/cdn/stream_1/');

for my $image (@images) {
    $cdn->send_json({ type => 'reaction', stamp_id => $image->[0] + 0 });
    is($cdn->recv_json()->{stamp_image_url}, $image->[3],
       "an image by fcchat_media_url: $image->[1]");
}

$cdn->close();
$old->recv_all(0.2);

# a stamp that came later

$queries->since();
$django->stamp(20, ':late:', '/l.svg');
is_deeply(wait_for(sub {
    my $reply = react($old, 20);
    return $reply->{code} ? 0 : $reply;
}), { type => 'reaction', username => 'alice', stamp_id => 20,
      stamp_name => ':late:', stamp_image_url => '/l.svg' }, 'a late stamp');
is($queries->count($STAMPS), 1, 'the table was read again');

# one that is drawn anew, and one that is taken away

$pg->sql("update chat_chatstamp set image = '/new.svg' where id = 20");
ok(wait_for(sub { react($old, 20)->{stamp_image_url} eq '/new.svg' }, 20, 0.2),
   'another image');
$pg->sql('set session_replication_role = replica;'
         . ' delete from chat_chatstamp where id = 20');
ok(wait_for(sub { (react($old, 20)->{code} // '') eq 'unknown_stamp' }, 20,
            0.2), 'it is gone');
$queries->since();
react($old, 1 + $_ % 6) for 1 .. 12;
cmp_ok($queries->count($STAMPS), '<=', 1, 'the table is read now and then');
$new->recv_all(0.3);

# one that is none; the socket lives, and the table is not read each time

is_deeply(react($old, 999),
          { username => '', message => 'There is no such stamp.',
            message_type => 'system', timestamp => undef,
            code => 'unknown_stamp' }, 'an unknown stamp');

my $asked = $queries->count($STAMPS);

is_deeply([ map { react($old, 1000 + $_)->{code} } 1 .. 20 ],
          [ ('unknown_stamp') x 20 ], 'many unknown stamps');
cmp_ok($queries->count($STAMPS) - $asked, '<=', 1, 'are not asked for');

$new->recv_all(0.3);
$new->send_json({ type => 'reaction', stamp_id => 999, cid => 'c1' });

my $error = $new->recv_json();

is($error->{type} . ' ' . $error->{code}, 'error unknown_stamp',
   'an unknown stamp, fcchat.v1');

# the rows

$pg->sql('delete from streaming_streamreaction');
react($old, 2);
react($new, 3);
react($new, 3);

ok(wait_for(sub {
    $pg->sql('select count(*) from streaming_streamreaction') == 3;
}), 'three rows');
is_deeply([ $pg->sql('select stream_id, user_id, stamp_id, '
                     . "created_at between now() - interval '1 min' and now() "
                     . 'from streaming_streamreaction order by stamp_id') ],
          [ [ 1, $alice, 2, 't' ], [ 1, $bob, 3, 't' ], [ 1, $bob, 3, 't' ] ],
          'their columns');

# no error, and no row of what was refused

$new->recv_all(0.3);
$pg->sql('delete from streaming_streamreaction');

my $many = 100;

$new->send_json({ type => 'reaction', stamp_id => 1 + $_ % 3 })
    for 1 .. $many;

my %counts;

ok(wait_for(sub {
    my $m = $new->recv_json(1) // return 0;
    $counts{$_} += $m->{counts}{$_} for keys %{$m->{counts}};
    my $sum = 0;
    $sum += $_ for values %counts;
    return $sum == $many;
}), 'all are counted');
is_deeply(\%counts, { 1 => 33, 2 => 34, 3 => 33 }, 'the counts');
ok(wait_for(sub {
    $pg->sql('select count(*) from streaming_streamreaction') == $many;
}), 'and stored');

# a room that has no stream

$django->room('lounge', stream => \0);

my $lounge = $site->join('alice', room => 'lounge');

$lounge->send_json({ type => 'reaction', stamp_id => 1 });
is_deeply($lounge->recv_json(),
          { username => '', message => 'This room has no stream to react to.',
            message_type => 'system', timestamp => undef,
            code => 'not_allowed' }, 'a room without a stream');
$lounge->send_json({ message => 'still here' });
is($lounge->recv_json()->{message}, 'still here', 'the socket lives');

my @rows = $pg->sql('select count(*) from streaming_streamreaction');

is($rows[0][0], $many, 'no row for it');
