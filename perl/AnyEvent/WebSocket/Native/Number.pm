package AnyEvent::WebSocket::Native::Number;

# Converts the numbers that programs pass: anything that perl accepts as a number, including tainted values and objects. The
# library accepts only plain numbers.

use strict;
use warnings;
use overload ();
use Scalar::Util ();

# No count can be larger.
use constant MAX => ~0 >> 1;

# Returns true unless the value is undef or the empty string.
sub is_given { return defined $_[0] && length $_[0] }

# Returns a plain integer: the value without its fraction, or MAX if it is larger. Returns undef unless the value is 0 or at
# least 1. A value between them must not become 0, which means "no limit".
sub whole {
    my ($value) = @_;
    return undef if !defined $value;
    # This is most values, and faster than what follows.
    return 0 + $1 if !ref $value && $value =~ /\A([0-9]{1,15})\z/;
    my $number = _number($value);
    return undef unless defined $number && ($number == 0 || $number >= 1);
    return MAX if $number >= MAX;
    my ($digits) = sprintf('%d', $number) =~ /\A([0-9]+)\z/;
    return 0 + $digits;
}

# Returns a plain number of seconds; 0, which means never, if the value is infinite. Returns undef unless the value is a
# number that is not negative.
sub seconds {
    my ($value) = @_;
    my $number = _number($value);
    return undef unless defined $number && $number >= 0;
    return 0 if $number == 9**9**9;
    my ($plain) = sprintf('%.17g', $number) =~ /\A(.+)\z/;
    return 0 + $plain;
}

# Returns the number that perl converts the value to, or undef if it is not a number.
sub _number {
    my ($value) = @_;
    return undef unless defined $value;
    return Scalar::Util::looks_like_number($value) ? $value : undef unless ref $value;
    return undef unless Scalar::Util::blessed $value && overload::Overloaded($value);
    my $text = "$value";
    return $text if Scalar::Util::looks_like_number($text);
    return overload::Method($value, '0+') ? sprintf '%.17g', $value : undef;
}

1;
