package AnyEvent::WebSocket::Native::Handshake::Head;

# Limits and bytes of HTTP heads, for the handshakes of both sides.

use strict;
use warnings;
use Protocol::WebSocket::Message ();

# The limits that apply unless a program changes $Protocol::WebSocket::Message::MAX_MESSAGE_SIZE, in bytes.
use constant { USUAL_LINE => 20480, USUAL_HEAD => 65536 };

# A limit that no head reaches, for programs that set infinity.
use constant NONE => 2_147_483_648;

# Returns the maximum length of a head and of a line in it, in bytes.
sub limits {
    my $line = $Protocol::WebSocket::Message::MAX_MESSAGE_SIZE || USUAL_LINE;
    return (USUAL_HEAD, USUAL_LINE) if $line == USUAL_LINE;
    # The library takes only plain integers.
    $line = $line < 0 ? 0 : $line < NONE ? 0 + sprintf '%d', $line : NONE;
    return ($line, $line);
}

# Takes what a handle has read, adds it to the `octets` of an attempt, and returns these. A handle that keeps a part of what it
# has read would report the end of file as another error, and use more memory than there are bytes.
sub take {
    my ($attempt, $handle) = @_;
    $attempt->{octets} .= $handle->{rbuf};
    undef $handle->{rbuf};
    $handle->{rbuf} = '';
    return $attempt->{octets};
}

# Returns the strings as bytes. Dies if one has a character that is no byte; `what` is for the error text.
sub octets {
    my ($what, @strings) = @_;
    for my $string (@strings) {
        next unless defined $string;
        $string = "$string";
        utf8::downgrade($string, 1) or die "wide character in $what\n";
    }
    return wantarray ? @strings : $strings[0];
}

1;
