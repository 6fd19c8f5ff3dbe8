# Tests the limits that the original does not have: max_message_size, max_control_rate, idle_timeout.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no such limits' if is_original();

subtest 'max_message_size bounds all frames of a message together' => sub {
    my ($connection, $peer) = connection_and_peer(max_message_size => 10);
    my $seen = recorder($connection);
    $peer->write(text('1234567890'), text('12345', fin => 0), ping('in between'), continuation('67890'));
    $seen->wait_messages(2);
    is_deeply $seen->bodies, [('1234567890') x 2], 'as much as that passes, in one frame or two';
    refused_ok('more in one frame', bytes => text('12345678901'), code => 1009, new => { max_message_size => 10 },
        text => qr/^Message is too big\. .* 11 bytes .* max_message_size is 10/);
    refused_ok('more in two frames', bytes => text('123456', fin => 0) . continuation('78901'), code => 1009,
        new => { max_message_size => 10 }, text => qr/^Message is too big/);
};

subtest 'it is refused by the header alone' => sub {
    my ($connection, $peer) = connection_and_peer(max_message_size => 1_000_000, max_payload_size => 0);
    my $seen = recorder($connection);
    $peer->write(frame(opcode => 2, length => 1 << 40));
    $seen->wait_parse_error;
    is_deeply [close_of($peer->next_frame)], [1009, ''], 'with 1009';
};

subtest '0 and undef are no bound' => sub {
    for my $value (0, undef) {
        my ($connection, $peer) = connection_and_peer(max_message_size => $value, max_payload_size => 0);
        my $seen = recorder($connection);
        $peer->write(binary('x' x 300_000));
        $seen->wait_messages(1);
        is length $seen->bodies->[0], 300_000, defined $value ? $value : 'undef';
    }
};

for my $case (['pings', \&ping], ['pongs', \&pong]) {
    my ($name, $frame) = @$case;
    subtest "max_control_rate bounds $name" => sub {
        my ($connection, $peer) = connection_and_peer(max_control_rate => 5);
        my $seen = recorder($connection);
        $peer->write(text('before'), join '', map { $frame->($_) } 1 .. 20);
        $seen->wait_parse_error;
        like $seen->errors->[0], qr/^Too many control frames\. max_control_rate is 5 a second$/, 'parse_error';
        my @frames = $peer->half_close->frames_to_eof;
        is_deeply [close_of($frames[-1])], [1008, ''], 'Close 1008';
        is scalar(grep { $_->{opcode} == 10 } @frames), $name eq 'pings' ? 5 : 0, 'after as many answers';
        $seen->wait_finish;
        is_deeply $seen->order, [qw(message parse_error finish)], 'in order';
    };
}

subtest 'idle_timeout' => sub {
    my $seconds = 0.3 * patience();
    my ($connection, $peer) = connection_and_peer(idle_timeout => $seconds);
    my $seen = recorder($connection);
    for (1 .. 5) { after($seconds / 4); $connection->send('from us'); $peer->write(pong('')) }
    is_deeply $seen->order, [], 'not while the peer sends something';
    $seen->wait_finish;
    like $connection->close_error, qr/^the peer sent nothing within \Q$seconds\E seconds$/, 'but when it does not, whatever we send';
};

subtest 'idle_timeout ends with the connection' => sub {
    my ($connection, $peer) = connection_and_peer(idle_timeout => 0.05);
    my $seen = recorder($connection);
    $peer->write(close_frame(1000))->half_close;
    $seen->wait_finish;
    after(0.1);
    is $connection->close_error, undef, 'no error after the end';
    ($connection, $peer) = connection_and_peer(idle_timeout => 30);
    undef $connection;
    $peer->frames_to_eof;
    ok $peer->eof, 'the timer does not keep the connection';
};

# Attributes are set later on a connection that Client or Server has made.
my %later = (
    max_payload_size => [10, sub { $_[0]->write(text('12345678901')) }, qr/^Payload is too big/],
    max_fragments => [3, sub { $_[0]->write((text('1', fin => 0)), (continuation('2', fin => 0)) x 2) }, qr/^Too many fragments/],
    max_message_size => [10, sub { $_[0]->write(text('12345678901')) }, qr/^Message is too big/],
    max_control_rate => [5, sub { $_[0]->write(map { ping('') } 1 .. 6) }, qr/^Too many control frames/],
    idle_timeout => [0.05, sub { }, qr/^the peer sent nothing within 0\.05 seconds/],
    ping_interval => [0.02, sub { $_[1]->ping_timeout(0.05) }, qr/did not answer a ping within 0\.05 seconds/],
    close_timeout => [0.05, sub { $_[1]->close }, qr/did not close the connection within 0\.05 seconds/],
    max_buffered_amount => [10, sub { $_[1]->send('x' x 4_000_000) }, qr/^more than 10 bytes wait/],
);
for my $name (sort keys %later) {
    my ($value, $act, $error) = @{ $later{$name} };
    subtest "$name set later" => sub {
        my ($connection, $peer) = connection_and_peer();
        my $seen = recorder($connection);
        $peer->stall;
        is $connection->$name("$value"), $value, 'returns it';
        is $connection->$name, $value, 'keeps it';
        ok !eval { $connection->$name('nonsense'); 1 }, 'nonsense is an exception';
        like $@, qr/^$name must be a .* at \Q${\ __FILE__}\E line/, 'at the caller\'s line';
        is $connection->$name, $value, 'and changes nothing';
        $act->($peer, $connection);
        wait_until('an error', sub { $connection->close_error || @{ $seen->errors } });
        like $connection->close_error || $seen->errors->[0], $error, 'it takes effect';
        ($connection, $peer) = connection_and_peer($name => $value);
        $connection->$name(0);
        is $connection->$name, 0, 'and can be taken back';
    };
}

subtest 'limits that are raised later' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->max_payload_size(0);
    $connection->max_fragments(1000);
    $peer->write(binary('x' x 100_000), text('1', fin => 0), (continuation('2', fin => 0)) x 500, continuation('3'));
    $seen->wait_messages(2);
    is_deeply [map { length } @{ $seen->bodies }], [100_000, 502], 'let more through';
    $connection->$_(undef) for qw(max_payload_size max_fragments);
    $peer->write(binary('x' x 65_537));
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/max_payload_size is 65536/, 'undef is the default';
};

subtest 'limits that are set in a callback' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->on(next_message => sub { $_[0]->max_payload_size(5) });
    $peer->write(text('123456') . text('12345') . text('123456'));
    $seen->wait_parse_error;
    is_deeply $seen->bodies, ['123456', '12345'], 'hold for the next message, though it has arrived already';
};

subtest 'strict set later' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    is $connection->strict, 0, 'off at first';
    $peer->write(text("\xff"));
    $seen->wait_messages(1);
    is $connection->strict(1), 1, 'returns it';
    $peer->write(text("good \xc3\xa9", mask => 1), text("bad \xff", mask => 1));
    $seen->wait_parse_error;
    is_deeply $seen->bodies, ["\xff", "good \xc3\xa9"], 'enforces UTF-8';

    ($connection, $peer) = connection_and_peer(strict => 1);
    $seen = recorder($connection);
    $connection->strict(0);
    $peer->write(text("\xff"));
    $seen->wait_messages(1);
    pass 'and can be taken back';

    for my $strict (0, 1) {
        ($connection, $peer) = connection_and_peer(strict => !$strict, masked => 1);
        $seen = recorder($connection);
        $peer->write(text("good \xc3", fin => 0));
        settle();
        $connection->strict($strict);
        $peer->write(continuation($strict ? "\xff" : "\xa9"));
        $seen->wait_messages(1);
        is length $seen->bodies->[0], 7, "in the middle of a message: holds from the next message on, strict $strict";
    }
};

subtest 'keepalive and idle_timeout taken back' => sub {
    my ($connection, $peer) = connection_and_peer(ping_interval => 0.02, map { $_ => 0.3 * patience() } qw(ping_timeout idle_timeout));
    $peer->next_frame;
    $connection->$_(0) for qw(ping_interval idle_timeout);
    after(0.4 * patience());
    is $connection->close_error, undef, 'end';
    is $connection->state, 'open', 'and it stays open';
};

subtest 'values that make no sense' => sub {
    for my $name (qw(max_message_size max_control_rate idle_timeout)) {
        for my $value (-1, 'much', 'nan') {
            ok !eval { connection_and_peer($name => $value); 1 }, "$name => '$value' is an exception";
            like $@, qr/^$name must be a /, 'that says why';
        }
    }
};

done_testing;
