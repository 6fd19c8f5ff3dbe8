package AnyEvent::WebSocket::Native::Loop;

# Schedules calls: everything that depends on the event loop.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Util ();
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

# Returns a delay that lets the loop check for readable descriptors before it calls the timer. AnyEvent's own loop checks only
# when no timer is due, and its clock stands still meanwhile.
sub poll_delay {
    return 0 if $AnyEvent::MODEL eq 'AnyEvent::Impl::EV';
    AE::now_update();
    return 1e-4;
}

# Takes the arguments of a watcher's callback whose watcher was deleted. EV would call it until the callback has returned that
# deleted it, which may run the event loop.
sub stop_deleted { $_[0]->stop if ref $_[0] eq 'EV::IO' }

# --- the first iteration of the loop: until then nothing is delivered, so that the program can register its callbacks

# Makes the loop call the handle callback once, which then calls `begin`, directly or through the library.
sub begin_later {
    my ($self, $handle_callback) = @_;
    $self->{_ws_starter} ||= next_tick($handle_callback);
}

# Calls `then` with the connection when delivery has begun.
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
    AnyEvent::WebSocket::Native::Util::call_all(
        sub { AnyEvent::WebSocket::Native::Engine::start($self) },
        sub { my $then = delete $self->{_ws_after_begin}; $then->($self) if $then },
    );
}

# --- the guard against nested event loops: a timer that continues a dispatch if one of its callbacks runs the event loop

# Delivers the messages behind that of the callback, and writes the frames that it has sent. That may call the handle's on_drain,
# which may die.
sub _continue {
    my ($self) = @_;
    AnyEvent::WebSocket::Native::Util::call_each(
        [\&AnyEvent::WebSocket::Native::Engine::flush, \&AnyEvent::WebSocket::Native::Engine::dispatch_pending], $self);
}

sub arm_guard {
    my ($self, $delay) = @_;
    Scalar::Util::weaken $self;
    $self->{_ws_guard} = AE::timer $delay || 0, 0, sub { _continue($self) if $self };
}

# Arms the guard for a dispatch with several messages. EV's timers can be stopped and started again, so there all connections
# share one, and the library does not call this again.
sub begin_burst {
    my ($self) = @_;
    return arm_guard($self) if $AnyEvent::MODEL ne 'AnyEvent::Impl::EV';
    my $timer = EV::timer(0, 0, \&_continue_next);
    AnyEvent::WebSocket::Native::Engine::share_guard($self, $timer, \&EV::Timer::start, \&EV::Timer::stop);
}

# Callbacks of one connection may wait for another, so the timer goes on before they are called.
sub _continue_next {
    my ($timer) = @_;
    my ($connection, $is_more) = @{ AnyEvent::WebSocket::Native::Engine::take_guarded() };
    $timer->start if $is_more;
    _continue($connection) if $connection;
}

sub disarm_guard {
    my ($self) = @_;
    delete $self->{_ws_guard};
}

# The messages that a dispatch has left wait until other connections have had their turn.
sub yield_to_loop {
    my ($self) = @_;
    arm_guard($self, poll_delay());
}

1;
