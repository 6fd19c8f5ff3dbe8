package AnyEvent::WebSocket::Native::Awaiting;

# Condvars for the next message, the end of the connection, and the moment when all that was sent is written.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Awaited ();
use AnyEvent::WebSocket::Native::Backpressure ();
use AnyEvent::WebSocket::Native::Ended ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Events ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Scalar::Util ();

use constant {
    # The connection is paused when this many messages wait, and resumed when few are left.
    MANY => 16,
    FEW => 4,
    # The reason for that pause.
    QUEUE => 'queue',
    HANDLE_DESTROYED => 'the program destroyed its handle',
};

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# An object of this class is in a connection's slot _ws_awaiting once one of the three methods was called. Its fields:
#
#   thread        the number of the thread in which it is valid
#   connection    a weak reference
#   receivers     the condvars that wait for a message. This list and the next two hold weak references, which are undef when
#                 the program has dropped a condvar
#   closers       the condvars that wait for the end
#   drainers      those that wait until all is written
#   kept          the condvars that have a callback, by address
#   queue         the messages that nobody has taken
#   has_received  true once receive was called
#   is_listening  true while _message_received is registered
#   discards      true if we have sent Close, and nobody has called receive since
#   end           an Ended once no more messages come
#   is_over       true once the connection has ended, or its handle was destroyed
#   expects_drain true while _drained is registered
#   later         a timer that hands out messages
#   destroyed     a timer that reports the end of a connection without a handle
sub _of {
    my ($self) = @_;
    my $awaiting = $self->{_ws_awaiting};
    return $awaiting if $awaiting && $awaiting->{thread} == AnyEvent::WebSocket::Native::Util::thread_id();
    # That of a connection that was copied into this thread: it must not report an end here.
    $awaiting->{is_over} = 1 if $awaiting;
    return $self->{_ws_awaiting} = _new_of($self);
}

sub _new_of {
    my ($self) = @_;
    my $awaiting = bless { kept => {}, map { $_ => [] } qw( receivers closers drainers queue ) };
    $awaiting->{thread} = AnyEvent::WebSocket::Native::Util::thread_id();
    $awaiting->{connection} = $self;
    Scalar::Util::weaken $awaiting->{connection};
    AnyEvent::WebSocket::Native::Backpressure::end_with_handle($self);
    _look_for_end($self, $awaiting);
    return $awaiting;
}

# The connection may have ended before, or can receive no more.
sub _look_for_end {
    my ($self, $awaiting) = @_;
    my $error;
    if (!defined AnyEvent::WebSocket::Native::Engine::state($self)) { $error = 'it belongs to another thread' }
    elsif (!$self->{_ws_end} && !$self->handle->{fh} && AnyEvent::WebSocket::Native::Loop::has_begun($self)) {
        $error = HANDLE_DESTROYED;
    }
    $awaiting->{is_over} = defined $error || $self->{_ws_end} ? 1 : 0;
    $awaiting->{end} = _why($self, $error) if $awaiting->{is_over} || defined $self->{_ws_failure} || defined $self->close_code;
}

sub _why {
    my ($self, $error) = @_;
    ($error) = grep { defined } $error, $self->{_ws_failure}, $self->close_error;
    my @own_close = AnyEvent::WebSocket::Native::Ended::own_close($self);
    return AnyEvent::WebSocket::Native::Ended->new(
        error => $error, code => $self->close_code, reason => $self->close_reason,
        own_close => @own_close ? \@own_close : undef,
    );
}

# Removes the condvars from a list, and returns those that still wait.
sub _all_of {
    my ($list) = @_;
    return grep { $_ && !$_->ready } splice @$list;
}

sub _next_of {
    my ($list) = @_;
    while (@$list) {
        my $cv = shift @$list;
        return $cv if $cv && !$cv->ready;
    }
    return;
}

# Removes those that wait no more.
sub _tidy {
    my ($list) = @_;
    for my $i (reverse 0 .. $#$list) {
        splice @$list, $i, 1 if !$list->[$i] || $list->[$i]->ready;
    }
}

# --- receive

sub receive {
    Carp::croak('receive takes options, such as timeout => 5') if @_ % 2 == 0;
    my ($self, %options) = @_;
    my $timeout = delete $options{timeout};
    AnyEvent::WebSocket::Native::Util::no_more_options('receive', \%options, 'timeout');
    my $seconds = defined $timeout ? AnyEvent::WebSocket::Native::Number::seconds($timeout) : undef;
    Carp::croak('receive: timeout must be a number of seconds') if defined $timeout && !defined $seconds;
    my $awaiting = _of($self);
    delete $awaiting->{discards};
    my ($queue, $receivers) = @$awaiting{qw( queue receivers )};
    return _failed($awaiting) if !@$queue && $awaiting->{end};
    if (!@$queue) {
        my $rival = _rival($self);
        Carp::croak("receive: a callback for $rival gets the messages") if $rival;
        $awaiting->{has_received} = 1;
        _listen($self, $awaiting);
    }
    _tidy($receivers);
    my $cv = AnyEvent::WebSocket::Native::Awaited->new($awaiting, $receivers);
    _hand_out($self) if !$awaiting->{later};
    $cv->expire_after($seconds, "no message within $timeout s") if defined $seconds && !$cv->ready && $timeout != 9**9**9;
    return $cv;
}

sub _failed {
    my ($awaiting) = @_;
    my $cv = AnyEvent::WebSocket::Native::Awaited->new($awaiting);
    $cv->croak($awaiting->{end});
    return $cv;
}

sub _listen {
    my ($self, $awaiting) = @_;
    AnyEvent::WebSocket::Native::Events::add($self, each_message => \&_message_received) unless $awaiting->{is_listening}++;
}

# Returns the event for which the program has a callback that gets all messages.
sub _rival {
    my ($self) = @_;
    return 'message_chunk' if AnyEvent::WebSocket::Native::Events::callbacks($self, 'message_chunk');
    my $ours = Scalar::Util::refaddr \&_message_received;
    my @others =
        grep { Scalar::Util::refaddr($_) != $ours } AnyEvent::WebSocket::Native::Events::callbacks($self, 'each_message');
    return @others ? 'each_message' : ();
}

sub _message_received {
    my ($self, $message) = @_;
    my $awaiting = $self->{_ws_awaiting};
    my $cv = _next_of($awaiting->{receivers});
    my $rival = _rival($self);
    # A message that another callback gets too need not go back to the queue.
    return $rival ? $cv->send($message) : $cv->give($message) if $cv;
    return _listen_no_more($self, $awaiting) if $rival;
    my $queue = $awaiting->{queue};
    return if $awaiting->{discards} && @$queue >= MANY;
    push @$queue, $message;
    AnyEvent::WebSocket::Native::Backpressure::pause_for($self, QUEUE) if @$queue >= MANY && !$awaiting->{discards};
}

# The other callback gets the messages from now on.
sub _listen_no_more {
    my ($self, $awaiting) = @_;
    $awaiting->{is_listening} = 0;
    AnyEvent::WebSocket::Native::Events::remove($self, each_message => \&_message_received);
}

# When the other callbacks are gone, messages wait for receive again.
sub callback_removed {
    my ($awaiting) = @_;
    my $self = $awaiting->{connection} or return;
    _listen($self, $awaiting) if $awaiting->{has_received} && !$awaiting->{is_listening} && !_rival($self);
}

# Gives the messages of the queue to the condvars that wait.
sub _hand_out {
    my ($self) = @_;
    my $awaiting = $self->{_ws_awaiting};
    my ($queue, $receivers) = @$awaiting{qw( queue receivers )};
    while (@$queue) {
        my $cv = _next_of($receivers) or last;
        my $message = shift @$queue;
        _resume($self) if @$queue <= FEW;
        $cv->give($message);
    }
}

sub _resume {
    my ($self) = @_;
    AnyEvent::WebSocket::Native::Backpressure::resume_for($self, QUEUE)
        if AnyEvent::WebSocket::Native::Backpressure::is_paused_for($self, QUEUE);
}

# Called when a program drops a condvar with a message that it has not taken.
sub take_back {
    my ($awaiting, $message) = @_;
    my $self = $awaiting->{connection} or return;
    unshift @{ $awaiting->{queue} }, $message;
    Scalar::Util::weaken $self;
    $awaiting->{later} ||= AnyEvent::WebSocket::Native::Loop::next_tick(sub { _hand_out_again($self) if $self });
}

sub _hand_out_again {
    my ($self) = @_;
    delete $self->{_ws_awaiting}{later};
    my $rival = _rival($self);
    return put_back($self, $rival eq 'message_chunk') if $rival;
    _hand_out($self);
}

# Called when a callback for messages is registered: it gets those that wait in the queue.
sub put_back {
    my ($self, $is_streamed) = @_;
    my $awaiting = $self->{_ws_awaiting} or return;
    my @messages = splice @{ $awaiting->{queue} } or return;
    AnyEvent::WebSocket::Native::Engine::put_back($self, $is_streamed ? 1 : 0, @messages);
    _resume($self);
    AnyEvent::WebSocket::Native::Loop::arm_guard($self);
}

# --- closed

sub closed {
    my ($self) = @_;
    my $awaiting = _of($self);
    _tidy($awaiting->{closers});
    my $cv = AnyEvent::WebSocket::Native::Awaited->new($awaiting, $awaiting->{closers});
    $cv->send($awaiting->{end}) if $awaiting->{is_over};
    return $cv;
}

# --- drained

sub drained {
    my ($self) = @_;
    my $awaiting = _of($self);
    return _failed($awaiting) if $awaiting->{is_over};
    my $drainers = $awaiting->{drainers};
    _tidy($drainers);
    my $cv = AnyEvent::WebSocket::Native::Awaited->new($awaiting, $drainers);
    if (AnyEvent::WebSocket::Native::Backpressure::buffered_amount($self)) { _expect_drain($self, $awaiting) }
    else { $cv->send }
    return $cv;
}

sub _expect_drain {
    my ($self, $awaiting) = @_;
    return if $awaiting->{expects_drain}++;
    AnyEvent::WebSocket::Native::Events::add($self, drain => \&_drained);
    # Whoever has asked for the amount is called when nothing waits.
    AnyEvent::WebSocket::Native::Backpressure::buffered_amount($self);
}

sub _drained {
    my ($self) = @_;
    my $awaiting = $self->{_ws_awaiting};
    $awaiting->{expects_drain} = 0;
    AnyEvent::WebSocket::Native::Events::remove($self, drain => \&_drained);
    AnyEvent::WebSocket::Native::Util::call_all(
        map {
            my $cv = $_;
            sub { $cv->send }
        } _all_of($awaiting->{drainers}));
}

# --- called when the connection closes and ends

# We have sent a Close frame. Unless the program still wants messages, they must not keep us from reading the peer's.
sub close_sent {
    my ($self) = @_;
    my $awaiting = $self->{_ws_awaiting} or return;
    _tidy($awaiting->{receivers});
    return if @{ $awaiting->{receivers} };
    $awaiting->{discards} = 1;
    _resume($self);
}

# The peer has sent a Close frame, or the connection has failed.
sub no_more_messages {
    my ($self) = @_;
    my $awaiting = $self->{_ws_awaiting} or return;
    my $end = $awaiting->{end} ||= _why($self);
    _raise($end, $awaiting->{receivers});
}

sub _raise {
    my ($end, @lists) = @_;
    AnyEvent::WebSocket::Native::Util::call_all(
        map {
            my $cv = $_;
            sub { $cv->croak($end) }
        } map { _all_of($_) } @lists);
}

# The transport has closed.
sub finished { _end($_[0]) }

sub _end {
    my ($self, $error) = @_;
    my $awaiting = $self->{_ws_awaiting} or return;
    return if $awaiting->{is_over};
    $awaiting->{is_over} = 1;
    my $end = $awaiting->{end} ||= _why($self, $error);
    AnyEvent::WebSocket::Native::Util::call_all(
        sub { _raise($end, @$awaiting{qw( receivers drainers )}) },
        map {
            my $cv = $_;
            sub { $cv->send($end) }
        } _all_of($awaiting->{closers}),
    );
}

# Nobody calls finish then. But after an error of the transport, finish may still come.
sub handle_destroyed {
    my ($awaiting) = @_;
    my $self = $awaiting->{connection} or return;
    Scalar::Util::weaken $self;
    $awaiting->{destroyed} = AnyEvent::WebSocket::Native::Loop::next_tick(sub { _give_up($self) if $self });
}

sub _give_up {
    my ($self) = @_;
    my $awaiting = $self->{_ws_awaiting};
    delete $awaiting->{destroyed};
    return _end($self, HANDLE_DESTROYED) if AnyEvent::WebSocket::Native::Loop::has_begun($self);
    $awaiting->handle_destroyed;
}

# The program has dropped the connection. Its callbacks are called from the event loop.
sub DESTROY {
    my ($awaiting) = @_;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || $awaiting->{is_over};
    my @raising = map { _all_of($_) } @$awaiting{qw( receivers drainers )};
    my @sending = _all_of($awaiting->{closers});
    return unless @raising || @sending;
    my $end = $awaiting->{end} || AnyEvent::WebSocket::Native::Ended->new(error => 'the program dropped it');
    my $timer;
    $timer = AnyEvent::WebSocket::Native::Loop::next_tick(sub {
        undef $timer;
        AnyEvent::WebSocket::Native::Util::call_all(
            (   map {
                    my $cv = $_;
                    sub { $cv->croak($end) }
                } @raising
            ),
            (   map {
                    my $cv = $_;
                    sub { $cv->send($end) }
                } @sending
            ),
        );
    });
}

1;
