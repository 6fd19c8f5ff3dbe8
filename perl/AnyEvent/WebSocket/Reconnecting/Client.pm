package AnyEvent::WebSocket::Reconnecting::Client;

# A client whose attempt to connect can be given up; that of its parent goes on until it succeeds or fails.

use strict;
use warnings;
use Moo;
use Scalar::Util ();

our $VERSION = '1.000';

extends 'AnyEvent::WebSocket::Client';

# The parent class calls this for each attempt. It returns a guard, which ends DNS lookups and TCP connects when it is dropped.
sub _make_tcp_connection {
    my ($self, $scheme, $host, $port, $connected, @more) = @_;
    Scalar::Util::weaken(my $weak = $self);
    my $is_over;
    my $noting = sub {
        my ($socket) = @_;
        $is_over = 1;
        if ($weak) {
            delete $weak->{_ws_guard};
            $weak->{_ws_socket} = $socket;
        }
        $connected->(@_);
    };
    $self->{_ws_process} = $$;
    my $guard = $self->SUPER::_make_tcp_connection($scheme, $host, $port, $noting, @more);
    $self->{_ws_guard} = $guard unless $is_over;
    return;
}

# Once there is a socket, the attempt fails if that ends. A child process has the same socket, and leaves it to its parent.
sub give_up {
    my ($self) = @_;
    delete $self->{_ws_guard};
    my $socket = delete $self->{_ws_socket};
    shutdown $socket, 2 if $socket && $self->{_ws_process} == $$;
    return;
}

1;
