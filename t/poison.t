#!/usr/bin/perl

# A row that the database refuses fails alone: the batch it is in is halved
# until it stands by itself, its neighbours are committed in the order they
# were said, and no number is missing.  That goes for any SQLSTATE that the site
# refuses it with, also one that would be the server's or the schema's.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Crowd qw/ gather sends texts /;
use FC::Queries;
use FC::Site;
use FC::Util qw/ log_lines slow wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(19);

my $site = FC::Site->new($t);
my $pg = $site->pg();
my @v1 = (protocol => 'fcchat.v1');
my $poison = qr/^s(?:1-7|2-30|2-31|3-60)$/;

$site->django->user($_) for qw/ alice bob /;
$site->django->room($_) for qw/ stream_1 stream_2 /;

# one that a constraint refuses, and one that a trigger of the site does

$pg->sql(<<'EOF');
alter table localhost.chat_chatmessage
    add constraint clean check (content not in ('s1-7', 's2-30'));
create function localhost.refuse() returns trigger language plpgsql as
$$ begin raise exception 'not this one'; end $$;
create trigger refuse before insert on localhost.chat_chatmessage
    for each row when (new.content in ('s2-31', 's3-60'))
    execute function localhost.refuse();
EOF

my $queries = FC::Queries->new($pg);

$t->run();
wait_for(sub { workers($t) == 1 });

# each of four sockets has as many under way as one may have, in two rooms

my @senders = map { $site->join('alice', @v1, room => "stream_$_") } 1, 2, 1, 2;
my @readers = map { $site->join('bob', @v1, room => "stream_$_") } 1, 2;

$_->recv_json() for @senders, @readers;

my $lock = FC::Crowd->lock($pg, 'fcchat_head');

sends(\@senders, 60);

# all have come when the server can't take the one that is under way

wait_for(sub { FC::Crowd->blocked($pg) });
$_->send_ping('all') for @senders;
is(scalar(grep { pong($_) } @senders), 4, 'all is read');

my $from = time();

$queries->since();
$lock->release();

ok(gather(\@readers, 118), 'the neighbours are delivered');

my $tried = $queries->count(qr/fcchat_append/);

for my $i (0, 1) {
    my @seqs = @{$readers[$i]{seqs}};

    is(join(' ', @seqs), join(' ', 1 .. 118), 'without a hole, room ' . ($i + 1));
    is(join(' ', grep { $_ =~ $poison } texts($readers[$i])), '',
       'nor one that was refused');

    for my $s ($i, $i + 2) {
        is(join(' ', grep { /^s$s-/ } texts($readers[$i])),
           join(' ', grep { $_ !~ $poison } map { "s$s-$_" } 1 .. 60),
           "in the order of sender $s");
    }
}

FC::WS->poll(\@senders, \&FC::Crowd::note_message, 10 * slow(), sub {
    return 240 == map { told($_) } @senders;
});

my %rows = map { ($_->[0] => "ack $_->[1]") } $pg->sql(
    'select e.cid, e.seq from fcchat_event e');
my @wrong;

for my $m (map { told($_) } @senders) {
    my $is = $m->{code} // "ack $m->{seq}";
    my $cid = $m->{cid};

    push @wrong, "$cid: $is"
        if $is ne ($cid =~ $poison ? 'rejected' : $rows{$cid} // 'not there');
}

is(join(', ', @wrong), '', 'each is told what became of its own');

# four among 240: a few halvings each, not a transaction for each message

cmp_ok($tried, '<=', 48, "found by halving: $tried transactions");
cmp_ok(scalar(log_lines($t, qr/refused a value/)), '<=', time() - $from + 2,
       'a line a second in the log, at most');

# what a policy, or a trigger, says of who is muted; what a broken trigger says

$pg->sql(<<'EOF');
create function localhost.mute() returns trigger language plpgsql as
$$ begin
    if new.content like 'muted%' then
        raise exception 'muted' using errcode = 'insufficient_privilege';
    elsif new.content like 'off%' then
        raise exception 'off' using errcode = 'object_not_in_prerequisite_state';
    end if;
    perform from localhost.nowhere;
    return new;
end $$;
create trigger mute before insert on localhost.chat_chatmessage
    for each row when (new.content ~ '^(muted|off|broken)')
    execute function localhost.mute();
EOF

$site->django->user($_) for qw/ carol dave erin /;

my %refused = (carol => 'muted', dave => 'off', erin => 'broken');
my %ws = map { ($_ => $site->join($_, @v1)) } keys %refused;

$lock = FC::Crowd->lock($pg, 'fcchat_head');
say_as($senders[0], 'first');
wait_for(sub { FC::Crowd->blocked($pg) });

for my $n (1 .. 5) {
    say_as($ws{$_}, "$refused{$_} $n") for sort keys %ws;
    say_as($senders[$_], "between $n $_") for 0 .. $#senders;
}

$_->send_ping('all') for @senders, values %ws;
is(scalar(grep { pong($_) } @senders, values %ws), 7, 'all is read');
$lock->release();

my (%got, %order);

ok(answers('between ack', 20), 'the neighbours are acknowledged');
is(join(' ', map { $got{"$_ unavailable"} // 0 } qw/ muted off /), '0 0',
   'before the 5 seconds of who is refused are over');
is(join(' ', grep { $_ ne join ' ', sort { $a <=> $b } split / / }
        map { join ' ', @$_ } values %order), '', 'in their order');
ok(answers('muted unavailable', 5) && answers('off unavailable', 5),
   'who is refused is told');
is(join(', ', map { "$_ $got{$_}" } sort keys %got),
   'between ack 20, broken unavailable 5, first ack 1,'
   . ' muted unavailable 5, off unavailable 5', 'and nobody else');


# Reads until there are so many of what is counted by what was said and its end.

sub answers {
    my ($want, $n) = @_;

    return FC::WS->poll([ @senders, values %ws ], sub {
        my ($from, $m) = @_;

        return if $m->{type} !~ /^(?:ack|error)$/;

        my ($kind) = $m->{cid} =~ /^(\w+)/;

        return if $kind =~ /^s\d/;

        $got{"$kind " . ($m->{code} // 'ack')}++;
        push @{$order{$from}}, $m->{seq} if defined $m->{seq};
    }, 20 * slow(), sub { ($got{$want} // 0) >= $n });
}


sub say_as {
    my ($ws, $text) = @_;

    return $ws->send_json({ type => 'message', text => $text, cid => $text });
}


sub told {
    return grep { $_->{type} =~ /^(?:ack|error)$/ } @{$_[0]{others} || []};
}


# What comes before it belongs to the room.

sub pong {
    my ($ws) = @_;

    for ( ;; ) {
        my $m = $ws->recv(5 * slow()) or return 0;

        return 1 if $m->{op} == 10;
    }
}
