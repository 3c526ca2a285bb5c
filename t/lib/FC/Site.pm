package FC::Site;

# The whole of a site for a test: PostgreSQL, Redis and Django, and an nginx
# that serves the chat with them.
#
#     my $t = Test::Nginx->new()->has(qw/http rewrite/)->plan(3);
#     my $site = FC::Site->new($t, workers => 2,
#                              location => 'fcchat_lag 64k;');
#     $t->run();
#
#     my $alice = $site->join('alice');                  # logged in, stream_1
#     my $bob = $site->join('bob', room => 'stream_2',   # any of FC::WS's
#                           protocol => 'fcchat.v1');    #   connect() options
#     $site->pg, $site->redis, $site->django             # its parts
#
# new() takes pg and redis (options of their new(), or objects), and pieces of
# configuration: main, events, http, server, location (of the chat), more
# (locations beside it), listen (default 8080), file (default nginx.conf), daemon
# (default off), rate (what limits users; nothing does unless given), and
# database => 0 or bus => 0, which leave out fcchat_postgres
# and fcchat_redis.
# write() makes the file anew with other pieces, for a reload.
#
# A second node of the same site:
#
#     my $t2 = Test::Nginx->new();
#     my $site2 = FC::Site->new($t2, listen => 8081, pg => $site->pg,
#                               redis => $site->redis,
#                               django => $site->django);

use strict;
use warnings;

use Test::Nginx ();

use FC::Django;
use FC::Pg;
use FC::Redis;
use FC::WS;


sub new {
    my ($class, $t, %o) = @_;

    my $self = bless { listen => 8080, file => 'nginx.conf', workers => 1,
                       database => 1, bus => 1, %o, t => $t }, $class;

    for my $part ([pg => 'FC::Pg'], [redis => 'FC::Redis']) {
        my ($name, $package) = @$part;

        next if ref $o{$name} eq $package;
        $self->{$name} = $package->new(%{$o{$name} || {}});
    }

    $self->{django} //= FC::Django->new(pg => $self->{pg});
    $self->{django}->secret_file($t->testdir() . '/secret');
    $self->write();

    return $self;
}


sub pg { return $_[0]{pg} }

sub redis { return $_[0]{redis} }

sub django { return $_[0]{django} }


sub write {
    my ($self, %o) = @_;

    %$self = (%$self, %o);

    my %c = (map({ $_ => $self->{$_} // '' }
                 qw/ main events http server location more /),
             rate => $self->{rate}
                     // 'fcchat_rate off; fcchat_reaction_rate off;'
                        . ' fcchat_history_rate off;'
                        . ' fcchat_auth_rate 1000000r/s burst=1000000;'
                        . ' fcchat_connections user=off ip=off;',
             workers => $self->{workers}, listen => $self->{listen},
             daemon => $self->{daemon} // 'off');

    $c{postgres} = $self->{database}
                   ? 'fcchat_postgres "' . $self->{pg}->dsn() . '";' : '';
    $c{redis} = $self->{bus}
                ? 'fcchat_redis ' . $self->{redis}->unix_url() . ';' : '';

    my $conf = conf();

    $conf =~ s/\[\[(\w+)\]\]/$c{$1}/g;
    $self->{t}->write_file_expand($self->{file}, $conf);

    return $self;
}


sub conf {
    return <<'EOF';
%%TEST_GLOBALS%%

daemon [[daemon]];
worker_processes [[workers]];
[[main]]

events {
    worker_connections 2048;
    [[events]]
}

http {
    %%TEST_GLOBALS_HTTP%%

    [[postgres]]
    [[redis]]
    fcchat_tenant localhost;
    fcchat_secret_key_file %%TESTDIR%%/secret;
    [[rate]]
    [[http]]

    server {
        listen 127.0.0.1:[[listen]];
        server_name localhost;
        [[server]]

        location ~ ^/ws/chat/(?<room>[\w-]+)/$ {
            fcchat;
            [[location]]
        }

        [[more]]
    }
}
EOF
}


# One session for each user, kept.

sub cookie {
    my ($self, $user, %o) = @_;

    return $self->{cookies}{$user} //= $self->{django}->session($user, %o);
}


# Logs the user in and connects; undef as the name is nobody.

sub join {
    my ($self, $user, %o) = @_;

    my $room = delete $o{room} // 'stream_1';
    my $query = delete $o{query};

    return FC::WS->connect(
        port => Test::Nginx::port($self->{listen}),
        path => "/ws/chat/$room/" . (defined $query ? "?$query" : ''),
        defined $user ? (cookie => $self->cookie($user)) : (),
        %o
    );
}


1;
