package AnyEvent::WebSocket::Blocking;

use strict;
use warnings;
use AnyEvent::WebSocket::Message ();
use AnyEvent::WebSocket::Native::Codec ();
use AnyEvent::WebSocket::Native::BlockingOpening ();
use AnyEvent::WebSocket::Native::Formats ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Transport ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Encode ();
use Scalar::Util ();

our $VERSION = '1.000';
our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

use constant {
    PING => 9,
    NORMAL => 1000,
    NO_STATUS => 1005,
    # What a peer may send while it does not read what we send, in bytes of messages that wait for `receive`.
    MAX_WAITING => 16 * 1024 * 1024,
    CHUNK => 65536,
};

# The codes with which a peer closes because it is done, or going away.
my %IS_PROPER = map { $_ => 1 } 1000, 1001, NO_STATUS;

*send_binary = \&AnyEvent::WebSocket::Native::Formats::send_binary;
*send_json = \&AnyEvent::WebSocket::Native::Formats::send_json;
*send_text = \&AnyEvent::WebSocket::Native::Formats::send_text;

sub connect {
    my ($class, $url, @options) = @_;
    my $parts = AnyEvent::WebSocket::Native::BlockingOpening::connect($url, @options);
    return bless {
        %$parts,
        input => '',
        messages => [],
        waiting => 0,
        written => 0,
        thread => _thread(),
        },
        $class;
}

# --- receiving

sub receive {
    my ($self, $seconds) = @_;
    my $has_come = $self->_wait(receive => $seconds, sub { @{ $self->{messages} } || defined $self->{end} });
    Carp::croak("receive: timed out after $seconds seconds") if !$has_come;
    if (my $message = shift @{ $self->{messages} }) {
        $self->{waiting} -= length $message->{body};
        return $message;
    }
    Carp::croak("receive: $self->{end}") if $self->{end} ne '';
    return;
}

sub can_receive {
    my ($self, $seconds) = @_;
    return $self->_wait(
        can_receive => defined $seconds ? $seconds : 0,
        sub { @{ $self->{messages} } || defined $self->{end} }
    ) ? 1 : 0;
}

# --- sending

sub send {
    my ($self, $message) = @_;
    $self->_check_use('send');
    my ($opcode, $octets) = AnyEvent::WebSocket::Native::Payload::frame_of($message, 'send');
    $self->_check_open('send');
    my $error = $self->{codec}->queue_frame($opcode, $octets);
    Carp::croak("send: $error") if defined $error;
    $self->_write_all or Carp::croak("send: timed out: the peer took nothing for $self->{timeout} seconds");
    $self->_check_open('send');
    return $self;
}

# Writes everything. Returns false if the peer takes nothing for a while: the connection is then of no more use, because part
# of a frame may be written.
sub _write_all {
    my ($self) = @_;
    while (!defined $self->{end} && length $self->{codec}->output(1)) {
        my $before = $self->{written};
        my $has_moved = $self->_run_until(
            _after($self->{timeout}),
            sub { defined $self->{end} || $self->{written} != $before || !length $self->{codec}->output(1) });
        next if $has_moved;
        $self->_end("the peer took nothing for $self->{timeout} seconds");
        $self->_drop;
        return 0;
    }
    return 1;
}

sub ping {
    my ($self, $seconds) = @_;
    $seconds = $self->{timeout} if !defined $seconds;
    $self->_check_use('ping');
    $self->_check_open('ping');
    my $since = AnyEvent::WebSocket::Native::Transport::now();
    my $payload = ++$self->{pings} . '';
    my $error = $self->{codec}->queue_frame(PING, $payload);
    Carp::croak("ping: $error") if defined $error;
    local $self->{pong} = '';
    $self->_wait(ping => $seconds, sub { $self->{pong} eq $payload || defined $self->{end} })
        or Carp::croak("ping: timed out after $seconds seconds");
    $self->_check_open('ping') if $self->{pong} ne $payload;
    return AnyEvent::WebSocket::Native::Transport::now() - $since;
}

# --- closing

sub close {
    my ($self, $code, $reason) = @_;
    $self->_check_use('close');
    $code = NORMAL if !defined $code;
    my $number = AnyEvent::WebSocket::Native::Number::whole($code);
    Carp::croak("close: $code is not a close code, which is a whole number from 1000 to 4999")
        unless defined $number && $number >= NORMAL && $number <= 4999;
    ($self->{messages}, $self->{waiting}) = ([], 0);
    if (!defined $self->{end}) {
        $self->{is_closing} = 1;
        my $octets = AnyEvent::WebSocket::Native::Payload::octets($reason);
        $self->{codec}->queue_close($number == NO_STATUS && $octets eq '' ? undef : $number, $octets);
        $self->_run_until(_after($self->{close_timeout}), sub { defined $self->{end} });
        $self->{end} = '';
        $self->_drop;
    }
    return $self->{is_closed} ? 1 : 0;
}

# --- what it is

sub close_code { return $_[0]{close_code} }
sub close_reason { return $_[0]{close_reason} }
sub is_open { return !defined $_[0]{end} && $_[0]{codec}->may_send ? 1 : 0 }
sub subprotocol { return $_[0]{subprotocol} }
sub handle { return $_[0]{transport} ? $_[0]{transport}->socket : undef }
sub fileno { my $handle = $_[0]->handle; return $handle ? CORE::fileno($handle) : undef }

# --- the work behind all that

sub _thread { return $INC{'threads.pm'} ? threads->tid : 0 }

# Croaks if the connection cannot be used here and now.
sub _check_use {
    my ($self, $method) = @_;
    Carp::croak("$method: the connection belongs to another thread") if $self->{thread} != _thread();
    Carp::croak("$method: a signal handler has interrupted a transfer") if $self->{is_moving};
}

sub _check_open {
    my ($self, $method) = @_;
    return if $self->is_open;
    Carp::croak("$method: " . (($self->{end} || '') eq '' ? 'the connection is closed' : $self->{end}));
}

sub _after {
    my ($seconds) = @_;
    return AnyEvent::WebSocket::Native::Transport::FOREVER if !$seconds;
    return AnyEvent::WebSocket::Native::Transport::now() + $seconds;
}

# Runs until the condition holds, for that many seconds; without end if they are undef. Returns false if it does not hold then.
sub _wait {
    my ($self, $method, $seconds, $holds) = @_;
    $self->_check_use($method);
    my $plain = defined $seconds ? AnyEvent::WebSocket::Native::Number::seconds($seconds) : undef;
    Carp::croak("$method: the time must be a number of seconds") if defined $seconds && !defined $plain;
    # An infinite number of seconds is 0 here.
    my $has_end = defined $seconds && ($plain || $seconds == 0);
    my $deadline =
        $has_end
        ? AnyEvent::WebSocket::Native::Transport::now() + $plain
        : AnyEvent::WebSocket::Native::Transport::FOREVER;
    return $self->_run_until($deadline, $holds);
}

# Moves bytes until the condition holds. Returns false if it does not hold at the deadline. Each time around, everything may
# have changed, because a signal handler may have used the connection.
sub _run_until {
    my ($self, $deadline, $holds) = @_;
    my $turns = 0;
    while (1) {
        $self->_take_events;
        return 1 if $holds->();
        return 0 if defined $self->{end} || $turns++ && AnyEvent::WebSocket::Native::Transport::now() >= $deadline;
        next if $self->_move('_write_some') || $self->_may_read && $self->_move('_read_some');
        $self->_await($deadline, $self->_may_read ? 'read' : (), length $self->{codec}->output(1) ? 'write' : ());
    }
}

sub _await {
    my ($self, $deadline, @directions) = @_;
    my $transport = $self->{transport} or return 0;
    return $transport->wait($deadline, @directions);
}

# A peer that sends without end while it does not read must not use up all memory.
sub _may_read { return $_[0]{waiting} < MAX_WAITING }

# Runs a transfer. An exception in a signal handler may leave it half done.
sub _move {
    my ($self, $transfer) = @_;
    $self->{is_moving} = 1;
    my $has_moved = $self->$transfer;
    $self->{is_moving} = 0;
    return $has_moved;
}

# Both return true if bytes were moved, or the connection has ended.
sub _write_some {
    my ($self) = @_;
    my $transport = $self->{transport} or return 1;
    my $octets = $self->{codec}->output(CHUNK);
    return 0 if $octets eq '';
    my $count = $transport->send($octets);
    return 0 if !defined $count;
    $count ? $self->{codec}->written($count) : $self->_lose;
    $self->{written} += $count;
    return 1;
}

sub _read_some {
    my ($self) = @_;
    my $transport = $self->{transport} or return 1;
    my $count = $transport->receive($self->{input});
    return 0 if !defined $count;
    $count ? $self->{codec}->feed($self->{input}) : $self->_lose;
    return 1;
}

my %TAKE = (
    message => sub {
        my ($self, $message) = @_;
        return if $self->{is_closing};
        push @{ $self->{messages} }, $message;
        $self->{waiting} += length $message->{body};
    },
    pong => sub { $_[0]{pong} = $_[1] },
    close => sub {
        my ($self, $code, $reason) = @_;
        $self->{close_code} = $code;
        $self->{close_reason} = Encode::decode('UTF-8', $reason);
        $self->{is_closed} = 1;
        my $said = $code == NO_STATUS ? '' : " with code $code" . ($reason eq '' ? '' : ": $self->{close_reason}");
        $self->_finish($IS_PROPER{$code} || $self->{is_closing} ? '' : "the peer closed the connection$said");
    },
    failure => sub { $_[0]->_finish($_[1]) },
);

sub _take_events {
    my ($self) = @_;
    while (!defined $self->{end} and my $event = $self->{codec}->next_event) {
        my ($kind, @values) = @$event;
        $TAKE{$kind}->($self, @values);
    }
}

# The transport has ended.
sub _lose {
    my ($self) = @_;
    my $error = $self->{transport}->error;
    $self->_end('the connection ended without a Close frame' . (defined $error ? ": $error" : ''));
    $self->_drop;
}

# Ends the connection after the peer's Close or a violation. The answer is written unless the peer takes nothing.
sub _finish {
    my ($self, $why) = @_;
    $self->_end($why);
    my $deadline = _after($self->{close_timeout});
    while ($self->{transport} && length $self->{codec}->output(1)) {
        next if $self->_move('_write_some');
        $self->_await($deadline, 'write') or last;
    }
    $self->_drop;
}

# The first reason counts.
sub _end {
    my ($self, $why) = @_;
    $self->{end} = $why if !defined $self->{end};
}

sub _drop {
    my ($self) = @_;
    $self->{codec}->give_up;
    my $transport = delete $self->{transport} or return;
    $transport->close;
}

1;
