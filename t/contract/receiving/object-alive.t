# Tests that the object stays alive while any of its callbacks runs, whatever they undef.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Scalar::Util qw(weaken);

# The cause of each event.
my %cause = (
    next_message => sub { $_[1]->write(text('x')) },
    each_message => sub { $_[1]->write(text('x')) },
    finish       => sub { $_[1]->half_close },
    parse_error  => sub { $_[1]->write(frame(length => 2**30)) },
);

# Makes a connection that only a callback's variable holds, and has the callback clear it.
sub held_by_callback {
    my ($event, $in_callback) = @_;
    my ($connection, $peer) = connection_and_peer();
    weaken(my $weak = $connection);
    my @log;
    $connection->on($event => sub { undef $connection; push @log, $in_callback->(@_, $weak); poke() });
    $connection->on($event => sub { push @log, defined $_[0] && $_[0]->isa('AnyEvent::WebSocket::Connection'); poke() });
    $peer->sync;
    my $strong = $connection;
    $cause{$event}->($strong, $peer);
    undef $strong;
    wait_until($event, sub { @log == 2 });
    $peer->wait_eof;
    return (\@log, \$weak);
}

for my $event (sort keys %cause) {
    subtest "undef in $event" => sub {
        my ($log, $weak) = held_by_callback($event, sub { my ($connection) = @_; defined $connection->handle });
        is_deeply $log, [1, 1], 'the callback itself can use the connection, and so can the next callback';
        is $$weak, undef, 'then it is gone';
    };

    subtest "undef in $event, which uses its arguments without a copy" => sub {
        my ($log, $weak) = held_by_callback($event, sub { $_[0]->send('still here')->masked . ref $_[0]->handle });
        is $log->[0], '0AnyEvent::Handle', 'they are alive';
        is $$weak, undef, 'and then gone';
    };

    subtest "undef of connection and handle in $event" => sub {
        my ($log, $weak) = held_by_callback($event, sub { $_[0]->handle->destroy; defined $_[-1] });
        is_deeply $log, [1, 1], 'the second callback still has its connection';
        is $$weak, undef, 'then it is gone';
    };
}

subtest 'undef with more messages behind the current one' => sub {
    my ($connection, $peer) = connection_and_peer();
    weaken(my $weak = $connection);
    my @log;
    $connection->on(each_message => sub { push @log, $_[1]->body; undef $connection; $_[0]->send("re: $log[-1]") });
    $peer->sync;
    $peer->write(map { text($_) } 1 .. 100);
    is $peer->next_frame->{payload}, 're: 1', 'what was sent in the callback goes out';
    $peer->wait_eof;
    is_deeply \@log, [1 .. @log], 'no message is delivered twice or out of order';
    is $weak, undef, 'the connection is gone';
};

subtest 'send makes finish happen, and that takes the last reference away' => sub {
    for my $method (qw(send close)) {
        my ($connection, $peer) = connection_and_peer();
        $peer->sync;
        $connection->handle->stop_read;
        weaken(my $weak = $connection);
        my $called = 0;
        $connection->on(finish => sub { $called++; undef $connection; poke() });
        $peer->close;
        settle();   # POE's watcher keeps the descriptor open until the loop's next turn
        my $returned = ref $connection->$method('4000');
        wait_until('finish', sub { $called });
        is $returned, 'AnyEvent::WebSocket::Connection', "$method returns the connection";
        settle();
        is $weak, undef, 'then it is gone';
        is $called, 1, 'finish was called once';
    }
};

subtest 'a callback that cancels itself and undefs everything' => sub {
    my ($connection, $peer) = connection_and_peer();
    weaken(my $weak = $connection);
    my $body;
    $peer->sync;
    my $callback;
    $callback = sub { $_[2]->(); undef $callback; undef $connection; $body = $_[1]->body; poke() };
    $connection->on(each_message => $callback);
    $peer->write(text('x'))->wait_eof;
    is $body, 'x', 'the rest of its code has run';
    is $weak, undef, 'the connection is gone';
};

differs 'undef inside a message that waited for the first turn of the loop' => 'calls no parse_error there' => sub {
    my ($connection, $peer) = connection_and_peer();
    weaken(my $weak = $connection);
    my @log;
    $connection->on(each_message => sub { undef $connection; push @log, $_[1]->body; die "thrown\n" });
    $connection->on(parse_error => sub { push @log, $_[1], ref $_[0] });
    $peer->write(text('x'))->wait_eof;
    is_deeply \@log, ['x', "thrown\n", 'AnyEvent::WebSocket::Connection'], 'parse_error has its connection';
    is $weak, undef, 'which is gone afterwards';
};

subtest 'messages outlive the connection' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('kept'));
    my ($message) = $seen->wait_messages(1)->messages;
    undef $connection;
    $peer->wait_eof;
    is $message->body, 'kept';
};

subtest 'coderefs that unregister outlive the connection' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $cancel = $connection->on(each_message => sub { });
    undef $connection;
    ok eval { $cancel->(); $cancel->(); 1 }, 'calling one is harmless';
};

done_testing;
