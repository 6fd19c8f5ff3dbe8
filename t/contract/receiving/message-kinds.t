# Tests that text and binary reach callbacks, that a ping is answered in order with other sends, and that a pong is ignored.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my $octets = join '', map { chr } 0 .. 255;

subtest 'text and binary' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('a text') . binary($octets));
    $seen->wait_messages(2);
    my ($text, $binary) = $seen->messages;
    ok $text->is_text && !$text->is_binary, 'text';
    ok $binary->is_binary && !$binary->is_text, 'binary';
    is_deeply $seen->bodies, ['a text', $octets], 'bodies';
    is_deeply [map { $_->opcode } $text, $binary], [1, 2], 'opcodes';
};

subtest 'empty messages' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('') . binary('') . text('0'));
    is_deeply $seen->wait_messages(3)->bodies, ['', '', '0'], 'are messages';
};

subtest 'masked or not, all lengths' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    my @bodies = map { substr $octets x 300, 0, $_ } 1 .. 9, 124 .. 128, 65535, 65536;
    $peer->write(map { binary($_, mask => 1), binary($_) } @bodies);
    is_deeply $seen->wait_messages(2 * @bodies)->bodies, [map { $_, $_ } @bodies];
};

subtest 'masks of any kind' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    my @masks = ("\0\0\0\0", "\xff\xff\xff\xff", "\0\0\0\1", "\x80\0\0\0", 'abcd');
    $peer->write(map { text("mask $octets", mask => $_) } @masks);
    is_deeply $seen->wait_messages(5)->bodies, [("mask $octets") x 5];
};

subtest 'a ping is answered' => sub {
    for my $masked (0, 1) {
        my ($connection, $peer) = connection_and_peer(masked => $masked);
        my $seen = recorder($connection);
        for my $payload ('', '0', 'hello', substr($octets, 128, 125), "caf\xc3\xa9") {
            my $pong = $peer->write(ping($payload, mask => $masked ? undef : 1))->next_frame;
            is $pong->{opcode}, 10, 'a pong';
            is $pong->{payload}, $payload, 'with the same payload';
            is $pong->{masked}, $masked, "masked: $masked";
        }
        is_deeply $seen->order, [], 'callbacks hear nothing of it';
    }
};

subtest 'in order with other sends' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
    $peer->write(map { text($_) . ping("p$_") } 1 .. 30);
    my @expected = map {; "re: $_", "p$_" } 1 .. 30;
    is_deeply [map { $_->{payload} } $peer->next_frames(60)], \@expected, 'thirty messages and pings in one piece';
};

subtest 'a ping is answered while a callback is registered for nothing but the next message' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $called = 0;
    $connection->on(next_message => sub { $called++ });
    $peer->write(ping('p'))->next_frame;
    is $called, 0, 'it is not the next message';
};

subtest 'a pong is ignored' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(pong('') . pong('unsolicited') . pong('x' x 125, mask => 1));
    is_deeply [$peer->sync], [], 'no reply';
    is_deeply $seen->order, [], 'no callback';
};

subtest 'many pings' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->write(map { ping($_) } 1 .. 5000);
    is_deeply [map { $_->{payload} } $peer->next_frames(5000)], [1 .. 5000], 'each has its pong';
};

done_testing;
