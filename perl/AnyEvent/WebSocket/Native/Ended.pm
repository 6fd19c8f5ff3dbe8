package AnyEvent::WebSocket::Native::Ended;

# The reason why a connection has ended. `closed` returns one, and `receive` and `drained` die with one.

use strict;
use warnings;
use overload '""' => \&_text, fallback => 1;

# Notes that this side closes a connection, before the peer has, with this code and this reason.
sub note_own_close {
    my ($connection, @code_and_reason) = @_;
    $connection->{_ws_own_close} = \@code_and_reason;
}

# Returns that code and that reason; nothing if this side has not closed the connection first.
sub own_close { return @{ $_[0]{_ws_own_close} || [] } }

# Takes `error`, `code`, `reason`, and `own_close`, the last one a reference to an array; each may be undef.
sub new {
    my ($class, %fields) = @_;
    return bless {%fields}, $class;
}

sub code { $_[0]{code} }
sub error { $_[0]{error} }
sub reason { $_[0]{reason} }

sub initiator {
    my ($self) = @_;
    return undef if defined $self->{error};
    return $self->{own_close} ? 'local' : defined $self->{code} ? 'peer' : undef;
}

# Returns a copy whose text says where it was raised.
sub raised_at {
    my ($self, $place) = @_;
    return bless { %$self, place => $place }, ref $self;
}

sub _text {
    my ($self) = @_;
    my $place = defined $self->{place} ? $self->{place} : '';
    return 'the connection has ended: ' . _why($self) . $place;
}

sub _why {
    my ($self) = @_;
    return $self->{error} if defined $self->{error};
    return 'this side closed it: ' . code_and_reason(@{ $self->{own_close} }) if $self->{own_close};
    return 'the peer hung up' unless defined $self->{code};
    return 'the peer closed it: ' . code_and_reason(@$self{qw( code reason )});
}

# Returns both as one text, such as "1001 the server restarts".
sub code_and_reason {
    my ($code, $reason) = @_;
    return defined $reason && length $reason ? "$code $reason" : $code;
}

1;
