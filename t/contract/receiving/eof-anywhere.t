# Tests that EOF at any byte of a frame leads to one finish, without incomplete messages and without warnings.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my %frames = (
    'short'              => text('short'),
    'short, masked'      => text('short', mask => 1),
    '16 bits'            => binary('x' x 126),
    '16 bits, masked'    => binary('x' x 126, mask => 1),
    'ping'               => ping('ping'),
    'Close'              => close_frame(4000, 'over'),
    'fragments'          => text('one', fin => 0) . continuation('two', fin => 0) . continuation('three'),
);

# Sends a whole message, these bytes, and EOF. Returns what happened.
sub ended_after {
    my ($bytes, $how) = @_;
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->sync;
    my $warnings = warnings_of(sub {
        $peer->write(text('whole') . $bytes)->$how;
        $seen->wait_finish;
        settle() if length $bytes < 3;
    });
    return join ', ', @{ $seen->order }, map({ "'$_'" } @{ $seen->bodies }), map { "warning: $_" } @$warnings;
}

for my $how (qw(half_close close)) {
    for my $name (sort keys %frames) {
        my $bytes = $frames{$name};
        my $test = sub {
            my %seen;
            $seen{ ended_after(substr($bytes, 0, $_), $how) }++ for 0 .. length($bytes) - 1;
            is_deeply [keys %seen], [q(message, finish, 'whole')], "the whole message, and finish, $how";
        };
        # The original reads a single byte behind a fragment as a header.
        $name eq 'fragments'
            ? differs "EOF in $name, $how" => 'warns of a header that is cut' => $test
            : subtest "EOF in a frame: $name, $how" => $test;
    }
}

subtest 'EOF in the payload' => sub {
    for my $how (qw(half_close close)) {
        my %seen;
        my $bytes = text('payload', mask => 1);
        $seen{ ended_after(substr($bytes, 0, $_), $how) }++ for 0, 2 .. length($bytes) - 1;
        is_deeply [keys %seen], [q(message, finish, 'whole')], $how;
    }
};

subtest 'EOF right behind a frame' => sub {
    is ended_after('', 'close'), q(message, finish, 'whole'), 'nothing more';
    is ended_after(text('last', mask => 1), 'close'), q(message, message, finish, 'whole', 'last'), 'a message';
    is ended_after(text('a', fin => 0) . continuation('b'), 'half_close'), q(message, message, finish, 'whole', 'ab'), 'fragments';
};

subtest 'EOF in a large message' => sub {
    for my $missing (1, 60_000, 65_536) {
        my ($connection, $peer) = connection_and_peer();
        my $seen = recorder($connection);
        my $bytes = binary('x' x 65_536);
        $peer->write(substr $bytes, 0, length($bytes) - $missing)->close;
        $seen->wait_finish;
        is_deeply $seen->order, ['finish'], "$missing bytes missing";
    }
};

subtest 'RST in a frame' => sub {
    my ($connection, $peer) = connection_and_peer(tcp => 1);
    my $seen = recorder($connection);
    $peer->write(substr binary('x' x 1000), 0, 500)->reset;
    $seen->wait_finish;
    is_deeply $seen->order, ['finish'], 'finish';
    ok length $connection->close_error, 'with an error';
};

done_testing;
