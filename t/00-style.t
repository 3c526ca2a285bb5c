#!/usr/bin/perl

# The form of the sources, as far as a machine can see it, and the calls that
# have no place in a worker because they block it or end it.

use warnings;
use strict;

use Test::More tests => 12;

use File::Find ();
use FindBin;

chdir "$FindBin::Bin/.." or die "chdir: $!\n";

my @all = files();
my @c = grep { /\.[ch]$/ } @all;
my @module = grep { !m{^(?:t|bench)/} } @c;
my @text = grep { /\.(?:[ch]|p[lm]|t|sh|py|sql|js|css|html|conf)$/
                  || m{(?:^|/)(?:run|config)$} } @all;

my $forbidden = join '|', qw/
    assert abort exit _exit raise system popen fork
    PQexec PQexecParams PQexecPrepared PQprepare PQconnectdb PQconnectdbParams
    PQsetdbLogin PQreset PQcancel PQputCopyData PQsendQuery
    PQescapeString PQescapeStringConn PQescapeLiteral PQescapeIdentifier
    PQescapeBytea PQescapeByteaConn
    redisConnect redisConnectWithTimeout redisConnectUnix redisGetReply
    redisCommand redisCommandArgv redisvCommand redisAppendCommand
    redisAsyncCommand redisvAsyncCommand redisAsyncFormattedCommand
    getaddrinfo gethostbyname sleep usleep nanosleep poll select
    fsync fdatasync strcpy strcat sprintf vsprintf gets
/;

cmp_ok(scalar @module, '>', 0, 'there are sources');

each_line('80 columns at most', \@c, sub {
    my ($line) = @_;

    utf8::decode($line);
    return length $line > 80;
});

each_line('no tab', \@c, sub { $_[0] =~ /\t/ });
each_line('no trailing space', \@text, sub { $_[0] =~ /[ \t\r]$/ });

each_line('nothing left open', [ grep { !/00-style/ } @text ],
          sub { $_[0] =~ /(?<!\$)\b(?:TODO|FIXME|XXX|HACK)\b(?!: \{)/ });

each_line('no // comment', \@c, sub { $_[0] =~ m{//} }, \&without_text);

# S25: with PQexec() and PQescape...() forbidden, SQL has parameters alone

each_line('no call that blocks or ends a worker', \@module,
          sub { $_[0] =~ /(?<![\w>.])(?:$forbidden)\s*\(/ }, \&without_text);

# S06, S07, S38: what proves who somebody is takes as long to compare whether it
# is nearly right or not

my $proof = qr/hex|mac|hash|signature|secret|token/i;

each_line('S06: proofs are compared in constant time',
          [ grep { m{/fcc_(?:django|seal|csrf)\.c$} } @module ],
          sub { $_[0] =~ /(?<!CRYPTO_)\b(?:mem|strn?)cmp\s*\(.*$proof/ },
          \&without_text);

each_file('one line feed at the end', \@text,
          sub { length $_[0] && $_[0] !~ /[^\n]\n\z/ });

each_file('900 lines at most', \@c, sub { ($_[0] =~ tr/\n//) > 900 });

each_file('says first what it is for', \@module,
          sub { $_[0] !~ m{\A\s*/\*} });

SKIP: {
    skip 'no universal-ctags', 1
        if `ctags --version 2>&1` !~ /Universal Ctags/ || !@c;

    open my $fh, '-|', qw/ ctags -x --c-kinds=f /,
         '--_xformat=%{input} %{line} %{end} %N', @c or die "ctags: $!\n";

    my @long = grep { /^\S+ (\d+) (\d+) / && $2 - $1 > 150 } <$fh>;

    is(join('', @long), '', '150 lines of a function at most');
}


sub files {
    my @found;

    File::Find::find({ no_chdir => 1, wanted => sub {
        $File::Find::prune = 1 if m{(?:^|/)(?:var|node_modules|\.git)$};
        push @found, $_ if -f $_ && !-l $_;
    } }, '.');

    return sort map { s{^\./}{}r } @found;
}


sub content {
    my ($file) = @_;

    open my $fh, '<', $file or die "$file: $!\n";

    local $/;

    return scalar(<$fh>) // '';
}


# C without its comments and strings, in the same lines.

sub without_text {
    my ($text) = @_;

    $text =~ s{(/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')}
              {"\n" x ($1 =~ tr/\n//)}gse;

    return $text;
}


sub each_line {
    my ($name, $files, $wrong, $filter) = @_;

    my @bad;

    for my $file (@$files) {
        my $n = 0;
        my $text = content($file);

        $text = $filter->($text) if $filter;

        for my $line (split /\n/, $text) {
            $n++;
            push @bad, "$file:$n: $line\n" if $wrong->($line);
        }
    }

    is(join('', @bad), '', $name);
}


sub each_file {
    my ($name, $files, $wrong) = @_;

    my @bad = grep { $wrong->(content($_)) } @$files;

    is("@bad", '', $name);
}
