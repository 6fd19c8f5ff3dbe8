package AnyEvent::WebSocket::Reconnecting::Queue;

# The messages that wait for a connection: a list with a limit to their number and to the bytes in their bodies.

use strict;
use warnings;

our $VERSION = '1.000';

sub new {
    my ($class, $max_messages, $max_bytes) = @_;
    return bless { messages => [], bytes => 0, max_messages => $max_messages, max_bytes => $max_bytes }, $class;
}

sub bytes { $_[0]{bytes} }
sub count { scalar @{ $_[0]{messages} } }
sub first { $_[0]{messages}[0] }

# Returns an error text if there is no room.
sub add {
    my ($self, $message) = @_;
    my ($count, $size) = ($self->count, length $message->body);
    return 'not connected' if !$self->{max_messages};
    return "not connected, and $count messages wait already (max_queue)" if $count >= $self->{max_messages};
    return "not connected, and no room for $size bytes beside the $self->{bytes} that wait (max_queue_bytes)"
        if $self->{bytes} + $size > $self->{max_bytes};
    push @{ $self->{messages} }, $message;
    $self->{bytes} += $size;
    return undef;
}

sub remove_first {
    my ($self) = @_;
    my $message = shift @{ $self->{messages} } or return;
    $self->{bytes} -= length $message->body;
    return;
}

# Removes and returns all messages.
sub clear {
    my ($self) = @_;
    my @messages = @{ $self->{messages} };
    @$self{qw( messages bytes )} = ([], 0);
    return @messages;
}

1;
