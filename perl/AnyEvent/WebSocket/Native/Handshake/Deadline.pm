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

# Returns the error text for a `request` or `response` that was not complete in time.
sub text {
    my ($what, $seconds) = @_;
    return "handshake error: no complete $what within $seconds s";
}

1;
