# Tests that receive, closed and drained can be awaited with Future::AsyncAwait, and that a future which is cancelled loses no
# message.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

my $can_await;

BEGIN {
    plan skip_all => 'by design: the original has no receive' if is_original();
    $can_await = eval { require Future::AsyncAwait; require Future; Future::AsyncAwait->import; 1 };
    plan skip_all => 'by design: Future::AsyncAwait needs perl 5.16' if !$can_await && $] < 5.016;
    plan skip_all => 'Future::AsyncAwait is not installed' if !$can_await;
}

sub result_of {
    my ($future) = @_;
    $future->on_ready(sub { poke() });
    wait_until('a future', sub { $future->is_ready });
    return $future->get;
}

async sub next_body { my ($connection, @options) = @_; return (await $connection->receive(@options))->body }

subtest 'a loop' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $serve = async sub {
        while (my $message = eval { await $connection->receive }) {
            $connection->send('re: ' . $message->body);
            await $connection->drained;
        }
        return $@;
    };
    my $served = $serve->();
    $peer->write(map { text($_) } 1 .. 100);
    is_deeply [map { $_->{payload} } $peer->next_frames(100)], [map { "re: $_" } 1 .. 100], 'gets all messages';
    $peer->write(close_frame(4000));
    my $end = result_of($served);
    like $end, qr/^the connection has ended: the peer closed it: 4000 at /, 'and then the end';
    is $end->code, 4000, 'as an object';
    $peer->wait_eof->close;
    is result_of((async sub { (await $connection->closed)->code })->()), 4000, 'closed';
};

# Only the code of a file, and not that of a sub, may do this.
my ($connection, $peer) = connection_and_peer();
my $waiting = $connection->receive;
$peer->write(text('hello'));
is +(await $waiting)->body, 'hello', 'await outside of a sub';

subtest 'exceptions' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $future = next_body($connection, timeout => 0.01);
    like eval { result_of($future); 1 } ? 'none' : $@, qr/^no message within 0\.01 s at /, 'a timeout';
    $future = (async sub { my $message = await $connection->receive; die 'got ' . $message->body . "\n" })->();
    my $next = next_body($connection);
    $peer->write(text(1), text(2));
    is result_of($next), 2, 'a sub that dies harms nobody';
    is $future->failure, "got 1\n", 'and fails its own future';
    is $connection->state, 'open', 'the connection stays open';
};

subtest 'cancelling' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $cancelled = next_body($connection);
    my $next = next_body($connection);
    $cancelled->cancel;
    $peer->write(text(1), text(2))->sync;
    is result_of($next), 1, 'the message goes to the next';
    is result_of(next_body($connection)), 2, 'or waits';
    $cancelled = next_body($connection);
    $cancelled->cancel;
    $peer->write(text(3))->sync;
    is result_of(next_body($connection)), 3, 'also if nobody else waits';
    for my $text (4 .. 6) {
        my $first = Future->wait_any(map { next_body($connection) } 1 .. 2);
        $peer->write(text($text));
        is result_of($first), $text, 'so with wait_any';
    }
    my $both = Future->wait_any((async sub { await $connection->closed; 'closed' })->(), next_body($connection));
    $peer->write(text(7));
    is result_of($both), 7, 'or with closed';
};

subtest 'a future that is retained' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $got;
    (async sub { $got = (await $connection->receive)->body; poke() })->()->retain;
    $peer->write(text('x'));
    wait_until('a message', sub { $got });
    is $got, 'x', 'gets its message';
};

subtest 'a connection that is dropped' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $cv = $connection->receive;
    my $future = (async sub { await $_[0] })->($cv);
    undef $connection;
    like eval { result_of($future); 1 } ? 'none' : $@, qr/the program dropped it/, 'fails the future';
};

SKIP: {
    skip 'by design: AnyEvent::Future is not a package of Debian', 1 if !eval { require AnyEvent::Future; AnyEvent::Future->VERSION(0.03) };
    subtest 'AnyEvent::Future' => sub {
        my ($connection, $peer) = connection_and_peer();
        my $future = AnyEvent::Future->from_cv($connection->receive);
        $peer->write(text(1));
        is $future->get->body, 1, 'from_cv';
        my $cv = $connection->receive;
        my $cancelled = AnyEvent::Future->from_cv($cv)->on_cancel(sub { $cv->cancel });
        my $next = AnyEvent::Future->from_cv($connection->receive);
        $cancelled->cancel;
        $peer->write(text(2));
        is $next->get->body, 2, 'cancelling';
        isa_ok my $sub = next_body($connection), 'AnyEvent::Future', 'what an async sub returns';
        $peer->write(text(3));
        is $sub->get, 3, 'and it blocks';
    };
}

done_testing;
