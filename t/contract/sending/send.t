# Tests the frames that send makes of strings and objects, and its return value, even after close or without a peer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

{
    package Duck;   # any object with opcode and body
    sub new    { my ($class, %self) = @_; bless {%self}, $class }
    sub opcode { $_[0]{opcode} }
    sub body   { $_[0]{body} }
}

sub message { AnyEvent::WebSocket::Message->new(@_) }

# Returns the one frame that these arguments of send make.
sub sent {
    my ($connection, $peer) = connection_and_peer();
    $connection->send(@_);
    my @frames = ($peer->sync);
    is scalar @frames, 1, 'one frame';
    return $frames[0];
}

subtest 'a string is a text frame' => sub {
    my $frame = sent('hello');
    is $frame->{opcode}, 1, 'opcode';
    is $frame->{payload}, 'hello', 'payload';
    is_deeply [@$frame{qw(fin rsv masked)}], [1, 0, 0], 'final, no reserved bits, not masked';
};

subtest 'the bytes of a frame' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send('Hello');
    is unpack('H*', $peer->wait_bytes(7)->bytes), '810548656c6c6f', 'as in RFC 6455, 5.7';
};

subtest 'lengths' => sub {
    my ($connection, $peer) = connection_and_peer();
    my %form = (0 => 7, 1 => 7, 125 => 7, 126 => 16, 127 => 16, 65535 => 16, 65536 => 64, 1_000_000 => 64);
    for my $length (sort { $a <=> $b } keys %form) {
        $connection->send('x' x $length);
        my $frame = $peer->next_frame;
        ok $frame->{payload} eq 'x' x $length, "$length bytes";
        is $frame->{form}, $form{$length}, "have a length of $form{$length} bits";
    }
};

subtest 'a message object' => sub {
    for my $opcode (1, 2, 9, 10) {
        my $frame = sent(message(opcode => $opcode, body => 'body'));
        is_deeply [@$frame{qw(opcode payload fin rsv)}], [$opcode, 'body', 1, 0], "opcode $opcode";
    }
};

subtest 'its opcode defaults to text' => sub {
    is sent(message(body => 'x'))->{opcode}, 1;
};

subtest 'any object with opcode and body' => sub {
    my $frame = sent(Duck->new(opcode => 2, body => "\0\xff"));
    is_deeply [@$frame{qw(opcode payload)}], [2, "\0\xff"];
};

subtest 'a Close frame as a message object' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send(message(opcode => 8, body => pack 'n a*', 4000, 'as it is'));
    is_deeply [close_of($peer->next_frame)], [4000, 'as it is'], 'goes out as it is';
};

subtest 'all reserved opcodes may be sent' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send(message(opcode => $_, body => 'x')) for 3 .. 7, 11 .. 15;
    is_deeply [map { $_->{opcode} } $peer->next_frames(10)], [3 .. 7, 11 .. 15];
};

subtest 'undef is the empty string' => sub {
    my $warnings = warnings_of(sub {
        is_deeply [@{ sent(undef) }{qw(opcode payload)}], [1, ''], 'as the argument';
        is_deeply [@{ sent() }{qw(opcode payload)}], [1, ''], 'as no argument';
        is_deeply [@{ sent(message(opcode => 2, body => undef)) }{qw(opcode payload)}], [2, ''], 'as a body';
    });
    is_deeply $warnings, [], 'without a warning';
};

subtest 'false strings' => sub {
    is sent('0')->{payload}, '0', q{'0'};
    is sent('')->{payload}, '', q{''};
    is sent(0)->{payload}, '0', '0';
    is sent(message(body => 0))->{payload}, '0', 'body 0';
};

subtest 'numbers' => sub {
    is sent($_)->{payload}, "$_", "number $_" for 42, -1, 1.5, 1e20, 2**53;
};

subtest 'further arguments are ignored' => sub {
    is sent('one', 'two', { three => 3 })->{payload}, 'one';
};

subtest 'order' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send($_) for 1 .. 3000;
    is_deeply [map { $_->{payload} } $peer->next_frames(3000)], [1 .. 3000];
};

subtest 'outside of callbacks, a send goes to the kernel at once' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send('now');
    sysread $peer->fh, my $bytes, 100;
    is $bytes, text('now'), 'without a turn of the event loop';
};

subtest 'returns the connection' => sub {
    my ($connection, $peer) = connection_and_peer();
    is $connection->send('x'), $connection, 'after a string';
    is $connection->send(message(body => 'x')), $connection, 'after an object';
    is $connection->send('a')->send('b')->close->send('c'), $connection, 'in a chain';
    is_deeply [map { $_->{payload} } grep { $_->{opcode} == 1 } $peer->frames_to_eof], [qw(x x a b)], 'of which all but the last is sent';
};

subtest 'after close it does nothing, and returns the connection' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->close;
    is $connection->send($_), $connection for 'late', undef, message(body => 'late'), message(opcode => 9, body => 'p');
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'only the Close frame is on the wire';
};

subtest 'pings are not answered after close' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->close;
    $peer->write(ping('p'));
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8];
};

subtest 'once the peer has gone it does nothing, and returns the connection' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->close;
    $seen->wait_finish;
    is $connection->send($_), $connection for 'late', undef, message(body => 'late');
    settle();
    is $seen->finished, 1, 'finish is not called again';
};

subtest 'with a destroyed handle it does nothing, and returns the connection' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->handle->destroy;
    is $connection->send('late'), $connection, 'send';
    is $connection->close, $connection, 'close';
    is_deeply [$peer->frames_to_eof], [], 'nothing on the wire';
};

done_testing;
