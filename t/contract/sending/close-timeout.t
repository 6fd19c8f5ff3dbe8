# Tests that finish comes, with a message, after close_timeout if the peer never answers our close.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my $never = 'waits for ever';

sub closing {
    my ($timeout, %more) = @_;
    my ($connection, $peer) = connection_and_peer(close_timeout => $timeout * patience(), %more);
    return ($connection, $peer, recorder($connection));
}

differs 'the peer does not answer' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    $connection->close(4000);
    is_deeply $seen->order, [], 'at first nothing happens';
    $seen->wait_finish;
    settle();
    is_deeply $seen->order, ['finish'], 'then finish, once';
    my $message = ($seen->arguments('finish'))[0][1];
    ok defined $message && length $message, 'with a message';
    is $connection->close_error, $message, 'which is close_error';
    is_deeply [map { [close_of($_)] } $peer->frames_to_eof], [[4000, '']], 'the peer has seen the Close frame and EOF';
    is $connection->send('x')->close, $connection, 'the connection is down';
};

differs 'the peer answers late' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    $connection->close;
    $seen->wait_finish;
    $peer->write(close_frame(1000))->close;
    settle();
    is_deeply $seen->order, ['finish'], 'finish is not called again';
    is $connection->close_code, undef, 'and the Close frame is not read';
};

differs 'the peer does not read' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    $peer->stall;
    $connection->send('x' x 5_000_000)->close;
    $seen->wait_finish;
    ok length $connection->close_error, 'finish with a message';
};

differs 'the peer reads late' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    $peer->stall;
    $connection->send('x' x 5_000_000)->close;
    $seen->wait_finish;
    undef $connection;
    $peer->resume;
    is_deeply [map { length $_->{payload} } $peer->frames_to_eof], [5_000_000, 0], 'all that was sent arrives';
};

differs 'the peer answers with a Close frame and keeps the socket open' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    $connection->close;
    $peer->write(close_frame(1000, 'yes'));
    $seen->wait_finish;
    settle();
    is $seen->finished, 1, 'finish, once';
    is $connection->close_code, 1000, 'the code is known';
};

differs 'the peer closes first and keeps the socket open' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    $peer->write(close_frame(1000));
    $seen->wait_finish;
    is $seen->finished, 1, 'finish';
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'its Close frame was answered';
};

differs 'the peer goes on talking' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.1);
    my $talk = AE::timer 0, 0.01, sub { $peer->write(text('bla')) unless $peer->error };
    $connection->close;
    $seen->wait_finish;
    is $seen->finished, 1, 'does not put it off';
    cmp_ok scalar $seen->messages, '>', 0, 'but is heard until then';
};

differs 'after a violation' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    $peer->write(frame(opcode => 3));
    $seen->wait_finish;
    settle();
    is_deeply $seen->order, ['parse_error', 'finish'], 'finish comes as well';
};

differs 'after a die in a callback' => $never => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    $connection->on(next_message => sub { die "thrown\n" });
    $peer->write(text('x'));
    $seen->wait_finish;
    is_deeply [grep { $_ ne 'message' } @{ $seen->order }], ['parse_error', 'finish'], 'finish comes as well';
};

subtest 'the peer answers in time' => sub {
    for my $how (qw(half_close close)) {
        my ($connection, $peer, $seen) = closing(0.3);
        $connection->close(4000);
        $peer->wait_eof->write(close_frame(4000))->$how;
        $seen->wait_finish;
        after(0.35 * patience());
        is_deeply [$seen->arguments('finish')]->[0][1], undef, "$how: finish without a message";
        is $seen->finished, 1, 'once';
        is $connection->close_error, undef, 'no error';
    }
};

subtest '0 never gives up' => sub {
    my ($connection, $peer, $seen) = closing(0);
    $connection->close;
    after(0.15);
    is_deeply $seen->order, [], 'no finish';
    $peer->close;
    $seen->wait_finish;
    is(($seen->arguments('finish'))[0][1], undef, 'until the peer closes');
};

subtest 'the default is longer than this' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->close;
    after(0.15);
    is_deeply $seen->order, [], 'no finish yet';
    $peer->close;
    $seen->wait_finish;
};

subtest 'without close there is no timeout' => sub {
    my ($connection, $peer, $seen) = closing(0.05);
    after(0.15 * patience());
    is_deeply [$peer->sync], [], 'the connection is open';
    is_deeply $seen->order, [], 'and nobody was told otherwise';
};

subtest 'a connection that is closing and goes' => sub {
    my ($connection, $peer) = connection_and_peer(close_timeout => 0.05);
    my $called = 0;
    $connection->on(finish => sub { $called++ });
    $connection->close;
    undef $connection;
    $peer->wait_eof;
    after(0.1);
    is $called, 0, 'is not called back';
};

differs 'the last reference goes in that finish' => $never => sub {
    my ($connection, $peer) = connection_and_peer(close_timeout => 0.05);
    my @log;
    $connection->on(finish => sub { undef $connection; push @log, ref $_[0]->handle; poke() });
    $connection->on(finish => sub { push @log, defined $_[0]; poke() });
    $connection->close;
    wait_until('finish', sub { @log == 2 });
    is_deeply \@log, ['AnyEvent::Handle', 1], 'the connection lives until it is over';
};

differs 'a die in that finish' => $never => sub {
    plan skip_all => 'by design: ' . loop() . ' does not let exceptions through' if loop() =~ /Glib|POE/;
    my ($connection, $peer) = connection_and_peer(close_timeout => 0.05);
    my @deaths;
    $connection->on(finish => sub { poke(); die "thrown\n" });
    $connection->close;
    no warnings 'once';
    local $EV::DIED = sub { push @deaths, $@; poke() };
    eval { wait_until('the death', sub { @deaths }); 1 } or push @deaths, $@;
    is_deeply \@deaths, ["thrown\n"], 'reaches the event loop';
};

done_testing;
