package AnyEvent::WebSocket::Reconnecting;

use strict;
use warnings;
use AnyEvent::WebSocket::Message ();
use AnyEvent::WebSocket::Native::Json ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Util ();
use AnyEvent::WebSocket::Reconnecting::Lifecycle ();
use AnyEvent::WebSocket::Reconnecting::Options ();
use Carp ();
use constant { TEXT => 1, BINARY => 2 };
use Scalar::Util ();

our $VERSION = '1.000';

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

my %IS_EVENT = map { $_ => 1 } qw( connect disconnect each_message give_up next_message retry );

sub new {
    my ($class, @arguments) = @_;
    @arguments = %{ $arguments[0] } if @arguments == 1 && ref $arguments[0] eq 'HASH';
    Carp::croak('new takes options as names and values') if @arguments % 2;
    my $options = AnyEvent::WebSocket::Reconnecting::Options::of_arguments(@arguments);
    my $self = bless {}, $class;
    $self->{lifecycle} = AnyEvent::WebSocket::Reconnecting::Lifecycle->new($self, $options);
    $self->start if $options->{autostart};
    return $self;
}

sub DESTROY {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || !$self->{lifecycle};
    local ($@, $!, $?);
    $self->{lifecycle}->destroy;
}

sub attempts { $_[0]{lifecycle}->failures }
sub clear_queue { $_[0]{lifecycle}->queue->clear }
sub connection { $_[0]{lifecycle}->connection }
sub queued { $_[0]{lifecycle}->queue->count }
sub queued_bytes { $_[0]{lifecycle}->queue->bytes }
sub state { $_[0]{lifecycle}->state }

sub start {
    my ($self) = @_;
    $self->{lifecycle}->start;
    return $self;
}

sub close {
    my ($self, @arguments) = @_;
    $self->{lifecycle}->close(@arguments);
    return $self;
}

sub on {
    my ($self, $event, $cb) = @_;
    Carp::croak('unrecognized event: '
            . (defined $event ? $event : 'undef')
            . '; the events are '
            . AnyEvent::WebSocket::Native::Util::list_of(keys %IS_EVENT))
        unless defined $event && $IS_EVENT{$event};
    Carp::croak('on: the callback must be a code reference') unless ref $cb && Scalar::Util::reftype($cb) eq 'CODE';
    Scalar::Util::weaken(my $callbacks = $self->{lifecycle}->callbacks);
    my $entry = [$cb];
    my $id = Scalar::Util::refaddr $entry;
    my $unregister = sub {
        my $entries = $callbacks && $callbacks->{$event} or return;
        @$entries = grep { Scalar::Util::refaddr $_ != $id } @$entries;
    };
    $entry->[1] = $unregister;
    push @{ $callbacks->{$event} }, $entry;
    return $unregister;
}

sub send {
    my ($self, $message) = @_;
    my ($opcode, $octets) = AnyEvent::WebSocket::Native::Payload::frame_of($message, 'send');
    Carp::croak('send: the opcode must be 1 or 2') if $opcode != TEXT && $opcode != BINARY;
    return $self->_send('send', $opcode, $octets);
}

sub send_binary {
    my ($self, $octets) = @_;
    return $self->_send('send_binary', BINARY, AnyEvent::WebSocket::Native::Payload::binary($octets, 'send_binary'));
}

sub send_json {
    my ($self, $data, @more) = @_;
    Carp::croak('send_json takes one value, such as a reference to a hash') if @more || @_ < 2;
    return $self->_send('send_json', TEXT, AnyEvent::WebSocket::Native::Json::encode($data, 'send_json'));
}

sub send_text {
    my ($self, $characters) = @_;
    my $text = AnyEvent::WebSocket::Native::Util::text_of($characters, 'send_text: the text');
    return $self->_send('send_text', TEXT, AnyEvent::WebSocket::Native::Payload::encoded($text));
}

sub _send {
    my ($self, $method, $opcode, $octets) = @_;
    my $message = AnyEvent::WebSocket::Message->new(opcode => $opcode, body => $octets);
    my $error = $self->{lifecycle}->send($message);
    Carp::croak("$method: $error") if defined $error;
    return $self;
}

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Reconnecting - a WebSocket connection that comes back

=head1 SYNOPSIS

  use AnyEvent;
  use AnyEvent::WebSocket::Reconnecting;

  my $finished = AE::cv;
  my $feed = AnyEvent::WebSocket::Reconnecting->new(
    uri       => 'wss://feed.example.com/v1',
    subscribe => sub {
      my($feed, $connection) = @_;
      $connection->send('{"op": "subscribe", "channel": "trades"}');
    },
  );

  $feed->on(each_message => sub {
    my($feed, $message) = @_;
    print $message->decoded_body, "\n";
  });

  $feed->on(retry => sub {
    my($feed, $failure, $seconds) = @_;
    printf "%s; next attempt in %.1f s\n", $failure, $seconds;
  });

  $feed->on(give_up => sub {
    my($feed, $failure) = @_;
    $finished->croak("giving up: $failure");
  });

  $finished->recv;

F<examples/reconnecting-feed.pl> is a whole program.

=head1 DESCRIPTION

An object of this class connects to a server with L<AnyEvent::WebSocket::Client>, and connects again whenever the connection
ends or an attempt fails. The waits between attempts grow, and are random, so that clients which have lost the same server do
not all return at the same moment. Errors that another attempt would only repeat end it: see L</FAILURES>.

Each new connection is subscribed anew, by the sub in L</subscribe>. What the program sends while there is no connection
waits in a queue with limits: see L</WHAT BECOMES OF A MESSAGE>.

The object lives as long as the program holds a reference to it. When the last one is gone, the attempt or the connection
ends, and no callback is called any more. No Close frame is sent; call L</close> first if the server is to get one. Callbacks
get the object as their first argument, so that they need not close over it, which would keep it alive.

A callback may call any method, drop the object, or die. An exception in a callback for a message ends the connection, as in
L<AnyEvent::WebSocket::Connection/EVENTS>; it is the L</error> of the failure that L</disconnect> gets. An exception in a
callback for another event goes to the event loop, after the other callbacks for the event have been called. Exceptions in
L</uri>, L</client> and L</subscribe> are failures.

It also works with C<ANYEVENT_WEBSOCKET_PP=1>, and with the original's classes from version 0.46 on. With these there are no
pings, so a peer that has been cut off goes unnoticed.

=head1 WHAT BECOMES OF A MESSAGE

L</send> and its relatives take a message, or raise an exception. A message that was taken

=over

=item *

waits while there is no connection, until L</subscribe> is done, and behind messages that wait already,

=item *

is then handed to one connection, once, in the order in which messages were taken,

=item *

unless L</clear_queue> returns it before that, or the object is destroyed. L</close> and L</give_up> leave it in the queue.

=back

To be handed to a connection is not to be delivered. When a connection breaks, the messages that are on their way are lost,
and nothing tells which they were. They are not sent again, since the server may have got them. A program that must know has
the server confirm messages, and repeats in C<subscribe> those that are not confirmed.

What the server sends while there is no connection is lost as well. A program that must not miss anything asks for it in
C<subscribe>.

After the server's Close frame, messages wait for the next connection. With C<ANYEVENT_WEBSOCKET_PP=1>, if the program itself
closes or destroys the L</connection>, what it sends until that has ended is lost.

=head1 CONSTRUCTOR

=head2 new

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, %options);

Takes L</OPTIONS> by name and returns an object. Only L</uri> is required. An unknown name or an invalid value raises an
exception at the caller's line. It connects as soon as control returns to the event loop, so callbacks that are registered
before that miss nothing.

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, max_delay => 30);

=head1 OPTIONS

Times are in seconds, and may have a fraction. undef stands for the default.

Besides those listed here, it takes the options C<close_timeout>, C<idle_timeout>, C<max_buffered_amount>,
C<max_control_rate>, C<max_message_size>, C<ping_interval> and C<ping_timeout> of
L<AnyEvent::WebSocket::Connection/ATTRIBUTES>, and sets them on each connection. The connection's other attributes, such as
C<max_payload_size> and C<strict>, are arguments of the L</client>. Unless C<ping_interval> is set here or by the client, it is
25: without pings, a connection that has been cut off looks like one on which nothing is said. C<max_buffered_amount> should be
larger than L</max_queue_bytes>.

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, ping_interval => 10, ping_timeout => 5);

=head2 autostart

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, autostart => 0);

If false, it does nothing until L</start> is called. Default 1.

=head2 client

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, client => { subprotocol => 'trades', timeout => 5 });

The client that connects: a reference to a hash of arguments for L<AnyEvent::WebSocket::Client>, an object of that class, or a
sub. The sub is called before each attempt, with this object, and returns one of the two, or a condvar that gets one. That is
the place for headers which change:

  my $feed = AnyEvent::WebSocket::Reconnecting->new(
    uri    => $url,
    client => sub { return { http_headers => { Authorization => "Bearer $token" } } },
  );

Prefer a hash to an object. An object cannot be told to give up an attempt: when the attempt is no longer wanted, it goes on
in the background until it fails, or succeeds and is closed at once. And only with a hash is the server's C<Retry-After>
known. Default: an empty hash.

=head2 connect_timeout

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, connect_timeout => 10);

The time that one attempt may take altogether: L</uri>, name lookup, TCP, TLS, the handshake and L</subscribe>. The client has
timeouts of its own for some of these. 0 waits forever. Default 30.

=head2 delay_factor

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, delay_factor => 1.5);

The factor by which the delay grows from failure to failure, at least 1. Default 2.

=head2 initial_delay

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, initial_delay => 0.5);

The longest delay after the first failure. The delay before an attempt is a random part of
C<initial_delay * delay_factor ** ($failures - 1)>, which is at most L</max_delay>. What the server asks for in a
C<Retry-After> field, up to an hour, is added. Default 1.

=head2 max_attempts

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, max_attempts => 10);

The number of failures in a row after which it gives up, whatever L</retry_if> says. 0 means no limit. Default 0.

=head2 max_delay

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, max_delay => 30);

The limit to which the delay grows. 0 means no limit. Default 60.

=head2 max_queue

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, max_queue => 0);

The number of messages that may wait for a connection. One more is an exception. With 0, sending without a connection is an
exception. Default 1000.

=head2 max_queue_bytes

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, max_queue_bytes => 10_000_000);

The number of bytes that the bodies of these messages may have together. Default 1,000,000.

=head2 random

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, random => sub { 1 });

A sub that returns the part of the delay to wait, from 0 to 1. It makes the delays of a test predictable. Default: Perl's
C<rand>.

=head2 retry_if

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, retry_if => sub { 1 });

A sub that decides whether there is another attempt. It is called after each failure, before the callbacks, and gets the
object and the failure; see L</FAILURES>. If it dies, the exception is logged with L<AnyEvent::Log>, and the default applies.
Default: C<sub { !$_[1]-E<gt>is_final }>.

  my $feed = AnyEvent::WebSocket::Reconnecting->new(
    uri      => $url,
    retry_if => sub {
      my($feed, $failure) = @_;
      return 0 if ($failure->close_code // 0) == 4003;   # this server's "account suspended"
      return !$failure->is_final;
    },
  );

=head2 stable_after

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, stable_after => 60);

The time that a connection must last to count as a success. Only then do the delays start again at L</initial_delay>: a server
that is overloaded may well accept a connection and close it at once. Default 10.

=head2 subscribe

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => $url, subscribe => sub { $_[1]->send('subscribe') });

A sub that is called with each new connection before anything else is sent. It gets the object and the connection, and sends
through the connection itself: L</send> of the object puts messages into the queue until C<subscribe> is done.

If it returns a condvar, it is done when that is ready. If it or the condvar dies, the connection is closed, and that counts
as a failed attempt. Do not set a callback on the condvar. Default: none.

  my $feed = AnyEvent::WebSocket::Reconnecting->new(
    uri       => $url,
    subscribe => sub {
      my($feed, $connection) = @_;
      my $done = AE::cv;
      $connection->on(next_message => sub {
        my($connection, $message) = @_;
        return $done->croak('login refused') if $message->body ne 'welcome';
        $connection->send("subscribe $_") for qw( trades book );
        $done->send;
      });
      $connection->send('login me');
      return $done;
    },
  );

=head2 uri

  my $feed = AnyEvent::WebSocket::Reconnecting->new(uri => 'wss://feed.example.com/v1');

Where to connect: a string or an object of L<URI>, or a sub. The sub is called before each attempt, with this object, and
returns the arguments of L<AnyEvent::WebSocket::Client/connect>, a URI and perhaps a host and a port, or a condvar that gets
them.

  my @servers = qw( wss://a.example.com/ wss://b.example.com/ );
  my $feed = AnyEvent::WebSocket::Reconnecting->new(
    uri => sub {
      my($feed) = @_;
      return $servers[$feed->attempts % @servers];
    },
  );

=head1 METHODS

=head2 attempts

  my $count = $feed->attempts;

Returns the number of failures in a row: attempts that failed, and connections that did not last for L</stable_after>.

  warn "the server has been away for a while\n" if $feed->attempts > 5;

=head2 clear_queue

  my @messages = $feed->clear_queue;

Removes all messages that wait for a connection, and returns them, as objects of L<AnyEvent::WebSocket::Message>.

  $feed->on(disconnect => sub {
    my($feed) = @_;
    $feed->clear_queue;    # nothing in there will be of interest by then
  });

=head2 close

  $feed->close;
  $feed->close($code, $reason);

Ends it for good: closes the connection as L<AnyEvent::WebSocket::Connection/close> does, or ends the attempt or the wait for
the next. Returns the object. If it was connected, L</disconnect> is called when the connection has ended; otherwise nothing
is called. Afterwards, sending raises an exception. L</start> starts it again.

  $feed->on(disconnect => sub { exit });
  $feed->close(1000, 'bye');

=head2 connection

  my $connection = $feed->connection;

Returns the current L<AnyEvent::WebSocket::Connection>, or undef if there is none. Do not keep it: the next one is another
object.

  my $connection = $feed->connection;
  print $connection ? 'connected: ' . ($connection->subprotocol // '-') : 'not connected', "\n";

=head2 on

  my $unregister = $feed->on($event => sub { ... });

Registers a callback for one of the L</EVENTS>, and returns a sub that unregisters it. An unknown event raises an exception.

  my $unregister = $feed->on(connect => sub { print "connected\n" });
  $unregister->();

=head2 queued

  my $count = $feed->queued;

Returns the number of messages that wait for a connection.

  print $feed->queued, " messages wait\n";

=head2 queued_bytes

  my $bytes = $feed->queued_bytes;

Returns the number of bytes in their bodies.

  $feed->send($message) if $feed->queued_bytes < 100_000;

=head2 send

  $feed->send($message);

Sends a string or a message with the opcode 1 or 2, encoded as by L<AnyEvent::WebSocket::Connection/send>, or queues it.
Returns the object. If neither is possible, it raises an exception at the caller's line: the queue is full, or it was closed,
or has given up. L</WHAT BECOMES OF A MESSAGE> says what is guaranteed.

  eval { $feed->send('hello'); 1 } or warn "not sent: $@";

=head2 send_binary

  $feed->send_binary($octets);

Like L</send>, for octets.

  $feed->send_binary("\x00\x01");

=head2 send_json

  $feed->send_json($data);

Like L</send>, for data, which is encoded as JSON at once.

  $feed->send_json({ op => 'ping' });

=head2 send_text

  $feed->send_text($characters);

Like L</send>, for characters.

  $feed->send_text("gr\x{fc}n");

=head2 start

  $feed->start;

Connects, if it was closed, has given up, or has not been started. If it waits for the next attempt, that begins at once; call
it when the network is back. While it connects or is connected, it does nothing. While it closes, it connects again after
that. Returns the object.

  $feed->close;
  $feed->start;

=head2 state

  my $state = $feed->state;

Returns C<idle> before it is started, C<connecting>, C<open>, C<waiting> for the next attempt, C<closing> after L</close>, or
C<closed> after that and after giving up. It is C<open> once L</subscribe> is done.

  print "back in a moment\n" if $feed->state eq 'waiting';

=head1 EVENTS

Callbacks are called in the order in which they were registered. Each gets the object as its first argument. A connection has
more events; register for those on the connection, in a callback for L</connect>.

=head2 connect

  $feed->on(connect => sub { my($feed, $connection) = @_; ... });

Called when there is a connection and L</subscribe> is done, before queued messages are sent.

  $feed->on(connect => sub {
    my($feed, $connection) = @_;
    $connection->on(pong => sub { my($connection) = @_; print $connection->latency // 0, " s\n" });
  });

=head2 disconnect

  $feed->on(disconnect => sub { my($feed, $failure, $connection) = @_; ... });

Called when a connection for which L</connect> was called has ended, with the reason and the connection. L</retry> or
L</give_up> follows, unless L</close> was called. If the server has broken a rule, or a callback for a message has died, it is
called at once, before the server hangs up.

  $feed->on(disconnect => sub {
    my($feed, $failure) = @_;
    warn "disconnected: $failure\n";
  });

=head2 each_message

  $feed->on(each_message => sub { my($feed, $message, $unregister) = @_; ... });

Called for each text or binary message, with an L<AnyEvent::WebSocket::Message>, those that arrive during L</subscribe>
included. Calling C<$unregister> removes this callback.

  $feed->on(each_message => sub {
    my($feed, $message) = @_;
    $feed->send('pong') if $message->body eq 'ping';
  });

=head2 give_up

  $feed->on(give_up => sub { my($feed, $failure) = @_; ... });

Called when there will be no further attempt. If there is no callback for it, L<AnyEvent::Log> logs the failure as an error.

  $feed->on(give_up => sub {
    my($feed, $failure) = @_;
    die "$failure\n";
  });

=head2 next_message

  $feed->on(next_message => sub { my($feed, $message) = @_; ... });

Called for the next message only, before the callbacks for L</each_message>.

  $feed->on(next_message => sub { print "there is something\n" });

=head2 retry

  $feed->on(retry => sub { my($feed, $failure, $seconds) = @_; ... });

Called after each failure, with the seconds until the next attempt. If there is no callback for it, L<AnyEvent::Log> logs the
failure, at the level C<info>.

  $feed->on(retry => sub {
    my($feed, $failure, $seconds) = @_;
    printf "%s (%d in a row); next attempt in %.1f s\n", $failure, $failure->attempts, $seconds;
  });

=head1 FAILURES

A failure says why an attempt failed, or why a connection ended. As a string, it is its L</text>. These are final by default:

=over

=item *

a URI that is not a WebSocket's, or none

=item *

arguments with which the client's C<connect> dies

=item *

a handshake that was refused with a status of 400 to 499, except for 408, 425 and 429

=item *

a subprotocol in the answer that was not asked for, or none although one was

=item *

a certificate that cannot be verified

=back

All others are not: network errors, timeouts, other refusals, invalid handshakes, connections that have ended for whatever
reason, and exceptions in the program's subs. L</retry_if> may decide otherwise. A failure has these methods:

=head2 attempts (failure)

  my $count = $failure->attempts;

The number of failures in a row, this one included.

=head2 close_code

  my $code = $failure->close_code;

The code of the server's Close frame, 1005 if the frame had none, or undef if there was no such frame.

=head2 close_reason

  my $reason = $failure->close_reason;

The reason in that frame, as characters, or undef.

=head2 error

  my $error = $failure->error;

The exception or the error text, as it came. It may be an object if a sub or a callback of the program has died.

=head2 is_final

  my $is_final = $failure->is_final;

1 if another attempt would only repeat it, otherwise 0.

=head2 retry_after

  my $seconds = $failure->retry_after;

The seconds that the server has asked for in a C<Retry-After> field, at most 3600, or undef. It is known if L</client> is a
hash, and the client has L<AnyEvent::WebSocket::Client/on_refused>.

=head2 status

  my $status = $failure->status;

The HTTP status with which the handshake was refused, or undef.

=head2 text

  my $text = $failure->text;

The error as a text, without a line end. It is a text of L<AnyEvent::WebSocket::Client/ERRORS> or of
L<AnyEvent::WebSocket::Connection/HOW A CONNECTION ENDS>, an exception of the program's, or one of these:

=for code output

  closed by the peer: CODE REASON
  closed by this side: CODE REASON
  the peer closed the connection without a Close frame
  not connected within N seconds
  there is no URI

=head1 SEE ALSO

L<AnyEvent::WebSocket::Client>, L<AnyEvent::WebSocket::Connection>,
L<AnyEvent::WebSocket::Native::Manual/Keeping connections alive>

=cut
