# Tests that the handle's buffers are ordinary Perl strings: copies of them stay unchanged, and odd uses do no harm.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Perl shares the memory of long strings between a variable and its copy; our code treats sizes above about 4 KiB differently.
my @sizes = (100, 1300, 2000, 4000, 5000, 60_000);

for my $size (@sizes) {
    subtest "a copy of wbuf, $size bytes" => sub {
        my ($connection, $peer) = connection_and_peer();
        my $reply = 'x' x $size;
        my @copies;
        $connection->on(each_message => sub {
            my ($self, $message) = @_;
            return if $message->body eq 'other';
            $self->send($reply);
            push @copies, $self->handle->{wbuf};
        });
        $peer->write(text('go') . text('other'));
        is $peer->next_frame->{payload}, $reply, 'the frame arrives';
        settle();
        is_deeply [$peer->sync], [], 'and nothing else';
        my @wrong = grep { length && $_ ne text($reply) } @copies;
        is @wrong, 0, 'the copy is as it was';
    };

    subtest "a copy of wbuf, $size bytes, while the peer reads slowly" => sub {
        my ($connection, $peer) = connection_and_peer();
        $peer->stall;
        my $much = 'y' x 3_000_000;
        $connection->send($much);
        $connection->send('z' x $size);
        my $copy = $connection->handle->{wbuf};
        my $expected = join '', $copy, '';
        $peer->resume;
        is length $peer->next_frame->{payload}, length $much, 'the first frame arrives';
        is $peer->next_frame->{payload}, 'z' x $size, 'and the second';
        ok $copy eq $expected, 'the copy is as it was';
    };

    subtest "a copy of rbuf, $size bytes, before the connection is made" => sub {
        my ($left, $right) = socket_pair();
        my $peer = WebSocketTest::Peer->new($right);
        my $handle = AnyEvent::Handle->new(fh => $left);
        $handle->{rbuf} = text('i' x $size);
        my $copy = $handle->{rbuf};
        my $expected = join '', $copy, '';
        my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
        my $seen = recorder($connection);
        $seen->wait_messages(1);
        is_deeply $seen->bodies, ['i' x $size], 'the message arrives';
        ok $copy eq $expected, 'the copy is as it was';
    };
}

subtest 'rbuf with a place where a match has ended' => sub {
    my ($left, $right) = socket_pair();
    my $handle = AnyEvent::Handle->new(fh => $left);
    $handle->{rbuf} = text('matched') . text('and more');
    $handle->{rbuf} =~ /match/g or die;
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
    my $seen = recorder($connection);
    $seen->wait_messages(2);
    is_deeply $seen->bodies, ['matched', 'and more'], 'the messages arrive';
};

subtest 'wbuf with a place where a match has ended' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send('y' x 3_000_000);
    $connection->handle->{wbuf} =~ /y/g or die;
    $connection->send('more');
    $peer->resume;
    is_deeply [map { length $_->{payload} } $peer->next_frames(2)], [3_000_000, 4], 'frames arrive';
    $connection->send('and more');
    is $peer->next_frame->{payload}, 'and more', 'also the next';
};

subtest 'characters in rbuf' => sub {
    my ($left, $right) = socket_pair();
    my $handle = AnyEvent::Handle->new(fh => $left);
    utf8::upgrade($handle->{rbuf} = text("\xe9\xff"));
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
    my $seen = recorder($connection);
    $seen->wait_messages(1);
    is_deeply $seen->bodies, ["\xe9\xff"], 'are the octets that they stand for';
};

subtest 'a read-only wbuf' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send('before');
    Internals::SvREADONLY($connection->handle->{wbuf} //= '', 1);
    ok !eval { $connection->send('not sent'); 1 }, 'send dies';
    Internals::SvREADONLY($connection->handle->{wbuf}, 0);
    $connection->send('after');
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['before', 'after'], 'and works when it can be written to';
};

subtest 'a read-only wbuf, and a message that the kernel does not take at once' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send('before');
    Internals::SvREADONLY($connection->handle->{wbuf} //= '', 1);
    ok !eval { $connection->send('x' x 3_000_000); 1 }, 'send dies';
    Internals::SvREADONLY($connection->handle->{wbuf}, 0);
    $connection->send('after');
    $peer->resume;
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['before', 'after'], 'and has sent no part of it';
};

done_testing;
