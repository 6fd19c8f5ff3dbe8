package # hide from PAUSE: the name is another author's
  AnyEvent::WebSocket::Message;

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();
use AnyEvent::WebSocket::Native::Loader ();

our $VERSION = '1.000';

AnyEvent::WebSocket::Native::Loader::load_class('Message', __FILE__);

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Message - one WebSocket message

=head1 SYNOPSIS

  $connection->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => $octets));

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    print $message->is_text ? $message->decoded_body : length($message->body) . ' octets', "\n";
  });

=head1 DESCRIPTION

What message callbacks of L<AnyEvent::WebSocket::Connection> get, and one of the things its C<send> takes.

=head1 ATTRIBUTES

=head2 body

The payload; required. Of a received message: octets, not decoded.

=head2 opcode

The kind of message, by its number in RFC 6455, 5.2. Default 1, text.

=head1 METHODS

=head2 decoded_body

  my $characters = $message->decoded_body;

The body, decoded from UTF-8. What is not UTF-8 becomes U+FFFD.

=head2 decoded_json

  my $data = $message->decoded_json;

The data that the body is JSON of, decoded once; see L<AnyEvent::WebSocket::Connection/send_json>. A body that is no JSON is
an exception at the caller's line.

=head2 prepare

  my $message = AnyEvent::WebSocket::Message->prepare($string);

A message of what C<send> takes, with octets as its body, so that characters are encoded once, however often it is sent.

=head2 is_binary

True if the opcode is 2.

=head2 is_close

True if the opcode is 8.

=head2 is_ping

True if the opcode is 9.

=head2 is_pong

True if the opcode is 10.

=head2 is_text

True if the opcode is 1.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Connection>, RFC 6455

=cut
