package AnyEvent::WebSocket::Native::Engine;

# The XSUBs that the other modules call; the tables are in src/xs/xsubs. The first argument of most is the connection. They
# do nothing with one that belongs to another thread.

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();
use AnyEvent::WebSocket::Native::Loader ();

AnyEvent::WebSocket::Native::Loader::load_library('AnyEvent::WebSocket::Native', AnyEvent::WebSocket::Native->VERSION);

sub is_open {
    my ($self) = @_;
    my $state = AnyEvent::WebSocket::Native::Engine::state($self);
    return defined $state && $state eq 'open';
}

1;
