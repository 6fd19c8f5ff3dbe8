package AnyEvent::WebSocket::Native::Formats;

# Sends what the native `send` leaves to Perl code, and implements send_text, send_binary and send_json.

use strict;
use warnings;
use AnyEvent::WebSocket::Message ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Json ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();

use constant BINARY => 2;

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# `send` calls this if its arguments can only be read by Perl code, or are wrong.
sub send_anything {
    my ($self, $message) = @_;
    my @frame = AnyEvent::WebSocket::Native::Payload::frame_of($message, 'send');
    my $error = AnyEvent::WebSocket::Native::Engine::send_frame($self, @frame);
    Carp::croak("send: $error") if defined $error;
}

sub send_text {
    my ($self, $characters) = @_;
    my $text = AnyEvent::WebSocket::Native::Util::text_of($characters, 'send_text: the text');
    return $self->send(AnyEvent::WebSocket::Native::Payload::encoded($text));
}

sub send_binary {
    my ($self, $octets) = @_;
    my $body = AnyEvent::WebSocket::Native::Payload::binary($octets, 'send_binary');
    return $self->send(AnyEvent::WebSocket::Message->new(opcode => BINARY, body => $body));
}

sub send_json {
    my ($self, $data, @more) = @_;
    Carp::croak('send_json takes one value, such as a reference to a hash') if @more || @_ < 2;
    return $self->send(AnyEvent::WebSocket::Native::Json::encode($data, 'send_json'));
}

1;
