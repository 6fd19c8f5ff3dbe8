package AnyEvent::WebSocket::Native::Handshake::Compression;

# The option `deflate` of clients and servers.

use strict;
use warnings;
use AnyEvent::WebSocket::Deflate ();
use Carp ();

our @CARP_NOT = 'AnyEvent::WebSocket::Deflate';

# Returns the options as a reference to a hash. Takes such a reference, or true for the usual ones. Croaks if they are wrong;
# `method` is what the text begins with, if the caller's others do.
sub options_of {
    my ($deflate, $method) = @_;
    return {} unless ref $deflate;
    my $what = defined $method ? "$method: deflate" : 'deflate';
    Carp::croak("$what must be a reference to a hash of options, or true") unless ref $deflate eq 'HASH';
    my $error = _mistake_in($deflate);
    Carp::croak("$what: $error") if defined $error;
    return {%$deflate};
}

# Returns what is wrong with the options, or undef.
sub _mistake_in {
    my ($options) = @_;
    local ($@, $SIG{__DIE__});
    return undef if eval { AnyEvent::WebSocket::Deflate::check(%$options); 1 };
    return $@ =~ s/\Acheck: | at (?:(?! at ).)+ line [0-9]+\.?\n\z//gsr;
}

1;
