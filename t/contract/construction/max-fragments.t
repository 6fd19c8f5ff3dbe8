# Tests that max_fragments bounds the number of non-final frames in a received message.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no max_fragments in 0.44' if is_044();

# Returns a message of this many non-final frames, with a ping in between, and a final one.
sub fragmented {
    my ($count) = @_;
    return join '', text('0', fin => 0), map({ continuation($_ % 10, fin => 0) } 1 .. $count - 1), ping('p');
}

sub refused_at {
    my ($count, %args) = @_;
    my ($connection, $peer) = connection_and_peer(%args);
    my $seen = recorder($connection);
    $peer->write(fragmented($count - 1))->next_frame if $count > 1;
    is_deeply $seen->order, [], $count - 1 . ' non-final frames are accepted';
    $peer->write($count > 1 ? continuation('x', fin => 0) : text('x', fin => 0));
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/\AToo many fragments/, "number $count is refused";
    is_deeply $seen->bodies, [], 'and there is no message';
}

sub accepts {
    my ($count, %args) = @_;
    my ($connection, $peer) = connection_and_peer(%args);
    my $seen = recorder($connection);
    $peer->write((fragmented($count) . continuation('end')) x 3);
    $seen->wait_messages(3);
    my $body = join('', map { $_ % 10 } 0 .. $count - 1) . 'end';
    is_deeply $seen->bodies, [($body) x 3], "three messages of $count non-final frames each: every message counts anew";
}

subtest 'default: 128' => sub {
    accepts(127);
    refused_at(128);
};

subtest 'given' => sub {
    for my $limit (2, 3, 10, 500) {
        accepts($limit - 1, max_fragments => $limit);
        refused_at($limit, max_fragments => $limit);
    }
};

subtest '1: the first non-final frame is one too many' => sub {
    refused_at(1, max_fragments => 1);
};

subtest '0: no fragments at all' => sub {
    my ($connection, $peer) = connection_and_peer(max_fragments => 0);
    my $seen = recorder($connection);
    $peer->write(text('whole'))->sync;
    is_deeply $seen->bodies, ['whole'], 'a message in one frame is accepted';
    $peer->write(text('x', fin => 0));
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/\AToo many fragments/, 'a non-final frame is refused';
};

subtest 'undef is the default' => sub {
    accepts(127, max_fragments => undef);
    refused_at(128, max_fragments => undef);
};

subtest 'empty fragments count' => sub {
    my ($connection, $peer) = connection_and_peer(max_fragments => 5);
    my $seen = recorder($connection);
    $peer->write(text('', fin => 0) . continuation('', fin => 0) x 4);
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/\AToo many fragments/, 'the fifth is refused';
};

my $program = <<'PROGRAM';
    use WebSocketTest;
    my ($load, $limit, $count) = @ARGV;
    require Protocol::WebSocket::Frame if $load;
    $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT = $limit if $limit ne 'unset';
    my ($connection, $peer) = connection_and_peer();
    $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT = 1;      # too late for that connection
    my $seen = recorder($connection);
    $peer->write(text('x', fin => 0) . continuation('x', fin => 0) x ($count - 1) . continuation('x'));
    wait_until('a verdict', sub { @{ $seen->order } });
    print $seen->order->[0];
PROGRAM

for my $load (0, 1) {
    my $with = $load ? 'with Protocol::WebSocket::Frame loaded' : 'without loading Protocol::WebSocket::Frame';
    my $result = sub { (run_perl({}, $program, $load, @_))[0] };
    subtest "the package variable, $with" => sub {
        is $result->(4, 3), 'message', 'below the limit';
        is $result->(4, 4), 'parse_error', 'at the limit';
        is $result->(200, 199), 'message', 'a limit above the default';
        is $result->('unset', 127), 'message', 'not set: 127 are accepted';
        is $result->('unset', 128), 'parse_error', 'not set: the 128th is not';
    };
}

subtest 'the attribute goes before the package variable' => sub {
    no warnings 'once';
    local $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT = 4;
    accepts(9, max_fragments => 10);
    refused_at(4, max_fragments => undef);
};

subtest 'it bounds what is received, not what is sent' => sub {
    my ($connection, $peer) = connection_and_peer(max_fragments => 1);
    my $part = AnyEvent::WebSocket::Message->new(opcode => 0, body => 'part');
    $connection->send('first')->send($part)->send($part)->close;
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [1, 0, 0, 8], 'continuation frames go out as told';
};

done_testing;
