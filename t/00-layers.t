#!/usr/bin/perl

# Each layer includes only those below it, each library has its fence, every
# symbol that others can see has our prefix, and config knows every file.
#
# S43 of SECURITY.md.

use warnings;
use strict;

use Test::More tests => 12;

use FindBin;

chdir "$FindBin::Bin/.." or die "chdir: $!\n";

my @layers = qw/ pure net store room client /;

# the module itself is on top and may include all

my %below = (
    pure   => [ qw/ pure / ],
    net    => [ qw/ pure net / ],
    store  => [ qw/ pure net store / ],
    room   => [ qw/ pure net store room / ],
    client => [ qw/ pure net store room client / ],
);

my %fence = (
    'libpq-fe.h' => [ qw/ net store / ],
    'hiredis/'   => [ qw/ net / ],
    'hiredis.h'  => [ qw/ net / ],
    'jansson.h'  => [ qw/ pure / ],
    'openssl/'   => [ qw/ pure net / ],
    'zlib.h'     => [ qw/ pure / ],
);

my (%headers, @files);

for my $layer (@layers) {
    for my $file (glob("src/$layer/*.[ch]")) {
        my ($name) = $file =~ m{([^/]+)$};

        push @files, [ $layer, $file, $name ];
        $headers{$name} = $layer if $name =~ /\.h$/;
    }
}

my (@up, @fenced, @unknown, @outside, @names);

for (@files) {
    my ($layer, $file, $name) = @$_;

    push @names, $file
        if $name !~ ($layer eq 'pure' ? qr/^fcc[_.]/ : qr/^ngx_http_fcchat_/);

    for my $header (includes($file)) {
        my $from = $headers{$header};

        if (defined $from) {
            push @up, "$file: $header"
                if !grep { $_ eq $from } @{$below{$layer}};
            next;
        }

        push @outside, "$file: $header"
            if $layer eq 'pure' && $header =~ /^(?:ngx_|nginx)/;

        push @unknown, "$file: $header" if $header =~ /fcc/;

        for my $library (keys %fence) {
            push @fenced, "$file: $header"
                if index($header, $library) == 0
                   && !grep { $_ eq $layer } @{$fence{$library}};
        }
    }
}

cmp_ok(scalar @files, '>', 0, 'there are sources');
is(join("\n", @up), '', 'includes only of layers below');
is(join("\n", @fenced), '', 'libraries only behind their fences');
is(join("\n", @outside), '', 'no nginx in src/pure');
is(join("\n", @unknown), '', 'headers of ours that exist');
is(join("\n", @names), '', 'prefixes of file names');

for my $ext (qw/ c h /) {
    my @have = sort grep { /\.$ext$/ } glob('*.[ch]'), map { $_->[1] } @files;
    my @listed = content('config') =~ m{^\s*\$ngx_addon_dir/(\S+\.$ext)\b}gm;

    is_deeply([ sort @listed ], \@have, "config lists each .$ext file");
}

SKIP: {
    my $module = $ENV{FC_MODULE} // 't/var/build/ngx_http_fcchat_module.so';
    my $objects = $module =~ s{[^/]+$}{addon}r;

    skip 'no module built, or no nm', 4
        if !-f $module || !-x '/usr/bin/nm';

    my @seen = map { $_->[1] } grep { $_->[0] =~ /[A-TV-Z]/ }
               symbols('-D', $module);

    is(join("\n", grep {
        !/^(?:ngx_http_fcchat_|fcc_)/
        && !/^ngx_(?:modules|module_names|module_order)$/
    } @seen), '', 'prefixes of what the module exports');

    my @pure = map { symbols($_) } glob("$objects/pure/*.o");
    my @bound = map { symbols($_) }
                map { glob("$objects/$_/*.o") } grep { $_ ne 'pure' } @layers;

    is(join("\n", map { $_->[1] } grep {
        $_->[0] =~ /[A-TV-Z]/ && $_->[1] !~ /^fcc_/
        || $_->[0] eq 'U' && $_->[1] =~ /^ngx_/
    } @pure), '', 'src/pure defines fcc_ and needs no ngx_');

    is(join("\n", map { $_->[1] } grep {
        $_->[0] =~ /[A-TV-Z]/ && $_->[1] !~ /^ngx_http_fcchat_/
    } @bound), '', 'the other layers define ngx_http_fcchat_');

    is(join("\n", map { $_->[1] } grep { $_->[0] =~ /^[bBdDC]$/ } @pure), '',
       'src/pure has no variables');
}


sub content {
    my ($file) = @_;

    open my $fh, '<', $file or die "$file: $!\n";

    local $/;

    return scalar <$fh>;
}


sub includes {
    my ($file) = @_;

    return content($file) =~ /^\s*#\s*include\s+[<"]([^>"]+)[>"]/mg;
}


sub symbols {
    my (@args) = @_;

    open my $fh, '-|', 'nm', @args or die "nm: $!\n";

    return map { /([A-Za-z]) (\S+)$/ ? [ $1, $2 ] : () } <$fh>;
}
