# Tests that push_shutdown, destroy and errors of the handle keep their meaning at any moment.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Errno ();
use Fcntl ();
use Socket ();

sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync;
    return ($connection, $peer, recorder($connection));
}

subtest 'handle is the object passed in' => sub {
    my ($left, $right) = socket_pair();
    my $handle = AnyEvent::Handle->new(fh => $left);
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
    is $connection->handle, $handle, 'the same reference';
    is ref $handle, 'AnyEvent::Handle', 'of the same class';
    is $connection->handle->fh, $left, 'with its fh';
    is fileno $connection->handle->fh, fileno $left, 'and descriptor';
};

subtest 'push_shutdown mid-flight' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->send('before');
    $connection->handle->push_shutdown;
    is_deeply [map { $_->{payload} } $peer->frames_to_eof], ['before'], 'the peer sees what was sent, then EOF';
    $peer->write(text('still here'));
    is_deeply $seen->wait_messages(1)->bodies, ['still here'], 'the peer is still heard';
    $peer->half_close;
    $seen->wait_finish;
    settle();
    is $seen->finished, 1, 'finish comes with its EOF, once';
};

subtest 'push_shutdown with a queue' => sub {
    my ($connection, $peer, $seen) = ready();
    $peer->stall;
    $connection->send('x' x 3_000_000);
    $connection->handle->push_shutdown;
    is_deeply [map { length $_->{payload} } $peer->resume->frames_to_eof], [3_000_000], 'waits until all is written';
};

subtest 'send after push_shutdown' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->handle->push_shutdown;
    is $connection->send('into a closed pipe')->send('again'), $connection, 'returns the connection';
    $seen->wait_finish;
    settle();
    is $seen->finished, 1, 'finish comes, once';
    my $message = ($seen->arguments('finish'))[0][1];
    ok defined $message && length $message, 'with a message';
    is $connection->close_error, $message, 'which is close_error';
    $peer->wait_eof;
};

subtest 'push_shutdown and send inside finish' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->on(finish => sub { $_[0]->handle->push_shutdown; $_[0]->send('FOO') });
    $peer->close;
    $seen->wait_finish;
    $connection->send($_) for 1 .. 3;
    settle();
    is $seen->finished, 1, 'finish, once';
};

subtest 'push_shutdown inside a message callback, after sends there' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body); $_[0]->handle->push_shutdown if $_[1]->body == 2 });
    $peer->write(text('1') . text('2'));
    is_deeply [map { $_->{payload} } $peer->frames_to_eof], ['re: 1', 're: 2'], 'the sends before it arrive, then EOF';
};

subtest 'push_shutdown in on_drain, after a close' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->close(4000)->handle->push_shutdown;
    is_deeply [map { [close_of($_)] } $peer->frames_to_eof], [[4000, '']], 'does no harm';
};

subtest 'destroy' => sub {
    my ($connection, $peer, $seen) = ready();
    my $handle = $connection->handle;
    $connection->send('before');
    $handle->destroy;
    is_deeply [map { $_->{payload} } $peer->frames_to_eof], ['before'], 'the peer sees what was sent, then EOF';
    settle();
    is_deeply $seen->order, [], 'no callback is called any more';
    is $connection->handle, $handle, 'the connection still has its handle';
    is $connection->send('x')->close, $connection, 'and its methods do nothing';
};

subtest 'destroy with a queue' => sub {
    my ($connection, $peer, $seen) = ready();
    $peer->stall;
    $connection->send('x' x 3_000_000);
    $connection->handle->destroy;
    settle();
    is_deeply [map { length $_->{payload} } $peer->resume->frames_to_eof], [3_000_000], 'lingers over it';
};

subtest 'destroy with bytes waiting to be read' => sub {
    my ($connection, $peer, $seen) = ready();
    $peer->write(map { text($_) } 1 .. 10);
    $connection->handle->destroy;
    settle();
    is_deeply $seen->order, [], 'they are not delivered';
};

subtest 'destroy, and a new socket with the same number' => sub {
    my ($connection, $peer, $seen) = ready();
    my $number = fileno $connection->handle->fh;
    $connection->handle->destroy;
    my @others = map { [socket_pair()] } 1 .. 2;
    my ($pair) = grep { my $p = $_; grep { fileno $_ == $number } @$p } @others;
    plan skip_all => 'the number was not used again' unless $pair;
    my ($same, $other) = fileno $pair->[0] == $number ? @$pair : reverse @$pair;
    my $other_peer = WebSocketTest::Peer->new($other);
    $connection->send('x')->close;
    $other_peer->write(text('not for the old connection'));
    settle();
    is $other_peer->bytes, '', 'nothing is written to it';
    sysread $same, my $bytes, 100;
    is $bytes, text('not for the old connection'), 'nothing is read from it';
    undef $connection;
    settle();
    ok !$other_peer->eof, 'and it is not shut down';
};

subtest 'a fatal error of the handle' => sub {
    my ($connection, $peer, $seen) = ready(handle => { wbuf_max => 1000 });
    $peer->stall;
    is $connection->send('x' x 5_000_000), $connection, 'a send beyond wbuf_max returns the connection';
    $seen->wait_finish;
    is $seen->finished, 1, 'finish';
    local $! = &Errno::ENOSPC;
    is $connection->close_error, "$!", 'with the text of ENOSPC';
    $peer->resume->wait_eof;
    is $connection->send('late'), $connection, 'then send does nothing';
};

subtest 'wbuf_max set later, and not reached' => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->handle->wbuf_max(20_000_000);
    $peer->stall;
    $connection->send('x' x 5_000_000);
    is length $peer->resume->next_frame->{payload}, 5_000_000, 'does not disturb';
    $connection->handle->wbuf_max(1000);
    $peer->stall;
    $connection->send('x' x 5_000_000);
    $seen->wait_finish;
    is $seen->finished, 1, 'lowered, it is an error';
};

subtest 'wbuf_max exceeded in a callback' => sub {
    my ($connection, $peer, $seen) = ready(handle => { wbuf_max => 1000 });
    $peer->stall;
    my @returned;
    $connection->on(each_message => sub { push @returned, $_[0]->send('x' x 5_000_000) });
    $peer->write(text('1') . text('2') . text('3'));
    $seen->wait_finish;
    is $seen->finished, 1, 'finish, once';
    is_deeply [grep { $_ != $connection } @returned], [], 'send returned the connection';
};

subtest 'on_eof and on_error set by others' => sub {
    for my $event (qw(on_eof on_error)) {
        my ($connection, $peer, $seen) = ready(tcp => 1);
        my $called = 0;
        $connection->handle->$event(sub { $called++; $_[0]->destroy; poke() });
        $event eq 'on_eof' ? $peer->close : $peer->reset;
        wait_until($event, sub { $called });
        is $called, 1, "$event is called";
    }
};

# The text of ECONNRESET, as a program would compare it.
my $reset = do { local $! = Errno::ECONNRESET(); "$!" };

for my $case (
    ['a small message' => sub { $_[0]->send('x') }],
    ['a large message' => sub { $_[0]->send('x' x 100_000) }],
    ['close'           => sub { $_[0]->close(4000) }],
    ['a large message in a message callback' => sub { $_[0]->send('x' x 100_000) }, 'in a callback'],
    ['two messages in a message callback'    => sub { $_[0]->send('x')->send('y') }, 'in a callback'],
) {
    my ($name, $send, $in_callback) = @$case;
    for my $masked (0, 1) {
        subtest "$name to a peer that has reset the connection, masked $masked" => sub {
            my ($connection, $peer, $seen) = ready(tcp => 1, masked => $masked);
            if ($in_callback) {
                $connection->on(next_message => sub { $peer->reset; $send->($_[0]) });
                $peer->write(text('one') . text('two'));
            }
            else {
                $peer->reset;
                $send->($connection);
            }
            $seen->wait_finish;
            settle();
            is_deeply [map { $_->[1] } $seen->arguments('finish')], [$reset], 'finish gets the first error, once';
            is $connection->close_error, $reset, 'close_error too';
        };
    }
}

subtest 'sending to a peer that has reset the connection, with SIGPIPE at its default' => sub {
    my ($left, $right) = tcp_pair();
    setsockopt $right, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'll', 1, 0;
    close $right;
    fcntl $left, Fcntl::F_SETFD(), 0;
    my ($printed, $status) = run_perl({ FD => fileno $left }, <<'PROGRAM');
            use WebSocketTest;
            $SIG{PIPE} = 'DEFAULT';
            $| = 1;
            open my $fh, '+<&=', $ENV{FD} or die $!;
            my $connection = connection_on($fh);
            $connection->on(finish => sub { print "finish: $_[1]"; exit 0 });
            $connection->send('x');
            print 'no finish';
PROGRAM
    is $printed, "finish: $reset", 'calls finish';
    is $status, 0, 'and does not kill the program before';
};

differs 'broadcast to peers that have reset their connections' => 'does not have it' => sub {
    my @all = map { [ready(tcp => 1)] } 1 .. 3;
    $_->[1]->reset for @all[0, 2];
    AnyEvent::WebSocket::Connection->broadcast([map { $_->[0] } @all], 'x');
    is $all[1][1]->next_frame->{payload}, 'x', 'the others get it';
    is_deeply [map { $_->[0]->close_error } @all], [$reset, undef, $reset], 'and these have the first error';
};

done_testing;
