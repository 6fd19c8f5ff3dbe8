# Tests that a connection that goes out of scope is closed: queued bytes still go out, then the descriptor closes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub payloads { [map { $_->{payload} } grep { $_->{opcode} != 8 } @_] }

subtest 'nothing queued' => sub {
    my ($connection, $peer) = connection_and_peer();
    undef $connection;
    is_deeply payloads($peer->frames_to_eof), [], 'the peer sees EOF';
};

subtest 'with callbacks registered' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $called = 0;
    $connection->on($_ => sub { $called++ }) for qw(next_message each_message parse_error finish);
    undef $connection;
    $peer->write(text('x'))->wait_eof;
    settle();
    is $called, 0, 'none is called';
};

subtest 'right after send' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send('last words');
    undef $connection;
    is_deeply payloads($peer->frames_to_eof), ['last words'];
};

subtest 'with much queued' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => $_ x 1_000_000)) for 'a' .. 'j';
    undef $connection;
    settle();
    my @payloads = @{ payloads($peer->resume->frames_to_eof) };
    is scalar @payloads, 10, 'ten megabytes go out';
    is_deeply [grep { $payloads[$_] ne chr(97 + $_) x 1_000_000 } 0 .. $#payloads], [], 'whole and in order';
    is $peer->bytes, '', 'then EOF';
};

subtest 'in a callback, after a send there' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    $connection->on(each_message => sub { $_[0]->send("re: $_") for 1 .. 10; undef $connection });
    $peer->write(text('x') . text('y') . text('z'));
    my @payloads = @{ payloads($peer->frames_to_eof) };
    is_deeply [@payloads[0 .. 9]], [map { "re: $_" } 1 .. 10], 'all of it goes out';
};

subtest 'a handle that somebody else keeps' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $handle = $connection->handle;
    $connection->send('x');
    undef $connection;
    is $peer->next_frame->{payload}, 'x', 'what was sent goes out';
    settle();
    ok !$peer->eof, 'the socket is not closed';
    $handle->push_write(text('by hand'));
    is $peer->next_frame->{payload}, 'by hand', 'and the handle still works';
    undef $handle;
    $peer->wait_eof;
    pass 'until it goes as well';
};

differs 'what arrives on a handle whose connection has gone' => 'dies into the event loop' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $handle = $connection->handle;
    undef $connection;
    my $warnings = warnings_of(sub { $peer->write(text('to nobody'), ping('p')); settle() });
    is_deeply $warnings, [], 'is ignored';
    $handle->push_write(text('by hand'));
    is $peer->next_frame->{payload}, 'by hand', 'and the handle still works';
    $peer->close;
    settle();
    pass 'also when the peer closes';
};

subtest 'linger => 0' => sub {
    my ($connection, $peer) = connection_and_peer(handle => { linger => 0 });
    $peer->stall;
    $connection->send('x' x 10_000_000);
    undef $connection;
    settle();
    $peer->resume->wait_eof;
    cmp_ok length $peer->bytes, '<', 10_000_000, 'what the kernel has not taken is dropped';
};

subtest 'many at once' => sub {
    my @pairs = map { [connection_and_peer()] } 1 .. 50;
    $_->[0]->send('bye') for @pairs;
    undef $_->[0] for @pairs;
    is_deeply [map { @{ payloads($_->[1]->frames_to_eof) } } @pairs], [('bye') x 50];
};

subtest 'the descriptor is free again' => sub {
    my $number = do { my ($left) = socket_pair(); fileno $left };
    for (1 .. 30) {
        my ($connection, $peer) = connection_and_peer();
        $connection->send('x');
        undef $connection;
        $peer->frames_to_eof;
    }
    my ($left) = socket_pair();
    cmp_ok fileno $left, '<=', $number + 4, 'thirty connections later the numbers have not grown';
};

done_testing;
