package AnyEvent::WebSocket::Native::Formats;

# Sending what is known to be characters, octets or data.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Json ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Moo::Role;

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

sub send_text
{
  my($self, $characters) = @_;
  my $text = AnyEvent::WebSocket::Native::Util::text_of($characters, 'send_text: the text');
  return $self->send(AnyEvent::WebSocket::Connection::_encoded($text));
}

sub send_binary
{
  my($self, $octets) = @_;
  my $copy = AnyEvent::WebSocket::Native::Util::text_of($octets, 'send_binary: the octets');
  utf8::downgrade($copy, 1) or Carp::croak('send_binary: there are characters that are no octets');
  return $self->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => $copy));
}

sub send_json
{
  my($self, $data, @more) = @_;
  Carp::croak('send_json takes one value, such as a reference to a hash') if @more || @_ < 2;
  return $self->send(AnyEvent::WebSocket::Native::Json::encode($data, 'send_json'));
}

1;
