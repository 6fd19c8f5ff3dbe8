# Tests how AnyEvent::WebSocket::Server reports each failure, and that it leaves the socket to the program.
use strict;
use warnings;
use Errno qw(EPIPE);
use Fcntl qw(F_GETFL O_NONBLOCK);
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;

needs_server();
my @transports = transports();

subtest 'no file handle' => sub {
    my $cv = AnyEvent::WebSocket::Server->new->establish(undef);
    ok $cv->ready, 'the condition variable is ready at once';
    croaks_here('recv', sub { $cv->recv }, qr/\Afh parameter is mandatory for establish\(\) method at /);
    $cv = AnyEvent::WebSocket::Server->new->establish;
    croaks_here('without the argument', sub { $cv->recv }, qr/\Afh parameter is mandatory for establish\(\) method at /);
};

subtest 'where recv reports an error' => sub {
    my ($attempt, $peer) = establishing();
    $peer->write("nonsense\n");
    my $cv = $attempt->wait->cv;
    my ($file, $line) = (__FILE__, __LINE__ + 1);
    ok !eval { $cv->recv; 1 }, 'recv dies';
    my $here = qr/\n at \Q$file\E line $line(?:, <.*)?\.\n\z/;
    like $@, qr/\Ahandshake error: Wrong request line$here/, 'behind a newline, at its caller';
    croaks_here('another recv', sub { $cv->recv }, qr/\Ahandshake error: Wrong request line\n at /);
};

my %exception = (
    'a text' => "no\n",
    'an object' => bless({ status => 403 }, 'Refusal'),
    'a reference' => [1],
);
for my $name (sort keys %exception) {
    for my $transport (@transports) {
        subtest "$transport: the callback dies with $name" => sub {
            my ($attempt, $peer) = establishing(TRANSPORT => $transport, handshake => sub { die $exception{$name} });
            $peer->write(request());
            failed_ok($attempt, $peer, $exception{$name}, 'the same exception');
            is ref $attempt->error, ref $exception{$name}, 'not its text';
        };
    }
}

subtest 'the callback dies without a newline' => sub {
    my ($attempt, $peer) = establishing(handshake => sub { die 'no' });
    my $line = __LINE__ - 1;
    $peer->write(request());
    like $attempt->error, qr/\Ano at \Q@{[ __FILE__ ]}\E line $line\.\n\z/, 'its line is there';
};

for my $name (qw(empty undef)) {
    subtest "the callback returns: $name" => sub {
        my ($attempt, $peer) = establishing(handshake => sub { $name eq 'empty' ? () : (undef, 'other') });
        $peer->write(request());
        like $attempt->error, qr/\Ahandshake response was undef at \S+ line \d+\.\n\z/, 'the error';
        intact_ok($attempt, $peer);
    };
}

subtest 'RST while the callback runs' => sub {
    my $peer;
    (my $attempt, $peer) = establishing(TRANSPORT => 'tcp', handshake => sub { $peer->reset; $_[1] });
    $peer->write(request());
    is $attempt->error, 'connection error: Connection reset by peer', 'the first error, not the one that follows it';
};

my %incomplete = (nothing => '', 'half a line' => 'GET /', 'half a header' => substr request(), 0, 60);
for my $transport (@transports) {
    for my $name (sort keys %incomplete) {
        subtest "$transport: EOF after $name" => sub {
            my ($attempt, $peer) = establishing(TRANSPORT => $transport);
            $peer->wait_secure if $transport eq 'wss';
            $peer->write($incomplete{$name})->half_close;
            is $attempt->error, 'connection error: Unexpected end-of-file', 'the error';
            ok defined fileno $attempt->fh, 'the file handle stays open';
        };
    }

    subtest "$transport: EOF behind the request" => sub {
        my ($attempt, $peer) = establishing(TRANSPORT => $transport);
        $peer->write(request())->half_close;
        my $connection = $attempt->connection;
        recorder($connection)->wait_finish;
        is response_of($peer), $RESPONSE, 'there is a connection, which finishes';
    };
}

subtest 'EOF, and the file handle' => sub {
    my ($attempt, $peer) = establishing();
    $peer->write('GET /')->half_close;
    failed_ok($attempt, $peer, 'connection error: Unexpected end-of-file');
};

subtest 'the peer resets the connection' => sub {
    my ($attempt, $peer) = establishing(TRANSPORT => 'tcp');
    $peer->write('GET /');
    $attempt->wait_read;
    $peer->reset;
    is $attempt->error, 'connection error: Connection reset by peer', 'the error';
};

subtest 'the peer has gone when the response is written' => sub {
    my $called;
    my ($attempt, $peer) = establishing(handshake => sub { $called = 1; $_[1] });
    $peer->write(request())->wait_written->close;
    my $reason = do { local $! = EPIPE; "$!" };
    is $attempt->error, "connection error: $reason", 'the error';
    ok $called, 'the callback had been called';
};

subtest 'the file handle afterwards' => sub {
    my ($attempt, $peer) = establishing();
    $peer->write("nonsense\n", 'behind it');
    is $attempt->error, "handshake error: Wrong request line\n", 'the error';
    ok fcntl($attempt->fh, F_GETFL, 0) & O_NONBLOCK, 'is non-blocking';
    is sysread($attempt->fh, my $bytes, 100), undef, 'what was read is gone';
    $peer->write('more');
    settle();
    sysread $attempt->fh, $bytes, 100;
    is $bytes, 'more', 'what comes later is the program\'s';
};

subtest 'another handle on it' => sub {
    my ($attempt, $peer) = establishing();
    $peer->write("POST / HTTP/1.1\r\n");
    $attempt->wait;
    settle();
    my $handle = AnyEvent::Handle->new(fh => $attempt->fh, on_error => sub { });
    $peer->write('to the program');
    next_event('bytes', sub { my $done = shift; $handle->push_read(chunk => 14, sub { $done->() }) });
    $handle->push_write("HTTP/1.1 405 No\r\n\r\n");
    is response_of($peer), "HTTP/1.1 405 No\r\n\r\n", 'can read and write';
};

subtest 'all references are dropped' => sub {
    my ($attempt, $peer) = establishing();
    undef $attempt;
    $peer->write("nonsense\n");
    $peer->wait_eof;
    is $peer->bytes, '', 'a failure closes the socket';
};

subtest 'callbacks after a failure' => sub {
    my $called = 0;
    my ($attempt, $peer) = establishing(handshake => sub { $called++; $_[1] });
    $peer->write("POST / HTTP/1.1\r\n");
    $attempt->wait;
    $peer->write(request());
    settle();
    is $called, 0, 'are not called for what comes then';
};

# What AnyEvent::Handle itself dies with for these arguments.
sub handle_error {
    my (%args) = @_;
    eval { AnyEvent::Handle->new(%args, on_error => sub { }); 1 } and die 'no error';
    return $@ =~ s/ at \S+ line \d+\.?\n\z//r;
}

subtest 'what is no file handle' => sub {
    for my $wrong ('no handle', 12345, [], {}) {
        my $expected = eval { handle_error(fh => $wrong) } or next;
        my $lived = eval { AnyEvent::WebSocket::Server->new->establish($wrong); 1 };
        ok !$lived, "establish('$wrong') dies";
        like $@, qr/\A\Q$expected\E/, 'as AnyEvent::Handle does';
    }
    pass 'tried';
};

done_testing;
