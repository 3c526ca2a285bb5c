#!/usr/bin/perl

# conf.example: nginx takes it, as it is and with its defaults switched on; it
# has each directive of the command table and no other; and what it calls a
# default is the default of the sources.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Util qw/ slurp top /;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http map rewrite/)->plan(10);

my $conf = slurp(top() . '/conf.example');
my $source = join '', map { slurp(top() . "/$_") }
                  'ngx_http_fcchat_module.c',
                  'src/client/ngx_http_fcchat_conf.c';
my $headers = join '', map { slurp($_) } glob(top() . '/src/*/*.h');

my ($table) = $source =~ /ngx_command_t\s+\w+\[\] = \{(.*?)\n\};/s;
my ($merge) = $source =~ /.*(ngx_http_fcchat_merge_loc_conf\(.*)/s;

# directive => the arguments of its entry

my %entries = $table =~ /ngx_string\("(\w+)"\),(.*?)\}/gs;

# directive => [ '' or '#', its value ], as conf.example first has it

my %example;

while ($conf =~ /^[ ]*(#?)(fcchat\w*)\b[ ]*([^;\n]*);/mg) {
    $example{$2} //= [ $1, $3 ];
}

cmp_ok(scalar keys %entries, '>', 20, 'the command table is read');
is(join(' ', sort grep { !$example{$_} } keys %entries), '',
   'each directive is in conf.example');
is(join(' ', sort grep { !$entries{$_} } keys %example), '',
   'and no other');

# what stands there without "#" is what has no default, or shows more

is(join(' ', sort grep { $example{$_}[0] eq '' } keys %example),
   'fcchat fcchat_api fcchat_api_secret_file fcchat_echo fcchat_postgres'
   . ' fcchat_redis fcchat_redis_secret_file'
   . ' fcchat_room fcchat_secret_key_file fcchat_session_redis fcchat_status'
   . ' fcchat_tenant_tables',
   'all others are commented out');

my $line = qr/^.{101}/m;

unlike($conf, $line, 'lines of 100 characters at most');
like($conf, qr/\A#.*[^\n]\n\z/s, 'begins with a comment, ends with a newline');

# the defaults

my @wrong;

for my $name (sort keys %entries) {
    next if !$example{$name} || $example{$name}[0] ne '#';

    my ($field) = $entries{$name} =~ /offsetof\(\w+,\s*(\w+)\)/;
    my $default = default_of($field // next);

    next if !defined $default || $default eq 'NULL';

    my $value = $example{$name}[1];

    push @wrong, "$name $value, not $default\n"
        if plain($value, $entries{$name}) ne $default;
}

is(join('', @wrong), '', 'the defaults are those of the sources');

# nginx -t, with what a test has in place of what a site has

for my $name (qw/ secret_key redis_secret api_secret /) {
    $t->write_file($name, 's' x 32 . "\n");
    chmod 0600, $t->testdir() . "/$name";
}

my $d = $t->testdir();

$conf =~ s/^load_module .*\n//m;
$conf =~ s/^worker_processes .*\n//m;
$conf =~ s/^http \{\n/http {\n%%TEST_GLOBALS_HTTP%%\n/m;
$conf =~ s/listen +80;/listen 127.0.0.1:8080;/;
$conf =~ s{/etc/fcchat/}{$d/}g;

is(checked($conf), 'successful', 'nginx -t');

# as many open files as a service of Debian may have

system("prlimit --pid $$ --nofile=1024:") == 0 or die "prlimit: $?\n";
unlike(dumped(), qr/resource limit/, 'more sockets than that');

$conf =~ s/^( *)#(fcchat)/$1$2/mg;

is(checked($conf), 'successful', 'with all defaults written out');


sub checked {
    my ($text) = @_;

    $t->write_file_expand('nginx.conf', "%%TEST_GLOBALS%%\n$text");

    my $out = dumped();

    return $1 if $out =~ /nginx\.conf test is (successful)$/m;

    return join '', grep { /^nginx:/ } split /^/, $out;
}


# nginx frees nothing when it ends after a test.

sub dumped {
    local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} || (),
                               'detect_leaks=0';

    return $t->dump_config();
}


sub default_of {
    my ($field) = @_;

    my ($default) = $merge =~ /ngx_conf_merge_\w+\(conf->$field,\s+prev->$field,
                               \s*(.*?)\);/sx or return undef;

    return $1 if $default =~ /^"(.*)"$/;

    if ($default =~ /^&(\w+)$/ && $source =~ /\b$1 = \{ (\d+), (\d+) \};/) {
        return 1000000 / $1 . "r/s burst=$2";
    }

    return $default if $default !~ /^[\d *]+$/;

    my $n = 1;

    $n *= $_ for split /\s*\*\s*/, $default;

    return $n;
}


# "256k" as 262144, "30s" as 30000, or 30 where seconds are kept; a name as the
# constant that stands for it

sub plain {
    my ($value, $entry) = @_;

    my %time = (ms => 1, s => 1000, m => 60000, h => 3600000, d => 86400000,
                w => 604800000);
    my %size = (k => 1024, m => 1048576);

    if ($entry =~ /_(msec|sec)_slot/ && $value =~ /^(\d+)(\w+)$/) {
        return $1 * $time{$2} / ($entry =~ /_msec_/ ? 1 : 1000);
    }

    if ($entry =~ /_size_slot/ && $value =~ /^(\d+)([km])$/) {
        return $1 * $size{$2};
    }

    if ($entry =~ /_flag_slot/) {
        return $value eq 'on' ? 1 : 0;
    }

    if ($entry =~ /_enum_slot.*&(\w+)/s) {
        my ($enum) = $source =~ /\b$1\[\] = \{(.*?)\};/s;

        return $enum =~ /ngx_string\("\Q$value\E"\), (\w+)/ ? $1 : $value;
    }

    return $value eq '""' ? '' : $value;
}
