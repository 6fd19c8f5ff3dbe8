# Tests that partial writes lose and reorder nothing: 50 MB are queued against a stalled peer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Socket qw(SOL_SOCKET SO_SNDBUF);

sub body { pack('N', $_[0]) . chr($_[0] % 251) x 999_996 }

# Reads frames until the given number has been checked; returns the numbers of the wrong ones.
sub wrong_ones {
    my ($peer, $count) = @_;
    my @wrong;
    for my $n (1 .. $count) { push @wrong, $n if $peer->next_frame(60)->{payload} ne body($n) }
    return \@wrong;
}

for my $masked (0, 1) {
    subtest "fifty messages of a megabyte, masked: $masked" => sub {
        my ($connection, $peer) = connection_and_peer(masked => $masked);
        $peer->sync;
        $peer->stall;
        my $count = $masked ? 10 : 50;
        $connection->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => body($_))) for 1 .. $count;
        settle();
        $peer->resume;
        is_deeply wrong_ones($peer, $count), [], 'all arrive, whole and in order';
        is_deeply [$peer->sync], [], 'and nothing else';
    };
}

subtest 'a small send buffer, messages of all sizes' => sub {
    my ($left, $right) = tcp_pair();
    setsockopt $left, SOL_SOCKET, SO_SNDBUF, 4096;
    my $connection = connection_on($left);
    my $peer = WebSocketTest::Peer->new($right)->stall;
    my @bodies = map { chr(32 + $_ % 90) x ($_ * $_) } 1 .. 200;
    $connection->send($_) for @bodies;
    settle();
    $peer->resume;
    my @wrong = grep { $peer->next_frame->{payload} ne $bodies[$_] } 0 .. $#bodies;
    is_deeply \@wrong, [], '2.7 MB, whole and in order';
};

subtest 'sends while the queue drains' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send(body(1));
    my @wrong;
    for my $n (1 .. 10) {
        $connection->send("small $n")->send(body($n + 1));      # the large one before is still on its way
        push @wrong, $n if $peer->next_frame->{payload} ne body($n) || $peer->next_frame->{payload} ne "small $n";
    }
    is_deeply \@wrong, [], 'go behind what is queued';
};

subtest 'replies while the peer is stalled' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    $connection->on(each_message => sub { $_[0]->send($_[1]) });
    $peer->stall;
    my @bodies = map { $_ x 300_000 } 'a' .. 'z';
    $peer->write(map { text($_) } @bodies);
    settle();
    $peer->resume;
    my @wrong = grep { $peer->next_frame->{payload} ne $bodies[$_] } 0 .. $#bodies;
    is_deeply \@wrong, [], 'twenty-six echoes, in order';
};

subtest 'every ping among them is answered, in its turn' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    $connection->on(each_message => sub { $_[0]->send($_[1]) });
    $peer->stall;
    my @letters = 'a' .. 'h';
    $peer->write(map { text($_ x 300_000), ping($_) } @letters);
    settle();
    $peer->resume;
    my @got;
    until (@got && $got[-1] eq 'pong h') {
        my $frame = $peer->next_frame;
        push @got, ($frame->{opcode} == 10 ? 'pong ' : 'echo ') . substr $frame->{payload}, 0, 1;
    }
    is_deeply \@got, [map {; "echo $_", "pong $_" } @letters], 'eight echoes and eight pongs';
};

subtest 'both directions stalled at times' => sub {
    my ($left, $right) = connection_pair({ max_payload_size => 0 }, { max_payload_size => 0, masked => 1 });
    my @got;
    $right->on(each_message => sub { $_[0]->send($_[1]) });
    $left->on(each_message => sub { push @got, $_[1]->body; poke() });
    my @bodies = map { chr(96 + $_) x ($_ * 100_000) } 1 .. 20;
    $left->send($_) for @bodies;
    wait_until('twenty echoes', sub { @got == 20 });
    is_deeply [grep { $got[$_] ne $bodies[$_] } 0 .. 19], [], '21 MB each way';
};

subtest 'the peer goes away with 20 MB queued' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->stall;
    $connection->send(body($_)) for 1 .. 20;
    $peer->close;
    $seen->wait_finish;
    is $seen->finished, 1, 'finish, once';
};

done_testing;
