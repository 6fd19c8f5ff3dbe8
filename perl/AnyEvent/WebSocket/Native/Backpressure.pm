package AnyEvent::WebSocket::Native::Backpressure;

# Peers that read more slowly than they are sent to, and programs that read more slowly than they are.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::Util ();
use Errno ();
use Moo::Role;
use Scalar::Util ();

# Here and beside, public methods that are new are called as functions: a program's subclass may have its own of that name.

sub buffered_amount
{
  my($self) = @_;
  my $handle = $self->handle;
  my $amount = 0;
  # Without a copy, for which perl would share the buffer's memory.
  $amount += length($handle->{$_} // '') for qw( wbuf _tls_wbuf );
  # Who is told that something waits is told when it does no more, also if that was for the end of this dispatch alone.
  $self->_await_drain
    if $amount && $self->{_drain_cb} && !$self->{_drain_wait} && (AnyEvent::WebSocket::Native::Engine::state($self) // 'closed') ne 'closed';
  return $amount;
}

# Called after a send that has left something to be written, if the program may want to know.
sub backlogged
{
  my($self) = @_;
  my $amount = buffered_amount($self) or return;
  my $max = AnyEvent::WebSocket::Native::Options::value($self, 'max_buffered_amount');
  $self->_give_up(Errno::ENOBUFS, "more than $max bytes wait for the peer to read") if $max && $amount > $max;
}

# A watcher of our own, since the handle's on_drain is the program's.
sub _await_drain
{
  my($self) = @_;
  my $fh = $self->handle->fh or return;
  $self->_end_with_handle;
  Scalar::Util::weaken $self;
  $self->{_drain_wait} = AE::io $fh, 1, sub {
    return if !$self || buffered_amount($self);
    # EV keeps a watcher for as long as its callback runs, and the program's may run the loop.
    $self->{_drain_wait} = AnyEvent::WebSocket::Native::Loop::next_tick(sub { $self->_drained if $self });
  };
}

sub _drained
{
  my($self) = @_;
  delete $self->{_drain_wait};
  return if buffered_amount($self);
  # A program has nothing to send without a transport, but a stream has its end to tell.
  return $self->_send_chunks if !$self->handle->fh;
  $self->_call_back('drain');
}

# No watcher may outlive the descriptor, which is closed when the program destroys the handle. That empties its hash.
sub _end_with_handle
{
  my($self) = @_;
  return if $self->{_ends_with_handle}++;
  Scalar::Util::weaken(my $weak = $self);
  my $guard = AnyEvent::Util::guard(sub { $weak->_handle_destroyed if $weak && ${^GLOBAL_PHASE} ne 'DESTRUCT' });
  # The program may have locked the hash.
  local $@;
  eval { $self->handle->{'_websocket_' . Scalar::Util::refaddr $self} = $guard };
}

# A stream has its end to tell.
sub _handle_destroyed
{
  my($self) = @_;
  delete $self->{_drain_watcher};
  return unless delete $self->{_drain_wait};
  Scalar::Util::weaken $self;
  $self->{_drain_wait} = AnyEvent::WebSocket::Native::Loop::next_tick(sub { $self->_drained if $self });
}

sub pause
{
  my($self) = @_;
  AnyEvent::WebSocket::Native::Engine::hold($self, 1);
  $self->_hold_keepalive;
  $self->handle->stop_read;
  return $self;
}

sub resume
{
  my($self) = @_;
  AnyEvent::WebSocket::Native::Engine::hold($self, 0);
  $self->_resume_keepalive;
  $self->handle->start_read;
  # From the event loop, what had arrived before pause is delivered.
  AnyEvent::WebSocket::Native::Loop::arm_guard($self);
  return $self;
}

1;
