package AnyEvent::WebSocket::Native::Codec;

# A connection without a transport: it takes bytes from the peer and gives events, and it gives bytes for the peer. The other
# methods are XSUBs; the table is in src/xs/xsubs/codec.rs, and src/xs/codec.rs has the events.

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();
use AnyEvent::WebSocket::Native::Loader ();

AnyEvent::WebSocket::Native::Loader::load_library('AnyEvent::WebSocket::Native', AnyEvent::WebSocket::Native->VERSION);

# Takes the settings of the library by name.
sub new {
    my ($class, %settings) = @_;
    my $self = bless {}, $class;
    $self->attach_codec(%settings);
    return $self;
}

1;
