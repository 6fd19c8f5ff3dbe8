package AnyEvent::WebSocket::Native::Streaming;

# Sends messages in fragments and receives them in parts, so that they are never whole in memory.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Backpressure ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Events ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Scalar::Util ();

use constant {
    TEXT => 1,
    BINARY => 2,
    INTERNAL_ERROR => 1011,
    # Number of parts that are sent in one go, if the kernel takes them all, before control returns to the event loop.
    CHUNKS_A_TURN => 16,
};

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

my @WAITS_FOR = qw( drain finish );

sub send_fragment {
    my ($self, $data, %options) = @_;
    my ($binary, $final) = delete @options{qw( binary final )};
    AnyEvent::WebSocket::Native::Util::no_more_options('send_fragment', \%options, qw( binary final ));
    Carp::croak('send_fragment: a stream is being sent') if $self->{_ws_stream};
    _send_part($self, 'send_fragment', $data, $binary, $final);
    return $self;
}

sub _send_part {
    my ($self, $method, $data, $binary, $final) = @_;
    my $text = AnyEvent::WebSocket::Native::Util::text_of($data, "$method: the data");
    my $octets = AnyEvent::WebSocket::Native::Payload::octets($text);
    my $before = $self->{_ws_in_message};
    # Sending may call the handle's on_drain, which may send as well.
    $self->{_ws_in_message} = !$final;
    my $error = AnyEvent::WebSocket::Native::Engine::send_fragment($self, $binary ? BINARY : TEXT, $octets, $final ? 1 : 0);
    return unless defined $error;
    $self->{_ws_in_message} = $before;
    Carp::croak("$method: $error");
}

sub send_stream {
    my ($self, $next, %options) = @_;
    my %stream = (next => $next, go_on => \&_send_chunks, map { $_ => delete $options{$_} } qw( binary done ));
    AnyEvent::WebSocket::Native::Util::no_more_options('send_stream', \%options, qw( binary done ));
    Carp::croak('send_stream: the chunks must come from a code reference') unless ref $next eq 'CODE';
    Carp::croak('send_stream: done must be a code reference') if defined $stream{done} && ref $stream{done} ne 'CODE';
    Carp::croak('send_stream: another stream is being sent') if $self->{_ws_stream};
    Carp::croak('send_stream: a message is being sent in fragments, and has to be ended first') if $self->{_ws_in_message};
    $self->{_ws_stream} = \%stream;
    AnyEvent::WebSocket::Native::Events::add($self, $_ => \&_send_chunks) for @WAITS_FOR;
    _send_chunks($self);
    return $self;
}

sub _send_chunks {
    my ($self) = @_;
    my $stream = $self->{_ws_stream} or return;
    for (1 .. CHUNKS_A_TURN) {
        # Sending a part or asking for one may run a nested event loop, which calls this sub: it may have ended the stream.
        return if $stream->{is_asked} || $stream->{is_over} || ($self->{_ws_stream} || 0) != $stream;
        return _end_stream($self) if !AnyEvent::WebSocket::Native::Engine::is_open($self);
        return if AnyEvent::WebSocket::Native::Backpressure::buffered_amount($self);
        return _end_stream($self) if !_send_next($self, $stream);
    }
    Scalar::Util::weaken $self;
    $stream->{turn} = AnyEvent::WebSocket::Native::Loop::next_tick(sub { _send_chunks($self) if $self });
}

# Sends the next part, or the end of the message. Returns true if there is more to come. If there is an exception, the message
# cannot be ended, so the connection is closed.
sub _send_next {
    my ($self, $stream) = @_;
    my ($has_more, $error);
    {
        local $@;
        return $has_more if eval {
            my $chunk = _next_chunk($self, $stream);
            $stream->{is_over} = !defined $chunk;
            _send_part($self, 'send_stream', $chunk, $stream->{binary}, !defined $chunk);
            $has_more = defined $chunk;
            1;
        };
        $error = $@;
    }
    $self->close(INTERNAL_ERROR);
    _end_stream($self);
    die $error;
}

sub _next_chunk {
    my ($self, $stream) = @_;
    local $stream->{is_asked} = 1;
    return $stream->{next}->($self);
}

sub _end_stream {
    my ($self) = @_;
    my $stream = delete $self->{_ws_stream};
    my $is_sent = AnyEvent::WebSocket::Native::Engine::is_open($self);
    AnyEvent::WebSocket::Native::Events::remove($self, $_ => \&_send_chunks) for @WAITS_FOR;
    $stream->{done}->($self, $is_sent ? () : _why_closed($self)) if $stream->{done};
}

sub _why_closed {
    my ($self) = @_;
    my ($reason) = grep { defined && length } @$self{qw( close_error close_reason )};
    return defined $reason ? $reason : 'the connection was closed';
}

# The library calls this for a part of a message, while there are callbacks for parts.
sub chunk_received {
    my ($self, $message, $is_final) = @_;
    AnyEvent::WebSocket::Native::Events::call_back($self, message_chunk => $message, $is_final);
}

1;
