# Tests that masked => 1 masks every frame, and that masks are random and never repeat in a fork.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub message { AnyEvent::WebSocket::Message->new(@_) }

subtest 'every outgoing frame' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 1);
    $connection->send('text')->send(message(opcode => 2, body => "\0\xff"))->send(message(opcode => 9, body => 'ping'))->send('');
    $peer->write(ping('p'));
    my @frames = $peer->next_frames(5);
    $connection->close(1000, 'bye');
    push @frames, $peer->frames_to_eof;
    is_deeply [map { $_->{masked} } @frames], [(1) x 6], 'has the mask bit';
    is_deeply [map { $_->{payload} } @frames], ['text', "\0\xff", 'ping', '', 'p', pack('n a*', 1000, 'bye')], 'and is masked';
};

subtest 'the reply to a Close frame' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 1);
    is_deeply [map { $_->{masked} } $peer->write(close_frame(1000))->frames_to_eof], [1];
};

subtest 'no frame without masked' => sub {
    for my $masked (0, undef, '') {
        my ($connection, $peer) = connection_and_peer(masked => $masked);
        $connection->send('text')->close;
        is_deeply [map { $_->{masked} } $peer->frames_to_eof], [0, 0];
    }
};

subtest 'any true value' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 'yes');
    is $connection->send('x')->masked, 'yes', 'is kept';
    is $peer->next_frame->{masked}, 1, 'and masks';
};

subtest 'all lengths' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 1);
    my $octets = join '', map { chr } 0 .. 255;
    for my $length (0 .. 40, 124 .. 128, 65535, 65536, 1_000_003) {
        my $payload = substr $octets x ($length / 256 + 1), 0, $length;
        $connection->send(message(opcode => 2, body => $payload));
        ok $peer->next_frame->{payload} eq $payload, "$length bytes";
    }
};

sub masks {
    my ($count) = @_;
    my ($connection, $peer) = connection_and_peer(masked => 1);
    $connection->send('x') for 1 .. $count;
    return map { unpack 'H8', $_->{mask} } $peer->next_frames($count);
}

subtest 'masks differ' => sub {
    my %seen;
    $seen{$_}++ for masks(200);
    is scalar keys %seen, 200, 'from frame to frame';
    my %first;
    $first{ (masks(1))[0] }++ for 1 .. 20;
    is scalar keys %first, 20, 'and from connection to connection';
};

subtest 'all bits of a mask vary' => sub {
    my ($or, $and) = (0, 0xffffffff);
    for (masks(200)) { $or |= hex; $and &= hex }
    is sprintf('%08x %08x', $or, $and), 'ffffffff 00000000';
};

differs 'masks do not come from rand' => 'uses rand, when Math::Random::Secure is not installed' => sub {
    srand 42;
    my @first = masks(4);
    srand 42;
    my @second = masks(4);
    isnt "@first", "@second", 'the same seed gives other masks';
    srand 42;
    my $next = rand;
    srand 42;
    masks(4);
    is rand, $next, 'and the sequence of rand is left alone';
};

differs 'masks never repeat in a fork' => 'may repeat rand in the child' => sub {
    masks(3);       # creates whatever state there is before the fork
    my ($connection, $peer) = connection_and_peer(masked => 1);
    $connection->send('before');
    $peer->next_frame;
    my @children = map { fork_child(sub { $connection->send('child') for 1 .. 20 }) } 1 .. 3;
    reap($_) for @children;
    $connection->send('parent') for 1 .. 20;
    my %seen;
    $seen{ $_->{mask} }++ for $peer->next_frames(80);
    is scalar keys %seen, 80, 'eighty frames of a parent and three children, eighty masks';
};

done_testing;
