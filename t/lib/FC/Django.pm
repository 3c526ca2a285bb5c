package FC::Django;

# Users, sessions and rooms as Django makes them: one Python process with the
# project in demo/django, asked by lines of JSON.
#
#     my $django = FC::Django->new(pg => $pg);     # secret => 'another'
#
#     $django->secret_file($t->testdir() . '/secret');
#     my $id = $django->user('alice', is_staff => 1);   # made or changed
#     my $cookie = $django->session('alice');           # sessionid's value
#     my @cookies = $django->sessions(300, 'viewer');   # viewer0, viewer1...
#     $django->room('stream_1');                   # is_active => 0, stream => 0
#     $django->stamp(1, ':smile:', '/media/stamps/01_smile.svg');
#     $django->set_password('alice', 'new');       # its sessions are void
#     my $c = $django->csrf();                     # $c->{plain}, {cookie} (both
#                                                  # may be one) and {token}
#     $django->tables('tenant2');                  # all tables in a schema
#     $django->logout($cookie);                    # deletes the row
#
# session() takes engine => 'db' (default), 'cached_db', 'signed_cookies' or
# 'cache' (returns the key, and stores nothing: $django->cached($cookie) has
# the Redis key and the pickled value), age => SECONDS (negative: expired),
# secret => 'old key', and data => {...} for more keys or other values.
# Every call takes schema => 'tenant2' (default "localhost").
#
# With python and serve it is another site's process, asked by call().

use strict;
use warnings;

use IPC::Open2;
use JSON::PP;

use FC::Util qw/ stop_pid top /;

our $SECRET = 'fcchat-test-secret-key';

my $json = JSON::PP->new->utf8->canonical->allow_nonref;


sub new {
    my ($class, %o) = @_;

    local %ENV = (
        %ENV,
        FCCHAT_DSN      => $o{dsn} // $o{pg}->dsn(),
        FCCHAT_SECRET   => $o{secret} // $SECRET,
        PYTHONUNBUFFERED => 1,
        PYTHONDONTWRITEBYTECODE => 1,
        PYTHONWARNINGS  => 'ignore',
    );

    my $self = bless { owner => $$, secret => $o{secret} // $SECRET }, $class;

    $self->{pid} = open2($self->{out}, $self->{in}, 'setpriv',
                         '--pdeathsig', 'KILL', $o{python} // '/usr/bin/python3',
                         $o{serve} // top() . '/demo/django/serve.py');

    return $self;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($?, $@, $!);

    $self->stop();

    return;
}


# It ends at the end of its input as well, but a proxy that was forked since may
# hold that open.

sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} // return;

    close $self->{in};
    close $self->{out};
    stop_pid($pid);

    return;
}


sub call {
    my ($self, $command, %args) = @_;

    print {$self->{in}} $json->encode({ %args, command => $command }), "\n";
    $self->{in}->flush();

    my $line = readline $self->{out};

    defined $line or die "Django's process has died at $command\n";

    my $reply = $json->decode($line);

    die "Django: $reply->{error}\n" if $reply->{error};

    return $reply->{result};
}


sub secret { return $_[0]{secret} }


sub secret_file {
    my ($self, $file, $secret) = @_;

    open my $fh, '>', $file or die "can't create $file: $!\n";
    print $fh $secret // $self->{secret}, "\n";
    close $fh;
    chmod 0600, $file;

    return $file;
}


sub tables {
    my ($self, $schema) = @_;

    return $self->call('tables', schema => $schema // 'localhost');
}


sub user {
    my ($self, $name, %fields) = @_;

    my $schema = delete $fields{schema} // 'localhost';

    return $self->call('user', username => $name, schema => $schema,
                       fields => \%fields);
}


sub session {
    my ($self, $name, %o) = @_;

    return $self->call('session', username => $name, %o);
}


sub sessions {
    my ($self, $n, $prefix, %o) = @_;

    return @{$self->call('sessions', count => $n,
                         prefix => $prefix // 'user', %o)};
}


sub cached {
    my ($self, $cookie, %o) = @_;

    return $self->call('cached', cookie => $cookie, %o);
}


sub logout {
    my ($self, $cookie, %o) = @_;

    return $self->call('logout', cookie => $cookie, %o);
}


sub set_password {
    my ($self, $name, $password, %o) = @_;

    return $self->call('password', username => $name, password => $password,
                       %o);
}


sub csrf {
    my ($self) = @_;

    return $self->call('csrf', schema => 'localhost');
}


sub room {
    my ($self, $name, %o) = @_;

    return $self->call('room', name => $name, %o);
}


sub stamp {
    my ($self, $id, $name, $image, %o) = @_;

    return $self->call('stamp', id => $id, name => $name, image => $image,
                       %o);
}


1;
