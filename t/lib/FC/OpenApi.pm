package FC::OpenApi;

# Holds answers against an OpenAPI 3 description: as much of it as ours uses.
#
#     my $o = FC::OpenApi->new('openapi.json');
#     my $text = $o->wrong('GET', '/api/chat/a/history', $answer);  # '' : none
#     $o->unseen                       # "GET /{room}/history 200", ...
#
# An answer is { status, header => {...}, body, json }.  A path is matched from
# its end, as the place of the API is the site's choice.

use strict;
use warnings;

use JSON::PP;
use Scalar::Util qw/ looks_like_number /;

use FC::Util qw/ slurp /;


sub new {
    my ($class, $file) = @_;

    my $doc = JSON::PP->new->utf8->decode(slurp($file));
    my $self = bless { doc => $doc }, $class;

    for my $path (keys %{$doc->{paths}}) {
        (my $re = quotemeta $path) =~ s{\\\{(?:seq|id)\\\}}{[1-9][0-9]*}g;
        $re =~ s{\\\{room\\\}}{[^/]+}g;

        push @{$self->{paths}}, [ $path, qr{$re/?$} ];
    }

    # the longest first: a room's own path would take any

    @{$self->{paths}} = sort { $b->[0] =~ tr{/}{} <=> $a->[0] =~ tr{/}{} }
                        @{$self->{paths}};

    return $self;
}


sub ref_of {
    my ($self, $x) = @_;

    while (ref $x eq 'HASH' && $x->{'$ref'}) {
        my $at = $self->{doc};

        $at = $at->{$_} for grep { $_ ne '#' } split m{/}, $x->{'$ref'};
        $x = $at // die "no $x->{'$ref'}\n";
    }

    return $x;
}


sub wrong {
    my ($self, $method, $url, $r) = @_;

    (my $path = $url) =~ s/\?.*//;

    my ($found) = grep { $path =~ $_->[1] } @{$self->{paths}};

    return 'no such path' if !$found;

    my $m = lc($method eq 'HEAD' ? 'GET' : $method);
    my $paths = $self->{doc}{paths}{$found->[0]};
    my $operation = $paths->{$m};

    # a method that is not there has one answer

    return $r->{status} == 405 ? '' : "no $method" if !$operation;

    my $response = $self->ref_of($operation->{responses}{$r->{status}});

    return 'no such status' if !$response;

    $self->{seen}{"$m $found->[0] $r->{status}"}++;

    for my $name (keys %{$response->{headers} || {}}) {
        my $h = $self->ref_of($response->{headers}{$name});

        return "no $name" if $h->{required} && !exists $r->{header}{lc $name};
    }

    return '' if $method eq 'HEAD';

    if (!$response->{content}) {
        return length $r->{body} ? 'a body' : '';
    }

    my ($type) = keys %{$response->{content}};

    return 'type is ' . ($r->{header}{'content-type'} // 'none')
        if ($r->{header}{'content-type'} // '') !~ m{^\Q$type\E(?:;|$)};
    return 'no JSON' if !defined $r->{json};

    return $self->mismatch($response->{content}{$type}{schema}, $r->{json},
                           '$');
}


# What of the description no answer has shown.

sub unseen {
    my ($self) = @_;

    my @all;

    for my $path (sort keys %{$self->{doc}{paths}}) {
        my $p = $self->{doc}{paths}{$path};

        for my $m (grep { $p->{$_}{responses} } sort grep { !/^param/ }
                   keys %$p)
        {
            push @all, map { "$m $path $_" } sort keys %{$p->{$m}{responses}};
        }
    }

    return grep { !$self->{seen}{$_} } @all;
}


sub mismatch {
    my ($self, $schema, $value, $at) = @_;

    $schema = $self->ref_of($schema);

    if (!defined $value) {
        return $schema->{nullable} ? '' : "$at is null";
    }

    if (my $d = $schema->{discriminator}) {
        my $type = ref $value eq 'HASH' && $value->{$d->{propertyName}};
        my $of = $d->{mapping}{$type || ''} // return "$at is of no type";

        return $self->mismatch({ '$ref' => $of }, $value, $at);
    }

    return "$at: \"$value\" is none of those"
        if $schema->{enum} && !grep { $_ eq $value } @{$schema->{enum}};

    my $type = $schema->{type} // return '';
    my $check = "is_$type";

    return $self->$check($schema, $value, $at);
}


sub is_object {
    my ($self, $schema, $value, $at) = @_;

    return "$at is no object" if ref $value ne 'HASH';

    for my $name (@{$schema->{required} || []}) {
        return "$at has no \"$name\"" if !exists $value->{$name};
    }

    for my $name (sort keys %$value) {
        my $of = $schema->{properties}{$name}
                 // $schema->{additionalProperties};

        return "$at has \"$name\"" if !ref $of && !(defined $of && $of);
        next if !ref $of || ref $of ne 'HASH';

        my $wrong = $self->mismatch($of, $value->{$name}, "$at.$name");

        return $wrong if $wrong;
    }

    return '';
}


sub is_array {
    my ($self, $schema, $value, $at) = @_;

    return "$at is no array" if ref $value ne 'ARRAY';
    return "$at is too long"
        if defined $schema->{maxItems} && @$value > $schema->{maxItems};

    for my $i (0 .. $#$value) {
        my $wrong = $self->mismatch($schema->{items}, $value->[$i],
                                    "$at\[$i]");

        return $wrong if $wrong;
    }

    return '';
}


sub is_string {
    my ($self, $schema, $value, $at) = @_;

    return "$at is no string" if ref $value || is_number($value);
    return "$at is not as $schema->{pattern}: $value"
        if $schema->{pattern} && $value !~ /$schema->{pattern}/;

    return '';
}


sub is_integer {
    my ($self, $schema, $value, $at) = @_;

    return "$at is no integer"
        if !is_number($value) || $value !~ /^-?[0-9]+$/;
    return "$at is below $schema->{minimum}"
        if defined $schema->{minimum} && $value < $schema->{minimum};

    return '';
}


sub is_boolean {
    my ($self, $schema, $value, $at) = @_;

    return JSON::PP::is_bool($value) ? '' : "$at is no boolean";
}


# JSON::PP decodes numbers to numbers and strings to strings.

sub is_number {
    my ($value) = @_;

    return 0 if ref $value;
    return JSON::PP->new->allow_nonref->encode($value) !~ /^"/
           && looks_like_number($value);
}


1;
