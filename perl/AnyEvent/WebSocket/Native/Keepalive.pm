package AnyEvent::WebSocket::Native::Keepalive;

# Sends pings, and detects peers that do not answer or send nothing. Messages do not restart timers.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Message ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Events ();
use AnyEvent::WebSocket::Native::Handle ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Errno ();
use constant {
    PING => 9,
    MAX_PAYLOAD => 125,
};
use constant TIMERS => qw( _ws_keepalive _ws_pong_timer _ws_silence_timer );
use Scalar::Util ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

sub ping {
    my ($self, $payload) = @_;
    my $text = AnyEvent::WebSocket::Native::Util::text_of($payload, 'ping: the payload');
    my $octets = AnyEvent::WebSocket::Native::Payload::octets($text);
    Carp::croak('ping: the payload must not be longer than ' . MAX_PAYLOAD . ' bytes') if length $octets > MAX_PAYLOAD;
    # It comes before the program's callbacks, because these may ask for the latency.
    my $callbacks = $self->{_ws_pong_cb} ||= [];
    my $is_there = @$callbacks && Scalar::Util::refaddr $callbacks->[0] == Scalar::Util::refaddr \&_note_pong;
    unshift @$callbacks, \&_note_pong unless $is_there;
    $self->{_ws_last_ping} = [$octets, AE::time];
    return $self->send(AnyEvent::WebSocket::Message->new(opcode => PING, body => $octets));
}

sub latency { $_[0]{_ws_latency} }

sub start_keepalive {
    my ($self) = @_;
    delete @$self{qw( _ws_keepalive _ws_pong_timer )};
    my $interval = AnyEvent::WebSocket::Native::Options::value($self, 'ping_interval');
    return unless $interval && AnyEvent::WebSocket::Native::Engine::is_open($self);
    Scalar::Util::weaken $self;
    $self->{_ws_keepalive} = AE::timer $interval, $interval, sub { _keep_alive($self) if $self };
}

# Each ping has a different payload, which identifies its pong.
sub _keep_alive {
    my ($self) = @_;
    ping($self, pack 'N', ++$self->{_ws_pings});
    my $timeout = AnyEvent::WebSocket::Native::Options::value($self, 'ping_timeout');
    _await_pong($self, $timeout) if $timeout && !$self->{_ws_pong_timer} && !$self->{_ws_ignores_silence};
}

sub _await_pong {
    my ($self, $timeout) = @_;
    my $since = AE::time;
    _after_silence(
        $self,
        _ws_pong_timer => $timeout,
        sub {
            my ($self) = @_;
            return _await_pong($self, $timeout) if _was_alive($self, $since);
            _give_up($self, "the peer did not answer a ping within $timeout seconds");
        });
}

sub _give_up {
    my ($self, $message) = @_;
    AnyEvent::WebSocket::Native::Handle::give_up($self->handle, Errno::ETIMEDOUT, $message);
}

# A pong arrives after what the peer is sending already, and a ping after what it has yet to read.
sub _was_alive {
    my ($self, $since) = @_;
    my ($read, $written) = map { $self->handle->{$_} || 0 } qw( _ractivity _wactivity );
    return $read > $since || $written > $since && AnyEvent::WebSocket::Native::Handle::backlog($self->handle);
}

# Calls back when the time is over and everything that arrived was read: a slow callback may have blocked the loop.
sub _after_silence {
    my ($self, $timer, $seconds, $cb) = @_;
    Scalar::Util::weaken $self;
    $self->{$timer} = AE::timer $seconds, 0, sub {
        $self or return;
        $self->{$timer} = AE::timer AnyEvent::WebSocket::Native::Loop::poll_delay(), 0, sub {
            my ($connection, $then) = ($self || return, $cb);
            delete $connection->{$timer};
            $then->($connection);
        };
    };
}

# Called by pause: a program that does not read cannot detect a silent peer.
sub hold {
    my ($self) = @_;
    $self->{_ws_ignores_silence} = 1;
    delete @$self{qw( _ws_pong_timer _ws_silence_timer )};
}

sub unhold {
    my ($self) = @_;
    delete $self->{_ws_ignores_silence} and start_idle_timer($self);
}

sub stop { delete @{ $_[0] }{ (TIMERS) } }

# One timer checks when something was last read. The handle's rtimeout belongs to the program.
sub start_idle_timer {
    my ($self) = @_;
    delete $self->{_ws_silence_timer};
    my $timeout = AnyEvent::WebSocket::Native::Options::value($self, 'idle_timeout');
    _await_silence($self, $timeout, $timeout)
        if $timeout && !$self->{_ws_ignores_silence} && AnyEvent::WebSocket::Native::Engine::is_open($self);
}

sub _await_silence {
    my ($self, $timeout, $after) = @_;
    _after_silence(
        $self,
        _ws_silence_timer => $after,
        sub {
            my ($self) = @_;
            # A handle that passes calls on to another does not record this.
            my $left = ($self->handle->{_ractivity} || AE::time) + $timeout - AE::time;
            return _await_silence($self, $timeout, $left) if $left > 0;
            _give_up($self, "the peer sent nothing within $timeout seconds");
        });
}

# Any pong shows that the peer is alive, but only the pong of the last ping measures the latency.
sub _note_pong {
    my ($self, $payload) = @_;
    delete $self->{_ws_pong_timer};
    my $last = $self->{_ws_last_ping};
    $self->{_ws_latency} = AE::time - delete($self->{_ws_last_ping})->[1] if $last && $last->[0] eq $payload;
}

1;
