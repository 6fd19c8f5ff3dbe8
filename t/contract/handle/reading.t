# Tests that stop_read, start_read, push_read and on_read of the handle keep their meaning.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync;
    return ($connection, $peer, recorder($connection));
}

subtest 'stop_read and start_read' => sub {
    my ($connection, $peer, $seen) = ready();
    for my $round (1 .. 3) {
        $connection->handle->stop_read;
        $peer->write(text("a$round") . text("b$round"));
        settle();
        is scalar $seen->messages, 2 * $round - 2, 'stopped: nothing is delivered';
        $connection->handle->start_read;
        is_deeply [@{ $seen->wait_messages(2 * $round)->bodies }[-2, -1]], ["a$round", "b$round"], 'started: all is delivered';
    }
};

subtest 'stop_read in the middle of a frame' => sub {
    my ($connection, $peer, $seen) = ready();
    my $frame = text('a frame in two parts', mask => 1);
    for my $cut (1 .. length($frame) - 1) {
        $peer->write(substr $frame, 0, $cut);
        settle() if $cut % 10 == 1;
        $connection->handle->stop_read;
        $peer->write(substr $frame, $cut);
        $connection->handle->start_read;
        $seen->wait_messages($cut);
    }
    is_deeply [grep { $_ ne 'a frame in two parts' } @{ $seen->bodies }], [], 'loses nothing, wherever';
};

subtest 'while stopped, the peer is throttled' => sub {
    my ($connection, $peer, $seen) = ready(max_payload_size => 0);
    $connection->handle->stop_read;
    $peer->write(binary('x' x 5_000_000));
    settle();
    cmp_ok $peer->unsent, '>', 0, 'it cannot get rid of its bytes';
    $connection->handle->start_read;
    is length $seen->wait_messages(1)->bodies->[0], 5_000_000, 'until start_read';
};

subtest 'while stopped, sends work' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->handle->stop_read;
    $connection->send('x' x 3_000_000)->send('y');
    is_deeply [map { length $_->{payload} } $peer->next_frames(2)], [3_000_000, 1];
};

subtest 'the EOF of the peer is seen after start_read' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->handle->stop_read;
    $peer->write(text('last'))->close;
    settle();
    is_deeply $seen->order, [], 'stopped: nothing';
    $connection->handle->start_read;
    $seen->wait_finish;
    is_deeply $seen->order, ['message', 'finish'], 'started: message and finish';
};

subtest 'push_read while connected' => sub {
    my ($connection, $peer, $seen) = ready();
    my $chunk;
    $connection->handle->push_read(chunk => 6, sub { $chunk = $_[1]; poke() });
    $peer->write('<raw!>' . text('a frame') . text('another'));
    wait_until('the chunk', sub { defined $chunk });
    is $chunk, '<raw!>', 'gets its bytes';
    is_deeply $seen->wait_messages(2)->bodies, ['a frame', 'another'], 'and the connection the rest';
};

subtest 'push_read, bytes coming one by one' => sub {
    my ($connection, $peer, $seen) = ready();
    my $line;
    $connection->handle->push_read(line => sub { $line = $_[1]; poke() });
    for my $byte (split //, "a line\n" . text('a frame')) { $peer->write($byte); settle() if $byte eq "\n" }
    wait_until('the line', sub { defined $line });
    is $line, 'a line', 'gets its line';
    is_deeply $seen->wait_messages(1)->bodies, ['a frame'], 'and the connection its frame';
};

subtest 'push_read in a message callback' => sub {
    my ($connection, $peer, $seen) = ready();
    my $chunk;
    $connection->on(next_message => sub { $_[0]->handle->push_read(chunk => 3, sub { $chunk = $_[1]; poke() }) });
    $peer->write(text('upgrade'));
    $seen->wait_messages(1);
    $peer->write('raw' . text('back'));
    is_deeply $seen->wait_messages(2)->bodies, ['upgrade', 'back'], 'the connection gets its frames';
    is $chunk, 'raw', 'the read request what came between';
};

subtest 'several read requests' => sub {
    my ($connection, $peer, $seen) = ready();
    my @chunks;
    $connection->handle->push_read(chunk => $_, sub { push @chunks, $_[1] }) for 1 .. 4;
    $peer->write('1' . '22' . '333' . '4444' . text('a frame'));
    $seen->wait_messages(1);
    is_deeply \@chunks, ['1', '22', '333', '4444'], 'all before the connection';
};

subtest 'an unsatisfiable read request at EOF' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->handle->push_read(chunk => 100, sub { });
    $peer->write('too few')->close;
    $seen->wait_finish;
    local $! = &Errno::EPIPE;
    is $connection->close_error, "$!", 'is an error, as ever';
    is $seen->finished, 1, 'and finish comes, once';
};

subtest 'replacing on_read' => sub {
    my ($connection, $peer, $seen) = ready();
    my $raw = '';
    $connection->handle->on_read(sub { $raw .= $_[0]{rbuf}; $_[0]{rbuf} = ''; poke() });
    $peer->write('raw bytes');
    wait_until('the bytes', sub { $raw eq 'raw bytes' });
    is_deeply $seen->order, [], 'the connection sees nothing any more';
    $connection->handle->push_write('raw answer');
    is $peer->wait_bytes(10)->bytes, 'raw answer', 'writing goes on';
    $peer->close;
    $seen->wait_finish;
    is $seen->finished, 1, 'and finish still comes';
};

subtest 'replacing on_read in a message callback' => sub {
    my ($connection, $peer, $seen) = ready();
    my $raw = '';
    $connection->on(next_message => sub { $_[0]->handle->on_read(sub { $raw .= $_[0]{rbuf}; $_[0]{rbuf} = ''; poke() }) });
    $peer->write(text('take over'));
    $seen->wait_messages(1);
    $peer->write('raw bytes');
    wait_until('the bytes', sub { $raw eq 'raw bytes' });
    pass 'what comes later goes there';
};

subtest 'rbuf' => sub {
    my ($connection, $peer, $seen) = ready();
    $peer->write(text('whole') . substr text('part'), 0, 3);
    $seen->wait_messages(1);
    ok !length $connection->handle->{rbuf}, 'is empty when the connection has seen all';
    $peer->write(substr text('part'), 3);
    is_deeply $seen->wait_messages(2)->bodies, ['whole', 'part'];
};

subtest 'a small max_read_size' => sub {
    my ($connection, $peer, $seen) = ready(handle => { read_size => 3, max_read_size => 5 });
    $peer->write(text('x' x 10) . text('y' x 300));
    is_deeply $seen->wait_messages(2)->bodies, ['x' x 10, 'y' x 300], 'the messages arrive';
};

subtest 'rbuf_max' => sub {
    my ($connection, $peer, $seen) = ready(handle => { rbuf_max => 100 });
    $peer->write(map { text('x' x 60) } 1 .. 20);
    is scalar @{ $seen->wait_messages(20)->bodies }, 20, 'is for what nobody takes, and the connection takes all';
};

done_testing;
