package # hide from PAUSE: the name is another author's
  AnyEvent::WebSocket::Connection;

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();
use AnyEvent::WebSocket::Native::Loader ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Util ();

our $VERSION = '1.000';

AnyEvent::WebSocket::Native::Util::switched_on('ANYEVENT_WEBSOCKET_PP');
my $backend = AnyEvent::WebSocket::Native::Loader::load_class('Connection', __FILE__);

sub backend { $backend }

# The original would pass over what it does not know.
if($backend eq 'pp')
{
  require Class::Method::Modifiers;
  Class::Method::Modifiers::install_modifier(__PACKAGE__, after => BUILD => sub {
    my(undef, $arguments) = @_;
    AnyEvent::WebSocket::Native::Options::warn_of_additions($arguments);
  });
  no strict 'refs';
  *enable_deflate = sub {
    require Carp;
    Carp::croak('compression takes the native AnyEvent::WebSocket::Connection, and ANYEVENT_WEBSOCKET_PP is set');
  };
}

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Connection - one WebSocket connection on AnyEvent's loop, on a native engine

=head1 SYNOPSIS

  use AnyEvent::WebSocket::Client;

  my $connection = AnyEvent::WebSocket::Client->new->connect('ws://localhost:5000/feed')->recv;

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    print $message->decoded_body, "\n";
  });

  $connection->on(finish => sub {
    my($connection, $error) = @_;
    print 'closed: ', $error || $connection->close_code, "\n";
  });

  $connection->send('hello');

=head1 DESCRIPTION

An object of this class speaks RFC 6455 over an L<AnyEvent::Handle> whose opening handshake is done. It usually comes
from L<AnyEvent::WebSocket::Client> or L<AnyEvent::WebSocket::Server>; both work with this class as they do with the one
of the same name that it stands in for. L<AnyEvent::WebSocket::Native> tells how the two relate.

Bytes are a character string's octets here: L</send> encodes what has Perl's UTF8 flag, and received bodies are octets
(L<AnyEvent::WebSocket::Message/decoded_body> decodes).

Under C<perl -T>, everything that the peer has sent is tainted: bodies, chunks, the payloads of pings and pongs, and the
reason for closing.

A connection lives as long as the program holds a reference to it, or one of its callbacks is running. When the last
reference goes, what was sent still goes out, and the socket is closed. A callback that holds its own connection keeps
it alive; weaken one of the two.

=head1 CONSTRUCTOR

=head2 new

  my $connection = AnyEvent::WebSocket::Connection->new(
    handle => $handle,
    masked => 1,
  );

Takes the attributes below by name. Only L</handle> is required. A value that makes no sense is an exception at the caller's
line. A name that is not an attribute is ignored, as it always was, but one that looks like a slip is warned of, with the name
that was probably meant.

What the handle has read already is taken over. Messages are delivered only once control is back in the event loop, so
callbacks that are registered before that miss none.

=head1 ATTRIBUTES

L</handle>, L</masked>, L</subprotocol> and L</deflate> are read-only. The others can also be set later, as for a connection
that L<AnyEvent::WebSocket::Client> or L<AnyEvent::WebSocket::Server> has made. That takes effect at once: for limits, from
the next frame on; for what L</strict> says of text, from the next message on; for L</close_timeout>, unless the connection is
being closed already. A number may be anything that perl takes for one; the empty string and undef are the default.

  my $connection = AnyEvent::WebSocket::Client->new->connect($url)->recv;
  $connection->ping_interval(20);

=head2 handle

The L<AnyEvent::Handle>, with or without TLS; required. It stays usable, and its C<timeout>s, C<wbuf_max>, C<linger>,
C<on_drain> and C<destroy> keep their meaning, but its C<on_read>, C<on_eof> and C<on_error> belong to the connection.

=head2 idle_timeout

After how many seconds without a byte from the peer L</finish> is called with a message, and the handle destroyed with what
the peer has not read. 0 or undef, the default, is never. With L</ping_interval>, pongs count. During L</pause> no time goes.

=head2 masked

True in the client's role: outgoing frames are masked, with keys from the operating system's generator. Default 0.

=head2 subprotocol

What the handshake agreed on; not looked at. Default undef.

=head2 max_buffered_amount

How many bytes may wait for the peer to read, beyond what the kernel takes. If a L</send> leaves more than that, L</finish>
is called with a message, and the handle is destroyed with what waits. It should be more than the largest message. 0 or
undef, the default, is no bound.

=head2 max_control_rate

How many pings and pongs the peer may send a second. They are counted by the second, or, if none came or nothing was read
for longer than that, over that time. One too many is answered with Close 1008, and then L</parse_error>. 0 or undef, the
default, is no bound.

=head2 max_payload_size

The largest payload of one received frame, in bytes. 0 is no bound. undef, the default, is
C<$Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE> if that variable is set, and 65536 if not. A frame over the limit is
answered with Close 1009, and then L</parse_error>. What a compressed message may inflate to follows from it, see
L<AnyEvent::WebSocket::Deflate/LIMITS>.

=head2 max_fragments

How many non-final frames a message may not have: the one with this number is refused with Close 1009. undef, the
default, is C<$Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT> if that variable is set, and 128 if not.

=head2 close_timeout

How long to wait, in seconds, for the peer to close its side after we have closed ours. When the time is up, L</finish>
is called with a message, and the handle is destroyed; as long as its C<linger> says, the peer can still read what was sent.
0 waits forever. Default 30.

=head2 max_message_size

The largest payload of all frames of one received message together, in bytes. A frame that announces more is answered with
Close 1009, and then L</parse_error>. 0 or undef, the default, is no bound beside L</max_payload_size> and
L</max_fragments>.

=head2 ping_interval

How often to send a ping, in seconds. 0 or undef, the default, sends none. Each has a payload of its own, and sets
L</latency> when it is answered. Pings end with L</close>, the peer's Close frame, or the connection.

=head2 ping_timeout

How long to wait, in seconds, for a pong after such a ping. Any pong will do, and so will anything else that the peer has
sent meanwhile, or read of what had to wait: the wait begins again. When the time is up, L</finish> is called with a message,
and the handle is destroyed with what the peer has not read. 0 waits forever. Default 20. During L</pause> no time goes.

=head2 strict

If true, enforces three rules that peers are known to break: text is UTF-8 (else Close 1007), a server (L</masked> is
false) refuses frames that are not masked, and a client those that are (Close 1002). Default 0, or 1 if the environment
variable C<ANYEVENT_WEBSOCKET_STRICT> is true. All other rules of RFC 6455 are always enforced.

=head2 deflate

What C<accept> or C<confirm> of L<AnyEvent::WebSocket::Deflate> returned: messages are compressed as the handshake has
agreed on. Default undef: they are not. See also L</enable_deflate>.

=head2 close_code

The code of the peer's Close frame; 1005 if it held none (RFC 6455, 7.1.5); undef as long as there was no such frame.

=head2 close_reason

The reason in the peer's Close frame, decoded; undef as long as there was no such frame.

=head2 close_error

What L</finish> was called with, if the connection ended with an error.

=head1 METHODS

=head2 backend

  my $name = AnyEvent::WebSocket::Connection->backend;

C<rust> for this class, C<pp> where C<ANYEVENT_WEBSOCKET_PP> has the original take its place.

=head2 broadcast

  my $count = AnyEvent::WebSocket::Connection->broadcast(\@connections, $message);
  my $count = AnyEvent::WebSocket::Connection->broadcast(\@connections, $message, %options);

Sends a message, whatever L</send> takes, to many connections, and encodes it once. Connections that are closed are passed
over. Returns how many get it. The options are

=over

=item except

A connection that gets nothing, though it is in the list.

=item max_buffered_amount

A connection with more bytes than that waiting for its peer gets nothing. Default: each gets it, as by L</send>.

=back

Objects of other classes, and of subclasses that have their own C<send>, have that called. If it dies, or a L</finish>
callback does, so does C<broadcast>, when all others have theirs. An unknown option, and an element that is no object, such
as undef, is an exception at the caller's line; what is not there at all is passed over.

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    $connection->broadcast([values %clients], $message, except => $connection, max_buffered_amount => 1_000_000);
  });

=head2 buffered_amount

  my $bytes = $connection->buffered_amount;

How much of what was sent the kernel has not taken yet, with headers, masked and encrypted. What is sent by a message
callback may wait for the next message's, up to a millisecond, so as to leave together. If this is not 0, L</drain> comes.

=head2 close

  $connection->close;
  $connection->close($code);
  $connection->close($code, $reason);

Sends a Close frame, and shuts the socket for writing when all that was sent before is out. Messages that the peer had
under way still arrive, unless a proxy in between, such as nginx, takes the shut socket for the end of both directions.
Returns the connection. Only the first call does anything.

The code is a number from 1000 to 4999; one that must not be sent (RFC 6455, 7.4) is sent, with a warning. Without one the Close frame is empty, which the peer sees as 1005; see
L</$DEFAULT_CLOSE_CODE>. The reason is a character string; what does not fit into 123 bytes of UTF-8 is cut off.

=head2 enable_deflate

  $connection->enable_deflate($parameters);

As the attribute L</deflate>, for a connection that somebody else has constructed. It has to be called before control is
back in the event loop, which may bring compressed messages; once a message was sent or received, it is an exception at
the caller's line. Returns the connection.

=head2 latency

  my $seconds = $connection->latency;

How long the last ping that was answered took to come back, in seconds; undef as long as there is none. A ping counts
until the next one is sent.

=head2 local

  my $address = $connection->local;

Our end of the connection, such as C<127.0.0.1:8080> or C<[::1]:8080>, as it was when the connection was made.

=head2 on

  my $cancel = $connection->on($event => $callback);

Has C<$callback> called for an event, one of those under L</EVENTS>; any number of callbacks can be registered for each.
Returns a code reference that takes the callback back out.

=head2 pause

  $connection->pause;

Holds back messages, and stops reading, so that a peer which goes on to send has to wait. Callbacks that the message at
hand still has are called. Pings and the peer's Close frame wait too. Returns the connection.

=head2 peer

  my $address = $connection->peer;

The peer's end of the connection, as L</local>. It is noted when the connection is made, so it can still be asked for in
L</finish>, and later.

=head2 ping

  $connection->ping;
  $connection->ping($payload);

Sends a ping, with a payload of at most 125 bytes, encoded as by L</send>; default empty. A longer one is an exception at
the caller's line. Returns the connection. After L</close>, or when the peer has gone, it does nothing.

  $connection->on(pong => sub { my($connection) = @_; print $connection->latency, "\n" });
  $connection->ping(++$count);

=head2 resume

  $connection->resume;

Ends L</pause>. What was held back is delivered from the event loop. Returns the connection.

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    $connection->pause;
    $database->insert($message->body, sub { $connection->resume });
  });

=head2 send

  $connection->send($string);
  $connection->send($message);

Sends a string as text, or an object with C<opcode> and C<body>, such as an L<AnyEvent::WebSocket::Message>. A payload
with Perl's UTF8 flag goes out encoded as UTF-8, one without as its bytes; undef is the empty string. Returns the
connection. After L</close>, or when the peer has gone, it does nothing.

Opcodes over 15, control frames of more than 125 bytes, and references that are no such objects are exceptions at the
caller's line.

=head2 send_binary

  $connection->send_binary($octets);

Sends octets as a binary message; characters that are no octets are an exception at the caller's line. Returns the
connection.

=head2 send_fragment

  $connection->send_fragment($data, binary => 1);
  $connection->send_fragment($data, binary => 1, final => 1);

Sends a part of a message, in a frame of its own. The data is encoded as by L</send>. C<binary> says that the message is
binary, not text, and has to be the same for all parts; with C<final> it is the last. Returns the connection. An unknown
option is an exception at the caller's line, as is another message before this one is ended. Fragments are not compressed.

=head2 send_json

  $connection->send_json($data);

Sends data as JSON text, made by L<Cpanel::JSON::XS> if that is installed, and by L<JSON::PP> if not. What JSON has no form
for, such as a code reference, is an exception at the caller's line; but infinity and NaN become what the module makes of
them, C<null> or words that are no JSON. Returns the connection. See L<AnyEvent::WebSocket::Message/decoded_json>.

=head2 send_stream

  $connection->send_stream(sub { my($connection) = @_; ...; return $data }, %options);

Sends one message, of what the code reference returns each time it is called, up to undef. It is called when all that was
sent before is on its way, so that little of the message is in memory. Returns the connection. The options are

=over

=item binary

The message is binary, not text.

=item done

Is called when the message is sent, as C<($connection)>, or when it cannot be, as C<($connection, $error)>: that is
L</close_error>, or the reason that the peer has closed the connection with, if there is one.

=back

If the code reference dies, the connection is closed with 1011, and the exception goes to the event loop, or, if that was
at once, to the caller. Until the stream is ended, any other message is an exception at the caller's line.

  open my $fh, '<:raw', $path or die $!;
  $connection->send_stream(sub {
    my $bytes = read($fh, my $data, 65536);
    return $bytes ? $data : undef;
  }, binary => 1);

=head2 send_text

  $connection->send_text($characters);

Sends characters as text. Unlike L</send> it encodes them whether or not the string has Perl's UTF8 flag. Returns the
connection.

=head2 state

  my $state = $connection->state;

C<open>; C<closing> from the first Close frame, or a broken rule, in either direction; C<closed> when the transport is
gone, or the program has destroyed the handle.

=head2 stats

  my $stats = $connection->stats;
  printf "%d messages of %d bytes\n", @$stats{qw( messages_received bytes_received )};

A hash with the counts C<messages>, C<frames>, C<bytes> (of payload), C<pings> and C<pongs>, each with C<_received> and
C<_sent> behind it, and with C<seconds_since_read> and C<seconds_since_write>. A frame counts from its header on, a
message from its first frame, and bytes as they are on the wire. If messages were compressed, C<compression_ratio_received>
and C<compression_ratio_sent> say how many times longer they are.

=head1 EVENTS

=head2 drain

  $connection->on(drain => sub { my($connection) = @_; ... });

What had to wait has been written: L</buffered_amount> is 0 again. Not called when the transport is gone. An exception goes
to the event loop.

  sub copy_from {
    my($connection, $fh) = @_;
    while($connection->state eq 'open' && !$connection->buffered_amount)
    {
      read($fh, my $data, 65536) or return;
      $connection->send($data);
    }
  }
  $connection->on(drain => sub { copy_from($_[0], $fh) });
  copy_from($connection, $fh);

=head2 each_message

  $connection->on(each_message => sub { my($connection, $message, $unregister) = @_; ... });

A text or binary message has arrived, as an L<AnyEvent::WebSocket::Message>. Calling C<$unregister> takes this callback
out. If the callback dies, the connection is shut down, and L</parse_error> gets the exception.

=head2 finish

  $connection->on(finish => sub { my($connection, $error) = @_; ... });

The connection is over; called once. A callback that is registered afterwards is called from the event loop. C<$error> is
undef if the peer's end of file was read, whether or not a Close frame came before it: L</close_code> tells. It is a text if
there was an error, or a timeout of ours. An exception goes to the event loop.

=head2 message_chunk

  $connection->on(message_chunk => sub { my($connection, $message, $is_final) = @_; ... });

A part of a message has arrived. C<$message> has the opcode of the message, and the part as its body, of which the last may
be empty. As long as a callback is registered for this, messages that begin are handed on in this way, and those for
L</each_message> and L</next_message> are not called. Memory is taken for no more than what was read at a time; of a
compressed message, for what that inflates to. L</max_fragments> does not hold, but L</max_payload_size>, for each frame and
what that inflates to, and L</max_message_size> do. With L</strict>, text is checked across parts, which may end within a
character. If the callback dies, that is as in L</each_message>.

  $connection->on(message_chunk => sub {
    my($connection, $message, $is_final) = @_;
    print $fh $message->body;
    $connection->send_json({ stored => tell $fh }) if $is_final;
  });

=head2 next_message

  $connection->on(next_message => sub { my($connection, $message) = @_; ... });

As L</each_message>, but for the next message only, and before those.

=head2 parse_error

  $connection->on(parse_error => sub { my($connection, $error) = @_; ... });

The peer broke a rule or a limit, and was told so by a Close frame; or a message callback died with C<$error>. The
connection neither sends nor receives any more; L</finish> follows.

The original looks for fewer violations, so a program that calls C<die> or C<exit> here may do so more often than it did. If
nothing is registered here, a message callback that dies is logged as an error, by L<AnyEvent::Log>.

=head2 ping

  $connection->on(ping => sub { my($connection, $payload) = @_; ... });

The peer has sent a ping, which is answered without the program's doing. If the callback dies, that is as in
L</each_message>.

=head2 pong

  $connection->on(pong => sub { my($connection, $payload) = @_; ... });

The peer has answered a ping, or sent a pong unasked. If the callback dies, that is as in L</each_message>.

=head1 VARIABLES

=head2 $DEFAULT_CLOSE_CODE

What L</close> sends if it is not told; 1005, or what the environment variable
C<ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE> held when the class was loaded. 1005 stands for an empty Close frame, unless
there is a reason: then these bytes are sent, as versions 0.44 to 0.54 of the original did. 1000 is what 0.55 sends.

=head1 ENVIRONMENT

=head2 ANYEVENT_WEBSOCKET_TRACE

If this is true when the class is loaded, each frame is logged in a line, on STDERR or wherever L<AnyEvent::Log> writes to,
whatever its levels:

  127.0.0.1:8080: received text, 5 bytes: "hello"
  127.0.0.1:8080: sent text, not final, 4096 bytes: "Lorem ipsum dolor sit amet, cons"...
  127.0.0.1:8080: received close, code 1000, reason ""
  127.0.0.1:8080: finished: end of file

=head2 ANYEVENT_WEBSOCKET_STRICT, ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE

See L</strict> and L</$DEFAULT_CLOSE_CODE>.

=head2 ANYEVENT_WEBSOCKET_PP

See L<AnyEvent::WebSocket::Native>.

=head1 SUBCLASSES

A subclass's own attribute or method is its own also if L</ATTRIBUTES> has one of that name that the original has not, such
as C<idle_timeout>, or a method modifier for it: then it has no effect here. A subclass that wants another default sets it in its C<BUILD>.

The class is made with L<Moo>, and can be extended with it or with plain C<@ISA>. Pongs and the answer to the peer's
Close frame go through C<send> and C<close> of the subclass, if it has its own.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Native>, L<AnyEvent::WebSocket::Message>, L<AnyEvent::Handle>, RFC 6455

=cut
