# Tests that pings are sent, seen, answered and timed, and that keepalive works.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no ping' if is_original();

sub heard {
    my ($connection, $event) = @_;
    my @heard;
    $connection->on($event => sub { push @heard, [@_]; WebSocketTest::poke() });
    return \@heard;
}

sub frames_of { my ($peer, $opcode) = @_; grep { $_->{opcode} == $opcode } $peer->sync }

subtest 'ping sends a Ping frame' => sub {
    my ($connection, $peer) = connection_and_peer();
    is $connection->ping('one'), $connection, 'returns the connection';
    $connection->ping;
    $connection->ping("\x{263a}");
    $connection->ping('x' x 125);
    is_deeply [map { $_->{payload} } frames_of($peer, 9)], ['one', '', "\xe2\x98\xba", 'x' x 125], 'payloads';
};

subtest 'masked in the role of a client' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 1);
    $connection->ping('secret');
    my $frame = $peer->next_frame;
    ok $frame->{masked}, 'masked';
    is $frame->{payload}, 'secret', 'payload';
};

subtest 'a payload that is too long is the caller\'s mistake' => sub {
    my ($connection) = connection_and_peer();
    for my $payload ('x' x 126, "\x{263a}" x 42) {
        ok !eval { $connection->ping($payload); 1 }, 'an exception';
        like $@, qr/^ping: .* 125 bytes at \Q${\ __FILE__}\E line/, 'at the caller\'s line';
    }
};

subtest 'after close it does nothing' => sub {
    my ($connection, $peer) = connection_and_peer();
    is $connection->close->ping('late'), $connection, 'returns the connection';
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'only the Close frame went out';
};

subtest 'events' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($pings, $pongs) = map { heard($connection, $_) } qw(ping pong);
    $peer->write(pong('unasked'), ping('a'), pong(''));
    wait_until('pongs', sub { @$pongs == 2 });
    is_deeply $pings, [[$connection, 'a']], 'ping gets connection and payload';
    is_deeply $pongs, [[$connection, 'unasked'], [$connection, '']], 'pong as well, asked for or not';
    is_deeply [map { $_->{payload} } $peer->next_frame], ['a'], 'and the ping is answered all the same';
};

subtest 'a ping between the frames of a message is heard before the message' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @order;
    $connection->on($_->[0] => do { my $name = $_->[1]; sub { push @order, $name; WebSocketTest::poke() } })
        for [ping => 'ping'], [pong => 'pong'], [each_message => 'message'];
    $peer->write(text('a', fin => 0), ping(''), pong(''), continuation('b'));
    wait_until('message', sub { $order[-1] && $order[-1] eq 'message' });
    is "@order", 'ping pong message', 'in order';
};

subtest 'callbacks can be taken out, and what dies in one is as in a message callback' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $count = 0;
    my $cancel = $connection->on(ping => sub { $count++ });
    $peer->write(ping(''));
    $peer->sync;
    $cancel->();
    $peer->write(ping(''));
    $peer->sync;
    is $count, 2, 'called for what came before: one of the test\'s own, and the first';
    my $errors = heard($connection, 'parse_error');
    $connection->on(pong => sub { die "oops\n" });
    $peer->write(pong(''));
    wait_until('parse_error', sub { @$errors });
    is $errors->[0][1], "oops\n", 'parse_error gets the exception';
};

subtest 'latency' => sub {
    my ($connection, $peer) = connection_and_peer();
    is $connection->latency, undef, 'unknown at first';
    my $pongs = heard($connection, 'pong');
    $connection->ping('one')->ping('two');
    $peer->write(pong('one'));
    wait_until('pong', sub { @$pongs == 1 });
    is $connection->latency, undef, 'not by the pong of an earlier ping';
    $peer->write(pong('two'));
    wait_until('pong', sub { @$pongs == 2 });
    cmp_ok $connection->latency, '>', 0, 'by that of the last';
    cmp_ok $connection->latency, '<', 60 * patience(), 'in seconds';
};

subtest 'keepalive sends pings of which each is another' => sub {
    my ($connection, $peer) = connection_and_peer(ping_interval => 0.02);
    my $pongs = heard($connection, 'pong');
    my %payloads;
    $peer->answer(sub { my ($frame) = @_; $payloads{ $frame->{payload} }++; pong($frame->{payload}) });
    wait_until('three pongs', sub { @$pongs >= 3 });
    cmp_ok scalar(keys %payloads), '>=', 3, 'payloads';
    ok defined $connection->latency, 'latency is known';
};

subtest 'a peer that does not answer is given up' => sub {
    my ($connection, $peer) = connection_and_peer(ping_interval => 0.02, ping_timeout => 0.05);
    my $seen = recorder($connection);
    $seen->wait_finish;
    like $connection->close_error, qr/did not answer a ping within 0\.05 seconds/, 'close_error';
    is(($seen->arguments('finish'))[0][1], $connection->close_error, 'finish gets it');
    is_deeply [grep { $_->{opcode} != 9 } $peer->frames_to_eof], [], 'the peer has seen nothing but pings, and EOF';
};

subtest 'any pong shows that the peer is there' => sub {
    my ($connection, $peer) = connection_and_peer(ping_interval => 0.03, ping_timeout => 0.2 * patience());
    my $seen = recorder($connection);
    my $count = 0;
    $peer->answer(sub { $count++; WebSocketTest::poke(); pong('') });
    wait_until('pings', sub { $count > 15 });
    is_deeply $seen->order, [], 'not given up';
};

subtest 'a peer that has answered while the program had paused' => sub {
    for my $given ([ping_interval => 0.02, ping_timeout => 0.1], [idle_timeout => 0.1]) {
        my ($connection, $peer) = connection_and_peer(@$given);
        my $seen = recorder($connection);
        $peer->answer(sub { pong($_[0]{payload}) });
        my $timer = AE::timer 0, 0.02, sub { $peer->write(pong('')) };
        $connection->pause;
        after(0.5 * patience());
        is_deeply $seen->order, [], "is not given up by $given->[0]";
    }
};

subtest 'a peer in the middle of a long frame, which is sending all the time' => sub {
    my ($connection, $peer) = connection_and_peer(ping_interval => 0.05, ping_timeout => 0.3 * patience());
    my $seen = recorder($connection);
    my $frame = text('x' x 40_000);
    my $timer = AE::timer 0, 0.02 * patience(), sub { $peer->write(substr $frame, 0, 1000, '') if length $frame };
    wait_until('the message or the end', sub { @{ $seen->order } });
    is_deeply $seen->order, ['message'], 'is not given up';
};

subtest 'a peer whose pong nobody could read in time' => sub {
    my $seconds = 0.2 * patience();
    for my $given ([ping_interval => 0.05, ping_timeout => $seconds], [idle_timeout => $seconds]) {
        my ($connection, $peer) = connection_and_peer(@$given);
        my $seen = recorder($connection);
        $peer->answer(sub { pong($_[0]{payload}) });
        my $timer = AE::timer 0.02, 0, sub {
            syswrite $peer->fh, pong('');
            select undef, undef, undef, 1.5 * $seconds;
            WebSocketTest::poke();
        };
        after(1.7 * $seconds);
        undef $timer;
        is_deeply $seen->order, [], "is not given up by $given->[0]";
    }
};

subtest 'ping_timeout 0 waits for ever' => sub {
    my ($connection, $peer) = connection_and_peer(ping_interval => 0.01, ping_timeout => 0);
    my $seen = recorder($connection);
    $peer->next_frame for 1 .. 5;
    is_deeply $seen->order, [], 'not given up';
};

subtest 'keepalive ends with close, with the peer\'s, and with the last reference' => sub {
    my ($connection, $peer) = connection_and_peer(ping_interval => 0.01);
    $connection->close;
    is_deeply [grep { $_->{opcode} != 8 } $peer->frames_to_eof], [], 'no ping after close';
    ($connection, $peer) = connection_and_peer(ping_interval => 0.01);
    my $seen = recorder($connection);
    $peer->write(close_frame(1000))->half_close;
    $seen->wait_finish;
    $peer->frames_to_eof;
    settle();
    is $connection->close_error, undef, 'nor an error after the peer\'s';
    ($connection, $peer) = connection_and_peer(ping_interval => 0.01);
    undef $connection;
    $peer->frames_to_eof;
    ok $peer->eof, 'the timer does not keep the connection';
};

subtest 'attributes' => sub {
    for my $name (qw(ping_interval ping_timeout)) {
        for my $value (-1, 'often', 'nan') {
            ok !eval { connection_and_peer($name => $value); 1 }, "$name => '$value' is an exception";
            like $@, qr/^$name must be a number of seconds/, 'that says why';
        }
    }
    my ($connection) = connection_and_peer(ping_interval => undef, ping_timeout => undef);
    is_deeply [$connection->ping_interval, $connection->ping_timeout], [undef, undef], 'undef is as if not given';
};

done_testing;
