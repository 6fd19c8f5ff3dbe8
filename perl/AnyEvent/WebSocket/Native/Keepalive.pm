package AnyEvent::WebSocket::Native::Keepalive;

# Pings, their answers, and peers that give none, or nothing at all. No timer is touched by a message.

use strict;
use warnings;
use AE ();
use Carp ();
use Errno ();
use Moo::Role;
use Scalar::Util ();

use constant { MAX_PAYLOAD => 125, DEFAULT_TIMEOUT => 20 };

has [qw( idle_timeout ping_interval ping_timeout )] => ( is => 'rw' );

sub ping
{
  my($self, $payload) = @_;
  my $octets = _octets_of($payload);
  Carp::croak('ping: the payload must not be longer than ' . MAX_PAYLOAD . ' bytes') if length $octets > MAX_PAYLOAD;
  # Without a list of callbacks, the dispatcher discards pongs.
  $self->{_pong_cb} ||= [];
  $self->{_last_ping} = [$octets, AE::time];
  return $self->send(AnyEvent::WebSocket::Message->new(opcode => 9, body => $octets));
}

sub _octets_of { AnyEvent::WebSocket::Connection::_octets(@_) }

sub latency { $_[0]{_latency} }

sub _start_keepalive
{
  my($self) = @_;
  delete @$self{qw( _keepalive _pong_timer )};
  my $interval = $self->ping_interval;
  return unless $interval && AnyEvent::WebSocket::Connection::state($self) eq 'open';
  Scalar::Util::weaken $self;
  $self->{_keepalive} = AE::timer $interval, $interval, sub { $self->_keep_alive if $self };
}

# Each ping has a payload of its own, by which its pong is known.
sub _keep_alive
{
  my($self) = @_;
  ping($self, pack 'N', ++$self->{_pings});
  my $timeout = $self->ping_timeout;
  $timeout = DEFAULT_TIMEOUT unless defined $timeout;
  return if !$timeout || $self->{_pong_timer};
  Scalar::Util::weaken $self;
  $self->{_pong_timer} = AE::timer $timeout, 0, sub {
    $self->_give_up(Errno::ETIMEDOUT, "the peer did not answer a ping within $timeout seconds") if $self;
  };
}

sub _stop_keepalive
{
  my($self) = @_;
  delete @$self{qw( _keepalive _pong_timer _silence_timer )};
}

# One timer, which looks when something was read last; the handle's own rtimeout is the program's.
sub _start_idle_timer
{
  my($self, $after) = @_;
  delete $self->{_silence_timer};
  my $timeout = $self->idle_timeout;
  return unless $timeout && AnyEvent::WebSocket::Connection::state($self) eq 'open';
  Scalar::Util::weaken $self;
  $self->{_silence_timer} = AE::timer defined $after ? $after : $timeout, 0, sub {
    my $left = $self ? ($self->handle->{_ractivity} || 0) + $timeout - AE::now : return;
    return $self->_start_idle_timer($left) if $left > 0;
    $self->_give_up(Errno::ETIMEDOUT, "the peer sent nothing within $timeout seconds");
  };
}

sub _ping_received
{
  my($self, $payload) = @_;
  $_->($self, $payload) for my @callbacks = $self->_callbacks('ping');
}

# Whatever the peer answers, it is there; but only the last ping's own pong tells how long one takes.
sub _pong_received
{
  my($self, $payload) = @_;
  delete $self->{_pong_timer};
  my $last = $self->{_last_ping};
  $self->{_latency} = AE::time - delete($self->{_last_ping})->[1] if $last && $last->[0] eq $payload;
  $_->($self, $payload) for my @callbacks = $self->_callbacks('pong');
}

1;
