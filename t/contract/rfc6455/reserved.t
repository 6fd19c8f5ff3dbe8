# Tests that RSV bits without an extension and reserved opcodes are refused with 1002.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

differs 'an RSV bit set without a negotiated extension' => 'delivers the frame' => sub {
    for my $rsv (1 .. 7) {
        refused_ok("RSV $rsv, text", bytes => text('x', rsv => $rsv), code => 1002);
    }
    my %frame = (
        'an empty text'    => text('', rsv => 4),
        'a binary, masked' => binary('x', rsv => 2, mask => 1),
        'a ping'           => ping('x', rsv => 1),
        'a pong'           => pong('x', rsv => 4),
        'a Close'          => close_frame(1000, '', rsv => 4),
        'a first fragment' => text('x', rsv => 4, fin => 0) . continuation('y'),
        'a later fragment' => text('x', fin => 0) . continuation('y', rsv => 4),
        'a long one'       => binary('x' x 70_000, rsv => 4),
    );
    refused_ok("RSV on $_", bytes => $frame{$_}, code => 1002, new => { max_payload_size => 0 }) for sort keys %frame;
};

differs 'a reserved opcode' => 'ignores the frame' => sub {
    for my $opcode (3 .. 7, 11 .. 15) {
        refused_ok("opcode $opcode", bytes => frame(opcode => $opcode, payload => 'x'), code => 1002);
    }
    my %frame = (
        'empty'                   => frame(opcode => 3),
        'masked'                  => frame(opcode => 11, payload => 'x', mask => 1),
        'not final'               => frame(opcode => 3, payload => 'x', fin => 0),
        'inside a message'        => text('x', fin => 0) . frame(opcode => 3, payload => 'y') . continuation('z'),
        'control inside a message' => text('x', fin => 0) . frame(opcode => 15, payload => 'y') . continuation('z'),
    );
    refused_ok("reserved opcode, $_", bytes => $frame{$_}, code => 1002) for sort keys %frame;
};

differs 'by a connection that masks' => 'delivers or ignores' => sub {
    refused_ok('RSV', bytes => text('x', rsv => 4), code => 1002, new => { masked => 1 });
    refused_ok('opcode', bytes => frame(opcode => 5), code => 1002, new => { masked => 1 });
};

done_testing;
