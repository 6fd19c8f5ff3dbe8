package    # hide from PAUSE: the name is another author's
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

# The original ignores arguments that it does not know.
if ($backend eq 'pp') {
    require Class::Method::Modifiers;
    Class::Method::Modifiers::install_modifier(
        __PACKAGE__,
        after => BUILD => sub {
            my (undef, $arguments) = @_;
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

A client:

  use AnyEvent::WebSocket::Client;

  my $connection = AnyEvent::WebSocket::Client->new->connect('ws://localhost:5000/feed')->recv;

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    print $message->decoded_body, "\n";
  });

  $connection->on(finish => sub {
    my($connection, $error) = @_;
    print 'finished: ', $error // $connection->close_code // 'no Close frame', "\n";
  });

  $connection->send_text('hello');

A server:

  use AnyEvent::Socket;
  use AnyEvent::WebSocket::Server;

  my $server = AnyEvent::WebSocket::Server->new;
  my %connections;

  my $guard = tcp_server '127.0.0.1', 0, sub {
    my($fh) = @_;
    $server->establish($fh)->cb(sub {
      my($connection) = eval { $_[0]->recv } or return warn "no handshake: $@";
      $connections{0 + $connection} = $connection;
      $connection->on(each_message => sub { $_[0]->send($_[1]) });
      $connection->on(finish => sub { delete $connections{0 + $_[0]} });
    });
  };

=head1 DESCRIPTION

An object of this class speaks RFC 6455 over an L<AnyEvent::Handle> whose opening handshake is done. It usually comes from
L<AnyEvent::WebSocket::Client> or L<AnyEvent::WebSocket::Server>. This class stands in for one of the same name in the
distribution AnyEvent-WebSocket-Client, which is called the original here. L<AnyEvent::WebSocket::Native> explains how the two
relate.

This page is the reference. L<AnyEvent::WebSocket::Native::Manual> is the guide: it has a complete program for each task. The
folder F<examples> of the distribution has larger ones.

Entries say I<Not in the original> if only this class has them. With C<ANYEVENT_WEBSOCKET_PP=1>, such a method or event
raises an exception, except L</backend>, and such an attribute in the arguments of L</new> is ignored with a warning.

A connection lives as long as the program holds a reference to it, or one of its callbacks is running. When the last
reference is gone, queued data is still sent, and then the socket is closed. No Close frame is sent; call L</close> first if
the peer is to get one. A callback that closes over its own connection keeps it alive; use the connection that the callback
gets as its first argument, or weaken the reference.

=head1 CHARACTERS AND OCTETS

A frame carries octets. A Perl string holds either octets or characters, and the program has to know which. An octet is a
byte; this documentation says octets only in contrast to characters.

Sending: L</send_text> takes characters, L</send_binary> takes octets, and L</send_json> takes data. With these three,
nothing can go wrong. L</send> is the original's method, and does what that does: it encodes a string with Perl's UTF8 flag
as UTF-8, and sends a string without the flag as it is. The flag depends on a string's history, not on what it contains. So
use C<send> for text that is already encoded, and for ASCII; it sends C<"\xe9"> as one octet, which is not UTF-8.

Receiving: L<AnyEvent::WebSocket::Message/body> always returns octets,
L<decoded_body|AnyEvent::WebSocket::Message/decoded_body> returns characters, and
L<decoded_json|AnyEvent::WebSocket::Message/decoded_json> returns data.

  $connection->send_text("gr\x{fc}n");         # characters: U+00FC is sent as two octets
  $connection->send_binary("\x{fc}");          # octets: is sent as it is
  $connection->send_json({ text => "gr\x{fc}n" });

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    my $octets = $message->body;
    my $characters = $message->decoded_body;
  });

Where an entry says that a value is I<encoded as by send>, the rule of L</send> applies.

Under C<perl -T>, everything that the peer has sent is tainted: the bodies of messages and of their parts, the payloads of
pings and pongs, and L</close_reason>.

=head1 CONSTRUCTOR

=head2 new

  my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, %options);

Takes L</ATTRIBUTES> by name and returns a connection. Only L</handle> is required.

  my $connection = AnyEvent::WebSocket::Connection->new(
    handle           => $handle,
    max_message_size => 1_000_000,
    ping_interval    => 25,
  );

An invalid value raises an exception at the caller's line. A name that is not an attribute is ignored, as in the original; if
it looks like a misspelt attribute, a warning names the attribute that was probably meant.

The connection takes over the data that the handle has already read. It delivers messages only after control has returned to
the event loop, so callbacks that are registered before that miss none.

=head1 ATTRIBUTES

L</handle>, L</masked>, L</subprotocol> and L</deflate> are read-only. L</close_code>, L</close_reason> and L</close_error>
are set by the connection. The others can be set at any time. Set them on a connection that Client or Server has made. In the
original, L</max_payload_size> and L</max_fragments> are read-only too. A new value takes effect at once: limits from the
next frame on, the UTF-8 rule of L</strict> from the next message on, and L</close_timeout> if the connection is not closing
yet.

A number may be anything that Perl takes for one. The empty string and undef stand for the default. Sizes are in bytes, times
in seconds, and times may have a fraction. An attribute that is not set returns undef, not its default; only L</masked>,
L</close_timeout> and L</strict> return their defaults.

=head2 close_code

  my $code = $connection->close_code;

The code of the peer's Close frame, 1005 if the frame had none (RFC 6455, 7.1.5), or undef if no Close frame has arrived.

  $connection->on(finish => sub {
    my($connection) = @_;
    print "the peer is going away\n" if ($connection->close_code // 0) == 1001;
  });

=head2 close_error

  my $error = $connection->close_error;

The error that the callbacks for L</finish> get, or undef. See L</HOW A CONNECTION ENDS>.

  warn 'lost: ', $connection->close_error, "\n" if defined $connection->close_error;

=head2 close_reason

  my $reason = $connection->close_reason;

The reason in the peer's Close frame, as characters. It is the empty string if the frame had no reason, and undef if no Close
frame has arrived.

  print 'closed: ', $connection->close_reason // '', "\n";

=head2 close_timeout

  $connection->close_timeout($seconds);

The number of seconds that the peer has to close its side after we have closed ours. When the time is up, the handle is
destroyed, and L</finish> gets an error. The handle goes on sending queued data in the background for its C<linger> time. 0
waits forever. Default 30. I<Not in the original>, which waits forever.

  my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, close_timeout => 5);

=head2 deflate

  my $parameters = $connection->deflate;

The parameters of compression, as returned by C<accept> or C<confirm> of L<AnyEvent::WebSocket::Deflate>, or undef if
messages are not compressed. They are a reference to a hash; what both sides have agreed on is in C<window_bits> and
C<no_context_takeover>, for what this side sends, and in C<peer_window_bits> and C<peer_no_context_takeover>. Give them to L</new>, or later to L</enable_deflate>. I<Not in the original.>

  print $connection->deflate ? "compressed\n" : "not compressed\n";

=head2 handle

  my $handle = $connection->handle;

The L<AnyEvent::Handle> that was given to L</new>, with or without TLS. It stays usable: its timeouts, C<wbuf_max>,
C<linger>, C<on_drain>, C<no_delay>, C<keepalive>, C<push_write> and C<destroy> keep their meaning. Its C<on_read>, C<on_eof>
and C<on_error> belong to the connection: if a program replaces them, the connection no longer works. After C<destroy>, no
callback is called, not even for L</finish>.

  $connection->handle->no_delay(1);

=head2 idle_timeout

  $connection->idle_timeout($seconds);

The number of seconds after which a connection ends if the peer has sent nothing: the handle is destroyed, data that waits
for the peer is dropped, and L</finish> gets an error. Pongs count, so with L</ping_interval> only a peer that is gone is
silent. Time spent in L</pause> does not count. 0 and undef, the default, mean never. I<Not in the original.>

  $connection->ping_interval(25);
  $connection->idle_timeout(60);

No Close frame is sent. To close, with a code and a reason, clients that send no messages, use a timer of your own:

  my $timer;
  my $restart = sub { $timer = AE::timer 600, 0, sub { $connection->close(4000, 'idle for too long') } };
  $connection->on(each_message => $restart);
  $connection->on(finish => sub { undef $restart; undef $timer });
  $restart->();

=head2 masked

  my $is_client = $connection->masked;

True if this side is the client, which masks its frames. The keys come from the operating system's random number generator.
Default 0.

  my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, masked => 1);

=head2 max_buffered_amount

  $connection->max_buffered_amount($bytes);

The largest L</buffered_amount> after a send. If it is larger, the connection ends: the handle is destroyed, data that waits
for the peer is dropped, and L</finish> gets an error. It should be larger than the largest message. 0 and undef, the
default, mean no limit. I<Not in the original.>

  $connection->max_buffered_amount(4_000_000);

=head2 max_control_rate

  $connection->max_control_rate($count);

The largest number of pings and pongs that the peer may send per second. Seconds without any, or in which the program reads
nothing, add up, without a maximum: with a rate of 10, a peer that was silent for nine seconds may send 100 at once. A peer
that sends more gets Close 1008, and then L</parse_error> is called. 0 and undef, the default, mean no limit. I<Not in the original.>

  $connection->max_control_rate(10);

=head2 max_fragments

  $connection->max_fragments($count);

The largest number of frames in one received message. A message with more is answered with Close 1009, and then
L</parse_error> is called. undef, the default, means C<$Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT> if that variable is
set, else 128. It does not apply to messages that are received as a L</message_chunk>.

  $connection->max_fragments(16);

=head2 max_message_size

  $connection->max_message_size($bytes);

The largest payload of one received message, in all its frames together, both before and after inflating. A larger message is
answered with Close 1009, and then L</parse_error> is called. 0 and undef, the default, mean that only L</max_payload_size>
times L</max_fragments> limits a message. I<Not in the original.>

  $connection->max_payload_size(0);
  $connection->max_message_size(1_000_000);

=head2 max_payload_size

  $connection->max_payload_size($bytes);

The largest payload of one received frame. A larger frame is answered with Close 1009 as soon as its header has arrived, and
then L</parse_error> is called. 0 means no limit. undef, the default, means C<$Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE>
if that variable is set, else 65536. Browsers and most clients send each message as one frame, so this limits their messages.
It also limits what a compressed message may inflate to, see L<AnyEvent::WebSocket::Deflate/LIMITS>. It does not limit what
is sent.

  $connection->max_payload_size(1_000_000);

=head2 ping_interval

  $connection->ping_interval($seconds);

The number of seconds between the pings that are sent automatically. Each has a payload of its own, and its pong sets
L</latency>. They stop after L</close>, after the peer's Close frame, and when the connection ends. 0 and undef, the default,
mean none. I<Not in the original.>

  $connection->ping_interval(25);

=head2 ping_timeout

  $connection->ping_timeout($seconds);

The number of seconds to wait for an answer to an automatic ping. Any pong is an answer. The time starts again if the peer
has meanwhile sent something else, or has read some of the data that waited for it. When the time is up, the connection ends:
the handle is destroyed, data that waits for the peer is dropped, and L</finish> gets an error. Time spent in L</pause> does
not count. 0 waits forever. Default 20. I<Not in the original.>

  $connection->ping_interval(25);
  $connection->ping_timeout(10);

=head2 strict

  $connection->strict(1);

If true, three rules are enforced that peers are known to break: text is UTF-8 (Close 1007), a server refuses frames that are
not masked, and a client refuses frames that are (Close 1002). All other rules of RFC 6455 are always enforced. Default 0, or
1 if the environment variable C<ANYEVENT_WEBSOCKET_STRICT> is true. The default is read when the connection is made. I<Not in
the original.>

  my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, strict => 1);

=head2 subprotocol

  my $name = $connection->subprotocol;

The subprotocol that the handshake agreed on, or undef. The connection does not use it.

  print $connection->subprotocol // 'no subprotocol', "\n";

=head1 METHODS

After L</close>, after the peer has gone, and after a broken rule, a method that sends does nothing, and needs no check
before it. A wrong argument still raises an exception.

=head2 backend

  my $name = AnyEvent::WebSocket::Connection->backend;

Returns C<rust> for this class, or C<pp> if C<ANYEVENT_WEBSOCKET_PP> has made this class load the original. I<Not in the
original>: a program that may run where the original comes first in C<@INC> calls L<AnyEvent::WebSocket::Native/backend>.

  print "runs on the native engine\n" if AnyEvent::WebSocket::Connection->backend eq 'rust';

=head2 broadcast

  my $count = AnyEvent::WebSocket::Connection->broadcast(\@connections, $message, %options);

Sends one message to many connections and encodes it once. The message is a string or an object, as for L</send>, and is
encoded as by L</send>. Returns the number of connections that get it; connections that are closed are skipped. Call it on
the class or on any connection. I<Not in the original.> The options are

=over

=item except => $connection

A connection in the list that is skipped.

=item max_buffered_amount => $bytes

Connections whose L</buffered_amount> is larger are skipped. By default, none are.

=back

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    $connection->broadcast([values %clients], $message, except => $connection, max_buffered_amount => 1_000_000);
  });

An unknown option, and an element that is not an object, such as undef, raise an exception at the caller's line. Array
elements that do not exist are skipped. If a connection's class has a C<send> of its own, that is called. If a C<send> or a
callback for L</finish> dies, all other connections still get the message, and then C<broadcast> dies with the first
exception.

=head2 buffered_amount

  my $bytes = $connection->buffered_amount;

Returns the number of bytes that wait to be written to the socket, as they go over the wire: with headers, masked and
encrypted. Data in the kernel's socket buffer does not count. If it is not 0, a L</drain> event follows. I<Not in the
original.>

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    $connection->send($message) if $connection->buffered_amount < 1_000_000;
  });

A frame is usually written at once. A reply sent from a message callback may wait up to about a millisecond, so that it
leaves together with other replies. If the callback for the next message takes longer, the reply waits until that callback
returns or runs the event loop. If that callback ends the process with C<exec>, C<POSIX::_exit> or a signal, the reply is
lost; C<exit> still sends it. A destructor that runs as the callback returns counts as a part of the callback.

=head2 close

  $connection->close;
  $connection->close($code);
  $connection->close($code, $reason);

Sends a Close frame, and shuts the socket down for writing when all queued data is written. Returns the connection. Only the
first call has an effect.

The code is a number from 1000 to 4999. A code that must not be sent (RFC 6455, 7.4) causes a warning, but is sent. Without a
code, which 0 and the empty string count as, the Close frame is empty, and the peer sees that as 1005; see
L</$DEFAULT_CLOSE_CODE>. Any other number raises an exception at the caller's line. The reason is a string of characters; it is cut off, between two characters, if it
is longer than 123 bytes of UTF-8.

  $connection->close(1001, 'the server restarts');

C<close> does not wait for the peer. C<finish> comes when the peer has ended its side of the TCP connection, too, which most peers
do right after their own Close frame; the Close frame alone does not end the connection. If L</close_timeout> passes before that,
C<finish> comes with an error.

Messages that the peer has already sent still arrive. But a proxy such as nginx may close both directions when it sees that
we have closed one. Then neither these messages nor the peer's Close frame arrive.

=head2 closed

  my $condvar = $connection->closed;

Returns a condvar that becomes ready when the connection has ended and the callbacks for L</finish> have been called. It gives
an object that tells why, and never croaks. It is ready at once if the connection has ended already. I<Not in the original.>

  $connection->close(1000);
  my $end = $connection->closed->recv;
  print "$end\n";    # the connection has ended: this side closed it: 1000

The object has the methods

=over

=item code, reason

As L</close_code> and L</close_reason>: undef unless the peer has sent a Close frame.

=item initiator

C<local> if this side has called L</close> before the peer's Close frame arrived, C<peer> if the peer has closed first, and
undef if there was an error, or neither has sent a Close frame.

=item error

The text that L</parse_error> or L</finish> got. It is undef if the peer has closed the socket, and always if both sides have sent
Close frames, even if the peer then does not close in time. Of an exception in a message
callback it is the text. C<the program destroyed its handle> and C<the program dropped it> stand for ends that no callback is
told.

=back

As a string it is C<the connection has ended: >, followed by the error, or by C<this side closed it: CODE REASON>,
C<the peer closed it: CODE REASON> or C<the peer hung up>.

A condvar with a callback need not be held by anybody; one without waits only as long as the program holds it. It does not hold
the connection.

=head2 drained

  my $condvar = $connection->drained;

Returns a condvar that becomes ready when all that was sent has been handed to the kernel, which does not mean that the peer
has it. It gives nothing, and is ready at once if L</buffered_amount> is 0. If the connection ends before, or has ended, it
croaks with the object that L</closed> describes. I<Not in the original.>

  for my $number (1 .. 1_000) {
    $connection->send_text("row $number");
    $connection->drained->recv;
  }

=head2 enable_deflate

  $connection->enable_deflate($parameters);

Enables compression on a connection that was made without L</deflate>. Takes the parameters that C<accept> or C<confirm> of
L<AnyEvent::WebSocket::Deflate> returned. Returns the connection. I<Not in the original.>

  my($header, $parameters) = AnyEvent::WebSocket::Deflate::accept('permessage-deflate');
  $connection->enable_deflate($parameters) if $parameters;

Call it before control returns to the event loop, because the peer may have sent compressed messages already. After a message
was sent or received, it raises an exception at the caller's line; so does undef.

=head2 latency

  my $seconds = $connection->latency;

Returns the round-trip time of the last answered ping, or undef if none was answered. A pong that arrives after the next ping
was sent does not count. I<Not in the original.>

  printf "%.1f ms\n", 1000 * $connection->latency if defined $connection->latency;

=head2 local

  my $address = $connection->local;

Returns our address, as it was when the connection was made: C<127.0.0.1:8080> or C<[::1]:8080>, C<unix/:/path> or C<unix/>
for a UNIX socket with or without a path, or undef if the handle has no socket. I<Not in the original.>

  print 'accepted on ', $connection->local // 'no socket', "\n";

=head2 on

  my $cancel = $connection->on($event => $callback);

Registers a callback for one of the L</EVENTS>. Any number of callbacks can be registered for an event. Returns a code
reference that removes the callback. An unknown event, and a callback that is not a code reference, raise an exception at the
caller's line.

  my $cancel = $connection->on(each_message => sub { print $_[1]->body, "\n" });
  $cancel->();

=head2 pause

  $connection->pause;

Stops delivery and reading, so that a peer that keeps sending has to wait. Remaining callbacks for the current message still
run. Pings and the peer's Close frame wait too. Sending goes on. Returns the connection. I<Not in the original.> For an
example see L</resume>.

While a connection is paused, it does not notice that the peer has hung up until it sends something, and neither
L</idle_timeout> nor L</ping_timeout> ends it. If the peer may stop reading while you send, set the handle's C<wtimeout>, and
a shorter L</ping_interval>: C<wtimeout> also ends a connection on which nothing had to be written for that time.

  $connection->ping_interval(25);
  $connection->handle->wtimeout(60);

=head2 peer

  my $address = $connection->peer;

Returns the peer's address, as it was when the connection was made: C<127.0.0.1:40004> or C<[::1]:40004>, C<unix/> or
C<unix/:/path> for a UNIX socket without or with a path, or undef if the handle has no socket. It is still known in
L</finish> and later. Behind a proxy it is the proxy's address. I<Not in the original.>

  $connection->on(finish => sub { print $_[0]->peer // 'somebody', " has gone\n" });

=head2 ping

  $connection->ping;
  $connection->ping($payload);

Sends a ping. The payload is encoded as by L</send>, and is empty by default. A payload of more than 125 bytes raises an
exception at the caller's line. Returns the connection. I<Not in the original.>

  $connection->on(pong => sub { my($connection) = @_; print $connection->latency // 'unasked', "\n" });
  $connection->ping('are you there?');

=head2 receive

  my $condvar = $connection->receive(%options);

Returns a condvar for the next message. Its C<recv> gives an L<AnyEvent::WebSocket::Message>. I<Not in the original.>

  my $connection = AnyEvent::WebSocket::Client->new->connect($url)->recv;
  $connection->send('hello');
  print $connection->receive->recv->decoded_body, "\n";

C<recv> runs the event loop, so a callback must not call it; set the condvar's C<cb> there, or use L<Coro>. The condvar can
also be awaited with L<Future::AsyncAwait>. See L<AnyEvent::WebSocket::Native::Manual/Receiving without callbacks>. The option
is

=over

=item timeout => $seconds

If no message comes within this time, the condvar croaks with C<no message within 5 s>, a string. The message that comes later
goes to the next C<receive>. 0 takes only a message that has come already. undef, the default, waits until the connection ends.

=back

I<Order.> From the first call on, all messages wait in a queue until they are received, in order. Several condvars that wait
are served in the order of the calls.

I<The end.> After the last message of the queue, the condvar croaks with the object that L</closed> describes. It does so as
soon as no more messages can come: when the peer's Close frame has arrived, when a rule was broken, when a message callback
has died, or when the connection ends, its handle is destroyed or the program drops it. A condvar never waits in vain.

  my $message = eval { $connection->receive(timeout => 1)->recv };
  print !ref $@ ? "no answer\n" : defined $@->error ? $@->error : "closed by the peer\n" if !$message;

I<Cancelling.> A condvar that has no callback waits only as long as the program holds it. One with a callback waits until its
C<cancel> is called, after which C<recv> croaks with C<cancelled>. A future that is cancelled cancels the condvar that it
awaits. The message then goes to the next condvar, or stays in the queue. So does the message of a condvar that is ready, but
is dropped before C<recv> was called or a callback set.

I<Back-pressure.> When 16 messages wait, the connection is paused, as by L</pause>, until most of them are received. Until
then, pings are not answered, and the peer's Close frame is not seen. While C<receive> waits, or fewer messages wait, both work
as always. After L</close>, the connection is not paused in this way unless C<receive> is called again: the first 16 messages
wait, and those behind them are discarded, so that the peer's Close frame is read.

I<Callbacks.> C<receive> raises an exception at the caller's line if there is a callback for L</each_message> or
L</message_chunk>, because that gets all messages. If such a callback is registered later, the messages of the queue are
delivered to it first, from the event loop; a condvar that waits still gets the next message. When the callback is removed,
messages wait in the queue again. A message that a L</next_message> callback gets goes to C<receive> too, also if that is
called in the callback.

If the condvar's own callback dies, the same happens as if a message callback had died. An unknown option, and a timeout that is
not a number, raise an exception at the caller's line.

=head2 resume

  $connection->resume;

Ends L</pause>. Messages that had already been read are delivered from the event loop, after this method has returned.
Returns the connection. I<Not in the original.>

  $connection->on(each_message => sub {
    my($connection, $message) = @_;
    $connection->pause;
    $database->insert($message->body, sub { $connection->resume });
  });

=head2 send

  $connection->send($string);
  $connection->send($message);

Sends a string as text, or an object with C<opcode> and C<body>, such as an L<AnyEvent::WebSocket::Message>. A payload with
Perl's UTF8 flag is encoded as UTF-8, and one without the flag is sent as it is; see L</CHARACTERS AND OCTETS>. undef is the
empty string. Returns the connection.

  $connection->send('hello');
  $connection->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => $octets));

An opcode over 15, a control frame with more than 125 bytes, and a reference that is not such an object raise an exception at
the caller's line. So does any message while another is being sent by L</send_fragment> or L</send_stream>.

=head2 send_binary

  $connection->send_binary($octets);

Sends octets as a binary message. A string with characters over 255, and a reference, raise an exception at the caller's
line. Returns the connection. I<Not in the original.>

  $connection->send_binary(pack 'N*', 1 .. 100);

=head2 send_fragment

  $connection->send_fragment($data, %options);

Sends one fragment, that is, a frame of a message. The data is encoded as by L</send>. Returns the connection. I<Not in the
original.> The options are C<binary>, which is true if the message is binary, and the same for all its fragments; and
C<final>, which is true for the last one.

  $connection->send_fragment('first,', binary => 1);
  $connection->send_fragment('second', binary => 1, final => 1);

An unknown option raises an exception at the caller's line, and so does another message before the last fragment. Pings are
allowed in between. Fragments are not compressed.

=head2 send_json

  $connection->send_json($data);

Sends one value as JSON text, encoded by L<Cpanel::JSON::XS> if that is installed, else by L<JSON::PP>. Returns the
connection. I<Not in the original.> See also L<AnyEvent::WebSocket::Message/decoded_json>.

  $connection->send_json({ op => 'subscribe', channels => ['trades'] });

No value, several values, and data that JSON cannot express, such as a code reference, raise an exception at the caller's
line. Infinity and NaN depend on the module: it encodes them as C<null>, or as words that are not JSON.

=head2 send_stream

  $connection->send_stream($next, %options);

Sends one message in parts. C<$next> is called with the connection, and returns the next part, or undef at the end of the
message. It is called only when the kernel has accepted everything that was sent before, so only one part is in memory. Parts
are encoded as by L</send>. Returns the connection. I<Not in the original.> The options are

=over

=item binary => 1

The message is binary; default text.

=item done => sub { ... }

Called with C<($connection)> when the end of the message is queued, which does not mean that the peer has it. Called with
C<($connection, $error)> if the connection ends before that. The error is L</close_error> or the peer's L</close_reason>, or
C<the connection was closed> if there is neither; L</close_code> may then tell more.

=back

  open my $file, '<:raw', $path or die "$path: $!";
  $connection->send_stream(
    sub {
      my $count = read $file, my $octets, 65_536;
      die "$path: $!" if !defined $count;
      return $count ? $octets : undef;
    },
    binary => 1,
    done   => sub { my($connection, $error) = @_; warn "not sent: $error" if $error },
  );

Each part is sent as one frame, and an empty frame ends the message. A receiver may limit frames: this class and the original
refuse frames of more than 65,536 bytes, and messages of more than 128 frames, by default. If the receiver is a program of
yours, let it use L</message_chunk>, which has no limit on the number of frames, or raise its L</max_fragments>.

If C<$next> dies, the connection is closed with 1011. The exception is raised in the caller if C<send_stream> has not
returned yet, and otherwise goes to the event loop. Another message before the end of this one raises an exception at the
caller's line. Pings are allowed in between. A stream is not compressed.

=head2 send_text

  $connection->send_text($characters);

Sends characters as a text message, encoded as UTF-8, whether or not the string has Perl's UTF8 flag. A reference raises an
exception at the caller's line. Returns the connection. I<Not in the original.>

  $connection->send_text("\x{20ac} 5");

=head2 state

  my $state = $connection->state;

Returns C<open>; C<closing> after either side has sent a Close frame, after the peer has broken a rule, and after a message
callback has died; or C<closed> after the connection has ended, or the program has destroyed the handle. A send needs no such
check, as it does nothing unless the connection is open. I<Not in the original.>

  my @open = grep { $_->state eq 'open' } @connections;
  print scalar @open, " clients are there\n";

=head2 stats

  my $stats = $connection->stats;

Returns a reference to a hash with counts of the traffic so far. I<Not in the original.> The keys are

=over

=item messages_received, messages_sent

Text and binary messages. A message counts from its first frame on.

=item frames_received, frames_sent

Frames of all kinds. A frame counts from its header on.

=item bytes_received, bytes_sent

Bytes of payload of all frames. Of a compressed message, the compressed bytes count.

=item pings_received, pings_sent, pongs_received, pongs_sent

Control frames.

=item compression_ratio_received, compression_ratio_sent

The uncompressed size of the compressed messages, divided by their compressed size. These keys do not exist before the first
compressed message, nor after L</finish>.

=item seconds_since_read, seconds_since_write

Seconds since something was last read or written.

=back

  my $stats = $connection->stats;
  printf "%d messages, %d bytes\n", @$stats{qw( messages_received bytes_received )};

=head1 EVENTS

Callbacks are called in the order in which they were registered. Each gets the connection as its first argument, so that it
need not close over it.

If a callback for a message, a L</message_chunk>, a ping or a pong dies, the connection is shut down without a Close frame,
and L</parse_error> gets the exception. If there is no callback for that, L<AnyEvent::Log> logs the exception as an error. An
exception in any other callback goes to the event loop.

=head2 drain

  $connection->on(drain => sub { my($connection) = @_; ... });

Called when all waiting data has been written, and L</buffered_amount> is 0 again. Not called after the connection has ended.
I<Not in the original.>

  sub copy_from {
    my($connection, $file) = @_;
    while($connection->state eq 'open' && !$connection->buffered_amount)
    {
      read $file, my $octets, 65_536 or return;
      $connection->send_binary($octets);
    }
  }

  $connection->on(drain => sub { copy_from($_[0], $fh) });
  copy_from($connection, $fh);

=head2 each_message

  $connection->on(each_message => sub { my($connection, $message, $unregister) = @_; ... });

Called for each text or binary message, with an L<AnyEvent::WebSocket::Message>. Calling C<$unregister> removes this callback.

  $connection->on(each_message => sub {
    my($connection, $message, $unregister) = @_;
    return $unregister->() if $message->body eq 'enough';
    print $message->decoded_body, "\n";
  });

=head2 finish

  $connection->on(finish => sub { my($connection, $error) = @_; ... });

Called once, when the connection ends. C<$error> is undef if the peer has closed the socket, with or without a Close frame
before. It is a text after a network error, a timeout, or too much waiting data. See L</HOW A CONNECTION ENDS>. A callback
that is registered after the end is called from the event loop; the original never calls it.

  $connection->on(finish => sub {
    my($connection, $error) = @_;
    delete $clients{0 + $connection};
    warn "connection lost: $error\n" if defined $error;
  });

=head2 message_chunk

  $connection->on(message_chunk => sub { my($connection, $message, $is_final) = @_; ... });

Called for each part of a message as it arrives. C<$message> has the opcode of the whole message, and the part as its body;
the last part may be empty. I<Not in the original.>

  $connection->on(message_chunk => sub {
    my($connection, $message, $is_final) = @_;
    print {$fh} $message->body;
    $connection->send_text('stored') if $is_final;
  });

A message that begins while a callback is registered for this event is delivered in this way, and L</each_message> and
L</next_message> are not called for it. Only the current part is in memory.

L</max_message_size> and L</max_payload_size> apply, but L</max_fragments> does not. A browser sends a file as a single
frame, so set C<max_payload_size> to 0 for uploads, and limit them with C<max_message_size>. A part may end within a
character. With L</strict>, the text of the whole message has to be UTF-8.

=head2 next_message

  $connection->on(next_message => sub { my($connection, $message) = @_; ... });

Called for the next message only, before the callbacks for L</each_message>.

  $connection->on(next_message => sub {
    my($connection, $message) = @_;
    print 'the first reply: ', $message->decoded_body, "\n";
  });

=head2 parse_error

  $connection->on(parse_error => sub { my($connection, $error) = @_; ... });

Called with a text after the peer has broken a rule or a limit and a Close frame has been sent, or with the exception after a
message callback has died. The connection neither sends nor receives any more, and L</finish> follows.

  $connection->on(parse_error => sub {
    my($connection, $error) = @_;
    warn $connection->peer // 'a peer', ": $error\n";
  });

The original finds fewer violations, so a program that calls C<die> or C<exit> here may do so more often than it did.

=head2 ping (event)

  $connection->on(ping => sub { my($connection, $payload) = @_; ... });

Called when the peer has sent a ping, with its payload in octets. The ping is answered automatically. I<Not in the original.>

  $connection->on(ping => sub { my($connection, $payload) = @_; print "ping: $payload\n" });

=head2 pong

  $connection->on(pong => sub { my($connection, $payload) = @_; ... });

Called when the peer has sent a pong, whether or not it answers a ping, with its payload in octets. I<Not in the original.>

  $connection->on(pong => sub { my($connection, $payload) = @_; print "pong: $payload\n" });

=head1 HOW A CONNECTION ENDS

L</finish> alone does not tell why: its error is undef whenever the peer has closed the socket. L</parse_error> and
L</close_code> tell the rest:

=for code output

  what happened                           parse_error  finish and close_error  close_code
  --------------------------------------  -----------  ----------------------  -----------------
  the peer sent a Close frame             -            undef                   its code, or 1005
  we called close, the peer answered      -            undef                   its code, or 1005
  we called close, the peer just hung up  -            undef                   undef
  the peer hung up without a Close frame  -            undef                   undef
  the peer broke a rule or a limit        text         undef                   undef
  the peer's Close frame broke a rule     text         undef                   as received
  a message callback died                 exception    undef                   undef
  a network error, such as a reset        -            text                    undef
  idle_timeout or ping_timeout            -            text                    undef
  more than max_buffered_amount           -            text                    undef
  the peer did not close in time          -            text                    undef, or its code
  a timeout of the handle                 -            text                    undef
  the program destroyed the handle        -            no finish               undef

After a broken rule, the peer has C<close_timeout> seconds to hang up. If it does not, C<finish> and C<close_error> have the
text of that timeout. After a Close frame, C<close_code> stays, whatever follows.

The connection does not keep the code that we have sent. It is the code that L</close> was given, or the peer's own in the
answer to its Close frame, or the code of the broken rule or limit in the table below, without a reason. When a message
callback dies, no Close frame is sent. The L<trace|/ANYEVENT_WEBSOCKET_TRACE> shows what was sent.

The texts begin as follows, and these beginnings stay as they are within version 1. First L</finish> and L</close_error>:

=for code output

  text                                                    caused by
  ------------------------------------------------------  -----------------------------------
  the peer sent nothing within N seconds                  idle_timeout
  the peer did not answer a ping within N seconds         ping_timeout
  the peer did not close the connection within N seconds  close_timeout
  more than N bytes wait for the peer to read             max_buffered_amount
  the handle had been destroyed already                   new was given such a handle
  Connection timed out                                    a timeout of the handle
  No space left on device                                 the handle's wbuf_max

The last two, and all other texts, are those of the operating system or the TLS library, such as C<Connection reset by peer>
and C<Broken pipe>. Then L</parse_error>, which gets the exception instead if a callback died:

=for code output

  text                                                    caused by                            code
  ------------------------------------------------------  -----------------------------------  ----
  Protocol error: ...                                     a broken rule of RFC 6455            1002
  Invalid UTF-8 in the reason of a Close frame            a broken rule of RFC 6455            1007
  Invalid UTF-8 in a text message                         strict                               1007
  Invalid data in a compressed message                    what cannot be inflated              1007
  Payload is too big                                      max_payload_size                     1009
  Message is too big                                      max_message_size                     1009
  Too many fragments                                      max_fragments                        1009
  Too many control frames                                 max_control_rate                     1008

This function logs why a connection ended, in one line. Call it for each new connection. AnyEvent hides messages of the level
C<info> by default; C<PERL_ANYEVENT_VERBOSE=7> shows them:

  use AnyEvent::Log;

  sub log_end {
    my($connection) = @_;
    my $peer = $connection->peer // 'a peer';
    $connection->closed->cb(sub { AE::log info => "$peer: " . $_[0]->recv });
  }

  log_end($connection);

=head1 SUBCLASSES

The class is made with L<Moo>, and can be extended with Moo or with plain C<@ISA>.

=head2 Making Client or Server return a subclass

Client and Server construct this class by name. Rebless the connection that they return, before control returns to the event
loop:

  {
    package My::Connection;
    use Moo;
    extends 'AnyEvent::WebSocket::Connection';

    before send => sub {
      my($self, $message) = @_;
      print 'sends ', ref $message ? 'opcode ' . $message->opcode : 'text', "\n";
    };
  }

  use AnyEvent::WebSocket::Client;

  my $connection = AnyEvent::WebSocket::Client->new->connect($url)->recv;
  bless $connection, 'My::Connection';

C<bless> neither sets the defaults of the subclass's attributes nor calls its C<BUILD>. If you need defaults, write a role
and apply it to the object:

  {
    package My::Counting;
    use Moo::Role;
    has sent => ( is => 'rw', default => 0 );
    after send => sub { my($self) = @_; $self->sent($self->sent + 1) };
  }

  Moo::Role->apply_roles_to_object($connection, 'My::Counting');
  $connection->send('hello');
  print $connection->sent, "\n";   # 1

=head2 What a subclass's send and close see

The subclass's C<send> is called for every message, except by L</send_fragment> and L</send_stream>, and for every control
frame, except the Close frame for a broken rule:

=for code output

  what is sent                            send is given                       close is given
  --------------------------------------  ----------------------------------  --------------
  send, broadcast                         what they were given                -
  send_text, send_json                    the text, encoded as UTF-8          -
  send_binary                             a Message with opcode 2             -
  ping, automatic or not                  a Message with opcode 9             -
  the pong for a ping                     a Message with opcode 10            -
  close                                   a Message with opcode 8             what it was given
  the answer to the peer's Close frame    a Message with opcode 8             its code, if any
  the Close frame for a broken rule       not called                          not called
  send_fragment, send_stream              not called                          not called

A C<send> that does not call ours sends nothing. A C<send> that replaces that of this class itself, by L<Test::MockModule>,
C<local *send> or a method modifier, is called for the same. A subclass with a C<send> of its own is slower, because all this
is then done in Perl.

=head2 Names that a subclass has already

If a subclass defines an attribute, a method or a method modifier whose name this class adds to the original's, for example
C<idle_timeout>, the subclass wins, and the built-in feature of that name is disabled for it. A subclass that wants another
default for an attribute sets it in its C<BUILD>.

=head1 VARIABLES

=head2 $DEFAULT_CLOSE_CODE

  $AnyEvent::WebSocket::Connection::DEFAULT_CLOSE_CODE = 1000;

The code that L</close> uses if it is given none. Default 1005, or the value of the environment variable
C<ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE> when the class was loaded. I<Not in the original.>

With 1005, C<close> sends an empty Close frame, which is what 1005 means. C<close(undef, $reason)> then sends the code 1005
and the reason, which RFC 6455 forbids but versions 0.44 to 0.54 of the original did. Version 0.55 sends 1000; set it to 1000
for the same.

=head1 ENVIRONMENT

=head2 ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE

See L</$DEFAULT_CLOSE_CODE>. It is read when the class is loaded.

=head2 ANYEVENT_WEBSOCKET_PP

If true when the class is loaded, the original is loaded in its place. See
L<AnyEvent::WebSocket::Native/ANYEVENT_WEBSOCKET_PP>.

=head2 ANYEVENT_WEBSOCKET_STRICT

The default of L</strict>. The default is read when the connection is made.

=head2 ANYEVENT_WEBSOCKET_TRACE

If true when the class is loaded, each frame is logged in a line, and so is the end of each connection. L<AnyEvent::Log> adds
the time, and writes to STDERR unless the program has configured it otherwise; its level does not matter.

=for code output

  127.0.0.1:40004: received text, 5 bytes: "hello"
  127.0.0.1:40004: sent text, not final, 4096 bytes: "Lorem ipsum dolor sit amet, cons"...
  127.0.0.1:40004: received close, code 1000, reason ""
  127.0.0.1:40004: finished: end of file

See L<AnyEvent::WebSocket::Native::Manual/Debugging with the trace>.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Native>, L<AnyEvent::WebSocket::Native::Manual>, L<AnyEvent::WebSocket::Message>,
L<AnyEvent::WebSocket::Deflate>, L<AnyEvent::WebSocket::Client>, L<AnyEvent::WebSocket::Server>, L<AnyEvent::Handle>, RFC 6455

=cut
