# Tests when and how AnyEvent::WebSocket::Server's establish gives a connection, and that nothing but the client ends the wait.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Scalar::Util qw(refaddr);
use Socket qw(MSG_PEEK);
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;

needs_server();
my @transports = transports();

# Returns what the kernel has for this end.
sub peek {
    my ($fh) = @_;
    my $bytes = '';
    recv $fh, $bytes, 65536, MSG_PEEK;
    return $bytes;
}

for my $transport (@transports) {
    subtest "$transport: what is returned, and when" => sub {
        my @calls;
        my ($attempt, $peer) = establishing(
            TRANSPORT => $transport,
            handshake => sub { push @calls, [wantarray, map { ref } @_]; ($_[1], 'other', undef, 3) },
        );
        isa_ok $attempt->cv, 'AnyEvent::CondVar';
        $peer->write(request());
        is_deeply \@calls, [], 'nothing happens before the event loop runs';
        ok !$attempt->cv->ready, 'and the condition variable is not ready';
        my ($connection, @other) = $attempt->results;
        is_deeply \@calls, [[1, 'Protocol::WebSocket::Request', 'Protocol::WebSocket::Response']],
            'the callback is called once, in list context';
        is ref $connection, 'AnyEvent::WebSocket::Connection', 'the first result';
        is_deeply \@other, ['other', undef, 3], 'the others are those of the callback';
        is scalar $attempt->cv->recv, $connection, 'in scalar context, recv returns the connection, and does so again';
        is response_of($peer), $RESPONSE, 'the client gets the response';
    };

    subtest "$transport: the connection" => sub {
        my ($attempt, $peer) = establishing(TRANSPORT => $transport);
        $peer->write(request());
        my $connection = $attempt->connection;
        response_of($peer);
        is ref $connection->handle, 'AnyEvent::Handle', 'has a plain handle';
        ok !$connection->masked, 'does not mask';
        is $connection->subprotocol, undef, 'has no subprotocol';
        my $seen = recorder($connection);
        $peer->write(text('in', mask => 1));
        is_deeply $seen->wait_messages(1)->bodies, ['in'], 'receives';
        $connection->send('out');
        is $peer->next_frame->{payload}, 'out', 'sends';
        $peer->write(close_frame(4000, 'bye', mask => 1));
        $peer->next_frame;
        $peer->close;
        $seen->wait_finish;
        is_deeply [$connection->close_code, $connection->close_reason], [4000, 'bye'], 'is closed';
    };
}

subtest 'the request is there before' => sub {
    my ($ours, $theirs) = socket_pair();
    my $peer = WebSocketTest::Peer->new($theirs)->write(request())->wait_written;
    my $attempt = establishing_on($ours);
    ok !$attempt->cv->ready, 'it is read in the event loop all the same';
    isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
};

subtest 'a program that peeks first' => sub {
    my ($ours, $theirs) = socket_pair();
    my $peer = WebSocketTest::Peer->new($theirs)->write(request())->wait_written;
    is peek($ours), request(), 'sees the request';
    isa_ok establishing_on($ours)->connection, 'AnyEvent::WebSocket::Connection';
};

subtest 'recv waits' => sub {
    my ($attempt, $peer) = establishing();
    my $timer = AE::timer 0, 0, sub { $peer->write(request()) };
    isa_ok scalar $attempt->cv->recv, 'AnyEvent::WebSocket::Connection';
};

{
    package TiedHandle;    # like the one that IO::Socket::SSL->start_SSL makes of a socket
    sub TIEHANDLE { my ($class, $descriptor) = @_; open my $fh, '+<&', $descriptor or die "dup: $!"; return bless [$fh], $class }
    sub READ { return sysread $_[0][0], $_[1], $_[2], $_[3] || 0 }
    sub WRITE { return syswrite $_[0][0], $_[1], $_[2], $_[3] || 0 }
    sub FILENO { return fileno $_[0][0] }
}

for my $when ('before', 'after') {
    subtest "a file handle that is tied $when establish" => sub {
        my ($ours, $theirs) = socket_pair();
        my $peer = WebSocketTest::Peer->new($theirs);
        tie *$ours, 'TiedHandle', fileno $ours if $when eq 'before';
        my $attempt = establishing_on($ours);
        tie *$ours, 'TiedHandle', fileno $ours if $when eq 'after';
        $peer->write(request());
        isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
        is response_of($peer), $RESPONSE, 'the response';
    };
}

subtest 'a limit that is an object' => sub {
    require Math::BigInt;
    require Protocol::WebSocket::Message;
    no warnings 'once';
    local $Protocol::WebSocket::Message::MAX_MESSAGE_SIZE = Math::BigInt->new(5000);
    my ($attempt, $peer) = establishing();
    $peer->write(request());
    isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
};

subtest 'how the connection is made' => sub {
    my (@calls, $peer);
    my $new = AnyEvent::WebSocket::Connection->can('new');
    no warnings 'redefine';
    local *AnyEvent::WebSocket::Connection::new = sub {
        my ($class, %args) = @_;
        push @calls, { class => $class, args => \%args, written => peek($peer->fh) };
        return $new->(@_);
    };
    for my $limit (undef, 77) {
        @calls = ();
        (my $attempt, $peer) = establishing(defined $limit ? (max_payload_size => $limit) : ());
        $peer->stall->write(request());
        $attempt->results;
        my $call = shift @calls;
        is ref delete $call->{args}{handle}, 'AnyEvent::Handle', 'it gets a handle';
        is_deeply $call, { class => 'AnyEvent::WebSocket::Connection', args => { max_payload_size => $limit },
            written => $RESPONSE }, 'and the limit, after the response is written';
        is_deeply \@calls, [], 'once';
    }
};

subtest 'one server, several connections at once' => sub {
    my $server = AnyEvent::WebSocket::Server->new(handshake => sub { ($_[1], $_[0]->resource_name) });
    my @pairs = map { [establishing(SERVER => $server)] } 1 .. 3;
    my @numbers = (2, 0, 1);
    $pairs[$_][1]->write(substr request([line => "GET /$_ HTTP/1.1"]), 0, 50) for @numbers;
    settle();
    $pairs[$_][1]->write(substr request([line => "GET /$_ HTTP/1.1"]), 50) for reverse @numbers;
    is_deeply [map { ($pairs[$_][0]->results)[1] } @numbers], ['/2', '/0', '/1'], 'each has its own request';
};

subtest 'one socket after another on one server' => sub {
    my $server = AnyEvent::WebSocket::Server->new;
    for my $number (1 .. 2) {
        my ($attempt, $peer) = establishing(SERVER => $server);
        $peer->write(request());
        isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection', "connection $number";
    }
};

subtest 'a dropped server and file handle' => sub {
    my ($attempt, $peer) = establishing(handshake => sub { ($_[1], 'other') });
    $attempt->release(qw(server fh));
    settle();
    $peer->write(request());
    is(($attempt->results)[1], 'other', 'leave the handshake running');
    is response_of($peer), $RESPONSE, 'to its end';
};

subtest 'a dropped condition variable' => sub {
    my $called;
    my ($attempt, $peer) = establishing(handshake => sub { $called = 1; $_[1] });
    undef $attempt;
    settle();
    ok !$peer->eof, 'leaves the handshake running';
    $peer->write(request());
    is response_of($peer), $RESPONSE, 'to its end';
    ok $called, 'with the callback';
    $peer->wait_eof;
    pass 'but nobody holds the connection then';
};

for my $transport (@transports) {
    subtest "$transport: a handshake callback that runs the event loop" => sub {
        my ($calls, $peer) = 0;
        (my $attempt, $peer) = establishing(TRANSPORT => $transport, handshake => sub {
            $calls++;
            $peer->write(text('early', mask => 1));
            $peer->half_close if $transport eq 'ws';
            settle();
            return $_[1];
        });
        $attempt->record;
        $peer->write(request());
        $attempt->connection;
        is_deeply $attempt->seen->wait_messages(1)->bodies, ['early'], 'loses nothing that arrives meanwhile';
        $attempt->seen->wait_finish if $transport eq 'ws';
        is $calls, 1, 'is called once';
    };

    subtest "$transport: a callback of the condition variable that runs the event loop" => sub {
        my ($attempt, $peer) = establishing(TRANSPORT => $transport);
        my $seen;
        $attempt->cv->cb(sub {
            $seen = recorder(scalar $_[0]->recv);
            $peer->write(text('one', mask => 1));
            settle();
            $peer->write(text('two', mask => 1));
            settle();
            poke();
        });
        $peer->write(request());
        wait_until('the callback', sub { $seen });
        is_deeply $seen->wait_messages(2)->bodies, ['one', 'two'], 'loses nothing that arrives meanwhile';
    };
}

subtest 'bytes that arrive while the handshake callback runs the event loop' => sub {
    plan skip_all => 'by design: counts the turns of EV' if AnyEvent::detect() ne 'AnyEvent::Impl::EV';
    my ($turns, $peer);
    (my $attempt, $peer) = establishing(handshake => sub {
        $peer->write(text('early', mask => 1))->wait_written;
        my $before = EV::iteration();
        after(0.1);
        $turns = EV::iteration() - $before;
        return $_[1];
    });
    $peer->write(request());
    $attempt->connection;
    cmp_ok $turns, '<', 100, 'do not keep it busy';
};

subtest 'send by the program does not cancel' => sub {
    my $called;
    my ($attempt, $peer) = establishing(handshake => sub { $called = 1; $_[1] });
    $attempt->cv->send('mine');
    $peer->write(request());
    is response_of($peer), $RESPONSE, 'the response is sent';
    ok $called, 'after the callback';
};

subtest 'a die in the callback of the condition variable' => sub {
    my ($attempt, $peer) = establishing();
    my $kept;
    $attempt->cv->cb(sub { $kept = $_[0]->recv; poke(); die "in the callback\n" });
    my $warnings = warnings_of(sub { $peer->write(request()); response_of($peer); settle() });
    like eval { $attempt->cv->recv; 1 } ? 'alive' : $@, qr/\Ain the callback\n/, 'is the error of a later recv';
    isa_ok $kept, 'AnyEvent::WebSocket::Connection';
    is_deeply [$peer->sync(mask => 1)], [], 'which works';
};

differs 'a die in the callback of the condition variable is reported' => 'swallows it' => sub {
    my ($attempt, $peer) = establishing();
    $attempt->cv->cb(sub { die "in the callback\n" });
    my $warnings = warnings_of(sub { $peer->write(request()); response_of($peer); settle() });
    is scalar @$warnings, 1, 'a warning';
    like $warnings->[0], qr/in the callback/, 'with the exception';
};

subtest 'the file handle closes with its last holder' => sub {
    my ($attempt, $peer) = establishing();
    $peer->write(request());
    my $connection = $attempt->connection;
    response_of($peer);
    $attempt->release(qw(cv server));
    undef $connection;
    $attempt->release('fh');
    $peer->wait_eof;
    pass 'when the program has dropped it, and the connection';
};

subtest 'with AnyEvent::WebSocket::Client' => sub {
    plan skip_all => 'AnyEvent::WebSocket::Client is not installed' unless eval { require AnyEvent::WebSocket::Client };
    require AnyEvent::Socket;
    my $server = AnyEvent::WebSocket::Server->new(handshake => sub { ($_[1], $_[0]->resource_name) });
    my ($port, @results);
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        my $cv = $server->establish($_[0]);
        $cv->cb(sub { @results = $_[0]->recv; poke() });
    }, sub { $port = $_[2]; 0 });
    my $cv = AnyEvent::WebSocket::Client->new->connect("ws://127.0.0.1:$port/path?query");
    $cv->cb(sub { poke() });
    wait_until('both ends', sub { @results && $cv->ready });
    my ($connection, $target) = @results;
    is $target, '/path?query', 'the target';
    my $seen = recorder($connection);
    my $client = $cv->recv;
    $client->send('hello');
    is_deeply $seen->wait_messages(1)->bodies, ['hello'], 'a message';
    $client->close;
    $seen->wait_finish;
};

done_testing;
