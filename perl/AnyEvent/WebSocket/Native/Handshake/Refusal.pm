package AnyEvent::WebSocket::Native::Handshake::Refusal;

# The response of a server that refuses a handshake. As a string it is the text that connect dies with.

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Handshake::Head ();
use overload '""' => sub { $_[0]{error} }, fallback => 1;

# The maximum length of a body that is waited for, in bytes, and the seconds that it may take.
use constant { MAX_BODY => 65536, SECONDS => 5 };

sub status { return $_[0]{status} }
sub reason { return $_[0]{reason} }
sub headers { return $_[0]{headers} }
sub body { return $_[0]{body} }

# Returns the values of the headers with this name: all of them in list context, otherwise the first.
sub header {
    my ($self, $name) = @_;
    my $headers = $self->{headers};
    my @values = map { $headers->[2 * $_ + 1] } grep { $headers->[2 * $_] eq lc $name } 0 .. @$headers / 2 - 1;
    return wantarray ? @values : $values[0];
}

# Reads the rest of the response of an attempt. Calls `done` with the refusal, or without one if the response has no complete
# head, once: when the head and the body have arrived, if the body's length is known and bearable, or when nothing more comes.
# Returns a timer, which must be kept until then.
sub read {
    my ($attempt, $error, $done) = @_;
    my $handle = $attempt->{handle};
    my $proceed = sub {
        my ($is_all) = @_;
        return unless $done;
        my $octets = AnyEvent::WebSocket::Native::Handshake::Head::take($attempt, $handle);
        my ($is_complete, $refusal) = _parse($octets, $error);
        return unless $is_complete || $is_all;
        (my $callback, $done) = $done;
        $handle->destroy;
        $callback->($refusal);
    };
    $handle->on_error(sub { $proceed->(1) });
    $handle->on_read(sub { $proceed->(0) });
    $proceed->(0);
    return AE::timer SECONDS, 0, sub { $proceed->(1) };
}

# Returns whether the response is complete, or will never be, and the refusal if there is a head.
sub _parse {
    my ($octets, $error) = @_;
    my $head =
        AnyEvent::WebSocket::Native::Engine::read_refusal($octets, AnyEvent::WebSocket::Native::Handshake::Head::limits())
        or return 0;
    my ($length, $status, $reason, $headers) = @$head;
    return 1 unless defined $length;
    my $self = bless {
        error => $error, status => $status, reason => $reason, headers => $headers, body => substr $octets, $length,
        },
        __PACKAGE__;
    my ($expected) = ($self->header('Content-Length') // '') =~ /\A([0-9]{1,9})\z/;
    return (1, $self) if !defined $expected || $expected > MAX_BODY;
    my $is_complete = length $self->{body} >= $expected;
    substr $self->{body}, $expected, length $self->{body}, '' if $is_complete;
    return ($is_complete, $self);
}

1;
