package AnyEvent::WebSocket::Native::Handshake::Stream;

# Reads and writes the bytes of handshakes. An AnyEvent::Handle without TLS, and without arguments or methods of the
# program's own, has nothing to do with them, and would take longer.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Handle ();
use AnyEvent::WebSocket::Native::Handshake::Head ();
use AnyEvent::WebSocket::Native::Loop ();
use Errno ();

# The number of bytes to read at once. Few requests have more.
use constant SIZE => 2048;

# The bytes that arrived last. Perl would keep the memory of a variable in the callback, for each handshake.
my $arrived;

# Calls `take` with the attempt and everything that has arrived so far, each time when more has arrived, until `stop` is called.
# If `take_first` is given, it does the first read instead: it returns a reference to what is left to `take`, 0 if nothing is, or
# undef if it could not read.
sub read {
    my ($attempt, $take, $take_first) = @_;
    my $handle = $attempt->{handle};
    return _read_by_handle($attempt, $take) if !_is_plain($attempt);
    $attempt->{watcher} = AE::io $handle->{fh}, 0, sub {
        return AnyEvent::WebSocket::Native::Loop::stop_deleted(@_) if !$attempt->{watcher};
        if (my $first = $take_first) {
            undef $take_first;
            my $left = $first->($attempt);
            return $take->($attempt, $attempt->{octets} = $$left) if ref $left;
            return if defined $left;
        }
        my $count = sysread $handle->{fh}, $arrived, SIZE;
        return _read_nothing($handle, $count) if !$count;
        $handle->{_activity} = $handle->{_ractivity} = AE::now;
        $take->($attempt, $attempt->{octets} .= $arrived);
    };
    return;
}

# A program may replace methods at any time, also the one that makes handles, which may then read already.
sub _is_plain {
    my ($attempt) = @_;
    my $handle = $attempt->{handle};
    return
           !$attempt->{has_arguments}
        && !$handle->{tls}
        && !$handle->{_rw}
        && AnyEvent::WebSocket::Native::Engine::has_stock_methods($handle);
}

# Leaves what arrives now to the connection. A handle reads it, but does not call `take` again before that has returned.
sub stop { delete $_[0]{watcher} }

# The handle, which keeps this callback, is freed when the attempt no longer has it.
sub _read_by_handle {
    my ($attempt, $take) = @_;
    $attempt->{handle}->on_read(sub {
        my ($handle) = @_;
        $take->($attempt, AnyEvent::WebSocket::Native::Handshake::Head::take($attempt, $handle)) if $attempt->{handle};
    });
    return;
}

# Lets the handle report the end of file, or an error, as if it had read itself.
sub _read_nothing {
    my ($handle, $count) = @_;
    my $error = $!;
    return AnyEvent::WebSocket::Native::Handle::read_eof($handle) if defined $count;
    AnyEvent::WebSocket::Native::Handle::read_error($handle, $error) if _is_final($error);
}

sub _is_final {
    my ($error) = @_;
    return !grep { $error == $_ } Errno::EAGAIN, Errno::EINTR, Errno::EWOULDBLOCK;
}

# Writes the request or the response. The handle writes what the kernel does not take at once; it would not find an error again.
sub write {
    my ($attempt, $text) = @_;
    my $handle = $attempt->{handle};
    return $handle->push_write($text) if !_is_plain($attempt);
    my $count = syswrite $handle->{fh}, $text;
    return AnyEvent::WebSocket::Native::Handle::write_error($handle, $!) if !defined $count && _is_final($!);
    return $handle->push_write($text) if !$count;
    $handle->{_activity} = $handle->{_wactivity} = AE::now;
    $handle->push_write(substr $text, $count) if $count < length $text;
    return;
}

1;
