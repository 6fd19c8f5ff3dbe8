# Tests that a connection gives back the memory that it needs only while messages arrive.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use B ();
use WebSocketTest;

plan skip_all => 'by design: the original keeps its memory' if is_original();

# The size of a string that is all but empty.
use constant SMALL => 64;

sub capacity { B::svref_2object(\$_[0])->LEN }

# Returns a handle that has read a whole request, and the other end.
sub handle_after_a_request {
    my ($left, $right) = socket_pair();
    my $handle = AnyEvent::Handle->new(fh => $left);
    syswrite $right, "request\n";
    next_event('the request', sub { my ($done) = @_; $handle->push_read(line => sub { $done->() }) });
    cmp_ok capacity($handle->{rbuf}), '>', SMALL, 'the handle has a read buffer';
    return ($handle, WebSocketTest::Peer->new($right));
}

subtest 'the read buffer of the handle' => sub {
    for my $early ('', 'early') {
        my ($handle, $peer) = handle_after_a_request();
        $handle->{rbuf} = text($early) if $early;
        my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
        my $seen = recorder($connection);
        $peer->write(text('one'), text('x' x 10_000));
        $seen->wait_messages($early ? 3 : 2);
        turn();
        is $handle->{rbuf}, '', 'is empty';
        cmp_ok capacity($handle->{rbuf}), '<=', SMALL, 'and small, ' . ($early ? 'also if there was data in it' : 'at once');
    }
};

subtest 'what unregisters a callback' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $callback = sub { };
    $connection->on(each_message => $callback);
    $peer->write(text('x'));
    $peer->sync;
    is_deeply $connection->{_each_message_cb}, [$callback], 'is not kept with the callback';
};

done_testing;
