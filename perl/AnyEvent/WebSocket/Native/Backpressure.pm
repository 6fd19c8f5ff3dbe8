package AnyEvent::WebSocket::Native::Backpressure;

# Peers that read more slowly than they are sent to, and programs that read more slowly than they are.

use strict;
use warnings;
use AE ();
use Errno ();
use Moo::Role;
use Scalar::Util ();

has max_buffered_amount => ( is => 'rw' );

# Here and beside, public methods that are new are called as functions: a program's subclass may have its own of that name.

sub buffered_amount
{
  my($self) = @_;
  my $handle = $self->handle;
  my $amount = 0;
  $amount += length $_ for grep { defined } @$handle{qw( wbuf _tls_wbuf )};
  return $amount;
}

# Called after a send that has left something to be written, once _watch_backlog was.
sub _backlogged
{
  my($self) = @_;
  my $amount = buffered_amount($self) or return;
  my $max = $self->max_buffered_amount;
  return $self->_give_up(Errno::ENOBUFS, "more than $max bytes wait for the peer to read") if $max && $amount > $max;
  $self->_await_drain if $self->{_drain_cb} && !$self->{_drain_wait};
}

# A watcher of our own, since the handle's on_drain is the program's.
sub _await_drain
{
  my($self) = @_;
  my $fh = $self->handle->fh or return;
  Scalar::Util::weaken $self;
  $self->{_drain_wait} = AE::io $fh, 1, sub {
    return if !$self || buffered_amount($self);
    delete $self->{_drain_wait};
    my $connection = $self;
    $_->($connection) for my @callbacks = $connection->_callbacks('drain');
  };
}

sub pause
{
  my($self) = @_;
  $self->_hold(1);
  $self->handle->stop_read;
  return $self;
}

sub resume
{
  my($self) = @_;
  $self->_hold(0);
  $self->handle->start_read;
  # From the event loop, what had arrived before pause is delivered.
  $self->_expect_recursion;
  return $self;
}

1;
