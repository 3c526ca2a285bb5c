package Chrome;

# Drives a headless Chromium over its DevTools pipe: file descriptors 3 and 4,
# JSON texts that end in a NUL.  No port, no driver, nothing but core Perl.

use strict;
use warnings;

use File::Path qw/ remove_tree /;
use File::Temp qw/ tempdir /;
use IO::Select;
use JSON::PP qw//;
use POSIX qw/ dup2 :sys_wait_h /;
use Time::HiRes qw/ time sleep /;

my @FLAGS = qw/
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update
    --disable-sync --disable-dev-shm-usage --hide-scrollbars
    --disable-renderer-backgrounding --disable-background-timer-throttling
    --disable-backgrounding-occluded-windows --remote-debugging-pipe
/;

my $json = JSON::PP->new->utf8->allow_nonref;


sub program {
    for my $dir (split /:/, $ENV{PATH}) {
        for my $name (qw/ chromium chromium-browser /) {
            return "$dir/$name" if -x "$dir/$name";
        }
    }

    return undef;
}


sub new {
    my ($class) = @_;

    my $self = bless {
        id      => 0,
        buffer  => '',
        answers => {},
        events  => [],
        profile => tempdir('fcchat-chrome-XXXXXX', TMPDIR => 1, CLEANUP => 1),
    }, $class;

    $self->_start();
    return $self;
}


sub _start {
    my ($self) = @_;

    my $program = program() or die "chromium is not installed\n";

    pipe(my $in_read, my $in_write) or die "pipe: $!";
    pipe(my $out_read, my $out_write) or die "pipe: $!";

    my $pid = fork();
    die "fork: $!" unless defined $pid;

    if ($pid == 0) {

        # to high numbers first: a pipe may have 3 or 4 already

        dup2(fileno $in_read, 60);
        dup2(fileno $out_write, 61);
        dup2(60, 3);
        dup2(61, 4);
        POSIX::close($_) for 60, 61;

        open STDIN, '<', '/dev/null';
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';

        exec $program, @FLAGS, "--user-data-dir=$self->{profile}",
            'about:blank' or POSIX::_exit(127);
    }

    close $in_read;
    close $out_write;

    @$self{qw/ pid to from /} = ($pid, $in_write, $out_read);
    $self->{agent} = $self->call('Browser.getVersion')->{userAgent};
}


# the result of a DevTools command

sub call {
    my ($self, $method, $params, $session) = @_;

    my $id = ++$self->{id};
    my $text = $json->encode({
        id     => $id,
        method => $method,
        params => $params || {},
        $session ? (sessionId => $session) : (),
    });

    local $SIG{PIPE} = 'IGNORE';
    $text .= "\0";

    while (length $text) {
        my $n = syswrite $self->{to}, $text;
        die "chromium is gone: $!\n" unless $n;
        substr($text, 0, $n, '');
    }

    my $end = time() + 30;

    until (exists $self->{answers}{$id}) {
        die "chromium does not answer $method\n" if time() > $end;
        $self->_read($end - time());
    }

    my $answer = delete $self->{answers}{$id};
    die "$method: $answer->{error}{message}\n" if $answer->{error};
    return $answer->{result};
}


sub _read {
    my ($self, $timeout) = @_;

    return unless IO::Select->new($self->{from})->can_read($timeout);

    sysread($self->{from}, $self->{buffer}, 1 << 20, length $self->{buffer})
        or die "chromium is gone\n";

    while ($self->{buffer} =~ s/\A([^\0]*)\0//) {
        my $m = $json->decode($1);

        if (defined $m->{id}) {
            $self->{answers}{$m->{id}} = $m;
        } else {
            push @{$self->{events}}, $m;
        }
    }
}


# Opens a window of its own; all windows share the profile and its cookies.
# language: of the browser; probe: JavaScript to run before the page's own.

sub window {
    my ($self, $url, %arg) = @_;

    my $target = $self->call('Target.createTarget', {
        url       => 'about:blank',
        newWindow => JSON::PP::true,
    })->{targetId};

    my $session = $self->call('Target.attachToTarget', {
        targetId => $target,
        flatten  => JSON::PP::true,
    })->{sessionId};

    my $w = bless {
        chrome => $self, session => $session, target => $target,
    }, 'Chrome::Window';

    $w->call('Page.enable');
    $w->call('Runtime.enable');
    $w->call('Log.enable');
    $w->call('Emulation.setFocusEmulationEnabled',
        { enabled => JSON::PP::true });
    $w->call('Emulation.setUserAgentOverride', {
        userAgent      => $self->{agent},
        acceptLanguage => $arg{language},
    }) if $arg{language};
    $w->call('Page.addScriptToEvaluateOnNewDocument',
        { source => $arg{probe} }) if $arg{probe};
    $w->size($arg{width} || 1280, $arg{height} || 800);
    $w->call('Page.navigate', { url => $url });

    return $w;
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;

    eval { $self->call('Browser.close') };
    close $self->{to};
    close $self->{from};

    my $gone;

    for (1 .. 50) {
        last if $gone = waitpid($pid, WNOHANG);
        sleep 0.1;
    }

    if (!$gone) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }

    $self->_remove_profile();
}


# the browser's own helpers may outlive it for a moment, and write there

sub _remove_profile {
    my ($self) = @_;

    my $absent = 0;

    for (1 .. 50) {
        $absent = -e $self->{profile} ? 0 : $absent + 1;
        return if $absent > 3;

        remove_tree($self->{profile}, { error => \my $ignored });
        sleep 0.1;
    }
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $@, $!);
    $self->stop();
}


package Chrome::Window;

use strict;
use warnings;

use MIME::Base64 qw/ decode_base64 /;
use Time::HiRes qw/ time sleep /;


sub call {
    my ($self, $method, $params) = @_;

    return $self->{chrome}->call($method, $params, $self->{session});
}


# a page that is merely left may be kept, with its socket

sub close {
    my ($self) = @_;

    $self->{chrome}->call('Target.closeTarget',
        { targetId => $self->{target} });
}


sub size {
    my ($self, $width, $height) = @_;

    $self->call('Emulation.setDeviceMetricsOverride', {
        width             => $width,
        height            => $height,
        deviceScaleFactor => 1,
        mobile            => $width < 600 ? JSON::PP::true : JSON::PP::false,
    });
}


# the value of a JavaScript expression

sub value {
    my ($self, $expression) = @_;

    my $r = $self->call('Runtime.evaluate', {
        expression    => $expression,
        returnByValue => JSON::PP::true,
        awaitPromise  => JSON::PP::true,
    });

    die "$expression: " . $r->{exceptionDetails}{exception}{description}
        . "\n" if $r->{exceptionDetails};

    return $r->{result}{value};
}


# waits until the expression is true; returns its value, false after a timeout

sub wait_for {
    my ($self, $expression, $seconds) = @_;

    my $end = time() + ($seconds || 15);
    my $value;

    do {
        $value = eval { $self->value($expression) };
        return $value if $value;
        sleep 0.05;
    } while (time() < $end);

    return $value;
}


sub click {
    my ($self, $selector) = @_;

    my $at = $self->value(sprintf '(() => { const b = document'
        . '.querySelector(%s).getBoundingClientRect();'
        . 'return [b.x + b.width / 2, b.y + b.height / 2]; })()',
        JSON::PP->new->allow_nonref->encode($selector));

    for my $type (qw/ mousePressed mouseReleased /) {
        $self->call('Input.dispatchMouseEvent', {
            type => $type, x => $at->[0], y => $at->[1],
            button => 'left', clickCount => 1,
        });
    }
}


sub type {
    my ($self, $text) = @_;

    $self->value('document.getElementById("text").focus()');
    $self->call('Input.insertText', { text => $text });
}


sub enter {
    my ($self) = @_;

    for my $type (qw/ rawKeyDown char keyUp /) {
        $self->call('Input.dispatchKeyEvent', {
            type => $type, key => 'Enter', code => 'Enter',
            windowsVirtualKeyCode => 13, text => "\r",
        });
    }
}


sub say {
    my ($self, $text) = @_;

    $self->type($text);
    $self->enter();
}


sub screenshot {
    my ($self, $file) = @_;

    my $r = $self->call('Page.captureScreenshot', { format => 'png' });

    open my $out, '>:raw', $file or die "$file: $!\n";
    print $out decode_base64($r->{data});
    CORE::close $out or die "$file: $!\n";
}


# exceptions and console errors of this window so far

sub complaints {
    my ($self) = @_;

    return map {
        my $p = $_->{params};

        $_->{method} eq 'Runtime.exceptionThrown'
            ? $p->{exceptionDetails}{exception}{description}
              || $p->{exceptionDetails}{text}
        : $_->{method} eq 'Log.entryAdded' && $p->{entry}{level} eq 'error'
            ? "$p->{entry}{text} $p->{entry}{url}"
        : ()
    } grep { ($_->{sessionId} || '') eq $self->{session} }
        @{$self->{chrome}{events}};
}


1;
