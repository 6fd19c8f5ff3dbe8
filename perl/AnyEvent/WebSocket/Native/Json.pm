package AnyEvent::WebSocket::Native::Json;

# JSON by Cpanel::JSON::XS where it is installed, and by perl's own JSON::PP where it is not.

use strict;
use warnings;
use Carp ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

my $codec;

sub _codec {
    return $codec ||= do {
        # The program may have a handler that takes any exception for its end.
        local $SIG{__DIE__};
        my $class = eval { require Cpanel::JSON::XS; 1 } ? 'Cpanel::JSON::XS' : do { require JSON::PP; 'JSON::PP' };
        $class->new->utf8->allow_nonref;
    };
}

# Both die at the line where these classes were called, in the name of `method`.
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
