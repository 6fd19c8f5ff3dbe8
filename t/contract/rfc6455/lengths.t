# Tests that a length that is not minimal, or has its top bit set, is refused with 1002.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

differs 'a length that is not minimal' => 'accepts it' => sub {
    for my $length (0, 1, 125) {
        refused_ok("$length in 16 bits", bytes => binary('x' x $length, form => 16), code => 1002);
        refused_ok("$length in 64 bits", bytes => binary('x' x $length, form => 64), code => 1002);
    }
    for my $length (126, 65535) {
        refused_ok("$length in 64 bits", bytes => binary('x' x $length, form => 64), code => 1002);
    }
    refused_ok('in a masked frame', bytes => text('x', form => 16, mask => 1), code => 1002);
    refused_ok('in a ping', bytes => ping('x', form => 16), code => 1002);
    refused_ok('in a Close', bytes => close_frame(1000, '', form => 16), code => 1002);
    refused_ok('in a continuation', bytes => text('x', fin => 0) . continuation('y', form => 64), code => 1002);
};

differs 'the top bit of a 64-bit length' => 'clears it' => sub {
    for my $limit (undef, 0) {
        my $name = defined $limit ? 'without a limit' : 'with the default limit';
        refused_ok("and all others, $name", bytes => frame(opcode => 2, length => 18446744073709551615, form => 64), code => 1002, new => { max_payload_size => $limit });
        refused_ok("alone, $name", bytes => frame(opcode => 2, length => 9223372036854775808, form => 64), code => 1002, new => { max_payload_size => $limit });
        refused_ok("and a small number, $name", bytes => pack('C2 N N', 0x82, 127, 0x80000000, 5) . 'hello', code => 1002, new => { max_payload_size => $limit });
    }
};

subtest 'minimal lengths at the borders' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(binary('x' x 125) . binary('y' x 126) . binary('z' x 65535) . binary('!' x 65536));
    is_deeply [map { length } @{ $seen->wait_messages(4)->bodies }], [125, 126, 65535, 65536], 'are accepted';
};

done_testing;
