package AnyEvent::WebSocket::Native::Payload;

# Converts what programs send to the bytes of a payload.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Encode ();
use Scalar::Util ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# Returns the opcode, as a number, and the payload, as octets, of an argument of the method `name`.
sub frame_of {
    my ($message, $name) = @_;
    return (1, octets($message)) unless ref $message;
    Carp::croak("$name takes a string or an object with opcode and body")
        unless Scalar::Util::blessed $message
        && ($message->can('opcode') && $message->can('body') || $message->can('AUTOLOAD'));
    return (_opcode_number($message->opcode), octets($message->body));
}

sub _opcode_number {
    my ($opcode) = @_;
    return 1 unless AnyEvent::WebSocket::Native::Number::is_given($opcode);
    my $number = AnyEvent::WebSocket::Native::Number::whole($opcode);
    return defined $number ? $number : -1;
}

# Returns the bytes that `send` sends for a string: it is encoded if it has Perl's UTF8 flag.
sub octets {
    my ($body) = @_;
    my $copy = defined $body ? "$body" : '';
    return utf8::is_utf8($copy) ? encoded($copy) : $copy;
}

# Returns the octets in an argument of the method `name`, which must not have other characters.
sub binary {
    my ($octets, $name) = @_;
    my $copy = AnyEvent::WebSocket::Native::Util::text_of($octets, "$name: the octets");
    utf8::downgrade($copy, 1) or Carp::croak("$name: there are characters that are no octets");
    return $copy;
}

sub encoded {
    my ($characters) = @_;
    # Encode may load modules.
    local $@;
    return Encode::encode('UTF-8', $characters);
}

1;
