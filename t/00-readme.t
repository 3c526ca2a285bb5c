#!/usr/bin/perl

# What README.md, SECURITY.md and CHANGES name is there: tests, files of sql/,
# pictures; and each section of the seed has its test.

use warnings;
use strict;

use Test::More tests => 6;

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

# the table of the seed's sections

my %section = $readme =~ /^\| ([^|`]+?) \| .*?(`t\/[^|]+) \|$/mg;

cmp_ok(scalar keys %section, '>', 20, 'sections of the seed');
is(join(' ', grep { $section{$_} !~ m{t/[\w/-]+\.t} } sort keys %section), '',
   'and each has a test');


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
