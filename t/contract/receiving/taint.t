# Tests that under perl -T everything from the network is tainted, wherever a program sees it, and that tainted data may be
# sent.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my $prelude = <<'PROGRAM';
    use strict; use warnings;
    use Scalar::Util 'tainted';
    use WebSocketTest;
    delete @ENV{qw(PATH ENV BASH_ENV CDPATH IFS)};
    $| = 1;
    sub say_tainted { my ($name) = @_; print "$name: ", (tainted($_[1]) ? 'tainted' : 'not tainted'), "\n" }
    my $dirt = substr $ENV{DIRT}, 0, 0;
PROGRAM

sub under_taint {
    my ($program) = @_;
    local %ENV = (%ENV, DIRT => 'x');
    open my $out, '-|', $^X, '-T', (map { "-I$_" } @INC), '-e', $prelude . $program or die "cannot run $^X: $!";
    my $printed = do { local $/; <$out> };
    return [split /\n/, defined $printed ? $printed : ''];
}

my $receive = <<'PROGRAM';
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    my $seen = recorder($connection);
    $peer->write(text('short'), text('a', fin => 0), continuation('b'), binary('x' x 5000), binary('y' x 300_000), text(''),
        close_frame(4000, 'reason'));
    $seen->wait_messages(5);
    say_tainted(body => $_->body) for $seen->messages;
    say_tainted(decoded_body => $_->decoded_body) for $seen->messages;
    $peer->close;
    $seen->wait_finish;
    say_tainted(close_reason => $connection->close_reason);
    for my $message (grep { length($_->body) < 10 } $seen->messages) {
        print eval { system { $message->body } 'x'; 1 } ? "run\n" : $@ =~ /^(Insecure dependency in system)/ ? "$1\n" : $@;
    }
PROGRAM

subtest 'received natively' => sub {
    is_deeply under_taint($receive),
        [('body: tainted') x 5, ('decoded_body: tainted') x 5, 'close_reason: tainted', ('Insecure dependency in system') x 3];
};

subtest 'received before the connection was made' => sub {
    is_deeply under_taint(<<'PROGRAM'), ['on_read: tainted', ('body: tainted') x 3];
        my ($left, $right) = socket_pair();
        my $peer = WebSocketTest::Peer->new($right);
        my $handle = AnyEvent::Handle->new(fh => $left);
        $peer->write(text('one'), binary('x' x 5000));
        my ($connection, $seen);
        next_event('on_read', sub { my $done = shift; $handle->on_read(sub { $_[0]->on_read(undef); $done->() }) });
        say_tainted(on_read => $handle->{rbuf});
        $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
        $seen = recorder($connection);
        $seen->wait_messages(2);
        $peer->write(text('three'));
        $seen->wait_messages(3);
        say_tainted(body => $_->body) for $seen->messages;
PROGRAM
};

subtest 'sending what is tainted' => sub {
    is_deeply under_taint(<<'PROGRAM'), ['string', 'message', 'more', "1001 tainted reason", 'string: tainted'];
        my ($connection, $peer) = connection_and_peer(masked => 1);
        my $string = "string$dirt";
        $connection->send($string);
        $connection->send(AnyEvent::WebSocket::Message->new(body => "message$dirt"));
        $connection->handle->push_write(text("more$dirt"));
        print $_->{payload}, "\n" for $peer->next_frames(3);
        $connection->close(1001, "tainted reason$dirt");
        print join(' ', close_of($peer->next_frame)), "\n";
        say_tainted(string => $string);
PROGRAM
};

subtest 'sending while tainted bytes wait' => sub {
    is_deeply under_taint(<<'PROGRAM'), [qw(3000000 3000000 4 4)];
        my ($connection, $peer) = connection_and_peer();
        $peer->stall;
        $connection->handle->push_write(text('y' x 3_000_000 . $dirt));
        $connection->send('x' x 3_000_000);
        $connection->handle->push_write(text("tail$dirt"));
        $connection->send('last');
        $peer->resume;
        print length $_->{payload}, "\n" for $peer->next_frames(4);
PROGRAM
};

subtest 'receiving and sending leaves other values alone' => sub {
    is_deeply under_taint(<<'PROGRAM'), ['mine: not tainted', 'count: not tainted', 'sent: not tainted'];
        my ($connection, $peer) = connection_and_peer();
        my ($count, $mine) = (0, 'mine');
        $connection->on(each_message => sub { $count++; $connection->send("reply$dirt"); $mine = "mine $count"; poke() });
        $peer->write(text('one') . text('two'));
        wait_until('both', sub { $count == 2 });
        my $sent = 'sent ' . ref $connection->send("x$dirt");
        say_tainted(mine => $mine);
        say_tainted(count => $count);
        say_tainted(sent => $sent);
PROGRAM
};

differs 'what the original does not have' => 'does not have it' => sub {
    is_deeply under_taint(<<'PROGRAM'), ['ping: tainted', 'pong: tainted', ('chunk: tainted') x 2];
        my ($connection, $peer) = connection_and_peer();
        my $count = 0;
        for my $event (qw(ping pong)) { $connection->on($event => sub { say_tainted($event, $_[1]); $count++; poke() }) }
        $peer->write(ping('p'));
        wait_until('ping', sub { $count == 1 });
        $connection->ping('q');
        $peer->write(pong('q'));
        wait_until('pong', sub { $count == 2 });
        $connection->on(message_chunk => sub { say_tainted(chunk => $_[1]->body); $count++; poke() });
        $peer->write(binary('x', fin => 0));
        wait_until('a chunk', sub { $count == 3 });
        $peer->write(continuation('y' x 10_000));
        wait_until('the last', sub { $count >= 4 });
PROGRAM
    is_deeply under_taint(<<'PROGRAM'), ['body: tainted', 'body: tainted', 'long: 3000'];
        use AnyEvent::WebSocket::Deflate;
        my ($header, $parameters) = AnyEvent::WebSocket::Deflate::accept("permessage-deflate; client_max_window_bits=12$dirt");
        my ($left, $right) = connection_pair({ deflate => $parameters },
            { deflate => AnyEvent::WebSocket::Deflate::confirm("$header$dirt"), masked => 1 });
        my $seen = recorder($left);
        $right->send('a' x 1000)->send('b' x 3000);
        $seen->wait_messages(2);
        say_tainted(body => $_->body) for $seen->messages;
        print 'long: ', length(($seen->messages)[1]->body), "\n";
PROGRAM
};

done_testing;
