# Tests that bytes already in the handle are delivered later, in order and without loss.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Returns a connection whose handle has already read these bytes, as after a handshake, and the peer.
sub connection_with {
    my ($bytes, %args) = @_;
    my ($left, $right) = socket_pair();
    my $peer = WebSocketTest::Peer->new($right);
    my $handle = AnyEvent::Handle->new(fh => $left);
    $handle->{rbuf} = $bytes;
    delete($args{prepare})->($peer, $handle) if $args{prepare};
    return (AnyEvent::WebSocket::Connection->new(handle => $handle, %args), $peer, $handle);
}

my @bodies = map { "message $_" } 1 .. 20;
my $frames = join '', map { text($_) } @bodies;

subtest 'complete messages' => sub {
    my ($connection, $peer, $handle) = connection_with($frames);
    is $handle->{rbuf}, '', 'the bytes are taken at once';
    my $seen = recorder($connection);
    is_deeply $seen->order, [], 'no callback runs before control is back in the event loop';
    is_deeply $seen->wait_messages(20)->bodies, \@bodies, 'then all of them, in order';
};

subtest 'next_message gets the first, each_message all' => sub {
    my ($connection, $peer) = connection_with($frames);
    my @first;
    $connection->on(next_message => sub { push @first, $_[1]->body });
    my $seen = recorder($connection)->wait_messages(20);
    is_deeply \@first, ['message 1'];
};

subtest 'more arrives before control is back in the event loop' => sub {
    my ($connection, $peer) = connection_with(text('old'), prepare => sub { $_[0]->write(text('new')) });
    my $seen = recorder($connection)->wait_messages(2);
    is_deeply $seen->bodies, ['old', 'new'], 'after what was there';
};

subtest 'a frame begun in the buffer' => sub {
    for my $cut (1 .. length(text('split')) - 1) {
        my ($connection, $peer) = connection_with(substr text('split'), 0, $cut);
        my $seen = recorder($connection);
        $peer->write(substr text('split'), $cut);
        is_deeply $seen->wait_messages(1)->bodies, ['split'], "cut after $cut";
    }
};

subtest 'the peer has already closed' => sub {
    my ($connection) = connection_with($frames, prepare => sub { $_[0]->close });
    my $seen = recorder($connection)->wait_finish;
    is_deeply $seen->bodies, \@bodies, 'nothing is lost';
    is $seen->order->[-1], 'finish', 'finish comes last';
    is $seen->finished, 1, 'once';
};

subtest 'the peer has sent more and closed' => sub {
    my ($connection) = connection_with($frames, prepare => sub { $_[0]->write(text('last'))->close });
    my $seen = recorder($connection)->wait_finish;
    is_deeply $seen->bodies, [@bodies, 'last'], 'nothing is lost';
};

subtest 'a Close frame at the end' => sub {
    my ($connection, $peer) = connection_with($frames . close_frame(4002, 'done') . text('late'));
    my $seen = recorder($connection);
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'is answered';
    is_deeply $seen->bodies, \@bodies, 'after the messages before it, and none behind it';
    is $connection->close_code, 4002, 'its code is kept';
    is $connection->close_reason, 'done', 'and its reason';
};

subtest 'a ping among them' => sub {
    my ($connection, $peer) = connection_with(text('a') . ping('p') . text('b'));
    $connection->on(each_message => sub { $_[0]->send($_[1]->body) });
    is_deeply [map { $_->{payload} } $peer->next_frames(3)], ['a', 'p', 'b'], 'is answered in its turn';
};

subtest 'nobody registers' => sub {
    my ($connection, $peer) = connection_with($frames);
    is_deeply [$peer->sync], [], 'messages without callbacks are dropped, and the connection lives';
};

subtest 'callbacks may send, close and cancel' => sub {
    my ($connection, $peer) = connection_with(text('a') . text('b') . text('c'));
    $connection->on(each_message => sub { $_[0]->send('got ' . $_[1]->body); $_[2]->() });
    $connection->on(each_message => sub { $_[0]->close(4000) if $_[1]->body eq 'b' });
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [1, 8];
};

subtest 'the connection goes before control is back in the event loop' => sub {
    my ($connection, $peer, $handle) = connection_with($frames);
    my $called = 0;
    $connection->on(each_message => sub { $called++ });
    undef $connection;
    undef $handle;
    $peer->wait_eof;
    is $called, 0, 'nothing is called';
};

# Tests that the messages are delivered within some seconds on a loop that is kept busy.
sub delivered_when_busy {
    my ($keep_busy) = @_;
    my ($connection, $peer) = connection_with($frames);    # the peer stays: EOF would also deliver them
    my $seen = recorder($connection);
    my $end = AnyEvent->time + 10 * patience();
    my $over = sub { $seen->messages == 20 || AnyEvent->time > $end };
    my $busy = $keep_busy->($over);
    wait_until('the messages or the time', $over);
    return is_deeply $seen->bodies, \@bodies, 'all are delivered';
}

differs 'on a loop that is never idle, for bytes nobody reads' => 'waits until it is idle' => sub {
    my ($left, $right) = socket_pair();
    syswrite $left, '.';
    delivered_when_busy(sub { my ($over) = @_; AE::io $right, 0, sub { poke() if $over->() } });
};

SKIP: {
    skip 'by design: a timer that repeats after 0 seconds lets nothing else run in the pure-Perl loop', 1 if loop() eq 'Perl';
    differs 'on a loop that is never idle, for a timer of 0 seconds that repeats' => 'waits until it is idle' => sub {
        my ($timer, $again);
        delivered_when_busy(sub {
            my ($over) = @_;
            $again = sub { $over->() ? poke() : ($timer = AE::timer 0, 0, $again) };
            $again->();
        });
        undef $again;
    };
}

# Creates a connection in the on_read of its own handle, as a client or server does when the handshake is complete.
#   call: the number of the on_read call; consume: bytes that it removes first; eof: the peer closes after the first call
sub made_in_on_read {
    my ($bytes, %how) = (@_);
    my ($left, $right) = socket_pair();
    my $peer = WebSocketTest::Peer->new($right)->write($bytes);
    my ($made, $calls) = ({}, 0);
    $made->{handle} = AnyEvent::Handle->new(fh => $left, on_error => sub { }, on_eof => sub { }, on_read => sub {
        return if ++$calls < ($how{call} || 1);
        substr $_[0]{rbuf}, 0, $how{consume}, '';
        $made->{connection} = AnyEvent::WebSocket::Connection->new(handle => $_[0]);
        $made->{seen} = recorder($made->{connection}) if $how{at_once};
        poke();
    });
    settle() if $how{eof};
    $peer->half_close if $how{eof};
    wait_until('the connection', sub { $made->{connection} });
    return ($made->{seen} || recorder($made->{connection}), $peer, $made);
}

for my $at_once (0, 1) {
    my $when = $at_once ? 'at once' : 'when the loop has returned';

    subtest "made inside on_read behind a handshake, callbacks registered $when" => sub {
        my ($seen, $peer, $made) = made_in_on_read("handshake$frames", consume => 9, at_once => $at_once);
        is_deeply $seen->wait_messages(20)->bodies, \@bodies, 'all are delivered';
        is_deeply [$peer->sync], [], 'the connection is open';
    };

    differs "made inside on_read with nothing before it, callbacks registered $when" => 'waits for more bytes' => sub {
        my ($seen, $peer, $made) = made_in_on_read($frames, consume => 0, at_once => $at_once);
        is_deeply $seen->wait_messages(20)->bodies, \@bodies, 'all are delivered';
    };

    for my $consume (0, 9) {
        my $what = "made inside on_read at EOF, $consume bytes consumed, callbacks registered $when";
        my $tests = sub {
            my $bytes = 'handshake' x ($consume > 0) . $frames;
            my ($seen, $peer, $made) = made_in_on_read($bytes, consume => $consume, at_once => $at_once, call => 2, eof => 1);
            $seen->wait_finish;
            is_deeply $seen->bodies, \@bodies, 'all are delivered';
            is $seen->order->[-1], 'finish', 'finish is last';
        };
        if ($consume && $at_once) { subtest $what => $tests }
        else                      { differs $what => 'loses the messages' => $tests }
    }
}

subtest 'made inside a timer, callbacks registered when recv has returned' => sub {
    for my $eof (0, 1) {
        my $cv = AE::cv;        # no watchdog, which would be another timer
        my $timer = AE::timer 0, 0, sub { $cv->send(connection_with($frames, prepare => sub { $_[0]->half_close if $eof })) };
        my ($connection, $peer) = $cv->recv;
        my $seen = recorder($connection);
        is_deeply $seen->wait_messages(20)->bodies, \@bodies, 'all are delivered' . ($eof ? ', although the peer has closed' : '');
    }
};

differs 'a violation behind messages' => 'drops the messages before it' => sub {
    my ($connection, $peer) = connection_with($frames . frame(opcode => 3) . text('late'));
    my $seen = recorder($connection)->wait_parse_error;
    is_deeply $seen->bodies, \@bodies, 'they are delivered first';
    is_deeply $seen->order, [('message') x 20, 'parse_error'], 'then parse_error';
    is_deeply [map { close_of($_) } $peer->frames_to_eof]->[0], 1002, 'the peer sees the code';
};

differs 'a die in a callback for such a message' => 'calls no parse_error' => sub {
    my ($connection, $peer) = connection_with($frames);
    my $seen = recorder($connection);
    $connection->on(next_message => sub { die "in callback\n" });
    is_deeply $seen->wait_parse_error->errors, ["in callback\n"], 'reaches parse_error';
    $peer->wait_eof;
    is_deeply $seen->bodies, [], 'and the connection is down';
};

done_testing;
