#!/usr/bin/perl

# What README.md, SECURITY.md and CHANGES name is there: tests, files of sql/,
# pictures; and each section of the seed has its test.  What has a name for
# others, a table, an error, a code a socket is closed with, is in README.md, and
# errors and codes are in a test.

use warnings;
use strict;

use Test::More tests => 13;

use FindBin;

chdir "$FindBin::Bin/.." or die "chdir: $!\n";

my $readme = content('README.md');
my $docs = join "\n", $readme, grep { length }
           map { -f $_ ? content($_) : '' } qw/ SECURITY.md CHANGES /;

missing('tests', $docs =~ m{\b(t/[\w/.-]+\.t)\b}g);
missing('sql', $docs =~ m{\b(sql/\w+\.sql)\b}g);
missing('links', grep { m{^(?:bench|demo|t)/|^conf} }
                 $readme =~ /\]\(([^)\s#]+)/g);

# all of sql/ is applied by the commands of the README

my ($apply) = $readme =~ m{(psql -v ON_ERROR_STOP=1 -d site.*?\n\n)}s;

is(join(' ', grep { index($apply, $_) < 0 } glob('sql/[0-9]*.sql')), '',
   'each file of sql/ is applied');

# the command that builds the module hardens it as the one of the tests does

my ($build) = $readme =~ /(\.\/configure .*?make modules)/s;
my ($cc, $ld) = content('t/lib/setup.sh')
                =~ /^ +local cc="([^"]*)"\n.*?^ +local ld="([^"]*)"\n/ms;

is(join(' ', grep { index($build, $_) < 0 } split ' ', "$cc $ld"), '',
   'the module is hardened');

# the table of the seed's sections

my %section = $readme =~ /^\| ([^|`]+?) \| .*?(`t\/[^|]+) \|$/mg;

cmp_ok(scalar keys %section, '>', 20, 'sections of the seed');
is(join(' ', grep { $section{$_} !~ m{t/[\w/-]+\.t} } sort keys %section), '',
   'and each has a test');

# names for others

my $src = join "\n", map { content($_) } glob 'src/*/*.[ch]';
my $tests = join "\n", map { content($_) } grep { !m{/00-} } glob 't/*.t';
my @tables = map { content($_) =~ /CREATE (?:UNLOGGED )?TABLE IF NOT EXISTS (\w+)/g }
             glob 'sql/[0-9]*.sql';
my ($labels) = $src =~ /stat_errors\[\] = \{(.*?)\};/s;
my %error = map { $_ => 1 }
            $src =~ /\bcode = "(\w+)"/g,
            $src =~ /api_refuse\([^;]*?,\s*"([a-z]+(?:_[a-z]+)*)",/g,
            grep { $_ ne 'other' } $labels =~ /"(\w+)"/g;
my %close = map { $_ => 1 }
            $src =~ /define NGX_HTTP_FCCHAT_CLOSE_\w+\s+(4\d\d\d)/g;

cmp_ok(scalar keys %error, '>', 20, 'errors');
cmp_ok(scalar keys %close, '>', 8, 'codes');
is(join(' ', grep { $readme !~ /^\| `$_` \|/m } @tables), '',
   'each table is told of');
is(join(' ', grep { $readme !~ /^\|.*`$_`/m } sort keys %error), '',
   'and each error');
is(join(' ', grep { $readme !~ /^\| $_ \|/m } sort keys %close), '',
   'and each code');
is(join(' ', grep { $tests !~ /\b$_\b/ } sort keys(%error), sort keys %close),
   '', 'and those have a test');


sub missing {
    my ($name, @files) = @_;

    my %seen;

    is(join(' ', grep { !-e $_ && !$seen{$_}++ } @files), '', $name);

    return;
}


sub content {
    my ($file) = @_;

    open my $fh, '<', $file or die "$file: $!\n";

    local $/;

    return scalar <$fh>;
}
