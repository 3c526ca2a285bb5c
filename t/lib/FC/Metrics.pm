package FC::Metrics;

# Prometheus's text (exposition format 0.0.4), read strictly, and what two
# readings differ in.
#
#     my $m = FC::Metrics->read(port(8080), '/status');
#     $m->errors()                        # what is wrong with the text
#     $m->get('fcchat_messages_total')
#     $m->get('fcchat_errors_total{code="empty"}')
#     $m->sum('fcchat_connections')       # over all its labels
#     $m->moved($later)                   # { series => by how much }

use strict;
use warnings;

use IO::Socket::INET;


sub read {
    my ($class, $port, $path) = @_;

    my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 5)
        or die "connect: $!\n";

    print $s "GET $path HTTP/1.0\r\nHost: localhost\r\n"
             . "Accept: text/plain;version=0.0.4\r\n\r\n";

    local $/;

    return $class->parse((<$s> // '') =~ s/\A.*?\r\n\r\n//sr);
}


sub parse {
    my ($class, $text) = @_;

    my $self = bless { values => {}, types => {}, errors => [] }, $class;

    $self->{text} = $text;
    $self->wrong(0, 'no line feed at the end') if $text !~ /\n\z/;

    my ($n, $family) = (0, '');

    for my $line (split /\n/, $text) {
        $n++;

        if ($line =~ /^# HELP ([a-zA-Z_:][\w:]*) (\S.*)$/a) {
            $self->wrong($n, 'told twice') if $self->{helps}{$1}++;
            $family = $1;
            next;
        }

        if ($line =~ /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)$/a) {
            my ($name, $type) = ($1, $2);

            $self->wrong($n, 'no HELP before it') if $name ne $family;
            $self->wrong($n, 'told twice') if exists $self->{types}{$name};
            $self->wrong($n, 'no counter, or no _total')
                if $type eq 'counter' xor $name =~ /_total$/;
            $self->{types}{$name} = $type;
            next;
        }

        $self->sample($n, $line, $family);
    }

    $self->histogram($_)
        for grep { $self->{types}{$_} eq 'histogram' }
            sort keys %{$self->{types}};

    return $self;
}


sub sample {
    my ($self, $n, $line, $family) = @_;

    my $label = qr/[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"/a;

    if ($line !~ /^([a-zA-Z_:][\w:]*)(\{$label(?:,$label)*\})?
                  \ (-?\d+(?:\.\d+)?)$/ax)
    {
        $self->wrong($n, "no sample: $line");
        return;
    }

    my ($name, $labels, $value) = ($1, $2 // '', $3);
    my $type = $self->{types}{$family} // '';
    my $base = $type eq 'histogram' ? $name =~ s/_(?:bucket|sum|count)$//r
                                    : $name;

    $self->wrong($n, "$name in the family $family") if $base ne $family;
    $self->wrong($n, 'twice the same') if exists $self->{values}{"$name$labels"};
    $self->wrong($n, 'below zero')
        if $type ne 'gauge' && $value < 0;
    $self->{values}{"$name$labels"} = $value;
    push @{$self->{series}{$name}}, "$name$labels";
}


# buckets grow, in order, to +Inf, which is the count

sub histogram {
    my ($self, $name) = @_;

    my ($le, $last) = (-1, 0);

    for (@{$self->{series}{"${name}_bucket"} // []}) {
        my ($bound) = /\{le="([^"]+)"\}$/;

        if (!defined $bound) {
            $self->wrong(0, "$name: a bucket without a bound");
            next;
        }

        $bound = 9e99 if $bound eq '+Inf';
        $self->wrong(0, "$name: bounds out of order") if $bound <= $le;
        $self->wrong(0, "$name: not cumulative")
            if $self->{values}{$_} < $last;
        ($le, $last) = ($bound, $self->{values}{$_});
    }

    $self->wrong(0, "$name: no +Inf") if $le != 9e99;
    $self->wrong(0, "$name: the count is not +Inf's")
        if $last != ($self->{values}{"${name}_count"} // -1);
    $self->wrong(0, "$name: no sum")
        if !defined $self->{values}{"${name}_sum"};
}


sub wrong {
    my ($self, $n, $text) = @_;

    push @{$self->{errors}}, "line $n: $text";
}


sub errors { return join "\n", @{$_[0]{errors}} }

sub text { return $_[0]{text} }

sub get { return $_[0]{values}{$_[1]} }


sub sum {
    my ($self, $name) = @_;

    my $sum = 0;

    $sum += $self->{values}{$_} for @{$self->{series}{$name} // []};

    return $sum;
}


# of counters and of the counts of histograms

sub moved {
    my ($self, $later) = @_;

    my %moved;

    for (keys %{$later->{values}}) {
        next if !/_(?:total|count)\b/;

        my $by = $later->{values}{$_} - ($self->{values}{$_} // 0);

        $moved{$_ =~ s/^fcchat_//r} = $by if $by;
    }

    return \%moved;
}


1;
