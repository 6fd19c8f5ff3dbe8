# Tests that push_write, on_drain, low_water_mark and the socket options of the handle keep their meaning.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Socket qw(SOL_SOCKET SO_KEEPALIVE IPPROTO_TCP TCP_NODELAY);

sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync;
    return ($connection, $peer);
}

sub payloads { [map { $_->{payload} } @_] }

subtest 'push_write among sends' => sub {
    my ($connection, $peer) = ready();
    for my $n (1 .. 50) {
        $connection->send("send $n");
        $connection->handle->push_write(text("raw $n"));
    }
    is_deeply payloads($peer->next_frames(100)), [map {; "send $_", "raw $_" } 1 .. 50], 'keeps its place';
};

subtest 'push_write among sends in callbacks' => sub {
    my ($connection, $peer) = ready();
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        $self->handle->push_write(text('raw before ' . $message->body));
        $self->send('send ' . $message->body);
        $self->handle->push_write(text('raw after ' . $message->body));
    });
    $peer->write(map { text($_) . ping("ping $_") } 1 .. 20);
    is_deeply payloads($peer->next_frames(80)),
        [map {; "raw before $_", "send $_", "raw after $_", "ping $_" } 1 .. 20], 'keeps its place, also among pongs';
};

subtest 'push_write among sends to a stalled peer' => sub {
    my ($connection, $peer) = ready();
    $peer->stall;
    for my $n (1 .. 10) {
        $connection->send($n x 200_000);
        $connection->handle->push_write(binary("raw $n"));
    }
    settle();
    $peer->resume;
    my @wrong = grep { $peer->next_frame->{payload} ne $_ x 200_000 || $peer->next_frame->{payload} ne "raw $_" } 1 .. 10;
    is_deeply \@wrong, [], 'keeps its place';
};

subtest 'push_write with a type' => sub {
    my ($connection, $peer) = ready();
    $connection->handle->push_write(netstring => 'typed');
    is $peer->wait_bytes(8)->bytes, '5:typed,';
};

subtest 'on_drain' => sub {
    my ($connection, $peer) = ready();
    $peer->stall;
    my $drained = 0;
    $connection->send('x' x 3_000_000);
    $connection->handle->on_drain(sub { $drained++; poke() });
    settle();
    is $drained, 0, 'is not called while the queue is full';
    $peer->resume->next_frame;
    wait_until('on_drain', sub { $drained });
    pass 'and is called when it is empty';
    my $before = $drained;
    $connection->send('small');
    $peer->next_frame;
    wait_until('on_drain again', sub { $drained > $before });
    pass 'and again after the next send';
};

for my $how ('a Close frame', 'the end of file') {
    subtest "on_drain set after close, and $how of the peer" => sub {
        my ($connection, $peer) = connection_and_peer();
        $peer->stall;
        $connection->send('x' x 5_000_000)->close;
        $connection->handle->on_drain(sub { });
        $how eq 'a Close frame' ? $peer->write(close_frame(1000))->wait_written : $peer->half_close;
        settle();
        is scalar(my @frames = $peer->resume->frames_to_eof), 2, 'our end is closed all the same';
    };
}

subtest 'on_drain of an empty queue' => sub {
    my ($connection) = ready();
    my $drained = 0;
    $connection->handle->on_drain(sub { $drained++ });
    is $drained, 1, 'is called at once';
};

subtest 'on_drain set inside a callback after a send there' => sub {
    my ($connection, $peer) = ready();
    my $drained = 0;
    $connection->on(next_message => sub { $_[0]->send('reply'); $_[0]->handle->on_drain(sub { $drained++; poke() }) });
    $peer->write(text('1') . text('2'));
    wait_until('on_drain', sub { $drained });
    is $peer->next_frame->{payload}, 'reply', 'is called, and the send is on its way';
};

subtest 'on_drain as flow control' => sub {
    my ($connection, $peer) = ready();
    my ($sent, $most) = (0, 0);
    my $handle = $connection->handle;
    $handle->on_drain(sub {
        return if $sent == 200;
        $connection->send(++$sent . ' ' . 'x' x 50_000);
        $most = length $handle->{wbuf} if length $handle->{wbuf} > $most;
    });
    $connection->send('0 go');
    my @numbers = map { 0 + (split ' ', $_->{payload})[0] } $peer->next_frames(201);
    is_deeply [sort { $a <=> $b } @numbers], [0 .. 200], 'ten megabytes, a message at a time';
    cmp_ok $most, '<', 1_000_000, 'and the queue stays short';
};

subtest 'low_water_mark' => sub {
    my ($connection, $peer) = ready(handle => { low_water_mark => 1_000_000 });
    $peer->stall;
    my ($left, $drained);
    $connection->send('x' x 5_000_000);
    $connection->handle->on_drain(sub { $left = length $_[0]{wbuf} unless $drained++; poke() });
    ok !$drained, 'on_drain is not called above it';
    $peer->resume;
    wait_until('on_drain', sub { $drained });
    cmp_ok $left, '<=', 1_000_000, 'but below it';
    cmp_ok $left, '>', 0, 'and before the queue is empty';
    is length $peer->next_frame->{payload}, 5_000_000, 'the rest follows';
};

subtest 'a queue that is there at construction' => sub {
    my ($left, $right) = socket_pair();
    my $peer = WebSocketTest::Peer->new($right)->stall;
    my $handle = AnyEvent::Handle->new(fh => $left);
    $handle->push_write(binary('h' x 2_000_000));
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
    $connection->send('behind');
    settle();
    is_deeply [map { length $_->{payload} } $peer->resume->next_frames(2)], [2_000_000, 6], 'goes first';
};

subtest 'autocork' => sub {
    my ($connection, $peer) = connection_and_peer(handle => { autocork => 1 });
    $connection->send($_) for 1 .. 10;
    is_deeply payloads($peer->next_frames(10)), [1 .. 10], 'what is sent arrives in order';
    $connection->send('last')->close(4000);
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [1, 8], 'and close comes after it';
};

subtest 'no_delay and keepalive' => sub {
    my ($connection, $peer) = ready(tcp => 1);
    my $option = sub { my $value = unpack 'i', getsockopt $connection->handle->fh, $_[0], $_[1]; $value ? 1 : 0 };
    for my $value (1, 0, 1) {
        $connection->handle->no_delay($value);
        $connection->handle->keepalive($value);
        is $option->(IPPROTO_TCP, TCP_NODELAY), $value, "no_delay($value)";
        is $option->(SOL_SOCKET, SO_KEEPALIVE), $value, "keepalive($value)";
    }
};

subtest 'no_delay and keepalive given to the handle' => sub {
    my ($connection, $peer) = ready(tcp => 1, handle => { no_delay => 1, keepalive => 1 });
    ok unpack('i', getsockopt $connection->handle->fh, IPPROTO_TCP, TCP_NODELAY), 'no_delay is kept';
    ok unpack('i', getsockopt $connection->handle->fh, SOL_SOCKET, SO_KEEPALIVE), 'keepalive is kept';
};

subtest 'linger => 0, and a callback that destroys the handle' => sub {
    my ($connection, $peer) = connection_and_peer(handle => { linger => 0 });
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        return $self->handle->destroy if $message->body eq 'end';
        $self->send($message);
    });
    for (1 .. 2) {
        $peer->write(map { text($_) } 1 .. 8);
        $peer->next_frames(8);
    }
    $peer->write(map { text($_) } 1 .. 3, 'end');
    is_deeply [map { $_->{payload} } $peer->frames_to_eof], [1 .. 3], 'the replies before are written';
};

done_testing;
