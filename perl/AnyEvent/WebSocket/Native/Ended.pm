package AnyEvent::WebSocket::Native::Ended;

# The reason why a connection has ended. `closed` returns one, and `receive` and `drained` die with one.

use strict;
use warnings;
use overload '""' => \&_text, fallback => 1;

# Takes `error`, `code` and `reason`, each of which may be undef.
sub new {
    my ($class, %fields) = @_;
    return bless {%fields}, $class;
}

sub code { $_[0]{code} }
sub error { $_[0]{error} }
sub reason { $_[0]{reason} }

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
    return 'the peer hung up' unless defined $self->{code};
    my $reason = defined $self->{reason} && length $self->{reason} ? " $self->{reason}" : '';
    return "the peer closed it: $self->{code}$reason";
}

1;
