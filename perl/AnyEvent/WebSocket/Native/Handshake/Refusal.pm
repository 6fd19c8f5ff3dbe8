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
# Returns a timer, which must be kept until then; nothing if that was at once.
sub read {
    my ($attempt, $error, $done) = @_;
    my $handle = $attempt->{handle};
    my $state = AnyEvent::WebSocket::Native::Engine::client_handshake(
        AnyEvent::WebSocket::Native::Handshake::Head::limits(), 0, undef,
        '', 0, 0);
    my ($self, $length);
    my $proceed = sub {
        my ($is_all) = @_;
        return unless $done;
        my $octets = AnyEvent::WebSocket::Native::Handshake::Head::take($attempt, $handle);
        ($self, $length) = _read_head($state, $octets, $error) unless defined $length;
        return unless $is_all || defined $length && length $octets >= $length;
        (my $callback, $done) = $done;
        _take_body($self, $octets) if $self;
        $handle->destroy;
        $callback->($self);
    };
    $handle->on_error(sub { $proceed->(1) });
    $handle->on_read(sub { $proceed->(0) });
    $proceed->(0);
    return unless $done;    # a timer that nobody takes away would keep the attempt
    return AE::timer SECONDS, 0, sub { $proceed->(1) };
}

# Returns nothing until the head has arrived; then the refusal without its body, and the length of the response, or of its head
# if nobody waits for the body. If there will be no head, it is no refusal, and its length is 0.
sub _read_head {
    my ($state, $octets, $error) = @_;
    my $head = AnyEvent::WebSocket::Native::Engine::read_refusal($state, $octets) or return;
    my ($length, $status, $reason, $headers) = @$head;
    return (undef, 0) unless defined $length;
    my $self = bless { error => $error, status => $status, reason => $reason, headers => $headers }, __PACKAGE__;
    $self->{head_length} = $length;
    my ($expected) = ($self->header('Content-Length') // '') =~ /\A([0-9]{1,9})\z/;
    $self->{body_length} = $expected if defined $expected && $expected <= MAX_BODY;
    return ($self, $length + ($self->{body_length} // 0));
}

# Takes as much of the body as has arrived.
sub _take_body {
    my ($self, $octets) = @_;
    my ($head, $body) = delete @$self{qw( head_length body_length )};
    $self->{body} = defined $body ? substr $octets, $head, $body : substr $octets, $head;
    return;
}

1;
