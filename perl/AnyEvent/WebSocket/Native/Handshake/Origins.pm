package AnyEvent::WebSocket::Native::Handshake::Origins;

# The origins from which a server takes connections (RFC 6455, 10.2).

use strict;
use warnings;
use Carp ();

# An origin as programs send it (RFC 6454, 7): "null", or scheme, host and port.
my $ORIGIN = qr{\A(?:null|[a-z][a-z0-9+.-]*://[^/?#\s]+)\z}i;

# Returns a sub that takes the value of Origin, and returns true if it is in the list; undef in the list stands for a request
# without that header. Croaks if it is not a list of origins, regular expressions and undef.
sub matcher {
    my ($origins) = @_;
    Carp::croak('origins must be a reference to an array') if ref $origins ne 'ARRAY';
    my (%is_allowed, @patterns, $may_be_missing);
    for my $origin (@$origins) {
        if (!defined $origin) { $may_be_missing = 1 }
        elsif (ref $origin eq 'Regexp') { push @patterns, $origin }
        elsif (ref $origin) { Carp::croak('origins must contain strings, regular expressions or undef') }
        elsif ($origin !~ $ORIGIN) { Carp::croak("origins: '$origin' is not an origin, such as https://example.com") }
        else { $is_allowed{ lc $origin } = 1 }
    }
    return sub {
        my ($origin) = @_;
        return $may_be_missing if !defined $origin;
        return $is_allowed{ lc $origin } || scalar grep { $origin =~ $_ } @patterns;
    };
}

1;
