package AnyEvent::WebSocket::Message;

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();

our $VERSION = $AnyEvent::WebSocket::Native::VERSION;

AnyEvent::WebSocket::Native::load_class('Message', __FILE__);

1;
