package AnyEvent::WebSocket::Native::Awaited;

# The condvars of `receive`, `closed` and `drained`. They can be awaited with Future::AsyncAwait, and a message that a program
# was given but has not taken goes back to the queue.

use strict;
use warnings;
use AE ();
use AnyEvent ();
use AnyEvent::WebSocket::Native::Ended ();
use Carp ();
use Scalar::Util ();

our @ISA = 'AnyEvent::CondVar';
our @CARP_NOT = qw( AnyEvent::CondVar AnyEvent::CondVar::Base );

# Creates a condvar that waits in a list of `$awaiting`, which holds it only if somebody has set its callback: a program that
# drops it waits no more.
sub new {
    my ($class, $awaiting, $list) = @_;
    my $self = $class->SUPER::new;
    $self->{_ws_awaiting} = $awaiting;
    Scalar::Util::weaken $self->{_ws_awaiting};
    if ($list) {
        push @$list, $self;
        Scalar::Util::weaken $list->[-1];
    }
    return $self;
}

# Croaks unless the condvar becomes ready within so many seconds.
sub expire_after {
    my ($self, $seconds, $text) = @_;
    AE::now_update();
    Scalar::Util::weaken $self;
    $self->{_ws_timer} = AE::timer $seconds, 0, sub { $self->croak($text) if $self };
}

# Becomes ready with a message, which goes back to the queue unless the program takes it.
sub give {
    my ($self, $message) = @_;
    $self->{_ws_message} = $message;
    $self->send($message);
}

sub send {
    my ($self, @values) = @_;
    delete $self->{_ws_message} if $self->{_ae_cb};
    $self->_wait_no_more;
    # A callback may assign to $_, which belongs to the code that runs the event loop.
    for (my $topic) { $self->SUPER::send(@values) }
    return;
}

sub _wait_no_more {
    my ($self) = @_;
    delete $self->{_ws_timer};
    my $awaiting = $self->{_ws_awaiting};
    delete $awaiting->{kept}{ Scalar::Util::refaddr $self} if $awaiting;
}

sub cb {
    my ($self, @callback) = @_;
    return $self->SUPER::cb unless @callback;
    my $awaiting = $self->{_ws_awaiting};
    if ($self->ready) { delete $self->{_ws_message} if $callback[0] }
    elsif ($awaiting && $callback[0]) { $awaiting->{kept}{ Scalar::Util::refaddr $self} = $self }
    elsif ($awaiting) { delete $awaiting->{kept}{ Scalar::Util::refaddr $self} }
    # This calls the callback at once if the condvar is ready.
    my $before;
    for (my $topic) { $before = $self->SUPER::cb(@callback) }
    return $before;
}

sub recv {
    my ($self) = @_;
    _add_place($self);
    my @values = $self->SUPER::recv;
    delete $self->{_ws_message};
    return wantarray ? @values : $values[0];
}

sub _wait {
    my ($self) = @_;
    $self->SUPER::_wait;
    _add_place($self);
}

# Croaking adds the caller's line only to strings.
sub _add_place {
    my ($self) = @_;
    my $exception = $self->{_ae_croak} or return;
    return unless ref $exception eq 'AnyEvent::WebSocket::Native::Ended';
    $self->{_ae_croak} = $exception->raised_at(Carp::shortmess(''));
}

sub cancel {
    my ($self) = @_;
    return if $self->ready;
    $self->_wait_no_more;
    $self->{_ws_is_cancelled} = 1;
    delete $self->{_ae_cb};
    $self->SUPER::croak('cancelled');
}

sub DESTROY {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    my $awaiting = $self->{_ws_awaiting} or return;
    my $message = delete $self->{_ws_message} or return;
    local $@;
    $awaiting->take_back($message);
}

# --- what Future::AsyncAwait calls. A future that is cancelled calls the condvar that it awaits like a sub, which is `send`.

sub AWAIT_IS_READY { return $_[0]->ready ? 1 : 0 }
sub AWAIT_IS_CANCELLED { return $_[0]{_ws_is_cancelled} ? 1 : 0 }
sub AWAIT_GET { goto &recv }
sub AWAIT_WAIT { goto &recv }

sub AWAIT_ON_READY {
    my ($self, $code) = @_;
    my $before = $self->cb;
    $self->cb(sub { $before->(@_) if $before; $code->(@_) });
}

# The future of the sub that awaits this condvar first.
sub AWAIT_CLONE {
    my $class = $INC{'AnyEvent/Future.pm'} ? 'AnyEvent::Future' : 'Future';
    require Future;
    return $class->new;
}

1;
