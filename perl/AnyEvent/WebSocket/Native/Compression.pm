package AnyEvent::WebSocket::Native::Compression;

# Compresses messages (permessage-deflate), once AnyEvent::WebSocket::Deflate has negotiated the parameters.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Engine ();
use Carp ();
use Scalar::Util ();

# The constructor calls this for its argument `deflate`.
our @CARP_NOT = qw( AnyEvent::WebSocket::Native::Util Moo::Object );

# Applies the constructor's argument.
sub enable_given {
    my ($self) = @_;
    enable_deflate($self, $self->{deflate}, 'deflate');
}

sub enable_deflate {
    my ($self, $parameters, $name) = @_;
    Carp::croak(($name || 'enable_deflate')
        . ': compression takes what accept or confirm of AnyEvent::WebSocket::Deflate '
            . 'returned, and only if they returned something')
        unless Scalar::Util::blessed $parameters && $parameters->isa('AnyEvent::WebSocket::Deflate::Parameters');
    my @numbers = @$parameters{ qw(
        window_bits no_context_takeover peer_window_bits peer_no_context_takeover level mem_level threshold
    ) };
    AnyEvent::WebSocket::Native::Engine::enable_deflate($self, @numbers)
        or Carp::croak('enable_deflate: messages have been sent or received already');
    $self->{deflate} = $parameters;
    return $self;
}

# The library calls this when it begins to keep the compression window of sent messages. The window is freed after a while
# without messages.
sub expect_idleness {
    my ($self) = @_;
    my $seconds = $self->{deflate}{idle_timeout} or return;
    Scalar::Util::weaken $self;
    $self->{_ws_window_timer} = AE::timer $seconds, $seconds, sub {
        delete $self->{_ws_window_timer} if $self && !AnyEvent::WebSocket::Native::Engine::forget_idle_window($self);
    };
}

1;
