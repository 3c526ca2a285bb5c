package FC::WS;

# A WebSocket client for tests, down to the single bit.
#
#     use Test::Nginx;
#     use FC::WS;
#
#     my $ws = FC::WS->connect(port => port(8080),
#                              path => '/ws/chat/stream_1/',
#                              cookie => $sessionid);
#     is($ws->status, 101);            # any other: $ws->body has the page
#     $ws->header('Sec-WebSocket-Protocol');
#
#     $ws->send_json({ message => 'hi' });
#     my $m = $ws->recv_json;          # the next text message, decoded
#     my $m = $ws->recv_until(sub { $_[0]{type} eq 'ack' }, 5);
#     my @all = $ws->recv_all(0.3);    # what comes until it is quiet
#     my ($code, $reason) = $ws->recv_close(5);
#     $ws->close(1000);                # Close, and waits for the answer
#
# connect() takes: host, port, ssl => 1 (SSL_... pass through), path, method,
# http => 'HTTP/1.0', host_header, origin (default: scheme://host_header; undef
# for none), cookie (the value of sessionid; cookies => 'a=1; b=2' for the
# whole header), protocol, extensions, version, key, upgrade, connection (undef
# leaves a header out), headers => [ 'X-Forwarded-For: 10.0.0.1' ], first =>
# BYTES (in one write with the handshake), timeout, rcvbuf, local (address to
# come from), nowait => 1 (returns before the answer; $ws->handshake waits).
#
# Frames: send_text send_binary send_ping send_pong send_close($code, $reason)
# and send_frame(op => 1, payload => ..., fin => 0, rsv => 4, mask => undef or
# four bytes, len => 16 or 64 (longer form), announce => N (a length that is
# not the payload's)); send_raw(BYTES); frame(...) returns the bytes alone.
#
# recv($seconds) returns the next frame, { op, fin, rsv, payload }, and undef
# at the end ($ws->eof) or when the time is over.  recv_message joins fragments
# and answers pings (auto_pong => 0: it does not); payloads of text are decoded
# to characters, and { invalid => 1 } where they are not UTF-8.  Where RSV1 is
# set (rsv => 4) they were inflated before, with a window of the bits that the
# server has agreed to.  deflated(TEXT, BITS) is such a payload, for
# send_frame(rsv => 4, payload => ...).
#
# Many at once:
#
#     my @ws = FC::WS->connect_many(300, sub { (cookie => $cookies[$_[0]]) },
#                                   port => port(8080), path => ...);
#     FC::WS->poll(\@ws, sub { my ($ws, $message) = @_; ... }, $seconds,
#                  sub { $count >= 300 });      # until this, or the time

use strict;
use warnings;

use Digest::SHA qw/ sha1_base64 /;
use Encode ();
use IO::Socket::INET;
use MIME::Base64 qw/ encode_base64 /;
use Socket qw/ IPPROTO_TCP SO_RCVBUF SOL_SOCKET TCP_NODELAY inet_aton
               pack_sockaddr_in /;
use Time::HiRes qw/ time /;

use FC::Util qw/ slow /;

our $TIMEOUT = 5;

my $json;


sub json {
    $json //= do {
        my $class = eval { require JSON::XS; 'JSON::XS' }
                    // do { require JSON::PP; 'JSON::PP' };

        $class->new->canonical->allow_nonref;
    };

    return $json;
}


sub connect {
    my ($class, %o) = @_;

    my $self = bless {
        host      => '127.0.0.1',
        path      => '/',
        version   => 13,
        upgrade   => 'websocket',
        connection => 'Upgrade',
        method    => 'GET',
        http      => 'HTTP/1.1',
        timeout   => $TIMEOUT * slow(),
        auto_pong => 1,
        in        => '',
        %o,
    }, $class;

    local $SIG{PIPE} = 'IGNORE';

    $self->{key} = encode_base64(join('', map { chr int rand 256 } 1 .. 16),
                                 '') if !exists $o{key};
    $self->open_socket() or return undef;
    $self->send_raw($self->request() . ($o{first} // ''));
    $self->handshake() if !$o{nowait};

    return $self;
}


sub open_socket {
    my ($self) = @_;

    my $s = IO::Socket::INET->new(Proto => 'tcp') or return undef;

    $s->timeout($self->{timeout});

    # before there is a connection: its window does not shrink

    setsockopt($s, SOL_SOCKET, SO_RCVBUF, $self->{rcvbuf}) or return undef
        if $self->{rcvbuf};

    $s->bind(pack_sockaddr_in(0, inet_aton($self->{local}))) or return undef
        if $self->{local};

    $s->connect(pack_sockaddr_in($self->{port}, inet_aton($self->{host})))
        or return undef;

    if ($self->{ssl}) {
        require IO::Socket::SSL;

        $s = IO::Socket::SSL->start_SSL(
            $s,
            Timeout         => $self->{timeout},
            SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_NONE(),
            map { $_ => $self->{$_} } grep { /^SSL_/ } keys %$self
        );
    }

    $self->{s} = $s;
    return undef if !$self->{s};

    setsockopt($self->{s}, IPPROTO_TCP, TCP_NODELAY, 1);
    $self->{s}->blocking(0);

    return $self;
}


sub request {
    my ($self) = @_;

    my $host = $self->{host_header} // 'localhost';
    my $scheme = $self->{ssl} ? 'https' : 'http';
    my $origin = exists $self->{origin} ? $self->{origin} : "$scheme://$host";
    my $cookies = $self->{cookies}
                  // (defined $self->{cookie} ? "sessionid=$self->{cookie}"
                                              : undef);

    my @lines = (
        [ 'Host'                     => $host ],
        [ 'Upgrade'                  => $self->{upgrade} ],
        [ 'Connection'               => $self->{connection} ],
        [ 'Sec-WebSocket-Key'        => $self->{key} ],
        [ 'Sec-WebSocket-Version'    => $self->{version} ],
        [ 'Sec-WebSocket-Protocol'   => $self->{protocol} ],
        [ 'Sec-WebSocket-Extensions' => $self->{extensions} ],
        [ 'Origin'                   => $origin ],
        [ 'Cookie'                   => $cookies ],
    );

    return join "\r\n", "$self->{method} $self->{path} $self->{http}",
                (map { "$_->[0]: $_->[1]" } grep { defined $_->[1] } @lines),
                @{$self->{headers} || []}, '', '';
}


# Reads the answer; of a refusal also the page that comes with it.

sub handshake {
    my ($self) = @_;

    my $end = time() + $self->{timeout};

    while ($self->{in} !~ /\r\n\r\n/) {
        $self->fill($end - time()) or return $self;
    }

    $self->{in} =~ s/^(.*?\r\n\r\n)//s;
    $self->{head} = $1;
    ($self->{status}) = $self->{head} =~ m{^HTTP/1\.[01] (\d+)};

    if ($self->status() != 101) {
        my $want = $self->header('Content-Length');

        while (!defined $want || length $self->{in} < $want) {
            $self->fill($end - time()) or last;
        }

        $self->{body} = $self->{in};
        $self->{in} = '';
    }

    return $self;
}


sub status { return $_[0]{status} // 0 }

sub head { return $_[0]{head} // '' }

sub body { return $_[0]{body} // '' }

sub eof { return $_[0]{eof} ? 1 : 0 }

sub socket { return $_[0]{s} }

sub key { return $_[0]{key} }


sub header {
    my ($self, $name) = @_;

    my @values = $self->head() =~ /^\Q$name\E:[ \t]*(.*?)\r$/mgi;

    return wantarray ? @values : $values[0];
}


# Whether the server has answered our key and nobody else's.

sub accepted {
    my ($self) = @_;

    my $want = sha1_base64("$self->{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");

    return $self->status() == 101
           && ($self->header('Sec-WebSocket-Accept') // '') eq "$want=";
}


# One read into the buffer; false at the end of the time or of the stream.

sub fill {
    my ($self, $seconds) = @_;

    return 0 if $self->{eof};

    my $s = $self->{s};
    my $pending = $self->{ssl} ? $s->pending() : 0;

    if (!$pending) {
        my $bits = '';

        vec($bits, fileno($s), 1) = 1;

        return 0 if $seconds < 0;
        return 0 if select($bits, undef, undef, $seconds) <= 0;
    }

    my $n = sysread $s, $self->{in}, 65536, length $self->{in};

    return $n if $n;

    if (!defined $n && $!{EAGAIN}) {
        return 1;
    }

    $self->{eof} = 1;
    $self->{reset} = 1 if !defined $n && $!{ECONNRESET};

    return 0;
}


# Takes a whole frame from the buffer, if there is one.

sub take {
    my ($self) = @_;

    my $have = length $self->{in};

    return undef if $have < 2;

    my ($b0, $b1) = unpack 'CC', $self->{in};
    my ($len, $pos) = ($b1 & 0x7f, 2);

    if ($len == 126) {
        return undef if $have < 4;
        ($len, $pos) = (unpack('x2 n', $self->{in}), 4);

    } elsif ($len == 127) {
        return undef if $have < 10;
        ($len, $pos) = (unpack('x2 Q>', $self->{in}), 10);
    }

    my $mask = '';

    if ($b1 & 0x80) {
        $mask = substr $self->{in}, $pos, 4;
        $pos += 4;
    }

    return undef if $have < $pos + $len;

    my $payload = substr $self->{in}, $pos, $len;

    substr $self->{in}, 0, $pos + $len, '';

    return { op => $b0 & 0x0f, fin => $b0 >> 7, rsv => ($b0 >> 4) & 7,
             masked => $b1 >> 7, payload => $mask eq '' ? $payload
                                            : masked($payload, $mask) };
}


sub masked {
    my ($payload, $mask) = @_;

    my $n = length $payload;

    return $payload ^ substr($mask x (($n + 3) / 4), 0, $n);
}


sub recv {
    my ($self, $seconds) = @_;

    my $end = time() + ($seconds // $self->{timeout});

    for ( ;; ) {
        my $frame = $self->take();

        return $frame if $frame;

        my $left = $end - time();

        $self->fill($left < 0 ? 0 : $left) or return undef;
    }
}


# Makes a message of a frame: undef while one is incomplete, or for a ping
# that was answered.

sub assemble {
    my ($self, $frame) = @_;

    if ($frame->{op} == 9 && $self->{auto_pong}) {
        $self->send_pong($frame->{payload});
        return undef;
    }

    return $frame if $frame->{op} >= 8;

    if ($frame->{op} == 0) {
        my $first = $self->{partial} or return { %$frame, stray => 1 };

        $first->{payload} .= $frame->{payload};
        return undef if !$frame->{fin};
        $frame = delete $self->{partial};

    } elsif (!$frame->{fin}) {
        $self->{partial} = $frame;
        return undef;
    }

    if ($frame->{rsv} == 4) {
        my ($bits) = ($self->header('Sec-WebSocket-Extensions') // '')
                     =~ /server_max_window_bits=(\d+)/;

        $frame->{packed} = $frame->{payload};
        $frame->{payload} = inflated($frame->{payload}, $bits);
    }

    if ($frame->{op} == 1 && defined $frame->{payload}) {
        my $text = $frame->{payload};

        $frame->{payload} = eval {
            Encode::decode('UTF-8', $text, Encode::FB_CROAK)
        };
        @$frame{qw/ payload invalid /} = ($text, 1) if $@;
    }

    return $frame;
}


# RFC 7692 7.2; undef for what is none.

sub inflated {
    my ($packed, $bits) = @_;

    require Compress::Raw::Zlib;

    my $z = Compress::Raw::Zlib::Inflate->new(-WindowBits => -($bits // 15));
    my $in = "$packed\x00\x00\xff\xff";
    my $rc = $z->inflate($in, my $text);

    return $rc == Compress::Raw::Zlib::Z_OK()
           || $rc == Compress::Raw::Zlib::Z_BUF_ERROR() ? $text // '' : undef;
}


sub deflated {
    my ($text, $bits) = @_;

    require Compress::Raw::Zlib;

    utf8::encode($text) if utf8::is_utf8($text);

    my $z = Compress::Raw::Zlib::Deflate->new(-WindowBits => -($bits // 15),
                                              -AppendOutput => 1);
    my $packed = '';

    $z->deflate($text, $packed);
    $z->flush($packed, Compress::Raw::Zlib::Z_SYNC_FLUSH());

    return substr $packed, 0, -4;
}


sub recv_message {
    my ($self, $seconds) = @_;

    my $end = time() + ($seconds // $self->{timeout});

    for ( ;; ) {
        my $left = $end - time();
        my $frame = $self->recv($left < 0 ? 0 : $left) or return undef;
        my $message = $self->assemble($frame);

        return $message if $message;
    }
}


# The next text message as data; a Close on the way is kept for recv_close().
# Counts of viewers are left out, since they may come between any two messages;
# recv_until() and recv_all() have them.

sub recv_json {
    my ($self, $seconds) = @_;

    return $self->recv_until(sub { ref $_[0] ne 'HASH'
                                   || ($_[0]{type} // '') ne 'viewers' },
                             $seconds);
}


sub next_json {
    my ($self, $seconds) = @_;

    my $end = time() + ($seconds // $self->{timeout});

    for ( ;; ) {
        return undef if $self->{closing};

        my $left = $end - time();
        my $message = $self->recv_message($left < 0 ? 0 : $left)
            or return undef;

        return decoded($message) if $message->{op} == 1;

        if ($message->{op} == 8) {
            $self->{closing} = $message;
            return undef;
        }
    }
}


sub decoded {
    my ($message) = @_;

    my $data = eval { json()->decode($message->{payload}) };

    return $@ ? { broken => $message->{payload} } : $data;
}


sub recv_until {
    my ($self, $want, $seconds) = @_;

    my $end = time() + ($seconds // $self->{timeout});

    for ( ;; ) {
        my $left = $end - time();
        my $data = $self->next_json($left < 0 ? 0 : $left) // return undef;

        return $data if $want->($data);
    }
}


# All text messages, until none has come for so long.

sub recv_all {
    my ($self, $quiet) = @_;

    my @all;

    while (defined(my $data = $self->next_json($quiet // 0.3))) {
        push @all, $data;
    }

    return @all;
}


# Skips what comes before the Close.  Returns its code (1005 without one, 1006
# where the stream ended without a Close) and its reason, or nothing in time.

sub recv_close {
    my ($self, $seconds) = @_;

    my $end = time() + ($seconds // $self->{timeout});
    my $message = delete $self->{closing};

    while (!$message || $message->{op} != 8) {
        my $left = $end - time();

        $message = $self->recv_message($left < 0 ? 0 : $left);

        return $self->{eof} ? (1006, '') : () if !$message;
    }

    return (1005, '') if length $message->{payload} < 2;

    my ($code, $reason) = unpack 'n a*', $message->{payload};

    return ($code, $reason);
}


# Whether the server closes the stream, and sends nothing more before.

sub recv_eof {
    my ($self, $seconds) = @_;

    my $end = time() + ($seconds // $self->{timeout});

    while (!$self->{eof} && $self->{in} eq '') {
        my $left = $end - time();

        $self->fill($left) or last;
    }

    return $self->{eof} && $self->{in} eq '' ? 1 : 0;
}


sub frame {
    my (%f) = @_;

    my $payload = $f{payload} // '';

    utf8::encode($payload) if utf8::is_utf8($payload);

    my $mask = exists $f{mask} ? $f{mask} : pack 'N', int rand 2 ** 32;
    my $n = $f{announce} // length $payload;
    my $form = $f{len} // ($n < 126 ? 7 : $n < 65536 ? 16 : 64);
    my $bit = defined $mask ? 0x80 : 0;

    my $head = pack 'C', (($f{fin} // 1) << 7) | (($f{rsv} // 0) << 4)
                         | ($f{op} // 1);

    $head .= $form == 7  ? pack('C', $bit | $n)
           : $form == 16 ? pack('C n', $bit | 126, $n)
           :               pack('C Q>', $bit | 127, $n);

    return $head . (defined $mask ? $mask . masked($payload, $mask)
                                  : $payload);
}


# The socket does not block, but a test that sends more than its peer reads
# has to wait; up to the timeout.  Returns how much was taken.

sub send_raw {
    my ($self, $bytes) = @_;

    local $SIG{PIPE} = 'IGNORE';

    my $end = time() + $self->{timeout};
    my $sent = 0;

    while ($sent < length $bytes) {
        my $n = syswrite $self->{s}, $bytes, length($bytes) - $sent, $sent;

        if (defined $n) {
            $sent += $n;
            next;
        }

        last if !$!{EAGAIN} || time() > $end;

        my $bits = '';

        vec($bits, fileno($self->{s}), 1) = 1;
        select undef, $bits, undef, 0.1;
    }

    return $sent;
}


sub send_frame {
    my ($self, %f) = @_;

    return $self->send_raw(frame(%f));
}


sub send_text {
    my ($self, $text) = @_;

    return $self->send_frame(op => 1, payload => $text);
}


sub send_binary {
    my ($self, $bytes) = @_;

    return $self->send_frame(op => 2, payload => $bytes);
}


sub send_ping {
    my ($self, $bytes) = @_;

    return $self->send_frame(op => 9, payload => $bytes);
}


sub send_pong {
    my ($self, $bytes) = @_;

    return $self->send_frame(op => 10, payload => $bytes);
}


sub send_close {
    my ($self, $code, $reason) = @_;

    $reason //= '';
    utf8::encode($reason) if utf8::is_utf8($reason);

    return $self->send_frame(op => 8, payload => defined $code
                                      ? pack('n a*', $code, $reason) : '');
}


sub send_json {
    my ($self, $data) = @_;

    my $text = json()->encode($data);

    utf8::encode($text);

    return $self->send_text($text);
}


# send_fragments(op, PART...): one message of so many frames.

sub send_fragments {
    my ($self, $op, @parts) = @_;

    my $last = pop @parts;

    for my $part (@parts) {
        $self->send_frame(op => $op, fin => 0, payload => $part);
        $op = 0;
    }

    return $self->send_frame(op => $op, payload => $last);
}


sub close {
    my ($self, $code, $reason) = @_;

    $self->send_close($code // 1000, $reason);

    my @answer = $self->recv_close();

    $self->drop();

    return @answer;
}


# Goes without a word; with a TCP reset if asked to.

sub drop {
    my ($self, $reset) = @_;

    my $s = delete $self->{s} or return;

    setsockopt($s, SOL_SOCKET, Socket::SO_LINGER(), pack('ii', 1, 0))
        if $reset;

    if ($self->{ssl}) {
        $s->close(SSL_no_shutdown => 1);
        return;
    }

    CORE::close($s);

    return;
}


# All handshakes are sent before the first answer is read.

sub connect_many {
    my ($class, $n, $options, %common) = @_;

    my @all = map {
        $class->connect(%common, nowait => 1,
                        $options ? $options->($_) : ())
    } 0 .. $n - 1;

    $_ && $_->handshake() for @all;

    return @all;
}


sub poll {
    my ($class, $all, $handler, $seconds, $done) = @_;

    my $end = time() + ($seconds // $TIMEOUT * slow());

    for ( ;; ) {
        my ($bits, $busy) = ('', 0);

        for my $ws (grep { $_->{s} } @$all) {
            while (my $frame = $ws->take()) {
                my $message = $ws->assemble($frame) or next;
                $busy = 1;
                $handler->($ws, $message->{op} == 1 ? decoded($message)
                                                    : $message);
            }

            vec($bits, fileno($ws->{s}), 1) = 1 if !$ws->{eof};
        }

        return 1 if $done && $done->();

        my $left = $end - time();

        return 0 if $left <= 0;

        my $ready = $bits;

        next if select($ready, undef, undef, $left < 0.2 ? $left : 0.2) <= 0;

        for my $ws (grep { $_->{s} && !$_->{eof} } @$all) {
            $ws->fill(0) if vec $ready, fileno($ws->{s}), 1;
        }
    }
}


1;
