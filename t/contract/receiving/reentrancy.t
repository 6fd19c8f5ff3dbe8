# Tests that send, close, on, cancel and the handle may be called inside callbacks.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Returns a connection past its first turn of the loop, and its peer.
sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync;
    return ($connection, $peer);
}

sub payloads { [map { $_->{opcode} == 8 ? 'close' : $_->{payload} } @_] }

differs 'a callback that overwrites its first argument, and protects it' => 'passes the value on' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @called;
    $connection->on(each_message => sub { $_[0] = 'mine'; Internals::SvREADONLY($_[0], 1) });
    $connection->on(each_message => sub { push @called, ref $_[0]; poke() });
    $peer->write(map { text($_) } 1 .. 3);
    wait_until('the calls', sub { @called == 3 });
    is_deeply \@called, [(ref $connection) x 3], 'leaves that of the others alone';
};

subtest 'many sends in one callback' => sub {
    my ($connection, $peer) = ready();
    $connection->on(next_message => sub { $_[0]->send("reply $_"), $_[0]->handle->push_write(ping($_)) for 1 .. 200 });
    $peer->write(text('go'));
    is_deeply payloads($peer->next_frames(400)), [map {; "reply $_", $_ } 1 .. 200], 'all, in order, with raw writes';
};

subtest 'sends of large messages in callbacks' => sub {
    my ($connection, $peer) = ready();
    $connection->on(each_message => sub { $_[0]->send($_[1]->body x 1_000_000) });
    $peer->write(map { text($_) } 'a' .. 'h');
    is_deeply [map { length $_ } @{ payloads($peer->next_frames(8)) }], [(1_000_000) x 8], 'eight megabytes';
};

subtest 'close in a callback' => sub {
    my ($connection, $peer) = ready();
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body); $_[0]->close(4000) if $_[1]->body == 2 });
    $peer->write(map { text($_) } 1 .. 4);
    is_deeply payloads($peer->frames_to_eof), ['re: 1', 're: 2', 'close'], 'nothing is sent after it';
};

subtest 'close in a callback does not keep later messages from being delivered' => sub {
    my ($connection, $peer) = ready();
    my $seen = recorder($connection);
    $connection->on(next_message => sub { $_[0]->close });
    $peer->write(map { text($_) } 1 .. 3);
    $peer->wait_eof->write(text(4), close_frame(1000), text(5))->half_close;
    $seen->wait_finish;
    is_deeply $seen->bodies, [1 .. 4], 'until the Close frame of the peer';
};

subtest 'close twice, in two callbacks' => sub {
    my ($connection, $peer) = ready();
    $connection->on(each_message => sub { $_[0]->close(4001) });
    $connection->on(each_message => sub { $_[0]->close(4002)->send('x') });
    $peer->write(text('x'));
    my (@frames) = $peer->frames_to_eof;
    is scalar @frames, 1, 'one Close frame';
    is_deeply [close_of($frames[0])], [4001, ''], 'the first';
};

subtest 'send and close in finish' => sub {
    my ($connection, $peer) = ready();
    my @returned;
    $connection->on(finish => sub { @returned = ($_[0]->send('late'), $_[0]->close, $_[0]->close(4000, 'x')) });
    is_deeply [$peer->half_close->frames_to_eof], [], 'nothing on the wire';
    is_deeply \@returned, [($connection) x 3], 'all return the connection';
};

subtest 'push_shutdown and send in finish' => sub {
    my ($connection, $peer) = ready();
    my $called = 0;
    $connection->on(finish => sub { $called++; $_[0]->handle->push_shutdown; $_[0]->send('x'); poke() });
    $peer->half_close->wait_eof;
    settle();
    is $called, 1, 'do not make it fire again';
};

subtest 'registering and cancelling in callbacks' => sub {
    my ($connection, $peer) = ready();
    my (@log, %cancel);
    $cancel{b} = $connection->on(each_message => sub { push @log, 'b' . $_[1]->body });
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        push @log, 'a' . $message->body;
        (delete $cancel{b})->() if $message->body == 2;
        $cancel{c} = $self->on(each_message => sub { push @log, 'c' . $_[1]->body }) if $message->body == 3;
        $_[2]->() if $message->body == 4;
    });
    $peer->write(map { text($_) } 1 .. 5);
    $peer->sync;
    is_deeply \@log, [qw(b1 a1 b2 a2 a3 a4 c4 c5)], 'takes effect from the next message on';
};

subtest 'hundreds of callbacks which all cancel themselves' => sub {
    my ($connection, $peer) = ready();
    my $called = 0;
    $connection->on(each_message => sub { $called++; $_[2]->() }) for 1 .. 300;
    $connection->on(each_message => sub { $_[0]->on(next_message => sub { $called += 1000 }) });
    $peer->write(text('x') . text('y'));
    $peer->sync;
    is $called, 1300, 'each was called once';
};

subtest 'stop_read and start_read in callbacks' => sub {
    my ($connection, $peer) = ready();
    my $seen = recorder($connection);
    $connection->on(each_message => sub { $_[0]->handle->stop_read });
    $connection->on(each_message => sub { $_[0]->handle->start_read if $_[1]->body % 2 });
    $peer->write(map { text($_) } 1 .. 10);
    $seen->wait_messages(10);
    settle();
    $connection->handle->start_read;
    $peer->write(text(11));
    is_deeply $seen->wait_messages(11)->bodies, [1 .. 11], 'lose nothing';
};

subtest 'destroying the handle in a callback' => sub {
    for my $send (0, 1) {
        my ($connection, $peer) = ready();
        my $seen = recorder($connection);
        $connection->on(next_message => sub {
            $_[0]->send('last words') if $send;
            $_[0]->handle->destroy;
            $_[0]->send('too late')->close;
        });
        $peer->write(map { text($_) } 1 .. 50);
        is_deeply payloads($peer->frames_to_eof), [('last words') x $send], 'what was sent before goes out, then EOF';
        is $connection->send('x'), $connection, 'send does nothing';
        is_deeply [grep { $_ ne 'message' } @{ $seen->order }], [], 'no finish: a destroyed handle calls nothing';
    }
};

subtest 'a new connection, made and used in a callback' => sub {
    my ($connection, $peer) = ready();
    my @inner;
    $connection->on(next_message => sub {
        @inner = connection_and_peer();
        $inner[0]->on(each_message => sub { $_[0]->send('inner ' . $_[1]->body) });
        $inner[1]->write(text('x'));
        $_[0]->send('outer ' . $_[1]->body);
    });
    $peer->write(text('x'));
    is $peer->next_frame->{payload}, 'outer x', 'the one';
    is $inner[1]->next_frame->{payload}, 'inner x', 'the other';
};

subtest 'sends to another connection in a callback' => sub {
    my ($one, $peer_one) = ready();
    my ($two, $peer_two) = ready();
    $one->on(each_message => sub { $two->send('for two: ' . $_[1]->body) });
    $two->on(each_message => sub { $one->send('for one: ' . $_[1]->body) });
    $peer_one->write(map { text($_) } 1 .. 20);
    $peer_two->write(map { text($_) } 1 .. 20);
    is_deeply payloads($peer_one->next_frames(20)), [map { "for one: $_" } 1 .. 20], 'arrive';
    is_deeply payloads($peer_two->next_frames(20)), [map { "for two: $_" } 1 .. 20], 'both ways';
};

subtest 'two connections that play ping-pong' => sub {
    my ($left, $right) = connection_pair({}, { masked => 1 });
    my $count = 0;
    $_->on(each_message => sub { $count++ < 2000 ? $_[0]->send($_[1]->body + 1) : $_[0]->close }) for $left, $right;
    my $seen = recorder($left);
    $left->send(0);
    $seen->wait_finish;
    is $count, 2001, 'two thousand times';
};

subtest 'a reply does not wait for later messages' => sub {
    my ($connection, $peer) = ready();
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
    $peer->write(text('1') . text('2') . substr text('3'), 0, 2);
    is_deeply payloads($peer->next_frames(2)), ['re: 1', 're: 2'], 'when only a part of the next is there';
};

differs 'a callback that overwrites its first argument in a nested event loop' => 'passes the value on' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @seen;
    $connection->on(next_message => sub {
        $peer->write(map { text($_) } 2 .. 4);
        wait_until('the other messages', sub { @seen == 4 });
    });
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        push @seen, ref($self) . ' ' . $message->body;
        $_[0] = 'mine';
        poke();
    });
    $peer->write(text(1));
    wait_until('all messages', sub { @seen == 4 });
    is_deeply [sort @seen], [map { ref($connection) . " $_" } 1 .. 4], 'does so for itself alone';
};

done_testing;
