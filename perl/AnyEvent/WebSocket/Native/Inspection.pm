package AnyEvent::WebSocket::Native::Inspection;

# Reports the state, counts and addresses of a connection, and logs its trace. Only the trace costs time for each message.

use strict;
use warnings;
use AE ();
use AnyEvent::Log ();
use AnyEvent::Socket ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Util ();
use Scalar::Util ();

use constant IS_TRACED => AnyEvent::WebSocket::Native::Util::switched_on('ANYEVENT_WEBSOCKET_TRACE');

sub stats {
    my ($self) = @_;
    my %stats = @{ AnyEvent::WebSocket::Native::Engine::traffic($self) || return };
    for my $direction (qw( received sent )) {
        my ($plain, $wire) = delete @stats{ "plain_$direction", "wire_$direction" };
        $stats{"compression_ratio_$direction"} = $plain / $wire if $wire;
    }
    my $handle = $self->handle;
    my ($read, $written) = map { $_ ? _seconds_since($_) : undef } map { $handle->{$_} } qw( _ractivity _wactivity );
    return { %stats, seconds_since_read => $read, seconds_since_write => $written };
}

# The loop's time may be older than the bytes that it has just read.
sub _seconds_since {
    my $seconds = AE::now - $_[0];
    return $seconds < 0 ? 0 : $seconds;
}

sub peer { _address(0, @_) }
sub local { _address(1, @_) }

# The library noted both when the connection was created, because in finish the socket often no longer has them.
sub _address {
    my ($which, $self) = @_;
    my $packed = (AnyEvent::WebSocket::Native::Engine::addresses($self) || return)->[$which];
    my $fh = $self->handle->fh;
    $packed = $which ? getsockname $fh : getpeername $fh if !length $packed && $fh;
    return unless defined $packed && length $packed;
    my ($port, $address) = AnyEvent::Socket::unpack_sockaddr($packed);
    return AnyEvent::Socket::format_hostport(AnyEvent::Socket::format_address($address), $port);
}

# The program's log levels are for its own messages. Whoever sets the variable wants to see the trace.
my $log;

# The library calls this with the lines to log.
sub trace {
    my ($self, $lines) = @_;
    $log ||= do {
        my $context = AnyEvent::Log::ctx('AnyEvent::WebSocket::Connection');
        $context->level('all');
        $context->slaves($AnyEvent::Log::LOG);
        $context;
    };
    my $who = peer($self) || 'handle ' . Scalar::Util::refaddr($self->handle);
    $log->log(debug => "$who: $_") for split /\n/, $lines;
}

1;
