# Tests that finish fires once, at EOF or error, and that the socket is then shut down for writing.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Scalar::Util qw(refaddr);

subtest 'a clean EOF' => sub {
    for my $before ('', text('last words'), text('half', fin => 0)) {
        my ($connection, $peer) = connection_and_peer();
        my $seen = recorder($connection);
        $peer->write($before)->close;
        $seen->wait_finish;
        settle();
        is_deeply [$seen->arguments('finish')], [[refaddr $connection, undef]], 'finish once, with (connection, undef)';
        is $connection->close_error, undef, 'close_error is not set';
    }
};

differs 'a ping, then EOF, at once' => 'recurses deeply when the pong cannot be written' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('first') . ping('p') . text('last'))->close;
    is_deeply warnings_of(sub { $seen->wait_finish }), [], 'no warning';
    is $seen->finished, 1, 'finish once';
    is_deeply $seen->bodies, ['first', 'last'], 'messages on both sides of the ping are delivered';
};

subtest 'an error' => sub {
    my ($connection, $peer) = connection_and_peer(tcp => 1);
    my $seen = recorder($connection);
    $peer->write(text('last words'))->reset;
    $seen->wait_finish;
    settle();
    is $seen->finished, 1, 'finish once';
    my ($passed, $message) = @{ ($seen->arguments('finish'))[0] };
    is $passed, refaddr $connection, 'with the connection';
    local $! = &Errno::ECONNRESET;
    is $message, "$!", 'and the text';
    is $connection->close_error, $message, 'which close_error holds too';
};

subtest 'an error after the Close frame of the peer' => sub {
    my ($connection, $peer) = connection_and_peer(tcp => 1);
    my $seen = recorder($connection);
    $peer->write(close_frame(1000, 'bye'))->reset;
    $seen->wait_finish;
    my ($passed, $message) = @{ ($seen->arguments('finish'))[0] };
    ok defined $message && length $message, 'is reported all the same';
    ok defined $connection->close_error, 'close_error, too';
    is_deeply [$connection->close_code, $connection->close_reason], [1000, 'bye'], 'and the code is there';
};

subtest 'an error while writing' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->handle->stop_read;
    $peer->close;
    settle();   # POE's watcher keeps the descriptor open until the loop's next turn
    is $connection->send('into the void'), $connection, 'send returns the connection';
    $seen->wait_finish;
    local $! = &Errno::EPIPE;
    is_deeply [$seen->arguments('finish')], [[refaddr $connection, "$!"]], 'finish has the text';
    is $connection->close_error, "$!", 'close_error too';
};

subtest 'messages that came before the error are delivered' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(map { text($_) } 1 .. 100);
    $peer->close;
    $seen->wait_finish;
    is_deeply $seen->bodies, [1 .. 100], 'all';
    is $seen->order->[-1], 'finish', 'finish comes last';
};

subtest 'the message is there in close_error already when finish is called' => sub {
    my ($connection, $peer) = connection_and_peer(tcp => 1);
    my $error;
    $peer->reset;
    next_event('finish', sub { my $done = shift; $connection->on(finish => sub { $error = $_[0]->close_error; $done->() }) });
    ok defined $error && length $error;
};

subtest 'no half-open socket is left behind: the EOF of the peer is answered' => sub {
    for my $tcp (0, 1) {
        my ($connection, $peer) = connection_and_peer(tcp => $tcp);
        my $seen = recorder($connection);
        is_deeply [$peer->half_close->frames_to_eof], [], 'by EOF';
        $seen->wait_finish;
        ok defined $connection->handle, 'while the connection is alive';
    }
};

subtest 'queued data goes out before that EOF' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send('x' x 5_000_000);
    recorder($connection);
    $peer->half_close;
    settle();
    my ($frame, @more) = $peer->resume->frames_to_eof;
    is length $frame->{payload}, 5_000_000, 'all of it';
    is_deeply \@more, [], 'and nothing else';
};

subtest 'every callback, in order of registration' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @log;
    for my $name (qw(a b c)) { $connection->on(finish => sub { push @log, $name }) }
    my $seen = recorder($connection);
    $peer->close;
    $seen->wait_finish;
    is_deeply \@log, [qw(a b c)];
};

subtest 'a cancelled callback is not called' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $called = 0;
    $connection->on(finish => sub { $called++ })->();
    my $seen = recorder($connection);
    $peer->close;
    $seen->wait_finish;
    is $called, 0;
};

subtest 'once, however it comes' => sub {
    my %course = (
        'the peer closes'       => sub { $_[1]->close },
        'the peer half-closes'  => sub { $_[1]->half_close },
        'Close, then EOF'       => sub { $_[1]->write(close_frame(1000))->half_close },
        'our Close, then EOF'   => sub { $_[0]->close; $_[1]->wait_eof->close },
        'both close at once'    => sub { $_[1]->write(close_frame(1000))->close; $_[0]->close },
        'EOF with data queued'  => sub { $_[1]->stall; $_[0]->send('x' x 5_000_000); $_[1]->close },
        'a violation, then EOF' => sub { $_[1]->write(frame(length => 2**30))->half_close },
    );
    for my $name (sort keys %course) {
        my ($connection, $peer) = connection_and_peer();
        my $seen = recorder($connection);
        $course{$name}->($connection, $peer);
        $seen->wait_finish;
        $connection->send("send $_")->close for 1 .. 3;
        settle();
        is $seen->finished, 1, $name;
    }
};

subtest 'after finish, nothing is sent or received' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->half_close;
    $seen->wait_finish;
    is $connection->send('late'), $connection, 'send returns the connection';
    is $connection->send(AnyEvent::WebSocket::Message->new(body => 'late')), $connection, 'with a message as well';
    is $connection->close, $connection, 'close too';
    is_deeply [$peer->frames_to_eof], [], 'nothing is on the wire';
    is_deeply $seen->order, ['finish'], 'and nothing is called';
};

subtest 'close_code without a Close frame' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->close;
    $seen->wait_finish;
    is $connection->close_code, undef, 'is not set';
    is $connection->close_reason, undef, 'nor close_reason';
};

# The exceptions of callbacks reach the event loop: EV makes warnings of them.
sub survive_settling {
    local $SIG{__WARN__} = sub { };
    for (1 .. 4) { eval { settle() } }
}

my %dying_end = (
    'a violation of a peer that has hung up' => sub {
        my ($connection, $peer) = @_;
        $peer->write(substr text('x' x 70_000), 0, 20);
        $peer->close;
    },
    'a violation that is answered' => sub {
        my ($connection, $peer) = @_;
        $peer->write(substr text('x' x 70_000), 0, 20);
        survive_settling();
        $peer->close;
    },
    'a message callback that dies, before the peer hangs up' => sub {
        my ($connection, $peer) = @_;
        $connection->on(next_message => sub { die "callback\n" });
        $peer->write(text('a'));
        $peer->close;
    },
);
for my $how (sort keys %dying_end) {
    subtest "$how, and a parse_error callback that dies" => sub {
        my ($connection, $peer) = connection_and_peer();
        my %called;
        $connection->on(parse_error => sub { $called{parse_error}++; die "from parse_error\n" });
        $connection->on(finish => sub { $called{finish}++ });
        survive_settling();
        $dying_end{$how}->($connection, $peer);
        survive_settling();
        is_deeply \%called, { parse_error => 1, finish => 1 }, 'does not prevent finish';
    };
}

subtest 'messages that wait when writing fails, of which one dies, and a parse_error callback that dies' => sub {
    plan skip_all => 'by design: the original has no pause' if is_original();
    my ($connection, $peer) = connection_and_peer();
    my @called;
    $connection->on(next_message => sub { $_[0]->pause });
    $connection->on(each_message => sub { push @called, $_[1]->body; die "callback\n" if $_[1]->body eq 'b' });
    $connection->on(parse_error => sub { push @called, 'parse_error'; die "from parse_error\n" });
    $connection->on(finish => sub { push @called, 'finish' });
    $peer->write(text('a'), text('b'));
    settle();
    $peer->close;
    eval { $connection->send('x') };
    survive_settling();
    is_deeply \@called, [qw(a b parse_error finish)], 'do not prevent finish';
};

done_testing;
