#!/usr/bin/perl

# What others give a name to, in the status's formats; what the demo's rules
# and dashboard ask for is there; and without fcchat_status there is nothing.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib ($ENV{TEST_NGINX_LIB} || 'lib'), 'lib';

use Test::Nginx;

use FC::Metrics;
use FC::Site;
use FC::Util qw/ slurp top wait_for workers /;
use FC::WS;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(16);

my $dir = $t->testdir();
my $NAME = 'a"b\\<i>c';
my $status = 'location /status { fcchat_status; }';

my $site = FC::Site->new($t, more => <<"EOT");
        $status

        location /odd/ {
            fcchat;
            fcchat_tenant 'a"b\\\\<i>c';
        }
EOT

$site->django()->tables($NAME);
$site->pg()->sql('set search_path = "a""b\\<i>c", public; '
                 . join '', map { slurp($_) } glob '../sql/[0-9]*.sql');
$site->django()->user('ann', schema => $NAME);

$t->run();

# a tenant with all that has a meaning somewhere

my $ws = $site->join('ann', path => '/odd/stream_1/', cookie =>
                     $site->django()->session('ann', schema => $NAME));
is($ws->status(), 101, 'somebody is in its room');

my $m;
my $series = 'fcchat_room_readers{tenant="a\\"b\\\\<i>c",room="stream_1"}';

ok(wait_for(sub {
    $m = FC::Metrics->read(port(8080), '/status');
    return ($m->get($series) // 0) == 1;
}, 5), 'Prometheus: escaped');
is($m->errors(), '', 'Prometheus: well-formed');

my ($head, $body) = split /\r\n\r\n/, http_get('/status?format=json'), 2;

is_deeply(FC::WS::json()->decode($body)->{rooms},
          [ { tenant => $NAME, room => 'stream_1', readers => 1 } ],
          'JSON: escaped');
unlike(http_get('/status?format=html'), qr/<i>c/, 'html: has no names');

# the demo's files

my $rules = slurp(top() . '/demo/alerts.yml');
my $dashboard = slurp(top() . '/demo/grafana.json');

is(join(' ', unknown($rules)), '', 'alerts.yml: figures that there are');
is(join(' ', unknown($dashboard)), '', 'grafana.json: figures that there are');

my @panels = @{FC::WS::json()->decode($dashboard)->{panels}};

cmp_ok(scalar @panels, '>', 10, 'grafana.json: panels');
is(scalar(grep { !@{$_->{targets}} || !$_->{title} } @panels), 0,
   'grafana.json: each shows something');

SKIP: {
    my $promtool = promtool();

    if (!$promtool) {
        diag('NO PROMTOOL: demo/alerts.yml is not checked');
        skip 'no promtool', 3;
    }

    my $said = `$promtool check rules ../demo/alerts.yml 2>&1`;

    is($?, 0, 'alerts.yml: promtool takes it') or diag($said);

    # one of two nodes is gone

    $t->write_file('rules.yml', 'rule_files: [' . top() . <<'EOF');
/demo/alerts.yml]
tests:
  - interval: 1m
    input_series:
      - series: up{job="fcchat",instance="a"}
        values: 0x5
      - series: up{job="fcchat",instance="b"}
        values: 1x5
      - series: fcchat_connections{job="fcchat",instance="b"}
        values: 1x5
    alert_rule_test:
      - alertname: FcchatDown
        eval_time: 4m
        exp_alerts:
          - exp_labels: {severity: critical, job: fcchat, instance: a}
            exp_annotations:
              summary: "fcchat's status is not told"
              description: a does not answer, or no node.
EOF
    $said = `$promtool test rules $dir/rules.yml 2>&1`;
    is($?, 0, 'alerts.yml: a node that is gone is told of') or diag($said);

    open my $in, '|-', "$promtool check metrics >$dir/lint 2>&1" or die;
    print $in $m->text();
    close $in;
    is(slurp("$dir/lint"), '', 'Prometheus: promtool has nothing to say');
}

# a reload takes it away, and what was counted with it

sub zones {
    my ($pid) = workers($t);

    return () = slurp("/proc/$pid/maps") =~ /^\S+ rw-s \S+ \S+ \d+ +\/dev\/zero/mg;
}

my $zones = zones();
my ($old) = workers($t);

$ws->close();
$site->write(more => '');
kill 'HUP', $t->read_file('nginx.pid');
ok(wait_for(sub { my @now = workers($t); @now == 1 && $now[0] != $old }, 10),
   'a reload without it');
is(zones(), $zones - 1, 'there is no shared memory for it');
$ws = $site->join('alice');
$ws->send_json({ message => 'hi' });
is($ws->recv_json()->{message}, 'hi', 'the chat is the same');
like(http_get('/status'), qr/^HTTP\S+ 404 /, 'nobody tells');


# names of ours that are not in the text

sub unknown {
    my ($text) = @_;

    my %names = map { $_ => 1 } $text =~ /\b(fcchat_[a-z_]+)\b/g;

    delete @names{qw/ fcchat_lag fcchat_status fcchat_retention /};    # directives

    return grep { $m->text() !~ /^\Q$_\E[ {]/m } sort keys %names;
}


# Debian's, out of its package: installing it would start a server.

sub promtool {
    my $dir = top() . '/t/var/prometheus';

    for ('/usr/bin', "$dir/usr/bin") {
        return "$_/promtool" if -x "$_/promtool";
    }

    mkdir $dir;
    system("cd '$dir' && apt-get -q download prometheus >log 2>&1"
           . ' && dpkg-deb --fsys-tarfile prometheus_*.deb'
           . ' | tar -x ./usr/bin/promtool >>log 2>&1; rm -f *.deb');

    return -x "$dir/usr/bin/promtool" ? "$dir/usr/bin/promtool" : undef;
}
