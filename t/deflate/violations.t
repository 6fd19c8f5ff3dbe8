# Tests that each violation of permessage-deflate by the peer is answered with the right close code.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no compression' if is_original();
require WebSocketTest::Deflate;
WebSocketTest::Deflate->import;

use constant MIB => 1 << 20;

my %new = (deflate => (agreed())[0]);
my $hello = "\xf2\x48\xcd\xc9\xc9\x07\x00";

# name, bytes, close code, error text
my @violations = (
    ['RSV1 on a ping', ping('p', rsv => 4), 1002, qr/RSV1/],
    ['RSV1 on a pong', pong('p', rsv => 4), 1002, qr/RSV1/],
    ['RSV1 on a Close', close_frame(1000, '', rsv => 4), 1002, qr/RSV1/],
    ['RSV1 on the second frame of a compressed message',
        compressed(substr($hello, 0, 2), fin => 0) . continuation(substr($hello, 2), rsv => 4), 1002, qr/RSV1/],
    ['RSV1 on the second frame of an uncompressed message', text('a', fin => 0) . continuation('b', rsv => 4), 1002, qr/RSV1/],
    ['RSV2', text('a', rsv => 2), 1002, qr/reserved bits/],
    ['RSV1 and RSV3', compressed($hello, rsv => 5), 1002, qr/reserved bits/],
    ['RSV1 on a reserved opcode', frame(opcode => 3, rsv => 4), 1002, qr/reserved opcode/],
    ['a reserved block type', compressed("\x06\x00"), 1007, qr/Invalid data/],
    ['a distance before the first message', compressed("\xf2\x00\x11\x00\x00"), 1007, qr/Invalid data/],
    ['a stored block whose lengths differ', compressed("\x00\x05\x00\x00\x00Hello\x00"), 1007, qr/Invalid data/],
    ['Huffman codes that are none', compressed("\x05\xe0\x81\x00\x00\xff\xff\xff"), 1007, qr/Invalid data/],
    ['corrupt data in the second frame',
        compressed(substr($hello, 0, 6), fin => 0) . continuation("\xff\xff\xff"), 1007, qr/Invalid data/],
    ['a new message inside a compressed one', compressed($hello, fin => 0) . compressed($hello), 1002, qr/new message/],
);

for (@violations) {
    my ($name, $bytes, $code, $text) = @$_;
    refused_ok($name, bytes => $bytes, code => $code, text => $text, new => \%new);
    subtest "$name, octet by octet" => sub {
        my ($connection, $peer) = connection_and_peer(%new);
        my $seen = recorder($connection);
        for my $octet (split //, $bytes) { $peer->write($octet); turn() }
        my @frames = $peer->frames_to_eof;
        is_deeply [map { close_of($_) } @frames], [$code, ''], 'the same Close frame';
        like $seen->errors->[0], $text, 'the same text';
    };
}

refused_ok('RSV1 without the extension', bytes => compressed($hello), code => 1002, text => qr/reserved bits/);

subtest 'text that is not UTF-8 once it is inflated' => sub {
    my $bad = "ok \xff " . 'and much more ' x 20;
    refused_ok('in strict mode', bytes => compressed(sender(12)->($bad), mask => 1), code => 1007, text => qr/UTF-8/,
        new => { %new, strict => 1 }, good => sub { text($_[0], mask => 1) });
    my ($connection, $peer) = connection_and_peer(%new);
    $peer->write(compressed(sender(12)->($bad)));
    is_deeply recorder($connection)->wait_messages(1)->bodies, [$bad], 'is delivered without it';
};

# Returns a message of $count zeros in $frames frames, all data in the last of them.
sub zeros {
    my ($count, $frames) = @_;
    my $payload = sender(15)->("\0" x $count);
    my @empty = map { continuation('', fin => 0) } 3 .. $frames;
    return compressed($payload, opcode => 2) if $frames == 1;
    return compressed('', opcode => 2, fin => 0) . join('', @empty) . continuation($payload);
}

subtest 'what a message may inflate to' => sub {
    for my $frames (1, 2, 5) {
        my $limit = 1000 * $frames;
        my %limited = (deflate => (agreed(client_max_window_bits => 15))[0], max_payload_size => 1000);
        my ($connection, $peer) = connection_and_peer(%limited);
        $peer->write(zeros($limit, $frames) x 2);
        my $seen = recorder($connection)->wait_messages(2);
        is_deeply [map { length } @{ $seen->bodies }], [$limit, $limit], "$limit bytes in $frames frame(s), and again";
        refused_ok("$limit bytes and one", bytes => zeros($limit + 1, $frames), code => 1009, new => \%limited,
            text => qr/\APayload is too big\..* $limit bytes/);
    }
    my ($connection, $peer) = connection_and_peer(deflate => (agreed(client_max_window_bits => 15))[0], max_payload_size => 0);
    $peer->write(zeros(3 * MIB, 1));
    is length recorder($connection)->wait_messages(1)->bodies->[0], 3 * MIB, 'anything, without a limit';
};

refused_ok('a frame over the limit as it comes', bytes => compressed('x' x 1001), code => 1009,
    text => qr/\APayload is too big\. The frame announces 1001/, new => { %new, max_payload_size => 1000 });

sub resident {
    open my $file, '<', '/proc/self/status' or return;
    my ($kib) = map { /^VmHWM:\s*(\d+)/ } <$file>;
    return 1024 * $kib;
}

subtest 'a bomb is refused before its memory is spent' => sub {
    plan skip_all => 'there is no /proc/self/status' unless resident();
    my $bomb = zeros(60 * MIB, 1);
    cmp_ok length $bomb, '<', 65536, 'it passes as a frame';
    my ($connection, $peer) = connection_and_peer(deflate => (agreed(client_max_window_bits => 15))[0]);
    my $seen = recorder($connection);
    open my $peak, '>', '/proc/self/clear_refs' or plan skip_all => 'the peak of memory cannot be reset';
    syswrite $peak, '5' or plan skip_all => 'the peak of memory cannot be reset';
    my $before = resident();
    $peer->write($bomb);
    is_deeply [close_of($peer->next_frame)], [1009, ''], 'Close 1009';
    cmp_ok resident() - $before, '<', 8 * MIB, 'hardly any memory';
    like $seen->errors->[0], qr/\APayload is too big\./;
};

done_testing;
