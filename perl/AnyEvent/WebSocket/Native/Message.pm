package    # the class of AnyEvent/WebSocket/Message.pm, where its documentation stands
    AnyEvent::WebSocket::Message;

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Json ();
use AnyEvent::WebSocket::Native::Payload ();
use Carp ();
use Encode ();
use Moo;

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

has body => (is => 'ro', required => 1);
has opcode => (is => 'ro', default => sub { 1 });

# Returns a message whose payload is octets already, so that it is encoded only once, however often it is sent.
sub prepare {
    my ($class, $message) = @_;
    my ($opcode, $octets) = AnyEvent::WebSocket::Native::Payload::frame_of($message, 'prepare');
    Carp::croak('prepare: the opcode must be a whole number from 0 to 15') if $opcode < 0 || $opcode > 15;
    return $class->new(opcode => $opcode, body => $octets);
}

sub decoded_body { Encode::decode('UTF-8', $_[0]->body) }

# The body is decoded once, and kept in a slot.
sub decoded_json {
    my ($self) = @_;
    $self->{_json} ||= [AnyEvent::WebSocket::Native::Json::decode($self->body, 'decoded_json')];
    return $self->{_json}[0];
}

sub is_text { $_[0]->opcode == 1 }
sub is_binary { $_[0]->opcode == 2 }
sub is_close { $_[0]->opcode == 8 }
sub is_ping { $_[0]->opcode == 9 }
sub is_pong { $_[0]->opcode == 10 }

1;
