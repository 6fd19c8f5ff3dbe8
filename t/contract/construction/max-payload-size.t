# Tests that max_payload_size bounds the payload of one received frame, and which limit applies when.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Class::Method::Modifiers ();
use Test::More;
use WebSocketTest;
use WebSocketTest::Usage;

# Tests that a frame of this size is refused. The peer sends only its header, which is enough.
sub refuses {
    my ($size, %args) = @_;
    my ($connection, $peer) = connection_and_peer(%args);
    my $seen = recorder($connection);
    $peer->write(frame(opcode => 2, length => $size));
    $seen->wait_parse_error;
    return like $seen->errors->[0], qr/\APayload is too big\./, "$size bytes are refused";
}

sub accepts {
    my ($size, %args) = @_;
    my ($connection, $peer) = connection_and_peer(%args);
    my $seen = recorder($connection);
    $peer->write(binary('b' x $size));
    $seen->wait_messages(1);
    return is length $seen->bodies->[0], $size, "$size bytes are accepted";
}

subtest 'default' => sub {
    accepts(65536);
    refuses(65537);
    refuses(2**32 - 1);
    refuses(2**62);
};

subtest 'given' => sub {
    for my $limit (1, 125, 126, 1000, 65535, 200_000) {
        accepts($limit, max_payload_size => $limit);
        refuses($limit + 1, max_payload_size => $limit);
    }
};

subtest 'undef is the default' => sub {
    accepts(65536, max_payload_size => undef);
    refuses(65537, max_payload_size => undef);
};

subtest 'set by a modifier of BUILD' => sub {
    my $limit = 50;
    my $set = sub { $_[0]{max_payload_size} = $limit if $limit };
    Class::Method::Modifiers::install_modifier('AnyEvent::WebSocket::Connection', before => BUILD => $set);
    accepts(50);
    refuses(51);
    undef $limit;
};

subtest '0 means no bound' => sub {
    accepts(300_000, max_payload_size => 0);
};

subtest 'it bounds a frame, not a message' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 10);
    my $seen = recorder($connection);
    $peer->write(text('a' x 10, fin => 0) . continuation('b' x 10, fin => 0) . continuation('c' x 10));
    $seen->wait_messages(1);
    is $seen->bodies->[0], 'a' x 10 . 'b' x 10 . 'c' x 10, 'three full frames make a message';
};

subtest 'any frame' => sub {
    my %kind = (text => text('x' x 11), binary => binary('x' x 11), ping => ping('x' x 11), pong => pong('x' x 11),
        continuation => text('x', fin => 0) . continuation('x' x 11), masked => text('x' x 11, mask => 1));
    for my $kind (sort keys %kind) {
        my ($connection, $peer) = connection_and_peer(max_payload_size => 10);
        my $seen = recorder($connection);
        $peer->write($kind{$kind});
        $seen->wait_parse_error;
        like $seen->errors->[0], qr/\APayload is too big\./, $kind;
    }
};

subtest 'a length is a claim: memory grows with what arrives' => sub {
    plan skip_all => 'needs /proc, and no valgrind' unless resident();
    my $before = resident();
    for my $claim (2**30, 2**40, 2**62, 9223372036854775807) {
        my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
        my $seen = recorder($connection);
        $peer->write(frame(opcode => 2, length => $claim) . 'some bytes')->wait_written;
        settle();
        $peer->close;
        $seen->wait_finish;
        is_deeply $seen->order, ['finish'], "a claim of $claim bytes is no message";
    }
    cmp_ok resident() - $before, '<', 20_000, 'and takes no memory, KiB';
};

# The package variable is tested in separate processes, because it matters which modules are loaded.
my $program = <<'PROGRAM';
    use WebSocketTest;
    my ($load, $limit, $size) = @ARGV;
    require Protocol::WebSocket::Frame if $load;
    $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE = $limit if $limit ne 'unset';
    my ($connection, $peer) = connection_and_peer();
    $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE = 1;      # too late for that connection
    my $seen = recorder($connection);
    $peer->write(binary('b' x $size));
    wait_until('a verdict', sub { @{ $seen->order } });
    print $seen->order->[0], ' ', length($seen->messages ? ($seen->messages)[0]->body : '');
PROGRAM

for my $load (0, 1) {
    my $with = $load ? 'with Protocol::WebSocket::Frame loaded' : 'without loading Protocol::WebSocket::Frame';
    my $result = sub { (run_perl({}, $program, $load, @_))[0] };
    subtest "the package variable, $with" => sub {
        is $result->(20, 20), 'message 20', 'at the limit';
        is $result->(20, 21), 'parse_error 0', 'above it';
        is $result->(100_000, 100_000), 'message 100000', 'a limit above the default';
        is $result->(0, 100_000), 'message 100000', '0: no bound';
        is $result->('unset', 65536), 'message 65536', 'not set: 65536';
        is $result->('unset', 65537), 'parse_error 0', 'not set: not more';
    };
}

subtest 'the attribute goes before the package variable' => sub {
    no warnings 'once';
    local $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE = 20;
    accepts(30, max_payload_size => 30);
    accepts(20, max_payload_size => undef);
    refuses(21, max_payload_size => undef);
    accepts(100_000, max_payload_size => 0);
    $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE = 'not a number';
    accepts(30, max_payload_size => 30);
};

differs 'the package variable undefined' => 'has no bound then' => sub {
    no warnings 'once';
    local $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE;
    accepts(65536);
    refuses(65537);
};

subtest 'it bounds what is received, not what is sent' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 10);
    $connection->send('s' x 1000)->send('s' x 100_000)->close(1000, 'r' x 100);
    is_deeply [map { length $_->{payload} } $peer->frames_to_eof], [1000, 100_000, 102], 'all of it is on the wire';
};

done_testing;
