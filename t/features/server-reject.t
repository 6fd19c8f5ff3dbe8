# Tests that a server with `reject` answers a refused handshake with an HTTP status, and reports the same error.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Scalar::Util qw(weaken);
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;
use WebSocketTest::HostileRequests;

needs_our_server();
my @transports = transports();

# Tests the response of a refusal, and what follows.
sub rejection {
    my ($status, @fields) = @_;
    return sub {
        my ($case, $attempt, $peer, $problem) = @_;
        my $response = response_of($peer);
        $problem->('status', $response =~ m{\AHTTP/1\.1 (\d+) \S[^\r\n]*\r\n} ? $1 : $response, $status);
        $response =~ /^\Q$_\E\r$/m or $problem->('no field', $response, $_) for @fields;
        $response =~ /^Connection: (?:Upgrade, )?close\r$/m or $problem->('connection', $response, 'says that it closes');
        $problem->('bare LF', ($response =~ /(?<!\r)\n/ ? 'yes' : 'no'), 'no');
        my ($length) = $response =~ /^Content-Length: (\d+)\r$/m or return $problem->('length', $response, 'Content-Length');
        $attempt->release('fh');
        $peer->wait_eof;
        $problem->('bytes of the body', length $peer->bytes, $length);
    };
}

for my $case (grep { defined $_->{status} } hostile_requests()) {
    my $check = rejection($case->{status}, @{ $case->{fields} || [] });
    my @problems;
    for my $transport (@transports) {
        my %new = (reject => 1, CHECK => $check);
        push @problems, map { play($case, $case->{wanted}, $_, $transport, %new) } qw(whole pieces trailing);
    }
    is join("\n", @problems), '', "$case->{name}: $case->{status}";
}

for my $case (grep { defined $_->{'strict-status'} } hostile_requests()) {
    my $check = rejection($case->{'strict-status'});
    is join("\n", play($case, $case->{strict}, 'whole', 'ws', reject => 1, strict => 1, CHECK => $check)), '',
        "strict: $case->{name}: $case->{'strict-status'}";
}

subtest 'a request that is accepted' => sub {
    my ($attempt, $peer) = establishing(reject => 1);
    $peer->write(request());
    isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
    is response_of($peer), $RESPONSE, 'gets the same response';
};

subtest 'reject => 0' => sub {
    my ($attempt, $peer) = establishing(reject => 0);
    $peer->write(request([drop => 'Upgrade']));
    failed_ok($attempt, $peer, "handshake error: Not a valid request\n");
};

subtest 'too many fields' => sub {
    my ($attempt, $peer) = establishing(reject => 1);
    $peer->write(request(map { [add => "X-$_: a"] } 1 .. 10_000));
    is $attempt->error, "handshake error: Message is too long\n", 'the error';
    like response_of($peer), qr{\AHTTP/1\.1 431 }, 'the status';
};

subtest 'EOF in the request' => sub {
    my ($attempt, $peer) = establishing(reject => 1);
    $peer->write('GET /')->half_close;
    like $attempt->error, qr/\Aconnection error: /, 'is an error';
    settle();
    is $peer->bytes, '', 'that gets no answer';
};

subtest 'establish_psgi' => sub {
    my ($attempt, $peer) = establishing(ENV => psgi_env(HTTP_SEC_WEBSOCKET_VERSION => 8), reject => 1);
    like $attempt->error, qr/\Ahandshake error: unsupported WebSocket protocol version draft-ietf-hybi-10\n/, 'the error';
    my $response = response_of($peer);
    like $response, qr{\AHTTP/1\.1 426 }, 'the status';
    like $response, qr/^Sec-WebSocket-Version: 13\r$/m, 'and the version that is supported';
};

subtest 'an exception that is no string' => sub {
    my $exception = bless {}, 'WebSocketTest::NoString';
    my ($attempt, $peer) = establishing(reject => 1, handshake => sub { die $exception });
    $peer->write(request());
    is ref $attempt->error, 'WebSocketTest::NoString', 'is the error';
    like response_of($peer), qr{\AHTTP/1\.1 403 }, 'and the client is told';
};

subtest 'a callback that returns nothing' => sub {
    for my $callback (sub { return }, sub { undef }) {
        my ($attempt, $peer) = establishing(reject => 1, handshake => $callback);
        $peer->write(request());
        like $attempt->error, qr/\Ahandshake response was undef at /, 'is an error';
        like response_of($peer), qr{\AHTTP/1\.1 500 Internal Server Error\r\n}, 'of the server';
        $attempt->release('fh');
        $peer->wait_eof;
        is $peer->bytes, "Internal Server Error\n", 'about which the client learns no more';
    }
};

subtest 'a client that keeps sending' => sub {
    my ($attempt, $peer) = establishing(reject => 1);
    local $SIG{PIPE} = 'IGNORE';
    $peer->write(request([drop => 'Upgrade']));
    like $attempt->error, qr/\Ahandshake error: Not a valid request\n/, 'the error';
    weaken(my $fh = $attempt->fh);
    $attempt->release('fh');
    my $drip = AE::timer 1, 1, sub { syswrite $peer->fh, 'x' };
    wait_until('the end', sub { !$fh }, 15);
    is $fh, undef, 'is cut off';
};

subtest 'a response that the peer does not read' => sub {
    my ($attempt, $peer) = establishing(reject => 1);
    $peer->write(request([drop => 'Upgrade']))->wait_written->close;
    like $attempt->error, qr/\Ahandshake error: Not a valid request\n/, 'does not hide the error';
};

done_testing;

package WebSocketTest::NoString;
use overload '""' => sub { die "no string\n" }, bool => sub { 1 };
