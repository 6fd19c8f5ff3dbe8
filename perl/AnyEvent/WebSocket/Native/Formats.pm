package AnyEvent::WebSocket::Native::Formats;

# Sending what is known to be characters, octets or data.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Json ();
use Carp ();
use Moo::Role;

sub send_text
{
  my($self, $characters) = @_;
  return $self->send(AnyEvent::WebSocket::Connection::_encoded(defined $characters ? "$characters" : ''));
}

sub send_binary
{
  my($self, $octets) = @_;
  my $copy = defined $octets ? "$octets" : '';
  utf8::downgrade($copy, 1) or Carp::croak('send_binary: there are characters that are no octets');
  return $self->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => $copy));
}

sub send_json
{
  my($self, $data) = @_;
  return $self->send(AnyEvent::WebSocket::Native::Json::encode($data, 'send_json'));
}

1;
