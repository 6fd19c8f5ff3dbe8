package AnyEvent::WebSocket::Native::Number;

# Numbers as programs give them: anything that perl takes for one, tainted and objects included. The library takes plain
# ones only.

use strict;
use warnings;
use overload ();
use Scalar::Util ();

# Nothing that can be counted is larger.
use constant MAX => ~0 >> 1;

# Returns true if there is a value: undef and the empty string are none.
sub is_given { return defined $_[0] && length "$_[0]" }

# Returns a plain integer: the value without its fraction, or MAX if it is larger. Returns undef if the value is not 0 or a
# number from 1 on: less than 1 must not become 0, which stands for "no limit".
sub whole {
    my ($value) = @_;
    my $number = _number($value);
    return undef unless defined $number && ($number == 0 || $number >= 1);
    return MAX if $number >= MAX;
    my ($digits) = sprintf('%d', $number) =~ /\A([0-9]+)\z/;
    return 0 + $digits;
}

# Returns a plain number: seconds, or 0, which is never, if the value is infinite. Returns undef if it is not a number from 0
# on.
sub seconds {
    my ($value) = @_;
    my $number = _number($value);
    return undef unless defined $number && $number >= 0;
    return 0 if $number == 9**9**9;
    my ($plain) = sprintf('%.17g', $number) =~ /\A(.+)\z/;
    return 0 + $plain;
}

# Returns what perl takes the value for, or undef if that is not a number.
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
