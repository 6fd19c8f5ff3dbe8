package ApiFuzz::Step;

# What the files of steps share: %STEP, where each puts its own, and ways to what steps are about. A step is a sub that gets
# the run (ApiFuzz), the connection's ApiFuzz::Link, and the step's arguments in the plan.

use strict;
use warnings;
use Exporter 'import';
use Math::BigInt ();
use Scalar::Util qw(blessed);

our @EXPORT = qw(%STEP handle_of message_of number_of);
our %STEP;

# Appended to a string, it makes that tainted under perl -T.
our $DIRT = substr join('', %ENV), 0, 0;

# The handle, if the program still has a way to it.
sub handle_of { my ($link) = @_; return $link->{connection} ? $link->{connection}->handle : $link->{handle} }

# The message that the callback, which is running, was called with.
sub message_of {
    my ($fuzz) = @_;
    my $message = $fuzz->{arguments} && $fuzz->{arguments}[1];
    return blessed $message && $message->isa('AnyEvent::WebSocket::Message') ? $message : undef;
}

# The value that stands for this one in a plan, which has plain strings only.
sub number_of {
    my ($text) = @_;
    return $text unless defined $text && length $text;
    return Math::BigInt->new($1) if $text =~ /\Abigint:(.*)/;
    return [] if $text eq 'reference';
    return sub { } if $text eq 'code';
    return ${^TAINT} ? $text . $DIRT : $text;
}

1;
