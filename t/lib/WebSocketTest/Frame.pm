package WebSocketTest::Frame;

# Frames for tests, right and wrong ones: encode with any FIN, RSV, opcode, mask and length form; decode from bytes.
# It uses nothing of the code under test and judges nothing: the test decides what is legal.

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(
    frame text binary continuation ping pong close_frame decode_frame close_of xor_mask
);

# frame(opcode => 1, payload => '', fin => 1, rsv => 0, mask => undef, form => undef, length => undef)
#   rsv    0..7, RSV1 is 4
#   mask   four bytes, or 1 for a fixed example mask, or nothing for none
#   form   7, 16 or 64: the length's width; default the shortest
#   length the length in the header, if it shall differ from the payload's
sub frame {
    my %f = (opcode => 1, payload => '', fin => 1, rsv => 0, @_);
    my $mask = !$f{mask} ? '' : length $f{mask} == 4 ? $f{mask} : "\x37\xfa\x21\x3d";
    my $claimed = defined $f{length} ? $f{length} : length $f{payload};
    my $payload = length $mask ? xor_mask($f{payload}, $mask) : $f{payload};
    my $first = ($f{fin} ? 0x80 : 0) | $f{rsv} << 4 | $f{opcode};
    return pack('C', $first) . _length($claimed, $f{form}, length $mask ? 0x80 : 0) . $mask . $payload;
}

sub _length {
    my ($length, $form, $mask_bit) = @_;
    $form ||= $length < 126 ? 7 : $length < 65536 ? 16 : 64;
    return pack 'C',    $mask_bit | $length      if $form == 7;
    return pack 'C n',  $mask_bit | 126, $length if $form == 16;
    return pack 'C Q>', $mask_bit | 127, $length;
}

sub xor_mask {
    my ($payload, $mask) = @_;
    return $payload ^ substr $mask x (length($payload) / 4 + 1), 0, length $payload;
}

# Short names: text('body', mask => 1) and so on.
sub text         { my $body = shift; frame(opcode => 1,  payload => $body, @_) }
sub binary       { my $body = shift; frame(opcode => 2,  payload => $body, @_) }
sub continuation { my $body = shift; frame(opcode => 0,  payload => $body, @_) }
sub ping         { my $body = shift; frame(opcode => 9,  payload => $body, @_) }
sub pong         { my $body = shift; frame(opcode => 10, payload => $body, @_) }

# close_frame(), close_frame($code), close_frame($code, $reason_octets, %more)
sub close_frame {
    my ($code, $reason, @more) = @_;
    my $body = defined $code ? pack('n', $code) . (defined $reason ? $reason : '') : '';
    return frame(opcode => 8, payload => $body, @more);
}

# decode_frame(\$bytes): takes one complete frame off the front, or returns nothing and takes nothing.
# Keys: fin rsv opcode masked mask payload form (7, 16, 64: the width of the length on the wire)
sub decode_frame {
    my ($bytes) = @_;
    return if length $$bytes < 2;
    my ($first, $second) = unpack 'C2', $$bytes;
    my $short = $second & 0x7f;
    my ($form, $size) = $short == 126 ? (16, 4) : $short == 127 ? (64, 10) : (7, 2);
    my $masked = $second & 0x80 ? 1 : 0;
    return if length $$bytes < $size + 4 * $masked;
    my $length = $form == 16 ? unpack('x2 n', $$bytes) : $form == 64 ? unpack('x2 Q>', $$bytes) : $short;
    return if length $$bytes < $size + 4 * $masked + $length;
    my (undef, $mask) = (substr($$bytes, 0, $size, ''), $masked ? substr($$bytes, 0, 4, '') : undef);
    my $payload = substr $$bytes, 0, $length, '';
    return {
        fin => $first >> 7, rsv => $first >> 4 & 7, opcode => $first & 15,
        masked => $masked, mask => $mask, form => $form,
        payload => $masked ? xor_mask($payload, $mask) : $payload,
    };
}

# Returns (code, reason octets) of a decoded Close frame; the empty list for an empty one.
sub close_of {
    my ($frame) = @_;
    return length $frame->{payload} ? unpack('n a*', $frame->{payload}) : ();
}

1;
