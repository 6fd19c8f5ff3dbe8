package AnyEvent::WebSocket::Native::Handshake::Compression;

# The option `deflate` of clients and servers.

use strict;
use warnings;
use AnyEvent::WebSocket::Deflate ();
use Carp ();

our @CARP_NOT = 'AnyEvent::WebSocket::Deflate';

# Returns the options as a reference to a hash. Takes such a reference, or true for the usual ones. Croaks if they are wrong.
sub options_of {
    my ($deflate) = @_;
    return {} unless ref $deflate;
    Carp::croak('deflate must be a reference to a hash of options, or true') unless ref $deflate eq 'HASH';
    AnyEvent::WebSocket::Deflate::check(%$deflate);
    return {%$deflate};
}

1;
