package AnyEvent::WebSocket::Native::Closing;

# Ends connections: after a Close frame of ours or the peer's, a violation, an exception, or the end of the transport.

use strict;
use warnings;
use AE ();
use AnyEvent::Log ();
use AnyEvent::WebSocket::Message ();
use AnyEvent::WebSocket::Native::Awaiting ();
use AnyEvent::WebSocket::Native::Ended ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Events ();
use AnyEvent::WebSocket::Native::Inspection ();
use AnyEvent::WebSocket::Native::Keepalive ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Encode ();
use Errno ();
use Scalar::Util ();

use constant {
    # Stands for a Close frame without a code, and is never sent.
    NO_STATUS => 1005,
    CLOSE => 8,
    # The result of close_at_once if it has shut down the socket.
    IS_SHUT_DOWN => 2,
};

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# The slots of the timers and watchers that the end of the connection stops.
my @TIMERS = (
    AnyEvent::WebSocket::Native::Keepalive::TIMERS, qw( _ws_close_timer _ws_drain_watcher _ws_drain_wait _ws_window_timer ),
);

# --- Close frames

# Returns a plain number, or undef if it is not a close code.
sub code_of {
    my ($code) = @_;
    return NO_STATUS if !ref $code && ($code // '') eq NO_STATUS;    # the default; faster than what follows
    my $number = AnyEvent::WebSocket::Native::Number::whole($code);
    return defined $number && $number >= 1000 && $number <= 4999 ? $number : undef;
}

# Implements the method `close`; `default` is the code to send if the program passes none.
sub close_with_default {
    my ($default, $self, $code, $reason) = @_;
    my $is_answer = AnyEvent::WebSocket::Native::Engine::owes_close($self);
    # An empty Close frame is answered with an empty one, whatever the default is.
    $code ||= $is_answer ? NO_STATUS : $default;
    my $number = code_of($code);
    Carp::croak('close: ' . ($code // 'undef') . ' is not a close code, which is a whole number from 1000 to 4999')
        unless defined $number;
    return $self unless AnyEvent::WebSocket::Native::Engine::can_close($self);
    Carp::carp("close: $number is a code that must not be sent (RFC 6455, 7.4)") if _is_forbidden($number);
    Carp::carp('close: the reason is a reference, not a string')
        if ref $reason && AnyEvent::WebSocket::Native::Util::is_bare_reference($reason);
    AnyEvent::WebSocket::Native::Ended::note_own_close($self, $number, defined $reason ? "$reason" : undef) if !$is_answer;
    $reason = defined $reason ? AnyEvent::WebSocket::Native::Payload::encoded("$reason") : '';
    my $is_bare = $number == NO_STATUS && $reason eq '';
    my @frame = ($is_bare ? undef : $number, $reason);
    if (my $exceptions = _close_at_once($self, @frame)) {
        AnyEvent::WebSocket::Native::Util::rethrow(@$exceptions) if @$exceptions;
        return $self;
    }
    # Sending may call the handle's on_drain, which may die.
    AnyEvent::WebSocket::Native::Util::call_each([\&_send_close, \&_half_close], $self, @frame);
    return $self;
}

# Sends a Close frame, and shuts down the write side behind it, both natively. If the socket has an error, that ends the connection.
# Returns a reference to an array, with the exception if a callback has died meanwhile. Does nothing, and returns nothing, if something
# waits to be written, or a method has to be called that a program has replaced.
sub _close_at_once {
    my ($self, $code, $reason) = @_;
    my ($progress, $error);
    {
        # Some loops use $@ when they make timers.
        local $@;
        eval { $progress = AnyEvent::WebSocket::Native::Engine::close_at_once($self, $code, $reason); 1 } or $error = $@;
        return if !defined $error && !$progress;
        $self->{_ws_shutdown} = 1 if $progress && $progress == IS_SHUT_DOWN;
        _half_close($self);
    }
    return [defined $error ? $error : ()];
}

# 1005 stands for an empty Close frame.
sub _is_forbidden { return $_[0] == 1004 || $_[0] == 1006 || $_[0] >= 1015 && $_[0] <= 2999 }

# If a subclass or a program has replaced `send`, this frame goes through its `send` too.
sub _send_close {
    my ($self, $code, $reason) = @_;
    return AnyEvent::WebSocket::Native::Engine::send_close($self, $code, $reason)
        if AnyEvent::WebSocket::Native::Engine::sends_natively($self);
    my $body = defined $code ? pack('n a*', $code, $reason) : '';
    $self->send(AnyEvent::WebSocket::Message->new(opcode => CLOSE, body => $body));
}

# Shuts down the write side once everything queued is written. A peer that does not close its own side in time is dropped.
sub _half_close {
    my ($self) = @_;
    AnyEvent::WebSocket::Native::Keepalive::stop($self);
    AnyEvent::WebSocket::Native::Awaiting::close_sent($self) if $self->{_ws_awaiting};
    _shut_down($self);
    # POE's timers would keep the descriptor of a destroyed handle open, and during global destruction EV's loop may be gone.
    return if !$self->handle->{fh} || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    my $timeout = AnyEvent::WebSocket::Native::Options::value($self, 'close_timeout') or return;
    Scalar::Util::weaken $self;
    $self->{_ws_close_timer} = AE::timer $timeout, 0, sub {
        # The peer may still read what was sent before, for as long as the handle lingers.
        $self->handle->_error(Errno::ETIMEDOUT, 1, "the peer did not close the connection within $timeout seconds") if $self;
    };
}

# The method `close` of the class.
my $close;
sub set_method { ($close) = @_ }

# The library calls this for the peer's Close frame. `code` is NO_STATUS if that is empty and valid.
sub close_received {
    my ($self, $code, $reason, $is_valid) = @_;
    if (defined $code) {
        $self->close_code($code);
        $self->close_reason(length $reason ? Encode::decode('UTF-8', $reason) : '');
    }
    return unless $is_valid;
    $code = undef if $code == NO_STATUS;
    # Programs override or replace `close`, and expect it to be called here, too.
    if (!$self->{_ws_awaiting} && $self->can('close') == $close) {
        return _shut_down($self) if $self->{_ws_shutdown} && !AnyEvent::WebSocket::Native::Engine::can_close($self);
        if (my $exceptions = _close_at_once($self, $code, '')) {
            # It would count as one of a message callback here, but belongs to the event loop.
            AE::postpone(sub { AnyEvent::WebSocket::Native::Util::rethrow(@$exceptions) }) if @$exceptions;
            return;
        }
    }
    AnyEvent::WebSocket::Native::Util::call_each(
        [\&_call_close, \&_shut_down, \&AnyEvent::WebSocket::Native::Awaiting::no_more_messages],
        $self, $code);
}

sub _call_close {
    my ($self, $code) = @_;
    $self->close(defined $code ? $code : ());
}

# Closes the write side once everything queued is written. The slot _ws_shutdown is 1 once that is done. Until then it is the
# on_drain that will do it; if the program has set another on_drain since, the handle has forgotten ours.
sub _shut_down {
    my ($self) = @_;
    my $asked = $self->{_ws_shutdown};
    return if $asked && !ref $asked;
    my $handle = $self->handle;
    return if $asked && ref $handle->{on_drain} && Scalar::Util::refaddr($handle->{on_drain}) == Scalar::Util::refaddr($asked);
    $handle->push_shutdown;
    # It may be the program's, and hold the connection.
    Scalar::Util::weaken($self->{_ws_shutdown} = $handle->{on_drain}) if ref $handle->{on_drain};
    return;
}

# --- failures

# The library calls this after a violation, or when a message callback died.
sub failed {
    my ($self) = @_;
    local $@;
    AnyEvent::WebSocket::Native::Util::call_each(
        [\&_half_close, \&_report_failure, \&AnyEvent::WebSocket::Native::Awaiting::no_more_messages],
        $self);
}

sub _report_failure {
    my ($self) = @_;
    my ($error, $is_exception) = @{ AnyEvent::WebSocket::Native::Engine::take_failure($self) || return };
    # As text, because an exception may hold the connection.
    $self->{_ws_failure} = _shown($error);
    AnyEvent::WebSocket::Native::Inspection::trace(
        $self,
        ($is_exception ? 'a message callback died: ' : 'failed: ') . _shown($error)
    ) if AnyEvent::WebSocket::Native::Inspection::IS_TRACED;
    _log_exception($self, $error) if $is_exception && !AnyEvent::WebSocket::Native::Events::callbacks($self, 'parse_error');
    AnyEvent::WebSocket::Native::Events::call_back($self, parse_error => $error);
}

# The original says nothing, so nobody would notice.
sub _log_exception {
    my ($self, $error) = @_;
    my $whose = AnyEvent::WebSocket::Native::Inspection::peer($self) || 'a connection';
    AnyEvent::Log::ctx('AnyEvent::WebSocket::Connection')
        ->log(error => "a message callback of $whose died, and nothing listens to parse_error: " . _shown($error));
}

# Converting an exception object to a string may die.
sub _shown {
    my ($error) = @_;
    local ($@, $SIG{__DIE__});
    my $text = eval { "$error" };
    return defined $text ? $text : 'an exception that cannot be shown';
}

# --- the end of the transport

# The library calls this at the end of file. Meanwhile the handle must not call on_read; while it runs its own callbacks, it sees to
# that itself.
sub hung_up {
    my ($self, $handle) = @_;
    delete $handle->{_rw};
    $handle->{_eof} = 1;
    local $handle->{_skip_drain_rbuf} = 1;
    finish($self);
}

# Called when the transport has closed; `message` is undef at the end of file. The end is not reported before the program has
# had a chance to register a callback.
sub finish {
    my ($self, $message) = @_;
    return _finish_now($self, $message) if $self->{_finish_cb} && AnyEvent::WebSocket::Native::Loop::has_begun($self);
    # After an error the handle is about to discard what it has read.
    AnyEvent::WebSocket::Native::Engine::take_read_buffer($self);
    AnyEvent::WebSocket::Native::Loop::after_begin($self, sub { _finish_now($_[0], $message) });
}

# Whatever callbacks do, finish is called once.
sub _finish_now {
    my ($self, $message) = @_;
    if (!$self->{_ws_awaiting} && AnyEvent::WebSocket::Native::Engine::end_quietly($self)) {
        _call_finish($self, $message);
        AnyEvent::WebSocket::Native::Awaiting::finished($self) if $self->{_ws_awaiting};
        return;
    }
    AnyEvent::WebSocket::Native::Util::call_each(
        [\&AnyEvent::WebSocket::Native::Engine::deliver_rest, \&_report_end], $self,
        $message);
}

sub _report_end {
    my ($self, $message) = @_;
    return unless AnyEvent::WebSocket::Native::Engine::transport_closed($self);
    AnyEvent::WebSocket::Native::Util::call_each(
        [\&_report_failure, \&_call_finish, \&AnyEvent::WebSocket::Native::Awaiting::finished],
        $self, $message);
}

sub _call_finish {
    my ($self, $message) = @_;
    delete @$self{@TIMERS};
    _shut_down($self);
    $self->close_error($message) if defined $message;
    $self->{_ws_end} = [$message];
    AnyEvent::WebSocket::Native::Inspection::trace($self, 'finished: ' . (defined $message ? $message : 'end of file'))
        if AnyEvent::WebSocket::Native::Inspection::IS_TRACED;
    AnyEvent::WebSocket::Native::Events::call_back($self, finish => $message);
}

# Calls a callback from the event loop if it was registered after the end. Does nothing if the connection has not ended.
sub finish_late {
    my ($self, $cb) = @_;
    return unless $self->{_ws_end};
    push @{ $self->{_ws_late} }, $cb;
    Scalar::Util::weaken $self;
    $self->{_ws_late_timer} ||= AnyEvent::WebSocket::Native::Loop::next_tick(sub { _call_late($self) if $self });
}

sub _call_late {
    my ($self) = @_;
    delete $self->{_ws_late_timer};
    my @late = @{ delete $self->{_ws_late} };
    for my $cb (@late) {
        my @registered = AnyEvent::WebSocket::Native::Events::callbacks($self, 'finish');
        next unless grep { Scalar::Util::refaddr $_ == Scalar::Util::refaddr $cb } @registered;
        my @own = ($self, @{ $self->{_ws_end} });
        $_->(@own) for $cb;
    }
}

1;
