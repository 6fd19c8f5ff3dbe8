package ApiFuzz::Callbacks;

# The part of an ApiFuzz::Link that checks what reaches the program: the messages that the peer sent, each once and in order,
# no event while the connection is paused, and `finish` once.

use strict;
use warnings;
use Scalar::Util qw(blessed refaddr tainted weaken);
use WebSocketTest ();
use ApiFuzz::Wire qw(shown);

my %OBSERVER = (
    each_message => \&_got_message, finish => \&_got_finish, parse_error => \&_got_error, drain => \&_got_drain,
    ping => sub { shift->_heard(ping => @_) }, pong => sub { shift->_heard(pong => @_) },
);

# Registers our own callbacks first, so that for each message they precede all of the plan's except those for next_message.
sub observe {
    my ($self) = @_;
    my $connection = $self->{connection};
    my @events = (qw(each_message finish parse_error), $self->{spec}{listens} ? qw(ping pong drain) : ());
    $connection->on($_ => $self->_observer($connection, $OBSERVER{$_})) for @events;
}

# A connection whose handle another one has taken over has no more events but `drain` in a gentle plan. In other plans the
# take-over may come in the middle of a message.
sub _observer {
    my ($self, $connection, $code) = @_;
    weaken(my $weak = $self);
    my $address = refaddr $connection;
    return sub {
        my $is_old = !$weak || $address != $weak->{address};
        $weak->$code(@_) unless $is_old && (!$weak || !$weak->{fuzz}->is_gentle || $code == \&_got_drain);
    };
}

# Registers a message_chunk callback of our own, which joins the chunks, before the first of the plan. `on` is called
# before the list is touched, since a replaced one may delete the list.
sub listen_for_chunks {
    my ($self) = @_;
    return if $self->{chunk_cancels};
    my $connection = $self->{connection};
    my $cancel = $connection->on(message_chunk => $self->_observer($connection, \&_got_chunk));
    $self->{chunk_cancels} = [$cancel];
}

sub _is_it { blessed $_[1] && refaddr $_[1] == $_[0]{address} }

sub judge_connection {
    my ($self, $event, $connection) = @_;
    my $may_be_old = $self->{is_wrapped} && !$self->{fuzz}->is_gentle;
    $self->problem("a callback for $event gets another connection") unless $may_be_old || $self->_is_it($connection);
}

# --- events

sub _got_message {
    my ($self, $connection, $message, $unregister) = @_;
    $self->judge_connection('a message', $connection);
    $self->problem('no unregister sub') unless ref $unregister eq 'CODE';
    $self->problem('a whole message in the middle of chunks') if defined $self->{chunks} && $self->is_judged;
    $self->_received($message, blessed $message && $message->isa('AnyEvent::WebSocket::Message') ? $message->body : undef);
}

sub _got_chunk {
    my ($self, $connection, $message, $is_final) = @_;
    $self->judge_connection('a chunk', $connection);
    $self->_judge_time('a chunk', $self->{received});
    WebSocketTest::poke();
    $self->problem('an empty chunk that is not the last') unless $is_final || length $message->body;
    $self->{chunks} = '' unless defined $self->{chunks};
    $self->{chunks} .= $message->body;
    return unless $is_final;
    $_->() for $self->{ends_chunks} ? @{ delete $self->{chunk_cancels} || [] } : ();
    $self->{ends_chunks} = 0;
    $self->_received($message, delete $self->{chunks});
}

sub _received {
    my ($self, $message, $body) = @_;
    my $index = $self->{received}++;
    WebSocketTest::poke();
    $self->problem('a message after finish') if $self->{finished} && !$self->{late}{$index};
    return if $self->{tampered}{$index} || $self->{is_void};
    $self->_judge_time("message $index", $index);
    return $self->problem("message $index is not a message object") unless defined $body;
    $self->problem("message $index is not tainted") if ${^TAINT} && !tainted($body);
    my $expected = $self->{expected}[$index] or return $self->problem('a message that nobody sent');
    return if $message->opcode == $expected->[0] && $body eq $expected->[1];
    $self->problem("message $index is " . shown($message->opcode, $body) . ', not ' . shown(@$expected));
}

# If a callback pauses the connection, the message's remaining callbacks are still called.
sub _judge_time {
    my ($self, $what, $index) = @_;
    return unless $self->is_judged;
    $self->problem("$what while paused") if $self->{at_hand} && !$self->{at_hand}{$index};
    $self->problem("$what from within resume") if $self->{is_resuming};
}

sub _heard {
    my ($self, $event, $connection, $payload) = @_;
    $self->judge_connection($event, $connection);
    WebSocketTest::poke();
    return unless $self->is_judged;
    $self->problem("the payload of a $event is not tainted") if ${^TAINT} && length $payload && !tainted($payload);
    # Answering a ping may call on_drain, which may pause.
    $self->problem("a $event while paused") if $self->{at_hand} && !$self->{has_on_drain};
    my $expected = shift @{ $self->{heard}{$event} };
    $self->problem("$event: " . shown(0, $payload) . ', not ' . (defined $expected ? shown(0, $expected) : 'any'))
        if !defined $expected || $payload ne $expected;
}

# The connection promises `drain` after it reported a buffered amount.
sub _got_drain {
    my ($self, $connection) = @_;
    $self->judge_connection('drain', $connection);
    WebSocketTest::poke();
    $self->{owes_drain} = 0;
    my $handle = $connection->handle;
    my ($left) = grep { length($handle->{$_} // '') } qw(wbuf _tls_wbuf);
    $self->problem("drain, but $left is not empty") if $left && $self->is_judged;
}

# If next_message callbacks are running, their messages still reach the each_message callbacks.
sub _got_finish {
    my ($self, $connection) = @_;
    WebSocketTest::poke();
    $self->{late} = { %{ $self->{under_way} } };
    $self->problem('finish twice') if $self->{finished}++;
    $self->problem('finish before the end') if $self->is_judged;
    $self->judge_connection('finish', $connection);
}

# Only a callback's own exception may come after finish or an earlier error: that callback was still running, having found by
# sending, or by running the event loop, that the peer is gone.
sub _got_error {
    my ($self, $connection, $error) = @_;
    my $is_late = $self->{finished} || $self->{errors}++;
    $self->problem("parse_error too late: $error") if $is_late && $error !~ $ApiFuzz::EXPECTED;
    $self->problem("parse_error: $error") if $self->is_judged;
    $self->judge_connection('parse_error', $connection);
}

1;
