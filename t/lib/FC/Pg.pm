package FC::Pg;

# A PostgreSQL for a test: a database of its own in the cluster that t/run has
# started, or a cluster of its own where there is none or where the test wants
# to stop, kill or stall it.
#
#     my $pg = FC::Pg->new();                  # a database, with all tables
#     my $pg = FC::Pg->new(private => 1,       # a cluster; these are optional:
#                          fsync => 0, conf => { max_connections => 20 });
#
#     $pg->dsn                                 # conninfo, by the Unix socket
#     $pg->dsn('tcp')                          # by 127.0.0.1
#     my @rows = $pg->sql('select 1, null');   # ([1, undef])
#     my $value = $pg->sql('select 1');        # first column of the first row
#     $pg->sql("select :'v'", v => "it's");    # psql's variables quote
#     $pg->apply('other')                      # sql/*.sql for another schema
#
#     $pg->stop; $pg->start; $pg->restart('immediate'); $pg->kill9;
#     $pg->pause; $pg->resume;                 # SIGSTOP, SIGCONT: all of them
#     $pg->drop_connections;                   # pg_terminate_backend()
#
# tables => 0 leaves the database empty.  The tables are Django's, in the
# schema "localhost", with sql/*.sql applied there.  A cluster takes also dir,
# listen (addresses), auth (initdb's, default trust) with peer => 1 for psql to
# come as the server's own user, hba (the whole of pg_hba.conf), wrap (a command
# that runs the server); login() sets the role that dsn() names from then on.

use strict;
use warnings;

use File::Temp ();

use FC::Util qw/ free_port give_to run_quiet slurp spawn stop_pid tempdir
                 top wait_for /;

our $TEMPLATE = 'fcchat_template';

my $count = 0;


sub new {
    my ($class, %o) = @_;

    my $self = bless { %o, owner => $$ }, $class;

    if (!$o{private} && $ENV{FC_PG}) {
        @$self{qw/ dir port user /} = split ' ', $ENV{FC_PG};
        $self->{name} = "t_${$}_" . $count++;

        my $from = ($o{tables} // 1) ? $TEMPLATE : 'template0';

        $self->sql_in('postgres', "create database $self->{name} "
                                  . "template $from");
        return $self;
    }

    $self->{private} = 1;
    $self->{name} = $o{name} // 'fcchat';
    $self->init();
    $self->start();
    $self->sql_in('postgres', "create database $self->{name} "
                              . 'template template0');
    $self->make_tables() if $o{tables} // 1;

    return $self;
}


# The cluster of a whole run: its address goes to the tests by FC_PG.

sub shared {
    my ($class, %o) = @_;

    my $self = $class->new(%o, private => 1, name => $TEMPLATE);

    $ENV{FC_PG} = join ' ', @$self{qw/ dir port user /};

    return $self;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($?, $@, $!);

    $self->stop('immediate') if $self->{private};

    return;
}


sub bindir {
    my ($newest) = sort { $b <=> $a }
                   map { m{/(\d+)/bin/postgres$} }
                   glob('/usr/lib/postgresql/*/bin/postgres');

    $newest or die "no PostgreSQL below /usr/lib/postgresql\n";

    return "/usr/lib/postgresql/$newest/bin";
}


sub init {
    my ($self) = @_;

    $self->{dir} //= tempdir('fcpg');
    $self->{port} //= free_port();
    $self->{user} //= 'postgres';

    my $dir = $self->{dir};

    give_to('postgres', $dir);

    run_quiet({ user => 'postgres' }, bindir() . '/initdb', '-D', "$dir/data",
              '-U', $self->{user}, '-A', $self->{auth} // 'trust',
              '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8');

    my %conf = (
        port                    => $self->{port},
        listen_addresses        => $self->{listen} // '127.0.0.1',
        unix_socket_directories => $dir,
        fsync                   => ($self->{fsync} // 1) ? 'on' : 'off',
        max_connections         => 200,
        shared_buffers          => '32MB',
        max_wal_size            => '256MB',
        autovacuum_naptime      => '10s',
        log_line_prefix         => '%m [%p] %d ',
        timezone                => 'UTC',
        %{$self->{conf} || {}},
    );

    $self->configure(%conf);

    if ($self->{hba}) {
        open my $fh, '>', "$dir/data/pg_hba.conf"
            or die "can't write pg_hba.conf: $!\n";
        print $fh $self->{hba};
        close $fh;
    }

    return $self;
}


# Appends settings; they count at the next start, or at a reload.

sub configure {
    my ($self, %conf) = @_;

    open my $fh, '>>', "$self->{dir}/data/postgresql.conf"
        or die "can't write postgresql.conf: $!\n";

    for my $name (sort keys %conf) {
        (my $value = $conf{$name}) =~ s/'/''/g;
        print $fh "$name = '$value'\n";
    }

    close $fh;

    return $self;
}


sub start {
    my ($self) = @_;

    my $log = "$self->{dir}/log";

    $self->{pid} = spawn({ log => $log, user => 'postgres',
                           deathsig => 'QUIT' },
                         @{$self->{wrap} || []},
                         bindir() . '/postgres', '-D', "$self->{dir}/data");

    wait_for(sub { $self->ready() }, 30)
        or die "PostgreSQL did not start: " . slurp($log) . "\n";

    return $self;
}


# The word comes from the postmaster itself and costs no process.

sub ready {
    my ($self) = @_;

    my @line = split /\n/, slurp("$self->{dir}/data/postmaster.pid");

    return @line >= 8 && $line[0] == $self->{pid}
           && $line[7] =~ /^(?:ready|standby)/;
}


sub stop {
    my ($self, $mode) = @_;

    my $pid = delete $self->{pid} // return $self;
    my %signal = (smart => 'TERM', fast => 'INT', immediate => 'QUIT');

    kill 'CONT', $self->backends();
    stop_pid($pid, $signal{$mode // 'fast'}, 30);

    return $self;
}


sub restart {
    my ($self, $mode) = @_;

    return $self->stop($mode)->start();
}


sub kill9 {
    my ($self) = @_;

    my $pid = delete $self->{pid} // return $self;
    my @all = $self->backends($pid);

    kill 'KILL', @all;
    stop_pid($pid, 'KILL');

    # shared memory is free once the last of them is gone

    wait_for(sub { !grep { length slurp("/proc/$_/cmdline") } @all }, 10);

    return $self;
}


sub backends {
    my ($self, $pid) = @_;

    $pid //= $self->{pid} // return ();

    return split ' ', slurp("/proc/$pid/task/$pid/children");
}


sub pause {
    my ($self) = @_;

    kill 'STOP', $self->{pid}, $self->backends();

    return $self;
}


sub resume {
    my ($self) = @_;

    kill 'CONT', $self->{pid}, $self->backends();

    return $self;
}


sub drop_connections {
    my ($self) = @_;

    return $self->sql('select count(pg_terminate_backend(pid))'
                      . ' from pg_stat_activity where pid <> pg_backend_pid()'
                      . ' and datname = current_database()');
}


sub port { return $_[0]{port} }

sub host { return $_[0]{dir} }

sub user { return $_[0]{user} }

sub name { return $_[0]{name} }

sub pid { return $_[0]{pid} }


sub login {
    my ($self, $role) = @_;

    $self->{login} = $role;

    return $self;
}


sub dsn {
    my ($self, $how, $db) = @_;

    my $host = ($how // '') eq 'tcp' ? '127.0.0.1' : $self->{dir};

    return "host=$host port=$self->{port} dbname=" . ($db // $self->{name})
           . ' user=' . ($self->{login} // $self->{user});
}


# apply(SCHEMA, FILE...): the files, or all of sql/NNN_*.sql in their order.

sub apply {
    my ($self, $schema, @files) = @_;

    $schema //= 'localhost';
    @files = sort glob(top() . '/sql/[0-9]*.sql') if !@files;

    for my $file (@files) {
        run_quiet({ user => $self->{peer} && 'postgres', in => $file,
                    env  => { PGOPTIONS => '-c search_path='
                                           . qq("$schema",public)
                                           . ' -c client_min_messages='
                                           . 'warning' } },
                  'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1',
                  '-d', $self->dsn(), '-f', '-');
    }

    return $self;
}


sub make_tables {
    my ($self, @schemas) = @_;

    require FC::Django;

    @schemas = @{$self->{schemas} || ['localhost']} if !@schemas;

    my $django = FC::Django->new(pg => $self);

    for my $schema (@schemas) {
        $django->tables($schema);
        $self->apply($schema);
    }

    $django->stop();

    return $self;
}


sub sql {
    my ($self, $sql, %vars) = @_;

    return $self->sql_in($self->{name}, $sql, %vars);
}


sub sql_in {
    my ($self, $db, $sql, %vars) = @_;

    utf8::encode($sql) if utf8::is_utf8($sql);

    my $file = File::Temp->new(TEMPLATE => 'fcsql-XXXXXX', DIR => '/tmp');

    chmod 0644, $file->filename;
    print $file $sql;
    close $file;

    my $out = run_quiet(
        { user => $self->{peer} && 'postgres', in => $file->filename,
          env  => { PGOPTIONS => '-c search_path=localhost,public'
                                 . ' -c client_min_messages=warning' } },
        'psql', '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1',
        '-F', "\x1f", '-R', "\x1e", '-P', "null=\x02",
        (map { ('-v', "$_=$vars{$_}") } keys %vars),
        '-d', $self->dsn('unix', $db), '-f', '-');

    utf8::decode($out);

    my @rows = map {
        [ map { $_ eq "\x02" ? undef : $_ } fields("\x1f", $_) ]
    } $out =~ s/\n\z// ? fields("\x1e", $out) : ();

    return @rows if wantarray;
    return @rows ? $rows[0][0] : undef;
}


# Unlike split, one empty field of an empty string.

sub fields {
    my ($separator, $text) = @_;

    return length $text ? split(/$separator/, $text, -1) : ('');
}


1;
