package AnyEvent::WebSocket::Native::Events;

# Keeps a connection's callbacks, by event.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Scalar::Util ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# The slots of the lists of callbacks. A list is created when it is needed: the dispatcher reads those of next_message and
# each_message, and discards an event of the engine's that has no list.
# The slots of the original's events have the original's names. All our other slots begin with _ws_, because subclasses have
# slots too.
my %SLOT = (
    (map { $_ => "_${_}_cb" } qw( each_message next_message finish parse_error )),
    (map { $_ => "_ws_${_}_cb" } qw( ping pong drain message_chunk )),
);

sub add {
    my ($self, $event, $cb) = @_;
    my $slot = defined $event && $SLOT{$event} || _croak_unknown($event);
    push @{ $self->{$slot} }, $cb;
}

# Removes a callback, or the one at that address.
sub remove {
    my ($self, $event, $cb) = @_;
    my $id = ref $cb ? Scalar::Util::refaddr $cb : $cb;
    my $slot = defined $event && $SLOT{$event} || _croak_unknown($event);
    my $list = $self->{$slot} ||= [];
    @$list = grep { $id != Scalar::Util::refaddr($_) } @$list;
    AnyEvent::WebSocket::Native::Engine::set_streaming($self, 0) if $event eq 'message_chunk' && !@$list;
    $self->{_ws_awaiting}->callback_removed if $self->{_ws_awaiting};
    return;
}

sub _croak_unknown {
    my ($event) = @_;
    Carp::croak('unrecognized event: '
            . (defined $event ? $event : 'undef')
            . '; the events are '
            . AnyEvent::WebSocket::Native::Util::list_of(keys %SLOT));
}

# Returns a copy of the list, because callbacks may remove themselves.
sub callbacks {
    my ($self, $event) = @_;
    return @{ $self->{ $SLOT{$event} } || [] };
}

# Each callback gets arguments of its own, which it may overwrite.
sub call_back {
    my ($self, $event, @arguments) = @_;
    for (my @callbacks = @{ $self->{ $SLOT{$event} } || [] }) {
        my @own = ($self, @arguments);
        $_->(@own);
    }
}

# Unregisters a callback of each_message; the library calls this when the callback calls its third argument.
sub unregister_each {
    my ($self, $address) = @_;
    return remove($self, each_message => $address);
}

1;
