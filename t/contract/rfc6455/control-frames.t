# Tests that control frames over 125 bytes and fragmented ones are refused with 1002.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my %opcode = (close => 8, ping => 9, pong => 10);

differs 'a control frame over 125 bytes' => 'accepts it' => sub {
    for my $kind (sort keys %opcode) {
        my $body = $kind eq 'close' ? pack('n', 1000) . 'x' x 124 : 'x' x 126;
        refused_ok("$kind, 126 bytes", bytes => frame(opcode => $opcode{$kind}, payload => $body), code => 1002);
        refused_ok("$kind, 126 bytes, masked", bytes => frame(opcode => $opcode{$kind}, payload => $body, mask => 1), code => 1002);
        refused_ok("$kind, 65536 bytes", bytes => frame(opcode => $opcode{$kind}, payload => $body . 'x' x 65_410), code => 1002);
    }
    refused_ok('inside a message', bytes => text('x', fin => 0) . ping('p' x 126) . continuation('y'), code => 1002);
};

differs 'a fragmented control frame' => 'accepts it' => sub {
    for my $kind (sort keys %opcode) {
        my $body = $kind eq 'close' ? pack 'n', 1000 : 'x';
        refused_ok("$kind without FIN", bytes => frame(opcode => $opcode{$kind}, payload => $body, fin => 0), code => 1002);
        refused_ok("$kind without FIN, empty", bytes => frame(opcode => $opcode{$kind}, fin => 0), code => 1002);
    }
    refused_ok('inside a message', bytes => text('x', fin => 0) . ping('p', fin => 0) . continuation('y'), code => 1002);
};

subtest '125 bytes are allowed' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->write(pong('x' x 125) . ping('y' x 125));
    is $peer->next_frame->{payload}, 'y' x 125, 'in a ping, and in the pong';
    $peer->write(close_frame(1000, 'z' x 123))->frames_to_eof;
    is $connection->close_reason, 'z' x 123, 'in a Close';
};

done_testing;
