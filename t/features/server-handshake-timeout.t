# Tests that a server gives up on a handshake that takes longer than `handshake_timeout`.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Time::HiRes qw(time);
use WebSocketTest;
use WebSocketTest::Establish;

needs_our_server();
my @transports = transports();

my $SHORT = 0.2 * patience();
my $ERROR = qr/\Ahandshake error: no complete request within \Q$SHORT\E s\z/;

my %silent = (
    silence => '',
    'half a request line' => 'GET / HT',
    'half a request' => substr(request(), 0, 80),
    'no empty line' => request() =~ s/\r\n\z//r,
    'bytes without LF' => 'x' x 1000,
    'CR only' => request([ending => "\r"]),
);

for my $transport (@transports) {
    for my $name (sort keys %silent) {
        subtest "$transport: $name" => sub {
            my $start = time;
            my ($attempt, $peer) = establishing(TRANSPORT => $transport, handshake_timeout => $SHORT);
            $peer->write($silent{$name});
            like $attempt->error, $ERROR, 'the error';
            cmp_ok time - $start, '>=', $SHORT - 0.01, 'not before the time is over';
            intact_ok($attempt, $peer);
        };
    }

    subtest "$transport: with reject" => sub {
        for my $name (sort keys %silent) {
            my ($attempt, $peer) = establishing(TRANSPORT => $transport, handshake_timeout => $SHORT, reject => 1);
            $peer->write($silent{$name});
            like $attempt->error, $ERROR, 'the error';
            like response_of($peer), qr{\AHTTP/1\.1 408 }, "$name: the status";
        }
    };
}

subtest 'bytes that come do not prolong it' => sub {
    my ($attempt, $peer) = establishing(handshake_timeout => $SHORT);
    my @bytes = split //, "GET / HTTP/1.1\r\n" . "X: y\r\n" x 10_000;
    my $writer = AE::timer 0, 0.01, sub { $peer->write(shift @bytes) if @bytes };
    like $attempt->error, $ERROR, 'the error';
};

for my $bytes ('', "\x16\x03\x01\x02\0\x01") {
    subtest 'a TLS handshake that ' . ($bytes eq '' ? 'does not begin' : 'does not end') => sub {
        plan skip_all => 'no certificate' if @transports < 2;
        my ($ours, $theirs) = tcp_pair();
        my $attempt = establishing_on($ours, TRANSPORT => 'wss', handshake_timeout => $SHORT);
        my $peer = WebSocketTest::Peer->new($theirs)->write($bytes);
        is $attempt->error, "handshake error: the TLS handshake was not complete within $SHORT s", 'the error';
        $attempt->release('fh');
        undef $ours;
        $peer->wait_eof;
        pass 'the socket closes with its last holder';
    };
}

subtest 'a handshake in time' => sub {
    my ($attempt, $peer) = establishing(handshake_timeout => $SHORT);
    $peer->write(request());
    my $connection = $attempt->connection;
    my $seen = recorder($connection);
    response_of($peer);
    after(2 * $SHORT);
    is_deeply $seen->order, [], 'leaves a connection that may be idle';
    ok !$connection->handle->timeout, 'whose handle has no timeout';
    is_deeply [$peer->sync(mask => 1)], [], 'it works';
};

subtest 'the program may drop all' => sub {
    my ($attempt, $peer) = establishing(handshake_timeout => $SHORT);
    $attempt->release('server');
    undef $attempt;
    $peer->wait_eof;
    is $peer->bytes, '', 'the socket closes at the deadline';
};

subtest 'the error comes once, and the request after it is the program\'s' => sub {
    my $called = 0;
    my ($attempt, $peer) = establishing(handshake_timeout => $SHORT, handshake => sub { $called++; $_[1] });
    $attempt->wait;
    $peer->write(request());
    settle();
    is $called, 0, 'the callback is not called';
    sysread $attempt->fh, my $bytes, 65536;
    is $bytes, request(), 'the bytes are there';
};

for my $none (0, undef) {
    subtest 'handshake_timeout => ' . ($none // 'undef') => sub {
        my ($attempt, $peer) = establishing(handshake_timeout => $none);
        after($SHORT);
        ok !$attempt->cv->ready, 'waits';
        $peer->write(request());
        isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
    };
}

subtest 'mistakes' => sub {
    my $class = 'AnyEvent::WebSocket::Server';
    for my $wrong (-1, 'soon', 'nan') {
        my $text = qr/\Ahandshake_timeout must/;
        croaks_here("handshake_timeout => $wrong", sub { $class->new(handshake_timeout => $wrong) }, $text);
    }
};

for my $transport (@transports) {
    subtest "$transport: a callback that runs the event loop for longer" => sub {
        my ($attempt, $peer) =
            establishing(TRANSPORT => $transport, handshake_timeout => $SHORT, handshake => sub { after(2 * $SHORT); $_[1] });
        $peer->write(request());
        isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection', 'what the condition variable has';
    };
}

done_testing;
