package AnyEvent::WebSocket::Native::Backpressure;

# Back-pressure in both directions: a peer that reads too slowly, and a program that consumes too slowly.

use strict;
use warnings;
use AE ();
use AnyEvent::Util ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Events ();
use AnyEvent::WebSocket::Native::Handle ();
use AnyEvent::WebSocket::Native::Keepalive ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Options ();
use Errno ();
use Scalar::Util ();

# Seconds after which a backlog that does not wait for the socket is looked at again.
use constant LOOK_AGAIN => 0.05;

# Having reported a non-zero amount, we owe a `drain` event, even if the frames only wait for the end of this dispatch.
sub buffered_amount {
    my ($self) = @_;
    my $amount = AnyEvent::WebSocket::Native::Handle::backlog($self->handle);
    _owe_drain($self) if $amount;
    return $amount;
}

# The library calls this after a send that left bytes to be written, if the program may want to know the backlog. It is also
# called when the limit is set.
sub backlogged {
    my ($self) = @_;
    my $amount = buffered_amount($self) or return;
    my $max = AnyEvent::WebSocket::Native::Options::value($self, 'max_buffered_amount') or return;
    return unless $amount > $max;
    my $message = "more than $max bytes wait for the peer to read";
    AnyEvent::WebSocket::Native::Handle::give_up($self->handle, Errno::ENOBUFS, $message);
}

# This needs a watcher of its own, because the handle's on_drain belongs to the program.
sub _owe_drain {
    my ($self) = @_;
    my $state = AnyEvent::WebSocket::Native::Engine::state($self);
    return if !$self->{_ws_drain_cb} || $self->{_ws_drain_wait} || !defined $state || $state eq 'closed';
    my $fh = $self->handle->fh or return;
    end_with_handle($self);
    Scalar::Util::weaken $self;
    $self->{_ws_drain_wait} = AE::io $fh, 1, sub {
        return if !$self;
        if (AnyEvent::WebSocket::Native::Handle::backlog($self->handle)) {
            # The socket stays writable while TLS waits for the peer before it can encrypt.
            _look_later($self) if !length $self->handle->{wbuf};
            return;
        }
        # EV keeps a watcher while its callback runs, and the program's callback may run a nested event loop.
        $self->{_ws_drain_wait} = AnyEvent::WebSocket::Native::Loop::next_tick(sub { _drained($self) if $self });
    };
}

sub _look_later {
    my ($self) = @_;
    Scalar::Util::weaken $self;
    $self->{_ws_drain_wait} = AE::timer LOOK_AGAIN, 0, sub { _drained($self) if $self };
}

sub _drained {
    my ($self) = @_;
    delete $self->{_ws_drain_wait};
    return if buffered_amount($self);
    return AnyEvent::WebSocket::Native::Events::call_back($self, 'drain') if $self->handle->fh;
    # Without a transport the program has nothing to send, but a stream must report its end.
    my $stream = $self->{_ws_stream};
    $stream->{go_on}->($self) if $stream;
}

# The library calls this while the peer sends pings without reading the answers.
sub expect_drain {
    my ($self) = @_;
    my $fh = $self->handle->fh or return;
    end_with_handle($self);
    Scalar::Util::weaken $self;
    $self->{_ws_drain_watcher} = AE::io $fh, 1, sub {
        delete $self->{_ws_drain_watcher} if $self && !AnyEvent::WebSocket::Native::Engine::answer_ping($self);
    };
}

# No watcher may outlive the descriptor, which is closed when the program destroys the handle. Destroying empties its hash.
sub end_with_handle {
    my ($self) = @_;
    return if $self->{_ws_ends_with_handle}++;
    Scalar::Util::weaken(my $weak = $self);
    my $guard = AnyEvent::Util::guard(sub { _handle_destroyed($weak) if $weak && ${^GLOBAL_PHASE} ne 'DESTRUCT' });
    # This dies if the program has locked the hash.
    local ($@, $SIG{__DIE__});
    eval { $self->handle->{ '_websocket_' . Scalar::Util::refaddr $self} = $guard };
}

# Lets a stream report its end, and condvars become ready.
sub _handle_destroyed {
    my ($self) = @_;
    delete $self->{_ws_drain_watcher};
    $self->{_ws_awaiting}->handle_destroyed if $self->{_ws_awaiting};
    return unless delete $self->{_ws_drain_wait};
    Scalar::Util::weaken $self;
    $self->{_ws_drain_wait} = AnyEvent::WebSocket::Native::Loop::next_tick(sub { _drained($self) if $self });
}

# Both the program and a full queue of `receive` may pause a connection; it goes on when neither wants it paused.
use constant PROGRAM => 'program';

sub pause {
    my ($self) = @_;
    pause_for($self, PROGRAM);
    return $self;
}

sub resume {
    my ($self) = @_;
    resume_for($self, PROGRAM);
    return $self;
}

sub pause_for {
    my ($self, $reason) = @_;
    $self->{_ws_paused_for}{$reason} = 1;
    AnyEvent::WebSocket::Native::Engine::set_paused($self, 1);
    AnyEvent::WebSocket::Native::Keepalive::hold($self);
    _stop_reading($self);
    # If the handle called us with bytes that it read itself, it starts reading again when this returns.
    Scalar::Util::weaken(my $weak = $self);
    $self->{_ws_pause} = AnyEvent::WebSocket::Native::Loop::next_tick(sub { _stop_reading($weak) if $weak });
}

sub _stop_reading {
    my ($self) = @_;
    delete $self->{_ws_pause};
    $self->handle->stop_read;
}

sub resume_for {
    my ($self, $reason) = @_;
    my $reasons = $self->{_ws_paused_for} || {};
    delete $reasons->{$reason};
    return if %$reasons;
    delete @$self{qw( _ws_pause _ws_paused_for )};
    AnyEvent::WebSocket::Native::Engine::set_paused($self, 0);
    AnyEvent::WebSocket::Native::Keepalive::unhold($self);
    $self->handle->start_read;
    # A handle that reads by itself delivers nothing while a callback runs the event loop.
    AnyEvent::WebSocket::Native::Engine::read_natively($self);
    # The event loop delivers the messages that arrived before pause.
    AnyEvent::WebSocket::Native::Loop::arm_guard($self);
}

sub is_paused_for { $_[0]{_ws_paused_for} && $_[0]{_ws_paused_for}{ $_[1] } }

1;
