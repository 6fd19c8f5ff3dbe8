package AnyEvent::WebSocket::Native::Loop;

# When things happen: everything that depends on which event loop it is.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Engine ();
use Scalar::Util ();

# Returns a watcher that calls back once control is back in the event loop. Programs register their callbacks before they
# return to the event loop, or right after a `recv`. Some loops fire a zero-delay timer that was created in a callback
# before that point, and some any timer that is due, so two short timers are chained. EV does not need this.
sub next_tick {
    my ($cb) = @_;
    return AE::timer 0, 0, $cb if $AnyEvent::MODEL eq 'AnyEvent::Impl::EV';
    my $timers = [];
    Scalar::Util::weaken(my $weak = $timers);
    $timers->[0] = AE::timer 1e-6, 0, sub { $weak->[1] = AE::timer 1e-6, 0, $cb if $weak };
    return $timers;
}

# Returns the delay of a timer that is not called before the loop has looked for what can be read. AnyEvent's own loop looks
# only when no timer is due, by a clock that has stood still meanwhile.
sub poll_delay {
    return 0 if $AnyEvent::MODEL eq 'AnyEvent::Impl::EV';
    AE::now_update();
    return 1e-4;
}

# --- the first turn of the loop: until then nothing is delivered, so that the program can register its callbacks

# Has `hook` begin. It is a sub that calls `begin`, by way of the library or not.
sub begin_later {
    my ($self, $hook) = @_;
    $self->{_ws_starter} ||= next_tick($hook);
}

# Has `then` called when delivery has begun, with the connection.
sub after_begin {
    my ($self, $then) = @_;
    $self->{_ws_after_begin} ||= $then;
    Scalar::Util::weaken $self;
    begin_later($self, sub { begin($self) if $self });
}

sub has_begun { !$_[0]{_ws_starter} }

sub begin {
    my ($self) = @_;
    delete $self->{_ws_starter};
    AnyEvent::WebSocket::Native::Engine::start($self);
    my $then = delete $self->{_ws_after_begin};
    $then->($self) if $then;
}

# --- the guard against nested loops: a timer that goes on with a dispatch if one of its callbacks runs the event loop

# The callback gets the messages behind its own, and has its frames written, from here.
sub arm_guard {
    my ($self, $delay) = @_;
    Scalar::Util::weaken $self;
    $self->{_ws_guard} = AE::timer $delay || 0, 0, sub {
        $self or return;
        AnyEvent::WebSocket::Native::Engine::flush($self);
        AnyEvent::WebSocket::Native::Engine::dispatch_pending($self);
    };
}

sub disarm_guard {
    my ($self) = @_;
    delete $self->{_ws_guard};
}

# What a dispatch has left comes after what other connections have.
sub yield_to_loop {
    my ($self) = @_;
    arm_guard($self, poll_delay());
}

1;
