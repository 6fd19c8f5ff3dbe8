package AnyEvent::WebSocket::Native::Keepalive;

# Pings, their answers, and peers that give none, or nothing at all. No timer is touched by a message.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Backpressure ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Errno ();
use constant MAX_PAYLOAD => 125;
use Moo::Role;
use Scalar::Util ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

sub ping
{
  my($self, $payload) = @_;
  my $octets = _octets_of(AnyEvent::WebSocket::Native::Util::text_of($payload, 'ping: the payload'));
  Carp::croak('ping: the payload must not be longer than ' . MAX_PAYLOAD . ' bytes') if length $octets > MAX_PAYLOAD;
  # Without a list of callbacks, the dispatcher discards pongs.
  $self->{_pong_cb} ||= [];
  $self->{_last_ping} = [$octets, AE::time];
  return $self->send(AnyEvent::WebSocket::Message->new(opcode => 9, body => $octets));
}

sub _octets_of { AnyEvent::WebSocket::Connection::_octets(@_) }

sub latency { $_[0]{_latency} }

sub start_keepalive
{
  my($self) = @_;
  delete @$self{qw( _keepalive _pong_timer )};
  my $interval = AnyEvent::WebSocket::Native::Options::value($self, 'ping_interval');
  return unless $interval && AnyEvent::WebSocket::Native::Engine::is_open($self);
  Scalar::Util::weaken $self;
  $self->{_keepalive} = AE::timer $interval, $interval, sub { $self->_keep_alive if $self };
}

# Each ping has a payload of its own, by which its pong is known.
sub _keep_alive
{
  my($self) = @_;
  ping($self, pack 'N', ++$self->{_pings});
  my $timeout = AnyEvent::WebSocket::Native::Options::value($self, 'ping_timeout');
  $self->_await_pong($timeout) if $timeout && !$self->{_pong_timer} && !$self->{_ignores_silence};
}

sub _await_pong
{
  my($self, $timeout) = @_;
  my $since = AE::time;
  $self->_after_silence(_pong_timer => $timeout, sub {
    my($self) = @_;
    return $self->_await_pong($timeout) if $self->_was_alive($since);
    $self->_give_up(Errno::ETIMEDOUT, "the peer did not answer a ping within $timeout seconds");
  });
}

# A pong comes behind what the peer is sending, and a ping goes behind what it is reading.
sub _was_alive
{
  my($self, $since) = @_;
  my($read, $written) = map { $self->handle->{$_} || 0 } qw( _ractivity _wactivity );
  return $read > $since || $written > $since && AnyEvent::WebSocket::Native::Backpressure::buffered_amount($self);
}

# Calls back when the time is over and what has come has been read: a callback that took long may have kept the loop from it.
sub _after_silence
{
  my($self, $timer, $seconds, $cb) = @_;
  Scalar::Util::weaken $self;
  $self->{$timer} = AE::timer $seconds, 0, sub {
    $self or return;
    $self->{$timer} = AE::timer AnyEvent::WebSocket::Native::Loop::poll_delay(), 0, sub {
      my($connection, $then) = ($self || return, $cb);
      delete $connection->{$timer};
      $then->($connection);
    };
  };
}

# A program that does not read cannot tell who is silent.
sub _hold_keepalive
{
  my($self) = @_;
  $self->{_ignores_silence} = 1;
  delete @$self{qw( _pong_timer _silence_timer )};
}

sub _resume_keepalive
{
  my($self) = @_;
  delete $self->{_ignores_silence} and start_idle_timer($self);
}

sub _stop_keepalive
{
  my($self) = @_;
  delete @$self{qw( _keepalive _pong_timer _silence_timer )};
}

# One timer, which looks when something was read last; the handle's own rtimeout is the program's.
sub start_idle_timer
{
  my($self) = @_;
  delete $self->{_silence_timer};
  my $timeout = AnyEvent::WebSocket::Native::Options::value($self, 'idle_timeout');
  $self->_await_silence($timeout, $timeout)
    if $timeout && !$self->{_ignores_silence} && AnyEvent::WebSocket::Native::Engine::is_open($self);
}

sub _await_silence
{
  my($self, $timeout, $after) = @_;
  $self->_after_silence(_silence_timer => $after, sub {
    my($self) = @_;
    # A handle that passes calls on to another does not say.
    my $left = ($self->handle->{_ractivity} || AE::time) + $timeout - AE::time;
    return $self->_await_silence($timeout, $left) if $left > 0;
    $self->_give_up(Errno::ETIMEDOUT, "the peer sent nothing within $timeout seconds");
  });
}

sub _ping_received
{
  my($self, $payload) = @_;
  $self->_call_back(ping => $payload);
}

# Whatever the peer answers, it is there; but only the last ping's own pong tells how long one takes.
sub _pong_received
{
  my($self, $payload) = @_;
  delete $self->{_pong_timer};
  my $last = $self->{_last_ping};
  $self->{_latency} = AE::time - delete($self->{_last_ping})->[1] if $last && $last->[0] eq $payload;
  $self->_call_back(pong => $payload);
}

1;
