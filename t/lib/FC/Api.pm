package FC::Api;

# A client of the HTTP API that keeps its connection, and holds each answer
# against demo/openapi.json.
#
#     my $api = FC::Api->new(cookie => $site->cookie('ann'));   # port 8080
#     my $r = $api->get('/api/chat/stream_1/history?limit=2');
#     my $r = $api->post('/api/chat/stream_1/publish', { text => 'x' },
#                        headers => { Authorization => 'Bearer secret' });
#     $r->{status}, $r->{json}, $r->{body}, $r->{header}{etag}
#
# new() and each call take cookie (sessionid's value), csrf (the cookie of that
# name), host, and headers; a call takes method, json, and body (bytes in place
# of it).  An answer that the description does not know is a failed test.

use strict;
use warnings;

use JSON::PP;
use Test::More;

use Test::Nginx ();

use FC::OpenApi;
use FC::Util qw/ top /;

our $openapi;

my $json = JSON::PP->new->utf8->canonical;


sub new {
    my ($class, %o) = @_;

    $openapi //= FC::OpenApi->new(top() . '/demo/openapi.json');

    return bless { port => Test::Nginx::port(8080), host => 'localhost',
                   headers => {}, %o }, $class;
}


sub get { my ($self, $path, %o) = @_; return $self->call($path, %o) }


sub head {
    my ($self, $path, %o) = @_;

    return $self->call($path, method => 'HEAD', %o);
}


sub post {
    my ($self, $path, $data, %o) = @_;

    return $self->call($path, method => 'POST', json => $data, %o);
}


sub call {
    my ($self, $path, %o) = @_;

    my $request = $self->request($path, %o);

    # a connection that was kept may have been closed meanwhile

    my $kept = $self->{s};
    my $r = $self->exchange($request, %o);

    if (!$r && $kept) {
        delete $self->{s};
        $r = $self->exchange($request, %o);
    }

    $r //= { status => 0, header => {}, body => '' };

    if (($r->{header}{'content-type'} // '') =~ m{^application/json}) {
        $r->{json} = eval { $json->decode($r->{body}) };
    }

    my $wrong = $openapi->wrong($o{method} // 'GET', $path, $r);

    fail(($o{method} // 'GET') . " $path, $r->{status}: $wrong") if $wrong;

    return $r;
}


sub request {
    my ($self, $path, %o) = @_;

    my %o2 = (%$self, %o);
    my %h = (%{$self->{headers}}, %{$o{headers} || {}});
    my @cookies;

    push @cookies, "sessionid=$o2{cookie}" if defined $o2{cookie};
    push @cookies, "csrftoken=$o2{csrf}" if defined $o2{csrf};

    $h{Cookie} //= join '; ', @cookies if @cookies;

    my $body = $o{body} // ($o{json} ? $json->encode($o{json}) : undef);

    if (defined $body) {
        $h{'Content-Type'} //= 'application/json';
        $h{'Content-Length'} //= length $body if !$h{'Transfer-Encoding'};
    }

    return ($o{method} // 'GET') . " $path HTTP/1.1\r\nHost: $o2{host}\r\n"
           . join('', map { "$_: $h{$_}\r\n" }
                      grep { defined $h{$_} } sort keys %h)
           . "\r\n" . ($body // '');
}


sub socket {
    my ($self) = @_;

    return $self->{s} //= Test::Nginx::connect_to(
        PeerAddr => "127.0.0.1:$self->{port}",
        $self->{tls} ? (SSL => 1) : ()
    );
}


sub exchange {
    my ($self, $request, %o) = @_;

    my $s = $self->socket() or return undef;

    local $SIG{PIPE} = 'IGNORE';

    $s->print($request);

    return $self->answer($s, ($o{method} // 'GET') eq 'HEAD');
}


# One answer of the connection, or undef.

sub answer {
    my ($self, $s, $bodiless) = @_;

    my ($r, $in) = ({ body => '' }, $self->{rest} // '');

    $self->{rest} = '';

    while ($in !~ /\r\n\r\n/) {
        $self->fill($s, \$in) or return undef;
    }

    (my $head, $in) = split /\r\n\r\n/, $in, 2;
    my ($line, @lines) = split /\r\n/, $head;

    ($r->{status}) = $line =~ m{^HTTP/1\.[01] (\d+)};
    $r->{header} = { map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } @lines };

    if (!$bodiless && $r->{status} != 304) {
        my $n = $r->{header}{'content-length'} // 0;

        while (length $in < $n) {
            $self->fill($s, \$in) or return undef;
        }

        $r->{body} = substr $in, 0, $n, '';
    }

    $self->{rest} = $in;
    delete $self->{s}
        if lc($r->{header}{connection} // '') eq 'close';

    return $r;
}


sub fill {
    my ($self, $s, $in) = @_;

    return Test::Nginx::within(10, sub {
        $s->sysread($$in, 65536, length $$in);
    });
}


1;
