package AnyEvent::WebSocket::Native::Deadline;

# The time that an opening handshake may take.

use strict;
use warnings;
use AE ();
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

# Calls `$late` with an error text after these seconds, unless what it returns goes away first. undef means the usual time, and
# 0 or infinity no limit.
sub start {
    my ($seconds, $what, $late) = @_;
    my $number = defined $seconds ? AnyEvent::WebSocket::Native::Number::seconds($seconds) : USUAL;
    return unless $number;
    return AE::timer $number, 0, sub { $late->("handshake error: no complete $what within $number s") };
}

1;
