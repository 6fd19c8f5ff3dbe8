package AnyEvent::WebSocket::Native::Broadcast;

# Sends one message to many connections. The library writes to those that can take the same bytes; for the others, `send` is
# called.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Backpressure ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Handle ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Scalar::Util ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

sub broadcast {
    my (undef, $connections, $message, %options) = @_;
    my ($except, $max) = delete @options{qw( except max_buffered_amount )};
    AnyEvent::WebSocket::Native::Util::no_more_options('broadcast', \%options, qw( except max_buffered_amount ));
    Carp::croak('broadcast: except must be a connection') if defined $except && !Scalar::Util::blessed $except;
    Carp::croak('broadcast: the connections must be a reference to an array') unless ref $connections eq 'ARRAY';
    my $is_bounded = AnyEvent::WebSocket::Native::Number::is_given($max);
    my $bound = $is_bounded ? AnyEvent::WebSocket::Native::Number::whole($max) : undef;
    Carp::croak('broadcast: max_buffered_amount must be a whole number') if $is_bounded && !defined $bound;
    my ($opcode, $octets) = AnyEvent::WebSocket::Native::Payload::frame_of($message, 'broadcast');
    # The library does not fetch the values of tied elements.
    my $list = tied @$connections ? [@$connections] : $connections;
    my @frame = ($opcode, $octets, $except, $bound);
    my $outcome = AnyEvent::WebSocket::Native::Engine::broadcast($list, @frame)
        || AnyEvent::WebSocket::Native::Engine::broadcast(_fetched($list), @frame);
    Carp::croak("broadcast: $outcome") unless ref $outcome;
    my ($count, $rest, $foreign, $cut_off, $broken) = @$outcome;
    my @foreign = grep { Scalar::Util::blessed $_ } @$foreign;
    _for_each(
        \&_write_rest, $cut_off,
        sub { $_[0][0]->handle->_error($_[0][1], 1) }, $broken,
        sub { $_[0]->send($message) }, [@$rest, @foreign],
    );
    Carp::croak('broadcast: the list holds something that is no connection') if @foreign < @$foreign;
    return $count + @foreign;
}

# Missing elements are skipped, not created. The references keep values alive that a FETCH may remove from the list.
sub _fetched {
    my ($list) = @_;
    my @elements = map { exists $list->[$_] ? \$list->[$_] : () } 0 .. $#$list;
    return [map { $$_ } @elements];
}

# The handle writes what the kernel did not take, or the TLS session.
sub _write_rest {
    my ($self) = @_;
    AnyEvent::WebSocket::Native::Handle::drain_tls($self->handle);
    AnyEvent::WebSocket::Native::Backpressure::backlogged($self);
}

# A callback or a send that dies must not prevent the others from being sent.
sub _for_each {
    my @errors;
    while (my ($call, $connections) = splice @_, 0, 2) {
        for my $connection (@$connections) {
            local $@;
            eval { $call->($connection); 1 } or push @errors, $@;
        }
    }
    die $errors[0] if @errors;
}

1;
