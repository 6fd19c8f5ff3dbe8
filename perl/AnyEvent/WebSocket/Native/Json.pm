package AnyEvent::WebSocket::Native::Json;

# Encodes and decodes JSON, with Cpanel::JSON::XS if it is installed, or else with perl's own JSON::PP.

use strict;
use warnings;
use Carp ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

my $codec;

sub _codec {
    return $codec ||= do {
        # The program may have a handler that ends it on any exception.
        local $SIG{__DIE__};
        my $class = eval { require Cpanel::JSON::XS; 1 } ? 'Cpanel::JSON::XS' : do { require JSON::PP; 'JSON::PP' };
        $class->new->utf8->allow_nonref;
    };
}

# Both croak at the line that called these classes; the message begins with the name of `method`.
sub encode {
    my ($data, $method) = @_;
    return _try($method, sub { _codec()->encode($data) });
}
sub decode {
    my ($octets, $method) = @_;
    return _try($method, sub { _codec()->decode($octets) });
}

sub _try {
    my ($method, $code) = @_;
    local $@;
    my $result;
    return $result if eval { $result = $code->(); 1 };
    Carp::croak("$method: " . $@ =~ s/ at (?:(?! at ).)+ line [0-9]+\.?\n\z//sr);
}

1;
