package AnyEvent::WebSocket::Connection;

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();

our $VERSION = $AnyEvent::WebSocket::Native::VERSION;

AnyEvent::WebSocket::Native::load_class('Connection', __FILE__);

1;
