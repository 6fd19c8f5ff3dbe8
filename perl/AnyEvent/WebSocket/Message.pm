package    # hide from PAUSE: the name is another author's
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
    print $message->is_text ? $message->decoded_body : length($message->body) . ' bytes', "\n";
  });

=head1 DESCRIPTION

The message callbacks of L<AnyEvent::WebSocket::Connection> get an object of this class, and its C<send> and C<broadcast>
take one. This class stands in for one of the same name in the distribution AnyEvent-WebSocket-Client, which is called the
original here.

It is loaded with L<AnyEvent::WebSocket::Connection>. Entries say I<Not in the original> where they add to it.

=head1 ATTRIBUTES

Both are read-only, and are given to C<new> by name.

=head2 body

  my $octets = $message->body;

The payload; required. The body of a received message is octets that are not decoded.

  print length $message->body, " bytes\n";

=head2 opcode

  my $number = $message->opcode;

The kind of message, as numbered in RFC 6455, 5.2: 1 is text, 2 binary, 8 Close, 9 ping, 10 pong. Default 1.

  my $message = AnyEvent::WebSocket::Message->new(opcode => 2, body => $octets);

=head1 METHODS

=head2 decoded_body

  my $characters = $message->decoded_body;

Returns the body, decoded from UTF-8. What is not UTF-8 becomes U+FFFD.

  print length $message->decoded_body, " characters\n";

=head2 decoded_json

  my $data = $message->decoded_json;

Decodes the body as JSON and returns the data. It is decoded once and then kept. A body that is not JSON is an exception at
the caller's line. I<Not in the original.> See also L<AnyEvent::WebSocket::Connection/send_json>.

  my $event = eval { $message->decoded_json };
  print "text: $event->{text}\n" if ref $event eq 'HASH';

=head2 is_binary

  if($message->is_binary) { ... }

Returns true if the opcode is 2.

=head2 is_close

  if($message->is_close) { ... }

Returns true if the opcode is 8. Only the C<send> of a subclass sees such messages.

=head2 is_ping

  if($message->is_ping) { ... }

Returns true if the opcode is 9. Only the C<send> of a subclass sees such messages.

=head2 is_pong

  if($message->is_pong) { ... }

Returns true if the opcode is 10. Only the C<send> of a subclass sees such messages.

=head2 is_text

  if($message->is_text) { ... }

Returns true if the opcode is 1.

=head2 prepare

  my $message = AnyEvent::WebSocket::Message->prepare($string);

Takes a string or an object, as C<send> does, and returns a message whose body is encoded to octets already. However often it
is sent, the characters are encoded only once. I<Not in the original.>

  my $news = AnyEvent::WebSocket::Message->prepare("Gr\x{fc}\x{df}e, \x{263a}");
  $_->send($news) for @connections;

=head1 SEE ALSO

L<AnyEvent::WebSocket::Connection>, L<AnyEvent::WebSocket::Native::Manual>, RFC 6455

=cut
