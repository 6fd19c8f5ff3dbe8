package    # hide from PAUSE: the name is another author's
    AnyEvent::WebSocket::Client;

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();
use AnyEvent::WebSocket::Native::Loader ();

our $VERSION = '1.000';

my $backend = AnyEvent::WebSocket::Native::Loader::load_class('Client', __FILE__);

sub backend { $backend }

1;

__END__

