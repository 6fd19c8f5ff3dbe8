package AnyEvent::WebSocket::Reconnecting::Lifecycle;

# Connects, notices the end of a connection, and decides whether and when to try again. The program's object owns an object of
# this class and destroys it. Nothing here keeps the program's object alive, so the program may drop it in any callback.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Util ();
use AnyEvent::WebSocket::Reconnecting::Failure ();
use AnyEvent::WebSocket::Reconnecting::Options ();
use AnyEvent::WebSocket::Reconnecting::Queue ();
use List::Util ();
use constant { PING_INTERVAL => 25 };
use Scalar::Util ();

our $VERSION = '1.000';

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# States:
#
#     idle ──start──> connecting ──> open ──close──> closing ──> closed
#                      ^      │        │                           ^
#                      │      v        v                           │
#                      └──── waiting <─┘          give_up, or close without a connection
#
# `turn` is the number of the attempt, and of the connection that comes of it. What a callback of an earlier turn reports no
# longer matters. It grows with each attempt, and when one is given up.

sub new {
    my ($class, $owner, $options) = @_;
    my $self = bless {
        options => $options,
        owner => $owner,
        callbacks => {},
        queue => AnyEvent::WebSocket::Reconnecting::Queue->new(@$options{qw( max_queue max_queue_bytes )}),
        state => 'idle',
        turn => 0,
        failures => 0,
    }, $class;
    Scalar::Util::weaken $self->{owner};
    return $self;
}

sub callbacks { $_[0]{callbacks} }
sub failures { $_[0]{failures} }
sub queue { $_[0]{queue} }
sub state { $_[0]{state} }

sub connection { $_[0]{is_ready} ? $_[0]{connection} : undef }

sub start {
    my ($self) = @_;
    return if $self->{state} =~ /\A(?:connecting|open)\z/;
    $self->{is_wanted} = 1;
    # When the connection has ended, it is replaced.
    return if $self->{state} eq 'closing';
    delete $self->{gave_up};
    $self->{failures} = 0;
    $self->_forget('connecting');
    $self->_after(timer => 0, sub { $_[0]->_attempt });
    return;
}

sub close {
    my ($self, @arguments) = @_;
    return if $self->{state} =~ /\A(?:closing|closed)\z/ && !$self->{is_wanted};
    my ($connection, $state) = @$self{qw( connection state )};
    $self->{is_wanted} = 0;
    return $self->_forget('closed') if !$connection;
    $self->{state} = 'closing';
    if (!eval { $connection->close(@arguments); 1 }) {
        @$self{qw( is_wanted state )} = (1, $state);
        die $@;
    }
    $self->_forget('closed') if !$self->{is_ready};
    return;
}

sub destroy {
    my ($self) = @_;
    $self->{is_wanted} = 0;
    $self->{callbacks} = {};
    $self->_forget('closed');
}

# Sends a message, or queues it. Returns an error text if neither is possible.
sub send {
    my ($self, $message) = @_;
    return $self->{gave_up} ? "gave up: $self->{gave_up}" : 'it has been closed'
        if !$self->{is_wanted} && $self->{state} ne 'idle';
    return $self->{queue}->add($message) if $self->{queue}->count || !$self->_can_send;
    $self->{connection}->send($message);
    return undef;
}

sub _can_send {
    my ($self) = @_;
    my $connection = $self->{state} eq 'open' && $self->{connection} or return 0;
    return $connection->state eq 'open' if $connection->can('state');
    # The original does nothing after either end, and does not tell.
    return !defined $connection->close_code && !$connection->handle->destroyed;
}

sub _send_queued {
    my ($self) = @_;
    my $queue = $self->{queue};
    while ($queue->count && $self->_can_send) {
        my $message = $queue->first;
        $queue->remove_first;
        $self->{connection}->send($message);
    }
}

# --- timers and turns

sub _after {
    my ($self, $name, $seconds, $cb) = @_;
    Scalar::Util::weaken $self;
    $self->{$name} = AE::timer $seconds, 0, sub {
        my $strong = $self or return;
        delete $strong->{$name};
        $cb->($strong);
    };
    return;
}

# Returns a sub that does something if this turn has not ended, and otherwise does nothing. It does not keep the object alive.
sub _in_turn {
    my ($self, $code, $otherwise) = @_;
    my $turn = $self->{turn};
    Scalar::Util::weaken $self;
    return sub {
        my $strong = $self;
        return $code->($strong, @_) if $strong && $strong->{turn} == $turn;
        return $otherwise ? $otherwise->(@_) : ();
    };
}

# Ends the turn: drops the attempt or the connection.
sub _forget {
    my ($self, $state) = @_;
    $self->{turn}++;
    $self->{state} = $state;
    my ($client) = delete @$self{qw( client connection deadline is_ready refusal stable timer )};
    $client->give_up if $client && $client->isa('AnyEvent::WebSocket::Reconnecting::Client');
    return;
}

# --- connecting

sub _attempt {
    my ($self) = @_;
    $self->_forget('connecting');
    my ($uri, $client, $seconds) = @{ $self->{options} }{qw( uri client connect_timeout )};
    $self->_after(deadline => $seconds, sub { $_[0]->_failed("not connected within $seconds seconds") }) if $seconds;
    $self->_with_result(
        $uri,
        [],
        sub {
            my ($self, @target) = @_;
            $self->_with_result($client, [], sub { $_[0]->_connect($_[1], @target) });
        });
}

# Calls back with a value, or with what a sub of the program returns, or with what a condvar gets that it returns. If one of
# these dies, the turn ends.
sub _with_result {
    my ($self, $source, $arguments, $then) = @_;
    my $done = $self->_in_turn($then);
    return $done->($source) if ref $source ne 'CODE';
    my $failed = $self->_in_turn(\&_failed);
    my ($error, @results) = _try(sub { $source->($self->{owner}, @$arguments) });
    return $failed->($error) if defined $error;
    return $done->(@results)
        unless Scalar::Util::blessed $results[0] && $results[0]->isa('AnyEvent::CondVar::Base');
    $results[0]->cb(sub {
        my ($condvar) = @_;
        my ($error, @results) = _result_of($condvar);
        return defined $error ? $failed->($error) : $done->(@results);
    });
}

# Returns the exception or undef, and then the values that the sub returns.
sub _try {
    my ($code) = @_;
    local $@;
    my @results;
    return (undef, @results) if eval { @results = $code->(); 1 };
    return defined $@ && length $@ ? $@ : 'unknown error';
}

# Does the same with a condvar that is ready. This adds the line of the `recv` to an error.
sub _result_of {
    my ($condvar) = @_;
    my ($error, @results) = _try(sub { $condvar->recv });
    $error =~ s/ at (?:(?! at ).)+ line [0-9]+\.?\n\z//s if defined $error && !ref $error;
    return ($error, @results);
}

sub _connect {
    my ($self, $client, @target) = @_;
    return $self->_failed('there is no URI', is_final => 1) unless defined $target[0] && length $target[0];
    my $answered = $self->_in_turn(\&_answered, \&_close_late);
    my $failed = $self->_in_turn(\&_failed);
    my ($error, $condvar) = _try(sub {
        $client = $self->_client_of($client) if ref $client eq 'HASH';
        $self->{client} = $client;
        return $client->connect(@target);
    });
    # These are mistakes in the arguments: errors on the way are those of the condvar.
    return $failed->($error, is_final => 1) if defined $error;
    $condvar->cb($answered);
}

# A client that cannot be given up may connect when nobody wants that any more.
sub _close_late {
    my ($condvar) = @_;
    my (undef, $connection) = _result_of($condvar);
    $connection->close if $connection;
}

sub _client_of {
    my ($self, $arguments) = @_;
    my $own = $arguments->{on_refused};
    my $on_refused = $self->_in_turn(sub {
        my ($self, $refusal) = @_;
        $self->{refusal} = $refusal;
        $own->($refusal) if $own;
    });
    return AnyEvent::WebSocket::Reconnecting::Options::client_of($arguments, on_refused => $on_refused);
}

sub _answered {
    my ($self, $condvar) = @_;
    my ($error, $connection) = _result_of($condvar);
    return $self->_failed($error) if defined $error;
    delete $self->{client};
    $self->{connection} = $connection;
    _configure($connection, $self->{options}{for_connection});
    $connection->on(each_message => $self->_in_turn(\&_message));
    $connection->on($_ => $self->_in_turn(\&_lost)) for qw( finish parse_error );
    my $subscribe = $self->{options}{subscribe} or return $self->_ready;
    $self->_with_result($subscribe, [$connection], \&_ready);
}

# A peer that is cut off does not end its connection, so there are pings if the program does not say otherwise.
sub _configure {
    my ($connection, $options) = @_;
    $connection->ping_interval(PING_INTERVAL) if $connection->can('ping_interval') && !defined $connection->ping_interval;
    $connection->$_($options->{$_}) for grep { $connection->can($_) } sort keys %$options;
}

sub _ready {
    my ($self) = @_;
    @$self{qw( state is_ready )} = ('open', 1);
    delete $self->{deadline};
    $self->_after(stable => $self->{options}{stable_after}, sub { $_[0]{failures} = 0 });
    AnyEvent::WebSocket::Native::Util::call_all(
        $self->_calls(connect => $self->{connection}),
        $self->_in_turn(\&_send_queued));
}

# --- while connected

sub _message {
    my ($self, undef, $message) = @_;
    my $callbacks = $self->{callbacks};
    # This is a copy, because callbacks may register and unregister others.
    my @entries = (@{ delete $callbacks->{next_message} || [] }, @{ $callbacks->{each_message} || [] });
    for my $entry (@entries) {
        my $owner = $self->{owner} or return;
        my ($cb, $unregister) = @$entry;
        $cb->($owner, $message, $unregister);
    }
}

# After a broken rule, or an exception in a callback, the peer may take its time to hang up. That need not be awaited.
sub _lost {
    my ($self, $connection, $error) = @_;
    my $failure = AnyEvent::WebSocket::Reconnecting::Failure->of_connection($connection, $error);
    my $ended = $self->{is_ready} && $connection;
    $self->_forget($self->{is_wanted} ? 'waiting' : 'closed');
    return $self->_decide($failure, $ended) if $self->{is_wanted};
    AnyEvent::WebSocket::Native::Util::call_all($self->_calls(disconnect => $failure, $ended)) if $ended;
}

# --- after a failure

sub _failed {
    my ($self, $error, %more) = @_;
    my $failure = AnyEvent::WebSocket::Reconnecting::Failure->new(error => $error, refusal => $self->{refusal}, %more);
    my $connection = $self->{connection};
    $self->_forget('waiting');
    $connection->close if $connection;
    $self->_decide($failure);
}

# Everything is decided before the program learns of it, because its callbacks may die, or call any method.
sub _decide {
    my ($self, $failure, $ended) = @_;
    $failure->{attempts} = ++$self->{failures};
    my $turn = $self->{turn};
    my $is_retried = $self->_is_retried($failure);
    my @calls = $ended ? $self->_calls(disconnect => $failure, $ended) : ();
    if ($self->{turn} == $turn) {
        my $delay = $self->_delay($failure);
        if ($is_retried) {
            $self->_after(timer => $delay, sub { $_[0]->_attempt });
        } else {
            @$self{qw( state is_wanted gave_up )} = ('closed', 0, $failure);
        }
        push @calls, $self->_in_turn(sub { $_[0]->_report($is_retried ? (retry => $failure, $delay) : (give_up => $failure)) });
    }
    AnyEvent::WebSocket::Native::Util::call_all(@calls);
}

sub _is_retried {
    my ($self, $failure) = @_;
    my $max = $self->{options}{max_attempts};
    return 0 if $max && $self->{failures} >= $max;
    my ($error, $answer) = _try(sub { scalar $self->{options}{retry_if}->($self->{owner}, $failure) });
    return $answer if !defined $error;
    AE::log error => "retry_if died: $error";
    return !$failure->is_final;
}

# Full jitter: clients that lost the same server come back at different times.
sub _delay {
    my ($self, $failure) = @_;
    my ($initial, $factor, $max, $random) = @{ $self->{options} }{qw( initial_delay delay_factor max_delay random )};
    my $seconds = $initial * $factor**List::Util::min($self->{failures} - 1, 100);
    $seconds = $max if $max && $seconds > $max;
    return $seconds * $random->() + ($failure->retry_after || 0);
}

sub _report {
    my ($self, $event, $failure, @more) = @_;
    my @calls = $self->_calls($event => $failure, @more);
    return AnyEvent::WebSocket::Native::Util::call_all(@calls) if @calls;
    AE::log error => "$failure; giving up" if $event eq 'give_up';
    AE::log info => sprintf '%s; next attempt in %.1f s', $failure, @more if $event eq 'retry';
}

# Returns subs that call the callbacks of an event, as long as the program's object exists.
sub _calls {
    my ($self, $event, @arguments) = @_;
    my @callbacks = map { $_->[0] } @{ $self->{callbacks}{$event} || [] };
    return map {
        my $cb = $_;
        sub { my $owner = $self->{owner} or return; $cb->($owner, @arguments) }
    } @callbacks;
}

1;
