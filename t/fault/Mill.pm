package Mill;

# What a FC::Proxy before Redis does to messages of the bus.
#
#     my $proxy = FC::Proxy->new(to => ..., filter => Mill::filter($seed));
#
#     $proxy->set(drop => 0.05, repeat => 0.1, reorder => 0.1,
#                 cut_short => 0.05);      # of each message, how likely
#
# What a subscriber is told goes through the mill; the beats by which a worker
# knows that Redis lives do not.

use strict;
use warnings;


sub filter {
    my ($seed) = @_;

    return sub {
        my ($way, $bytes, $state, $set) = @_;

        return $bytes if $way eq 'up';

        srand($seed++) if !$state->{srand}++;

        return parts($bytes, $state, $set);
    };
}


sub parts {
    my ($bytes, $state, $set) = @_;

    $state->{in} .= $bytes;

    my $out = '';

    while ($state->{in} ne '') {

        # *3 $7 message $N channel $N payload

        if ($state->{in} =~ /\A\*3\r\n\$7\r\nmessage\r\n\$(\d+)\r\n/) {
            my $pos = $+[0] + $1 + 2;

            pos($state->{in}) = $pos;
            last if $state->{in} !~ /\G\$(\d+)\r\n/g;

            my $start = pos $state->{in};
            my $end = $start + $1 + 2;

            last if length $state->{in} < $end;

            my $message = substr $state->{in}, 0, $end, '';

            $out .= $message =~ /:beat:/ ? $message
                    : milled($message, $pos, $start, $state, $set);

        } elsif ($state->{in} =~ /\A\*3\r\n\$7\r\nm/
                 || $state->{in} !~ /\n/) {
            last;

        } else {
            $state->{in} =~ s/\A(.*?\n)//s;
            $out .= $1;
        }
    }

    return $out;
}


sub milled {
    my ($message, $pos, $start, $state, $set) = @_;

    my $chance = sub { rand() < ($set->{$_[0]} // 0) };

    return '' if $chance->('drop');

    if ($chance->('cut_short')) {
        my $payload = substr $message, $start, -2;
        my $cut = substr $payload, 0, rand length $payload;

        $message = substr($message, 0, $pos) . '$' . length($cut)
                   . "\r\n$cut\r\n";
    }

    $message x= 2 if $chance->('repeat');

    if ($chance->('reorder')) {
        push @{$state->{later}}, $message;
        return '';
    }

    return $message . join '', reverse splice @{$state->{later} ||= []};
}


1;
