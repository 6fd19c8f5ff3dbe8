# Tests that a body is octets and never decoded, and that fragments are joined, even with control frames in between.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub received {
    my (@frames) = @_;
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(@frames);
    my @answers = $peer->sync;
    return ([$seen->messages], @answers);
}

my $umlauts = "\xc3\xa4\xc3\xb6\xc3\xbc";      # three letters in UTF-8

subtest 'octets' => sub {
    my ($messages) = received(text($umlauts), binary($umlauts), text($umlauts, mask => 1));
    for my $message (@$messages) {
        is $message->body, $umlauts, 'the body is what was on the wire';
        ok !utf8::is_utf8($message->body), 'without the UTF8 flag';
        is $message->decoded_body, "\xe4\xf6\xfc", 'decoded_body decodes it';
        is $message->body, $umlauts, 'and leaves it alone';
    }
};

subtest 'octets that are no UTF-8' => sub {
    my ($messages) = received(binary("\xff\xfe\x00\x80"));
    is $messages->[0]->body, "\xff\xfe\x00\x80", 'binary';
};

subtest 'fragments are joined' => sub {
    my @parts = ('one ', '', 'two ', "\xff\x00", 'three');
    for my $opcode (1, 2) {
        for my $mask (undef, 1) {
            my ($messages) = received(frame(opcode => $opcode, payload => $parts[0], fin => 0, mask => $mask),
                map({ continuation($_, fin => 0, mask => $mask) } @parts[1 .. 3]), continuation($parts[4], mask => $mask));
            is scalar @$messages, 1, 'one message';
            is $messages->[0]->body, join('', @parts), 'of all fragments';
            is $messages->[0]->opcode, $opcode, 'with the opcode of the first';
        }
    }
};

subtest 'empty fragments' => sub {
    my ($messages) = received(text('', fin => 0), continuation('', fin => 0), continuation(''),
        text('', fin => 0), continuation('x'), text('x', fin => 0), continuation(''));
    is_deeply [map { $_->body } @$messages], ['', 'x', 'x'], 'are fragments';
};

subtest 'control frames between fragments' => sub {
    my ($messages, @answers) = received(text('a', fin => 0), ping('1'), continuation('b', fin => 0), pong('2'), ping(''),
        continuation('c'), text('next'));
    is_deeply [map { $_->body } @$messages], ['abc', 'next'], 'are no part of the message';
    is_deeply [map { [@$_{qw(opcode payload)}] } @answers], [[10, '1'], [10, '']], 'and are answered';
};

subtest 'a ping between fragments is answered before the message is complete' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('a', fin => 0) . ping('now'));
    is $peer->next_frame->{payload}, 'now', 'the pong';
    is_deeply $seen->bodies, [], 'no message yet';
    $peer->write(continuation('b'));
    is_deeply $seen->wait_messages(1)->bodies, ['ab'], 'the message';
};

subtest 'a Close between fragments' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('half a', fin => 0) . close_frame(1001));
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'is answered';
    is_deeply $seen->bodies, [], 'and the message never was';
};

subtest 'a message is its own: changing what body returned changes no other' => sub {
    my ($messages) = received(text('first'), text('second'));
    my $copy = $messages->[0]->body;
    $copy .= ' changed';
    is $messages->[0]->body, 'first', 'not the message';
    is $messages->[1]->body, 'second', 'and not the next';
};

subtest 'messages kept for long' => sub {
    my ($messages) = received(map { binary(chr($_ % 256) x 500) } 1 .. 500);
    is_deeply [map { $_->body } @$messages], [map { chr($_ % 256) x 500 } 1 .. 500], 'keep their bodies';
};

subtest 'large messages' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    my $seen = recorder($connection);
    my $large = join '', map { pack 'N', $_ } 1 .. 1_000_000;
    $peer->write(binary($large, mask => 1) . text('small') . binary($large, fin => 0) . ping('p') . continuation($large));
    $seen->wait_messages(3);
    my @bodies = @{ $seen->bodies };
    ok $bodies[0] eq $large, '4 MB, masked';
    is $bodies[1], 'small', 'a small one behind it';
    ok $bodies[2] eq $large . $large, '8 MB in two fragments with a ping between';
};

done_testing;
