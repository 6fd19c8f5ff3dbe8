# Tests that receive, closed and drained block only the coroutine that waits, with Coro.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Config ();
use Test::More;
use WebSocketTest;

BEGIN {
    # It does not switch the names of scopes that such a perl checks.
    plan skip_all => 'by design: Coro does not work on a perl with assertions'
        if grep {/\bDEBUGGING\b/} Config::bincompat_options(), Config::non_bincompat_options();
    plan skip_all => 'by design: the original has no receive' if is_original();
    plan skip_all => 'by design: Coro works with EV and AnyEvent\'s own loop' if loop() !~ /\A(?:EV|Perl)\z/;
    plan skip_all => 'Coro is not installed' if !eval { require Coro; require Coro::AnyEvent; Coro->import; 1 };
}

# Starts a coroutine. Returns a reference to its result; undef until then.
sub start {
    my ($code) = @_;
    my $result;
    Coro::async_pool(sub { $result = [eval { $code->() } // "died: $@"]; poke() });
    return \$result;
}

sub result_of {
    my ($result) = @_;
    wait_until('a coroutine', sub { $$result });
    return $$result->[0];
}

subtest 'a loop in each of two coroutines' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @got;
    my @loops = map {
        start(sub {
            while (my $message = eval { $connection->receive->recv }) { push @got, $message->body; $connection->send($message) }
            return "$@";
        })
    } 1 .. 2;
    my $closed = start(sub { $connection->closed->recv->code });
    $peer->write(map { text($_) } 1 .. 100);
    my %sent = map { $_->{payload} => 1 } $peer->next_frames(100);
    is scalar keys %sent, 100, 'each message is answered once';
    is_deeply [sort { $a <=> $b } @got], [1 .. 100], 'each is received once';
    $peer->write(close_frame(4000))->wait_eof->close;
    like result_of($_), qr/the peer closed it: 4000/, 'a loop ends' for @loops;
    is result_of($closed), 4000, 'closed';
};

subtest 'timeout' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $waiting = start(sub { $connection->receive(timeout => 60)->recv->body });
    like result_of(start(sub { $connection->receive(timeout => 0.01)->recv })), qr/^died: no message within 0\.01 s/, 'one gives up';
    $peer->write(text('hello'));
    is result_of($waiting), 'hello', 'the other gets the message';
};

subtest 'drained' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send('x' x 4_000_000);
    my $drained = start(sub { $connection->drained->recv; 'drained' });
    settle();
    is $$drained, undef, 'waits';
    $peer->resume;
    is result_of($drained), 'drained', 'until all is written';
};

subtest 'a dropped connection' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $cv = $connection->receive;
    my $waiting = start(sub { my $own = $cv; undef $cv; $own->recv });
    settle();
    undef $connection;
    like result_of($waiting), qr/the program dropped it/, 'is noticed';
};

done_testing;
