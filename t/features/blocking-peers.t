# Tests that AnyEvent::WebSocket::Blocking ends each wait in time, and says what has happened, whatever peers and signals do.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

use Config;
use IO::Select;
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM SOL_SOCKET SO_LINGER);
use Time::HiRes qw(sleep time ualarm);
use WebSocketTest::ForkedServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original has no blocking client' if is_original();
require AnyEvent::WebSocket::Blocking;

my $SECONDS = 60 * patience();
my $has_tls = !WebSocketTest::TLS::unavailable() && eval { require IO::Socket::SSL; 1 };

sub connect_to {
    my ($server, @options) = @_;
    return AnyEvent::WebSocket::Blocking->connect($server->url, timeout => $SECONDS, $server->options, @options);
}

sub server { WebSocketTest::ForkedServer->start(@_) }

# Tests that connect dies with this text, at the time of its deadline or before.
sub cannot_connect {
    my ($name, $url, $seconds, $text, @options) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $since = time;
    croaks_here $name, sub { AnyEvent::WebSocket::Blocking->connect($url, timeout => $seconds, @options) }, $text;
    cmp_ok time - $since, '<', $seconds + 5 * patience(), 'in time';
}

# --- while it connects

subtest 'a server that is silent' => sub {
    my $server = server(sub { }, accept => 0);
    my $port = $server->port;
    cannot_connect 'in the WebSocket handshake', $server->url, 0.3,
        qr/^connect: timed out after 0\.3 seconds, in the WebSocket handshake/;
    SKIP: {
        skip 'IO::Socket::SSL is not installed', 1 if !$has_tls;
        cannot_connect 'in the TLS handshake', "wss://127.0.0.1:$port/", 0.3,
            qr/^connect: timed out after 0\.3 seconds, in the TLS handshake with 127\.0\.0\.1 port $port/;
    }
    my $slow = server(sub {
        my ($peer) = @_;
        for my $byte (split //, 'HTTP/1.1 101 Switching Protocols' . 'x' x 10_000) { $peer->write($byte); sleep 0.05 }
    }, raw => 1);
    cannot_connect 'but for a byte now and then', $slow->url, 0.5, qr/^connect: timed out after 0\.5 seconds, in the WebSocket/;
};

subtest 'a server whose queue is full' => sub {
    my $listener = IO::Socket::IP->new(LocalHost => '127.0.0.1', Listen => 1) or die $@;
    my $port = $listener->sockport;
    listen $listener, 0;
    my @fillers = map { IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $port, Blocking => 0) } 1 .. 4;
    sleep 0.1;
    plan skip_all => 'by design: this system lets everybody in' if IO::Select->new(@fillers)->can_write(0) == @fillers;
    cannot_connect 'TCP', "ws://127.0.0.1:$port/", 0.3,
        qr/^connect: timed out after 0\.3 seconds, while connecting to 127\.0\.0\.1 port $port/;
};

subtest 'a server that is not there' => sub {
    my $gone = IO::Socket::IP->new(LocalHost => '127.0.0.1', Listen => 1)->sockport;
    cannot_connect 'the port', "ws://127.0.0.1:$gone/", $SECONDS, qr/^connect: Connection refused, while connecting to/;
    cannot_connect 'the name', 'ws://nowhere.invalid/', $SECONDS, qr/^connect: cannot look up nowhere\.invalid: /;
};

subtest 'a server that is none' => sub {
    my @answers = (
        ["HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", qr/the server refused: 401 Unauthorized, in the WebSocket/],
        ["220 mail.example ESMTP\r\n", qr/Wrong response line/],
        ["\0\1\2\3\r\n\r\n", qr/Wrong response line/],
        ["HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", qr/Not a valid response/],
        ['HTTP/1.1 101 Switch', qr/the server ended the connection/],
    );
    my $server = server(
        sub { my ($peer) = @_; $peer->head; $peer->write((shift @answers)->[0]) },
        raw => 1
    );
    cannot_connect $_->[0] =~ s/[\0\r\n].*//sr, $server->url, $SECONDS, qr/^connect: $_->[1]/ for @answers;
    SKIP: {
        skip 'IO::Socket::SSL is not installed', 1 if !$has_tls;
        my $plain = server(sub { my ($peer) = @_; $peer->write("SSH-2.0-OpenSSH\r\n"); sleep 0.1 }, raw => 1);
        cannot_connect 'TLS', $plain->url =~ s/ws/wss/r, $SECONDS, qr/^connect: TLS: .*, in the TLS handshake/;
    }
};

subtest 'a socket that reads nothing' => sub {
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, 0 or die "socketpair: $!";
    shutdown $theirs, 0;
    my $text = qr/^connect: .*, in the WebSocket handshake/;
    cannot_connect 'the handshake', 'ws://localhost/', $SECONDS, $text, fh => $ours;
    SKIP: {
        skip 'IO::Socket::SSL is not installed', 1 if !$has_tls;
        my ($printed, $status) = run_perl({}, <<'END');
            use strict; use warnings; use Socket; use AnyEvent::WebSocket::Blocking;
            socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, 0 or die "socketpair: $!";
            close $theirs;
            eval { AnyEvent::WebSocket::Blocking->connect('wss://localhost/', fh => $ours) };
            print $@ =~ /^connect: TLS: .*, in the TLS handshake/ ? "refused\n" : $@;
END
        is_deeply [$printed, $status], ["refused\n", 0], 'in the TLS handshake, no SIGPIPE ends the program';
    }
};

# --- while it waits

for my $kind ([plain => []], $has_tls ? [TLS => [tls => 1]] : ()) {
    my ($name, $options) = @$kind;

    subtest "$name: a peer that pings" => sub {
        my $server = server(sub {
            my ($peer) = @_;
            $peer->write(ping($_), pong('unasked')) for 'one', 'two';
            $peer->tell(join ' ', map { my $frame = $peer->next_frame; "$frame->{opcode}:$frame->{payload}" } 1 .. 2);
            $peer->write(text('after'));
            $peer->wait_end;
        }, @$options);
        my $socket = connect_to($server);
        is $socket->receive($SECONDS)->body, 'after', 'is answered while receive waits';
        is $server->told, '10:one 10:two', 'with its own words';
    };

    subtest "$name: a peer that writes byte by byte" => sub {
        my $server = server(sub {
            my ($peer) = @_;
            $peer->write($_) for split //, text('whole') . text('a', fin => 0) . ping('') . continuation('b');
            $peer->wait_end;
        }, @$options);
        my $socket = connect_to($server);
        is join(' ', map { $socket->receive($SECONDS)->body } 1, 2), 'whole ab', 'is understood';
    };

    subtest "$name: messages that come at once" => sub {
        my $server = server(sub {
            my ($peer) = @_;
            $peer->write(map { text($_) } 1 .. 1000);
            $peer->wait_end;
        }, @$options);
        my $socket = connect_to($server);
        is $socket->receive($SECONDS)->body, 1, 'the first';
        is_deeply [map { $socket->can_receive($SECONDS) && $socket->receive(0)->body } 2 .. 1000], [2 .. 1000],
            'the others need no event on the socket';
    };

    subtest "$name: a peer that closes" => sub {
        my @closes = ([1000], [1001, 'bye'], [], [1011, 'broken'], [4000]);
        my $server = server(sub {
            my ($peer) = @_;
            $peer->write(text('last'), close_frame(@{ shift @closes }), text('too late'));
            $peer->tell(join ' ', close_of($peer->next_frame));
            $peer->wait_end;
        }, @$options);
        for my $close (@closes) {
            my $said = join ' ', @$close;
            my $socket = connect_to($server);
            is $socket->receive($SECONDS)->body, 'last', "'$said': what came before is received";
            my $message = eval { $socket->receive($SECONDS) };
            my $error = $@;
            is $message, undef, 'then nothing';
            my $code = $close->[0] || 1005;
            $code <= 1005
                ? is($error, '', 'in order')
                : like($error, qr/^receive: the peer closed the connection with code $code(?:: broken)? at /, 'with an exception');
            is $server->told, @$close ? "$close->[0] " : '', 'it is answered with the same code';
            is_deeply [$socket->close_code, $socket->close_reason], [$code, $close->[1] || ''], 'close_code and close_reason';
            is $socket->close, 1, 'close knows that it is done';
            croaks_here 'send', sub { $socket->send('x') }, qr/^send: the (?:connection is closed|peer closed the connection)/;
        }
    };

    subtest "$name: a peer that dies" => sub {
        my @last = ('', substr(text('hello'), 0, 4), text('hello', fin => 0));
        my $server = server(sub { my ($peer) = @_; $peer->write(text('last'), shift @last); }, @$options);
        for my $last (@last) {
            my $socket = connect_to($server);
            is $socket->receive($SECONDS)->body, 'last', 'what came before is received';
            my $text = qr/^receive: the connection ended without a Close frame/;
            croaks_here 'receive', sub { $socket->receive($SECONDS) }, $text;
            croaks_here 'and again', sub { $socket->receive }, $text;
            is $socket->close, 0, 'close knows';
            is $socket->close_code, undef, 'there is no close_code';
        }
    };

    subtest "$name: a peer that sends garbage" => sub {
        my @garbage = ("\xff" x 50, frame(opcode => 3, payload => 'x'), "HTTP/1.1 500 oops\r\n\r\n");
        my $server = server(sub {
            my ($peer) = @_;
            $peer->write(text('last'), shift @garbage);
            $peer->tell(join ' ', close_of($peer->next_frame));
            $peer->wait_end;
        }, @$options);
        for my $garbage (@garbage) {
            my $socket = connect_to($server);
            is $socket->receive($SECONDS)->body, 'last', 'what came before is received';
            croaks_here 'receive', sub { $socket->receive($SECONDS) }, qr/^receive: Protocol error: /;
            is $server->told, '1002 ', 'the peer is told';
        }
    };

    subtest "$name: a peer that does not read" => sub {
        my $server = server(sub { sleep 1 while 1 }, @$options);
        my $socket = connect_to($server, timeout => 2);
        my $since = time;
        my $large = 'x' x 50_000_000;
        croaks_here 'send', sub { $socket->send($large) }, qr/^send: timed out: the peer took nothing for 2 seconds/;
        cmp_ok time - $since, '>=', 1.9, 'waits that long';
        croaks_here 'the next one', sub { $socket->send('x') }, qr/^send: the peer took nothing for 2 seconds/;
        ok !$socket->is_open, 'the connection is given up';
    };

    subtest "$name: a peer that does not answer our Close" => sub {
        my $server = server(sub { sleep 1 while 1 }, @$options);
        my $socket = connect_to($server, close_timeout => 0.2);
        my $since = time;
        is $socket->close, 0, 'close says so';
        cmp_ok time - $since, '<', 5 * patience(), 'in time';
        is $socket->fileno, undef, 'and the socket is closed';
    };

    subtest "$name: SIGPIPE" => sub {
        my $server = server(sub { }, @$options);
        my $socket = connect_to($server);
        local $SIG{PIPE} = 'DEFAULT';
        my $error = '';
        my $end = time + $SECONDS;
        until ($error || time > $end) { eval { $socket->send('x' x 1000); 1 } or $error = $@ }
        like $error, qr/^send: the connection ended without a Close frame/, 'does not end the program';
        is $SIG{PIPE}, 'DEFAULT', 'and stays as it is';
    };
}

subtest 'a peer that resets the connection' => sub {
    my $server = server(sub {
        my ($peer) = @_;
        setsockopt $peer->fh, SOL_SOCKET, SO_LINGER, pack 'II', 1, 0;
    });
    my $socket = connect_to($server);
    my $text = qr/^receive: the connection ended without a Close frame: Connection reset by peer/;
    croaks_here 'receive', sub { $socket->receive($SECONDS) }, $text;
};

subtest 'a peer that says why it goes' => sub {
    my $server = server(sub { my ($peer) = @_; $peer->write(text('last'), close_frame(1008, 'policy')) });
    my $socket = connect_to($server);
    my $text = qr/^send: the peer closed the connection with code 1008: policy/;
    my $end = time + $SECONDS;
    my $error = '';
    until ($error || time > $end) { eval { $socket->send('x'); 1 } or $error = $@; sleep 0.01 }
    like $error, $text, 'send tells it, even if only the next write fails';
    is $socket->receive(0)->body, 'last', 'what came before is received';
    is $socket->close_code, 1008, 'close_code';
};

subtest 'a peer that closes, but does not read' => sub {
    my $after_pings = sub {
        my (@last) = @_;
        return server(sub {
            my ($peer) = @_;
            $peer->write(ping('x' x 125)) for 1 .. 100_000;
            $peer->write(@last);
            sleep 1 while 1;
        });
    };
    local $SIG{ALRM} = sub { die "too late\n" };
    alarm 20 * patience();
    my $server = $after_pings->(text('end') . close_frame(1000));
    my $socket = connect_to($server, close_timeout => 0);
    is eval { $socket->receive->body }, 'end', 'a message does not wait until the answer to the Close is written';
    $server = $after_pings->(close_frame(1000));
    $socket = connect_to($server, close_timeout => 0);
    is_deeply [eval { $socket->receive(2) }, $@], [''], 'receive does not wait longer for that than it was told';
    alarm 600 * patience();
    is $socket->close_code, 1000, 'it has seen the Close';
};

subtest 'a peer that sends empty messages, and reads nothing' => sub {
    my $server = server(sub {
        my ($peer) = @_;
        my $octets = text('') x 32_768;
        $peer->write($octets) for 1 .. 20;
        sleep 1 while 1;
    });
    my $socket = connect_to($server, timeout => 1);
    my $large = 'x' x 50_000_000;
    croaks_here 'send', sub { $socket->send($large) }, qr/^send: timed out/;
    cmp_ok scalar @{ $socket->{messages} }, '<', 100_000, 'does not fill our memory';
};

subtest 'a peer that only pings, and reads nothing' => sub {
    my $server = server(sub {
        my ($peer) = @_;
        $peer->write(ping('x' x 125)) for 1 .. 100_000;
        $peer->write(text('end'));
        sleep 1 while 1;
    });
    my $socket = connect_to($server);
    is $socket->receive($SECONDS)->body, 'end', 'does not stop us from reading';
    cmp_ok length $socket->{codec}->output(1e9), '<', 100_000, 'nor fill our memory with pongs';
};

# --- signals

# Connects to a server that waits this long before each message it sends.
sub connect_to_slow {
    my ($seconds) = @_;
    my $server = server(sub {
        my ($peer) = @_;
        for (1 .. 2) { sleep $seconds; $peer->write(text($_)) }
        $peer->echo;
    });
    return ($server, connect_to($server));
}

subtest 'a signal handler' => sub {
    my ($server, $socket) = connect_to_slow(0.5);
    my $count = 0;
    local $SIG{ALRM} = sub { $count++; ualarm 50_000 };
    ualarm 50_000;
    is $socket->receive($SECONDS)->body, 1, 'does not disturb';
    cmp_ok $count, '>', 1, 'it runs while receive waits';
    ualarm 0;
    local $SIG{ALRM} = sub { die { my => 'exception' } };
    ok !eval { ualarm 50_000; $socket->receive($SECONDS); 1 }, 'may die';
    is_deeply $@, { my => 'exception' }, 'with its own exception';
    ualarm 0;
    is $socket->receive($SECONDS)->body, 2, 'and the connection is good';
    local $SIG{ALRM} = sub { $socket->send('from the handler') };
    ualarm 50_000;
    is $socket->receive($SECONDS)->body, 'from the handler', 'may send';
    local $SIG{ALRM} = sub { $socket->close(1001) };
    ualarm 50_000;
    is_deeply [$socket->receive($SECONDS)], [], 'may close';
};

for my $kind ([plain => []], $has_tls ? [TLS => [tls => 1]] : ()) {
    my ($name, $options) = @$kind;
    subtest "$name: signals while messages come and go" => sub {
        my $server = server(sub { $_[0]->echo }, @$options);
        my $socket = connect_to($server);
        my ($turn, %count) = (0);
        our $may_die = 0;
        local $SIG{ALRM} = sub {
            return if !$may_die;
            eval { $socket->send('from the handler'); ++$count{sent} } or $count{$@}++;
            die "interrupted\n" if $turn++ % 2;
        };
        Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0.001, 0.001);
        my $end = time + $SECONDS;
        while ($turn < 200 && time < $end) {
            eval { local $may_die = 1; $socket->send('x' x 2000); $socket->receive($SECONDS) }
                or $@ eq "interrupted\n" or $count{$@}++;
        }
        Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0);
        is_deeply [keys %count], ['sent'], 'handlers may send, and die';
        is $socket->close, 1, 'and the connection is good';
    };
}
alarm 600 * patience();

subtest 'a signal handler that pings' => sub {
    my $server = server(sub {
        my ($peer) = @_;
        my @pings = map { $peer->next_frame } 1, 2;
        $peer->write(pong($_->{payload})) for @pings;
        $peer->wait_end;
    });
    my $socket = connect_to($server);
    my $inner;
    local $SIG{ALRM} = sub { $inner = $socket->ping($SECONDS) };
    ualarm 50_000;
    cmp_ok $socket->ping($SECONDS), '>', 0, 'the ping that waits sees its pong';
    cmp_ok $inner, '>', 0, 'so does the one of the handler';
};
alarm 600 * patience();

subtest 'a signal handler that dies while connect waits' => sub {
    my $server = server(sub { }, accept => 0);
    local $SIG{ALRM} = sub { die "enough\n" };
    ualarm 50_000;
    ok !eval { connect_to($server); 1 }, 'ends it';
    is $@, "enough\n", 'with its own exception';
};
alarm 600 * patience();

# --- processes and threads

subtest 'a child that drops the connection' => sub {
    for my $options ([], $has_tls ? [tls => 1] : ()) {
        my $server = server(sub { $_[0]->echo }, @$options);
        my $socket = connect_to($server);
        defined(my $pid = fork) or die "fork: $!";
        if (!$pid) { undef $socket; POSIX::_exit(0) }
        waitpid $pid, 0;
        is $socket->send('x')->receive($SECONDS)->body, 'x', 'leaves it to the parent';
    }
};

subtest 'a child that uses the connection' => sub {
    my $server = server(sub { $_[0]->echo });
    my $socket = connect_to($server);
    $socket->send('parent')->receive($SECONDS);
    pipe my $reader, my $writer;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) { syswrite $writer, $socket->send('child')->receive($SECONDS)->body; POSIX::_exit(0) }
    undef $socket;
    close $writer;
    is do { local $/; <$reader> }, 'child', 'may do so if the parent does not';
    waitpid $pid, 0;
};

subtest 'another thread' => sub {
    plan skip_all => 'by design: this perl has no threads' if !$Config{useithreads};
    my $server = server(sub { $_[0]->echo });
    my ($printed) = run_perl({}, <<'END', $server->url);
        use strict; use warnings; use threads; use AnyEvent::WebSocket::Blocking;
        my $socket = AnyEvent::WebSocket::Blocking->connect($ARGV[0], timeout => 60);
        print threads->create(sub {
            join '', map { my $method = $_; eval { $socket->$method }; $@ } qw(can_receive close is_open ping receive send);
        })->join;
        print $socket->send('mine')->receive(60)->body, "\n";
        $socket->close;
        print threads->create(sub {
            AnyEvent::WebSocket::Blocking->connect($ARGV[0], timeout => 60)->send('own')->receive(60)->body
        })->join, "\n";
END
    for my $method (qw(can_receive close is_open ping receive send)) {
        like $printed, qr/^$method: the connection belongs to another thread at -e line 4\b/m, "$method: cannot use it";
    }
    like $printed, qr/^mine\nown\n\z/m, 'but its own';
};

done_testing;
