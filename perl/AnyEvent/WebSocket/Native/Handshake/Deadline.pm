package AnyEvent::WebSocket::Native::Handshake::Deadline;

# The time that an opening handshake may take.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Number ();
use Carp ();

use constant USUAL => 60;

# Croaks if a handshake_timeout is invalid.
sub check {
    my ($seconds) = @_;
    Carp::croak('handshake_timeout must be a number of seconds, or undef')
        if defined $seconds && !defined AnyEvent::WebSocket::Native::Number::seconds($seconds);
    return;
}

# Returns the seconds that a handshake may take, as a plain number; 0 if there is no limit. undef means the usual time.
sub seconds {
    my ($seconds) = @_;
    return defined $seconds ? AnyEvent::WebSocket::Native::Number::seconds($seconds) : USUAL;
}

# Returns the error text for a `request` or `response` that the handle has not got in time.
sub text {
    my ($what, $seconds, $handle) = @_;
    my $problem = _is_in_tls_handshake($handle) ? 'the TLS handshake was not complete' : "no complete $what";
    return "handshake error: $problem within $seconds s";
}

sub _is_in_tls_handshake {
    my ($handle) = @_;
    my $session = $handle->{tls};
    return $session && Net::SSLeay::state($session) != Net::SSLeay::ST_OK();
}

1;
