# Tests that a continuation of nothing, and a new data frame inside a message, are refused with 1002.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

{
    package Silent;     # sends no pongs, so that the peer sees nothing but the Close frame
    our @ISA = 'AnyEvent::WebSocket::Connection';
    sub send { $_[1] && ref $_[1] && $_[1]->is_pong ? $_[0] : $_[0]->SUPER::send(@_[1 .. $#_]) }
}

differs 'a continuation with nothing to continue' => 'swallows it' => sub {
    my %bytes = (
        'final'     => continuation('x'),
        'empty'     => continuation(''),
        'not final' => continuation('x', fin => 0),
        'masked'    => continuation('x', mask => 1),
    );
    refused_ok($_, bytes => $bytes{$_}, code => 1002) for sort keys %bytes;
};

differs 'a continuation right behind a message that is complete' => 'swallows it' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('a', fin => 0) . continuation('b') . continuation('c'));
    is_deeply [map { (close_of($_))[0] } $peer->frames_to_eof], [1002], 'refused';
    is_deeply $seen->bodies, ['ab'], 'the message is delivered';
};

differs 'a new data frame inside a fragmented message' => 'appends it' => sub {
    for my $first (1, 2) {
        for my $second (1, 2) {
            for my $fin (0, 1) {
                my $bytes = frame(opcode => $first, payload => 'x', fin => 0) . frame(opcode => $second, payload => 'y', fin => $fin);
                refused_ok("opcode $second inside $first, FIN $fin", bytes => $bytes, code => 1002);
            }
        }
    }
    refused_ok('after a control frame', bytes => text('', fin => 0) . ping('') . text('y'), code => 1002,
        new => { class => 'Silent' });
    refused_ok('after more fragments', bytes => text('a', fin => 0) . continuation('b', fin => 0) . text('y'), code => 1002);
    refused_ok('empty frames', bytes => text('', fin => 0) . text(''), code => 1002);
};

done_testing;
