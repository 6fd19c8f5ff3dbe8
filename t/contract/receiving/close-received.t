# Tests that a Close frame sets code and reason, is answered, half-closes the connection, and is the last thing delivered.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Has the peer send these bytes and read to the end. Returns the connection, the recorder, the frames and the peer.
sub closed_by {
    my ($bytes, %args) = @_;
    my ($connection, $peer) = connection_and_peer(%args);
    my $seen = recorder($connection);
    my @frames = $peer->write($bytes)->frames_to_eof;
    return ($connection, $seen, \@frames, $peer);
}

my @assigned = (1000 .. 1003, 1007 .. 1014, 3000, 3999, 4000, 4999);

subtest 'close_code and close_reason are set' => sub {
    for my $code (@assigned) {
        my ($connection) = closed_by(close_frame($code, "because $code"));
        is $connection->close_code, $code, "code $code";
        is $connection->close_reason, "because $code", 'reason';
    }
};

subtest 'a code without a reason' => sub {
    my ($connection) = closed_by(close_frame(4010));
    is $connection->close_code, 4010, 'code';
    is $connection->close_reason, '', 'reason';
};

subtest 'the reason is decoded' => sub {
    my ($connection) = closed_by(close_frame(1000, "na\xc3\xafve \xe2\x98\xba \xf0\x9f\x90\xaa"));
    is $connection->close_reason, "na\x{ef}ve \x{263a} \x{1f42a}", 'from UTF-8';
};

subtest 'leniently' => sub {
    my ($connection, $seen) = closed_by(close_frame(1000, "bro\xffken"));
    is $connection->close_code, 1000, 'the code is set';
    is $connection->close_reason, "bro\x{fffd}ken", 'a wrong octet is replaced';
};

subtest 'the longest reason' => sub {
    my ($connection) = closed_by(close_frame(1000, 'r' x 123));
    is $connection->close_reason, 'r' x 123;
};

subtest 'a Close frame is sent back, then the handle is half-closed' => sub {
    for my $masked (0, 1) {
        my ($connection, $seen, $frames, $peer) = closed_by(close_frame(1000, 'bye'), masked => $masked);
        is_deeply [map { $_->{opcode} } @$frames], [8], 'a Close, then EOF';
        is $frames->[0]{masked}, $masked, "masked: $masked";
        is $peer->bytes, '', 'and nothing else';
        is_deeply $seen->order, [], 'no callback yet';
        $peer->half_close;
        $seen->wait_finish;
        is_deeply [$seen->arguments('finish')]->[0][1], undef, 'finish comes with the EOF of the peer';
    }
};

differs 'the reply echoes the code' => 'replies with its default code' => sub {
    for my $code (@assigned) {
        my (undef, undef, $frames) = closed_by(close_frame($code, 'reason'));
        is ((close_of($frames->[0]))[0], $code, "code $code");
    }
};

differs 'an empty Close frame' => 'leaves close_code and close_reason undefined' => sub {
    my ($connection, $seen, $frames) = closed_by(close_frame());
    is $connection->close_code, 1005, 'sets close_code 1005';
    is $connection->close_reason, '', q{and close_reason ''};
    is_deeply [map { $_->{opcode} } @$frames], [8], 'is answered';
    is $frames->[0]{payload}, '', 'by an empty one';
    is_deeply $seen->errors, [], 'and is no error';
};

subtest 'an empty Close frame is answered' => sub {
    my (undef, $seen, $frames) = closed_by(close_frame());
    is_deeply [map { $_->{opcode} } @$frames], [8], 'by a Close frame';
    is_deeply $seen->order, [], 'and no callback is called';
};

subtest 'queued data goes out before the reply' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => $_ x 1_000_000)) for 'a' .. 'e';
    $peer->write(close_frame(1000));
    settle();
    my @frames = $peer->resume->frames_to_eof;
    is_deeply [map { length $_->{payload} } @frames[0 .. 4]], [(1_000_000) x 5], 'all of it';
    is_deeply [map { $_->{opcode} } @frames], [(2) x 5, 8], 'then the Close';
};

subtest 'data behind the Close frame is discarded' => sub {
    my ($connection, $seen, $frames, $peer) = closed_by(close_frame(1000) . text('late') . ping('late'));
    $peer->write(map({ text('later') } 1 .. 10_000), ping('later'))->half_close;
    $seen->wait_finish;
    is_deeply $seen->order, ['finish'], 'no message, no error, only finish';
    is scalar @$frames, 1, 'no pong';
    is $connection->close_code, 1000, 'the code stays';
};

differs 'garbage behind the Close frame' => 'still parses it, and calls parse_error' => sub {
    my ($connection, $seen, $frames, $peer) = closed_by(close_frame(1000) . "\xff" x 100);
    $peer->write("\xff\xff garbage" x 100_000, frame(length => 2**40))->half_close;
    $seen->wait_finish;
    is_deeply $seen->order, ['finish'], 'is discarded';
    is scalar @$frames, 1, 'one Close frame';
};

subtest 'a second Close frame is discarded' => sub {
    my ($connection, $seen, $frames, $peer) = closed_by(close_frame(4000, 'first') . close_frame(4001, 'second'));
    $peer->half_close;
    $seen->wait_finish;
    is $connection->close_code, 4000, 'the first code stays';
    is $connection->close_reason, 'first', 'and the first reason';
    is scalar @$frames, 1, 'one reply';
};

subtest 'after it, send and close do nothing' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->write(close_frame(1000))->next_frame;
    is $connection->send('late'), $connection, 'send returns the connection';
    is $connection->close(4000), $connection, 'so does close';
    is_deeply [$peer->frames_to_eof], [], 'nothing more on the wire';
};

subtest 'messages before it in the same piece are delivered, and answered' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
    $peer->write(text('1') . text('2') . close_frame(1000) . text('3'));
    is_deeply [map { $_->{opcode} == 8 ? 'close' : $_->{payload} } $peer->frames_to_eof], ['re: 1', 're: 2', 'close'];
};

subtest 'the answer to our own Close' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->close(4000, 'ours');
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'one Close and EOF';
    $peer->write(close_frame(4321, 'theirs'))->half_close;
    $seen->wait_finish;
    is_deeply [$connection->close_code, $connection->close_reason], [4321, 'theirs'], 'sets the attributes';
    is_deeply $seen->order, ['finish'], 'then finish';
    is $peer->bytes, '', 'it is not answered again';
};

done_testing;
