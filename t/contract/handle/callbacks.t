# Tests that no message is lost or reordered, whatever callbacks do to the handle and the handle does while they run.
use strict;
use warnings;
no warnings 'exiting';
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::TLS;

subtest 'destroy in the callback of a message that was in the handle when the connection was made' => sub {
    my ($left, $right) = socket_pair();
    my $handle = AnyEvent::Handle->new(fh => $left);
    $handle->{rbuf} = text('early') . text('more');
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
    my @bodies;
    $connection->on(each_message => sub { push @bodies, $_[1]->body; $_[0]->handle->destroy; poke() });
    my $warnings = warnings_of(sub { wait_until('the message', sub { @bodies }); settle() });
    is_deeply $warnings, [], 'no complaint';
    is $bodies[0], 'early', 'the message is there';
};

for my $what ('a message', 'a ping') {
    subtest "a violation, behind $what, of a peer that has gone already" => sub {
        plan skip_all => 'by design: the original does not answer violations' if is_original();
        for my $masked (0, 1) {
            my ($connection, $peer) = connection_and_peer(masked => $masked);
            my $seen = recorder($connection);
            my $before = $what eq 'a ping' ? ping('x') : text('x');
            $peer->write($before . text('x', rsv => 4))->close;
            $seen->wait_finish;
            settle();
            is_deeply [grep { $_ ne 'message' } @{ $seen->order }], ['parse_error', 'finish'], "masked $masked: parse_error comes before finish";
        }
    };
}

# Returns a connection whose handle reads by itself, as the program has told it to; a sub that writes as the peer; the
# recorder.
sub read_by_handle {
    my ($is_tls) = @_;
    my ($connection, $write);
    if ($is_tls) {
        my ($server, $client) = tls_handles();
        $connection = AnyEvent::WebSocket::Connection->new(handle => $server);
        $client->on_error(sub { });
        $write = sub { $client->push_write($_) for @_ };
    }
    else { ($connection, my $peer) = connection_and_peer(); $write = sub { $peer->write(@_) } }
    my $seen = recorder($connection);
    $write->(text('first'));
    $seen->wait_messages(1);
    $connection->handle->stop_read;
    $connection->handle->start_read;
    return ($connection, $write, $seen);
}

sub in_pieces {
    my ($write, $octets, $pieces) = @_;
    my $length = 1 + int length($octets) / $pieces;
    while (length(my $piece = substr $octets, 0, $length, '')) { $write->($piece); settle() }
}

for my $case ([0, 1], [0, 5], [1, 1], [1, 5]) {
    my ($is_tls, $pieces) = @$case;
    my $name = $is_tls ? 'a TLS handle' : 'a handle';
    subtest "$name that reads $pieces time(s) while a callback runs the event loop" => sub {
        my $why_not = $is_tls && WebSocketTest::TLS::unavailable();
        plan skip_all => $why_not if $why_not;
        my ($connection, $write, $seen) = read_by_handle($is_tls);
        my $size = 40;      # frames of equal length, because the handle may take the second for the first
        $connection->on(next_message => sub { in_pieces($write, text('b' x $size), $pieces) });
        $write->(text('a' x $size));
        $seen->wait_messages(2);
        settle();
        $write->(text($_ x $size)) for 'c', 'd';
        $seen->wait_messages(5);
        is_deeply [map { substr $_, 0, 1 } @{ $seen->bodies }], [qw(f a b c d)], 'the messages come in their order';
    };
}

{ package OwnMethod; our @ISA = 'AnyEvent::Handle'; sub _drain_wbuf { my $self = shift; $self->SUPER::_drain_wbuf(@_) } }

subtest 'a handle with a method of its own reads one message while another is dispatched' => sub {
    plan skip_all => 'by design: the original forgets a message as long as the one before' if is_original();
    for my $has_gone (0, 1) {
        my ($left, $right) = socket_pair();
        my $peer = WebSocketTest::Peer->new($right);
        my $connection = AnyEvent::WebSocket::Connection->new(handle => OwnMethod->new(fh => $left));
        my $seen = recorder($connection);
        $connection->on(next_message => sub {
            $peer->write(text('second'));
            $peer->close if $has_gone;
            settle();
        });
        $peer->write(text('first.'));
        $seen->wait_messages(2);
        is_deeply $seen->bodies, ['first.', 'second'], 'both arrive' . ($has_gone ? ', although the peer has gone' : '');
        next unless $has_gone;
        $seen->wait_finish;
        is $connection->close_error, undef, 'and the end is a clean one';
    }
};

subtest 'on_drain that leaves a loop of the program around send' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    my ($sent, $drained) = (0, 0);
    $connection->handle->on_drain(sub { last if $drained++ });
    my $error = '';
    eval {
        for my $number (1 .. 3) { $connection->send("message $number"); $sent++ }
        1;
    } or $error = $@;
    like $error, qr/\A(?:|Can't "last" outside a loop block.*)\z/s, 'is left, or told that it cannot';
    my $sum = 0;
    for my $outer (1 .. 3) { for my $inner (1 .. 3) { $sum += $outer * $inner } }
    is $sum, 36, 'loops go on as they should';
    is $peer->next_frame->{payload}, 'message 1', 'what was sent arrives';
};

subtest 'an on_drain that dies while a violation is answered' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($is_armed, $calls, @errors) = (0, 0);
    $connection->on(parse_error => sub { push @errors, $_[1] });
    settle();
    $connection->handle->on_drain(sub { die "from on_drain\n" if $is_armed && !$calls++ });
    $is_armed = 1;
    $peer->write(substr binary('x' x 70_000), 0, 20);
    local $SIG{__WARN__} = sub { };
    for (1 .. 4) { eval { settle() } }
    is scalar @errors, 1, 'parse_error is called';
    $peer->wait_eof;
    ok $peer->eof, 'the peer gets the end of file';
};

differs 'an on_drain that dies while close sends its frame' => 'does not shut down its side' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($is_armed, $calls) = (0, 0);
    $connection->handle->on_drain(sub { die "from on_drain\n" if $is_armed && !$calls++ });
    $is_armed = 1;
    ok !eval { $connection->close(1000); 1 }, 'the exception reaches the program';
    is $@, "from on_drain\n", 'as it is';
    $peer->wait_eof;
    ok $peer->eof, 'the peer gets the end of file all the same';
};

done_testing;
