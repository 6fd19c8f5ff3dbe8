# Tests that a frame over max_payload_size and too many fragments are answered with 1009.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my $too_big = qr/\APayload is too big\./;
my $too_many = qr/\AToo many fragments/;

differs 'a frame over max_payload_size' => 'shuts down without a Close frame' => sub {
    refused_ok('default', bytes => binary('x' x 65537), code => 1009, text => $too_big);
    refused_ok('given', bytes => text('1234567'), code => 1009, text => $too_big, new => { max_payload_size => 6 });
    refused_ok('masked', bytes => text('1234567', mask => 1), code => 1009, text => $too_big, new => { max_payload_size => 6 });
    refused_ok('a header alone', bytes => frame(opcode => 2, length => 2**62), code => 1009, text => $too_big);
    refused_ok('a ping', bytes => ping('1234567'), code => 1009, text => $too_big, new => { max_payload_size => 6 });
    refused_ok('a fragment', bytes => text('1', fin => 0) . continuation('1234567'), code => 1009, text => $too_big,
        new => { max_payload_size => 6 });
};

differs 'too many fragments' => 'shuts down without a Close frame' => sub {
    refused_ok('default', bytes => text('x', fin => 0) . continuation('x', fin => 0) x 127, code => 1009, text => $too_many);
    refused_ok('given', bytes => text('x', fin => 0) . continuation('x', fin => 0), code => 1009, text => $too_many,
        new => { max_fragments => 2 });
};

differs 'by a connection that masks' => 'shuts down without a Close frame' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 1, max_payload_size => 6);
    my ($close, @more) = $peer->write(text('1234567'))->frames_to_eof;
    is_deeply [(close_of($close))[0], $close->{masked}], [1009, 1], 'the Close frame is masked';
    is_deeply \@more, [], 'and the only one';
};

differs 'with a queue' => 'shuts down without a Close frame' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 6);
    $peer->stall;
    $connection->send('x' x 3_000_000);
    $peer->write(text('1234567'));
    settle();
    my @frames = $peer->resume->frames_to_eof;
    is_deeply [map { $_->{opcode} } @frames], [1, 8], 'what was sent before goes out, then the Close frame';
    is length $frames[0]{payload}, 3_000_000, 'whole';
};

subtest 'after our own close' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 6);
    my $seen = recorder($connection);
    $connection->close(4000);
    my @frames = $peer->write(text('1234567'))->frames_to_eof;
    is_deeply [map { (close_of($_))[0] } @frames], [4000], 'no second Close frame is sent';
    $seen->wait_parse_error;
    like $seen->errors->[0], $too_big, 'parse_error all the same';
};

done_testing;
