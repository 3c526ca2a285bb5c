package FC::Queries;

# What was asked of a test's database, read from the server's own log.
#
#     my $queries = FC::Queries->new($pg);     # before nginx connects; from now
#
#     $queries->count(qr/FROM django_session/) # so many so far
#     $queries->backends(qr/fcchat_room/)      # by so many connections
#     $queries->since                          # all counts begin anew

use strict;
use warnings;


sub new {
    my ($class, $pg) = @_;

    $pg->sql('alter database "' . $pg->name() . q(" set log_statement = 'all'));

    return (bless { pg => $pg }, $class)->since();
}


# What the log has got since then: that of a shared cluster is long.

sub log {
    my ($self) = @_;

    my $file = $self->{pg}->host() . '/log';

    open my $fh, '<', $file or return '';
    seek $fh, $self->{from}, 0;

    local $/;

    return scalar(<$fh>) // '';
}


sub since {
    my ($self) = @_;

    $self->{from} = -s $self->{pg}->host() . '/log';

    return $self;
}


# A statement is logged before it is answered.

sub count {
    my ($self, $re) = @_;

    return scalar $self->pids($re);
}


sub backends {
    my ($self, $re) = @_;

    my %pids = map { $_ => 1 } $self->pids($re);

    return scalar keys %pids;
}


# the server's process, for each of them

sub pids {
    my ($self, $re) = @_;

    my $name = quotemeta $self->{pg}->name();
    my $line = qr/^\S+ \S+ \S+ \[(\d+)\] $name LOG:  (?:execute|statement)/;

    return map { $_ =~ $re && $_ =~ $line ? $1 : () }
           split /^/, $self->log();
}


1;
