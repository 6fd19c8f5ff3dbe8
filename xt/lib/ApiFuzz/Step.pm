package ApiFuzz::Step;

# Shared by the modules in ApiFuzz::Steps: the table %STEP, to which each adds its steps, and helpers. A step is a sub that is
# called with the run (ApiFuzz), the connection's ApiFuzz::Link and the step's arguments from the plan.

use strict;
use warnings;
use Exporter 'import';
use Math::BigInt ();
use Scalar::Util qw(blessed);

our @EXPORT = qw(%STEP handle_of message_of number_of);
our %STEP;

# An empty string that is tainted under perl -T, and taints what it is appended to.
our $DIRT = substr join('', %ENV), 0, 0;

# Returns the handle, or undef if the program can no longer reach it.
sub handle_of { my ($link) = @_; return $link->{connection} ? $link->{connection}->handle : $link->{handle} }

# Returns the message that the running callback was called with, or undef.
sub message_of {
    my ($fuzz) = @_;
    my $message = $fuzz->{arguments} && $fuzz->{arguments}[1];
    return blessed $message && $message->isa('AnyEvent::WebSocket::Message') ? $message : undef;
}

# Turns a plan's plain string into the number, object or reference that it stands for.
sub number_of {
    my ($text) = @_;
    return $text unless defined $text && length $text;
    return Math::BigInt->new($1) if $text =~ /\Abigint:(.*)/;
    return [] if $text eq 'reference';
    return sub { } if $text eq 'code';
    return ${^TAINT} ? $text . $DIRT : $text;
}

1;
