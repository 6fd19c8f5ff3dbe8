package WebSocketTest::Deflate;

# permessage-deflate for tests, on perl's own zlib, which the code under test does not use.
#
#   my ($server, $client) = agreed(server_max_window_bits => 9);   # parameters for both ends
#   my $sender = sender(12);        # a sub that compresses its argument; each call is a message
#   my $receiver = receiver(12);    # a sub that inflates
#   $peer->write(compressed(text => $sender->($payload)));

use strict;
use warnings;
use AnyEvent::WebSocket::Deflate;
use Compress::Raw::Zlib qw(Z_BEST_COMPRESSION Z_BUF_ERROR Z_OK Z_STREAM_END Z_SYNC_FLUSH);
use Exporter 'import';
use WebSocketTest::Frame;

our @EXPORT = qw(agreed sender receiver compressed wire_of json);

use constant { RSV1 => 4, TAIL => "\0\0\xff\xff" };

# Returns the parameters of both ends, as two programs with these options agree on them.
sub agreed {
    my (%options) = @_;
    my $offer = AnyEvent::WebSocket::Deflate::offer(%options);
    my ($answer, $server) = AnyEvent::WebSocket::Deflate::accept($offer, %options);
    return ($server, AnyEvent::WebSocket::Deflate::confirm($answer, %options));
}

sub sender {
    my ($window_bits) = @_;
    my ($deflate, $status) = Compress::Raw::Zlib::Deflate->new(
        -WindowBits => -$window_bits, -AppendOutput => 1, -Level => Z_BEST_COMPRESSION,
    );
    die "deflate: $status" unless $deflate;
    return sub {
        my ($payload) = @_;
        my $out = '';
        $deflate->deflate($payload, $out) == Z_OK && $deflate->flush($out, Z_SYNC_FLUSH) == Z_OK or die 'deflate';
        return substr $out, 0, -length TAIL;
    };
}

# Returns a sub that inflates. It dies if a message refers to more than 2 ** $window_bits bytes back and is longer than that,
# because it inflates in pieces.
sub receiver {
    my ($window_bits) = @_;
    my ($inflate, $status) = Compress::Raw::Zlib::Inflate->new(-WindowBits => -$window_bits, -LimitOutput => 1, -Bufsize => 16);
    die "inflate: $status" unless $inflate;
    return sub {
        my $in = $_[0] . TAIL;
        my $all = '';
        while (1) {
            my $status = $inflate->inflate($in, my $out);
            die "inflate: $status" unless grep { $status == $_ } Z_OK, Z_BUF_ERROR, Z_STREAM_END;
            $all .= $out;
            return $all unless length $in || length $out;
        }
    };
}

# compressed($payload, %frame): returns the first frame of a compressed message
sub compressed {
    my ($payload, %more) = @_;
    return frame(opcode => 1, payload => $payload, rsv => RSV1, %more);
}

# Returns the payload of a frame, inflated by $receiver if it is compressed.
sub wire_of {
    my ($frame, $receiver) = @_;
    return $frame->{rsv} == RSV1 ? $receiver->($frame->{payload}) : $frame->{payload};
}

# Returns about this many bytes of JSON, the same each time.
sub json {
    my ($size, $seed) = @_;
    my ($text, $n) = ('', $seed || 1);
    while (length $text < $size) {
        $n = ($n * 1103515245 + 12345) % 2**31;
        $text .= sprintf '{"id":%d,"price":%.2f,"side":"%s"},', $n % 1000, $n / 1e6, $n % 3 ? 'buy' : 'sell';
    }
    return "[$text]";
}

1;
