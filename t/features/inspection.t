# Tests that state, stats, peer, local and ANYEVENT_WEBSOCKET_TRACE report what a connection does.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Errno ();
use WebSocketTest;

plan skip_all => 'by design: the original tells nothing of itself' if is_original();

subtest 'state' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    is $connection->state, 'open', 'open';
    $connection->close;
    is $connection->state, 'closing', 'closing after our close';
    $peer->write(close_frame(1000))->half_close;
    $seen->wait_finish;
    is $connection->state, 'closed', 'closed when the transport is gone';
    ($connection) = connection_and_peer();
    $connection->handle->destroy;
    is $connection->state, 'closed', 'closed when the handle is destroyed';
    $connection->buffered_amount;
    $connection->stats;
    is $connection->state, 'closed', 'and stays so';
    for my $case (['the peer\'s Close', close_frame(1000)], ['a violation', frame(rsv => 4)]) {
        my ($name, $bytes) = @$case;
        ($connection, $peer) = connection_and_peer();
        $peer->write($bytes);
        $peer->frames_to_eof;
        is $connection->state, 'closing', "closing after $name";
    }
};

subtest 'stats' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    is_deeply [grep { $_ } map { $connection->stats->{$_} } grep { !/^seconds/ } keys %{ $connection->stats }], [],
        'all zero at first';
    $peer->write(text('ab', fin => 0), ping('ping'), continuation('c'), binary('def'), pong(''));
    $seen->wait_messages(2);
    $connection->send('hello')->ping('x');
    $peer->sync;
    my $stats = $connection->stats;
    my %expected = (
        messages_received => 2, frames_received => 6, bytes_received => 10 + 5, pings_received => 2, pongs_received => 1,
        messages_sent => 1, frames_sent => 4, bytes_sent => 5 + 1 + 4 + 5, pings_sent => 1, pongs_sent => 2,
    );
    my $sync = $stats->{bytes_received} - 10;    # the payload of the test's own ping
    @expected{qw(bytes_received bytes_sent)} = (10 + $sync, 10 + $sync);
    is_deeply { map { $_ => $stats->{$_} } keys %expected }, \%expected, 'messages, frames, bytes, pings and pongs';
    for my $name (qw(seconds_since_read seconds_since_write)) {
        cmp_ok $stats->{$name}, '>', -1, "$name is a time";
        cmp_ok $stats->{$name}, '<', 60 * patience(), 'and not long';
    }
};

subtest 'seconds since something was read' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seconds;
    $connection->on(each_message => sub { $seconds = $_[0]->stats->{seconds_since_read}; WebSocketTest::poke() });
    $peer->write(text('x'));
    wait_until('a message', sub { defined $seconds });
    cmp_ok $seconds, '>=', 0, 'in a callback';
};

subtest 'stats after the end' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('x'))->half_close;
    $seen->wait_finish;
    is $connection->stats->{messages_received}, 1, 'counts are kept';
    $connection->handle->destroy;
    is_deeply warnings_of(sub { $connection->stats }), [], 'no warning without a handle';
};

subtest 'peer and local' => sub {
    my ($connection, $peer) = connection_and_peer(tcp => 1);
    my ($port) = Socket::unpack_sockaddr_in(getsockname $peer->fh);
    is $connection->peer, "127.0.0.1:$port", 'peer';
    my ($own_port) = Socket::unpack_sockaddr_in(getpeername $peer->fh);
    is $connection->local, "127.0.0.1:$own_port", 'local';
    $connection->handle->destroy;
    is $connection->peer, "127.0.0.1:$port", 'peer is kept without a handle';
    is $connection->local, "127.0.0.1:$own_port", 'local, too';
    ($connection) = connection_and_peer();
    is_deeply warnings_of(sub { $connection->peer; $connection->local }), [], 'a UNIX socket is no trouble';
};

my $traced = <<'PROGRAM';
    use WebSocketTest;
    my ($connection, $peer) = connection_and_peer(tcp => 1, max_payload_size => 0);
    $connection->on(each_message => sub { print STDERR "callback\n"; $_[0]->send('reply') });
    $peer->write(text('hello', mask => 1));
    $peer->sync;
    $connection->send("\x00" x 5000);
    $connection->close(4000, 'bye');
    my $seen = recorder($connection);
    $peer->frames_to_eof;
    $peer->write(close_frame(1000))->half_close;
    $seen->wait_finish;
PROGRAM

# Each end has its code, and then the last lines of the trace.
my %ends = (
    'a broken rule' => ['$peer->write(frame(rsv => 2)); $seen->wait_parse_error; $peer->close; $seen->wait_finish;',
        'sent close, code 1002, reason ""', qr/^failed: Protocol error: /, qr/^finished: /],
    'a callback that dies' => ['$peer->write(text("x")); $connection->on(next_message => sub { die "thrown\n" });
        $seen->wait_parse_error; $peer->close; $seen->wait_finish;',
        'received text, 1 bytes: "x"', qr/^a message callback died: thrown/, qr/^finished: /],
    'a reset' => ['$peer->reset; $seen->wait_finish;', qr/^finished: .*reset/],
    'a timeout' => ['$connection->idle_timeout(0.05); $seen->wait_finish;', qr/^finished: the peer sent nothing within 0\.05/],
);

sub lines_of {
    my (%env) = @_;
    my ($out) = run_perl({ ANYEVENT_WEBSOCKET_TRACE => '', PERL_ANYEVENT_VERBOSE => 3, %env }, 'open STDERR, ">&", STDOUT;' . $traced);
    return map { s/.*127\.0\.0\.1:\d+: //r } split /\n/, $out;
}

for my $name (sort keys %ends) {
    my ($what, @expected) = @{ $ends{$name} };
    subtest "ANYEVENT_WEBSOCKET_TRACE: $name" => sub {
        my ($out) = run_perl({ ANYEVENT_WEBSOCKET_TRACE => 1 }, 'open STDERR, ">&", STDOUT; use WebSocketTest;'
            . 'my ($connection, $peer) = connection_and_peer(tcp => 1); $peer->sync; my $seen = recorder($connection);' . $what);
        my @lines = split /\n/, $out;
        is scalar(grep { !/127\.0\.0\.1:\d+: / } @lines), 0, 'all lines name the peer' or diag $out;
        s/.*127\.0\.0\.1:\d+: // for @lines;
        splice @lines, 0, @lines - @expected;
        ref $expected[$_] ? like $lines[$_], $expected[$_], $lines[$_] : is $lines[$_], $expected[$_], $expected[$_] for 0 .. $#expected;
    };
}

subtest 'peer and local in finish' => sub {
    my %end = (
        EOF => sub { $_[1]->close }, reset => sub { $_[1]->reset }, 'their Close' => sub { $_[1]->write(close_frame(1000))->wait_eof->close },
        'our Close' => sub { $_[0]->close; $_[1]->wait_eof->close }, 'a timeout' => sub { $_[0]->idle_timeout(0.05) },
        'an error' => sub { $_[0]->handle->_error(Errno::EPIPE(), 1) },
    );
    for my $name (sort keys %end) {
        my ($connection, $peer) = connection_and_peer(tcp => 1);
        my @expected = map { $connection->$_ } qw(peer local);
        my @seen;
        $connection->on(finish => sub { @seen = map { $_[0]->$_ } qw(peer local); poke() });
        $end{$name}->($connection, $peer);
        wait_until('finish', sub { @seen });
        is_deeply \@seen, \@expected, "after $name";
    }
};

subtest 'ANYEVENT_WEBSOCKET_TRACE' => sub {
    my @lines = lines_of(ANYEVENT_WEBSOCKET_TRACE => 1);
    s/(ping|pong), \d+ bytes: .*/$1/ for @lines;
    is_deeply \@lines, [
        'received text, 5 bytes: "hello"',
        'callback',
        'sent text, 5 bytes: "reply"',
        'received ping',
        'sent pong',
        'sent text, 5000 bytes: "' . '\x00' x 32 . '"...',
        'sent close, code 4000, reason "bye"',
        'received close, code 1000, reason ""',
        'finished: end of file',
    ], 'a line for each frame, and for the end, in order; all name the peer';
    is_deeply [lines_of()], ['callback'], 'none without it';
};

done_testing;
