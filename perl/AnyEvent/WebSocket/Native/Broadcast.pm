package AnyEvent::WebSocket::Native::Broadcast;

# One message to many connections. Those that can take the same octets are written to natively; the others' send is called.

use strict;
use warnings;
use Carp ();
use Moo::Role;
use Scalar::Util ();

sub broadcast
{
  my(undef, $connections, $message, %options) = @_;
  my($except, $max) = delete @options{qw( except max_buffered_amount )};
  Carp::croak("broadcast: there is no option $_") for sort keys %options;
  Carp::croak('broadcast: the connections must be a reference to an array') unless ref $connections eq 'ARRAY';
  Carp::croak('broadcast: max_buffered_amount must be a whole number') if defined $max && $max !~ /\A[0-9]{1,18}\z/;
  my($opcode, $octets) = AnyEvent::WebSocket::Connection::_frame_of($message, 'broadcast');
  # Natively, no array's own FETCH is called.
  my $list = tied @$connections ? [@$connections] : $connections;
  my $outcome = AnyEvent::WebSocket::Connection::_broadcast($list, $opcode, $octets, $except, defined $max ? 0 + $max : undef);
  Carp::croak("broadcast: $outcome") unless ref $outcome;
  my($count, $rest, $cut_off) = @$outcome;
  $_->_finish_broadcast for @$cut_off;
  _send_each($rest, $message) if @$rest;
  return $count;
}

# The handle's own machinery writes what the kernel did not take.
sub _finish_broadcast
{
  my($self) = @_;
  $self->handle->_drain_wbuf;
  $self->_backlogged;
}

# One that dies must not keep the others from getting theirs.
sub _send_each
{
  my($connections, $message) = @_;
  my @errors;
  for my $connection (grep { Scalar::Util::blessed $_ } @$connections)
  {
    local $@;
    eval { $connection->send($message); 1 } or push @errors, $@;
  }
  die $errors[0] if @errors;
  Carp::croak('broadcast: the list holds something that is no connection') if grep { !Scalar::Util::blessed $_ } @$connections;
}

1;
