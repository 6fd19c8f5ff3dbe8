# Tests that an attempt that fails ends with the original's text, at the line of recv, and with the socket closed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use File::Temp ();
use Socket qw(AF_INET SOCK_STREAM pack_sockaddr_in INADDR_LOOPBACK);
use Test::More;
use Time::HiRes ();
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

my $WRONG_LINE = 'handshake error: Wrong response line. Got [[%s]], expected [[HTTP/1.1 101 ]]';

{
    package NoSuchHost;    # a resolver for AnyEvent::DNS that finds nothing

    sub new { bless {}, shift }
    sub resolve {
        my $found = pop;
        AnyEvent::postpone { $found->() };
        return;
    }
}

{
    package WideUri;    # a URI that escapes nothing

    sub new { my ($class, $uri) = @_; require URI; return bless { uri => URI->new($uri) }, $class }
    sub as_string { $_[0]{uri}->as_string . "\x{20ac}" }
    for my $name (qw(scheme host port secure)) {
        no strict 'refs';
        *$name = sub { $_[0]{uri}->$name };
    }
}

# Returns a port that accepts no more connections, and what keeps it so: its queue is full.
sub stuck_port {
    socket my $listener, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
    bind $listener, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
    listen $listener, 0 or die "listen: $!";
    my $address = getsockname $listener;
    my @queued;
    for (1 .. 50) {
        socket my $socket, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
        AnyEvent::Util::fh_nonblocking($socket, 1);
        connect $socket, $address;
        push @queued, $socket;
        vec(my $writable = '', fileno $socket, 1) = 1;
        return ((Socket::unpack_sockaddr_in($address))[0], [$listener, @queued]) if !select undef, $writable, undef, 0.2;
    }
    return;
}

sub handshake_error { error_for({}, @_) }

subtest 'the place of the error' => sub {
    my $cv = client()->connect('http://127.0.0.1/');
    for (1 .. 2) {
        ok !eval { $cv->recv; 1 }, 'recv dies';    # and the line of this is in the text
        is $@, 'URI is not a websocket at ' . __FILE__ . ' line ' . (__LINE__ - 1) . ".\n",
            'at its line, as often as it is called';
    }
};

subtest 'URI is not a websocket' => sub {
    local $SIG{__WARN__} = sub { };    # the original compares undef
    for my $uri ('http://127.0.0.1/', 'https://127.0.0.1/', 'wsx://127.0.0.1/', 'mailto:ws', '127.0.0.1/', '/path', '') {
        my $cv = client()->connect($uri);
        ok $cv->ready, "'$uri' is seen at once";
        is error_of($cv), 'URI is not a websocket', 'and refused';
    }
};

subtest 'unable to connect' => sub {
    my ($port, $reserved) = closed_port();
    is error_of(client()->connect("ws://127.0.0.1:$port/")), 'unable to connect', 'nobody listens';
    is error_of(client()->connect("ws://localhost:$port/")), 'unable to connect', 'at any of the addresses';
    local $AnyEvent::DNS::RESOLVER = NoSuchHost->new;
    is error_of(client()->connect('ws://name.invalid/')), 'unable to connect', 'the host does not exist';
    is error_of(client()->connect('wss://name.invalid/')), 'unable to connect', 'also over wss';
};

after_044 'unable to connect to a UNIX socket' => sub {
    my $directory = File::Temp->newdir;
    is error_of(client()->connect('ws://127.0.0.1/', 'unix/', "$directory/none")), 'unable to connect', 'there is none';
    is error_of(client()->connect('ws://127.0.0.1/', 'unix/', '/relative/../' x 3)), 'unable to connect', 'nor there';
    is error_of(client()->connect('ws://127.0.0.1/', 'unix/', 'relative')), 'unable to connect', 'the path is not absolute';
};

subtest 'timeout' => sub {
    my ($port, $kept) = stuck_port() or plan skip_all => 'by design: this system accepts any number of connections';
    my $patient = client(timeout => 0)->connect("ws://127.0.0.1:$port/");
    AnyEvent->now_update;
    my $begin = Time::HiRes::time();
    is error_of(client(timeout => 0.3)->connect("ws://127.0.0.1:$port/")), 'unable to connect', 'ends the attempt';
    cmp_ok Time::HiRes::time() - $begin, '>', 0.25, 'after these seconds';
    ok !$patient->ready, '0 is none';
    my $also_patient = client(timeout => undef)->connect("ws://127.0.0.1:$port/");
    ok unanswered($also_patient, 0.3), 'undef is none';
    is client()->timeout, 30, 'the default is 30 s';
};

subtest 'timeout is not for the handshake' => sub {
    my $server = raw_server();
    my $cv = client(timeout => 0.1)->connect($server->uri);
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    ok unanswered($cv, 0.3), 'the client waits longer for the answer';
    $peer->write(switching($request));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

subtest 'connect error' => sub {
    for my $tls (0, WebSocketTest::TLS::unavailable() ? () : 1) {
        for my $begin ('', 'HTTP/1.1 101', "HTTP/1.1 101 Switching\x0d\x0aUpgrade: websocket\x0d\x0a") {
            my ($cv, $peer) = shake_hands({}, sub { $begin }, tls => $tls);
            $peer->half_close;
            is error_of($cv), 'connect error: Unexpected end-of-file', "EOF after '$begin'";
            ($cv, $peer) = shake_hands({}, sub { $begin }, tls => $tls);
            settle();
            $peer->reset;
            is error_of($cv), 'connect error: Connection reset by peer', "RST after '$begin'";
        }
    }
};

subtest 'connect error before the request could be read' => sub {
    my $server = raw_server();
    my $cv = client()->connect($server->uri);
    $server->next_peer->close;
    like error_of($cv), qr/\Aconnect error: (?:Unexpected end-of-file|Connection reset by peer|Broken pipe)\z/, 'EOF or RST';
};

subtest 'the response line' => sub {
    for my $line (
        'HTTP/1.1 200 OK', 'HTTP/1.1 301 Moved Permanently', 'HTTP/1.1 404 Not Found', 'HTTP/1.0 101 Switching Protocols',
        'HTTP/1.2 101 Switching Protocols', 'HTTP/2 101 x', 'http/1.1 101 x', 'HTTP/1.1  101 x', 'HTTP/1.1 1010 x',
        'SSH-2.0-OpenSSH_9',
        '', ' HTTP/1.1 101 x', "\xff\xfe\x80")
    {
        is handshake_error(sub { "$line\x0d\x0a" }), sprintf($WRONG_LINE, $line), "'$line'";
    }
    is handshake_error(sub { "HTTP/1.1 404 Not Found\x0a" }), sprintf($WRONG_LINE, 'HTTP/1.1 404 Not Found'),
        'LF ends it as well';
};

subtest 'a long response line' => sub {
    for my $length (79, 80) {
        my $line = substr 'HTTP/1.1 404 ' . 'x' x 200, 0, $length;
        is handshake_error(sub { "$line\x0d\x0a" }), sprintf($WRONG_LINE, $line), "$length characters are shown";
    }
    for my $length (81, 5000) {
        my $line = substr 'HTTP/1.1 404 ' . 'x' x 5000, 0, $length;
        is handshake_error(sub { "$line\x0d\x0a" }), sprintf($WRONG_LINE, substr($line, 0, 77) . '...'),
            "of $length, the first 77";
    }
};

subtest 'the header' => sub {
    my $begin = "HTTP/1.1 101 x\x0d\x0aUpgrade: websocket\x0d\x0aConnection: Upgrade\x0d\x0a";
    is handshake_error(sub { "${begin}no colon\x0d\x0a" }), 'handshake error: Invalid field',
        'a line without a colon, before its end';
    is handshake_error(sub { "$begin\x0d\x0a" }), 'handshake error: Not a valid response', 'no Accept';
    for my $value ('', '0') {
        is handshake_error(sub { "${begin}Sec-WebSocket-Accept: $value\x0d\x0a\x0d\x0a" }),
            'handshake error: Not a valid response', "the Accept '$value'";
    }
    is handshake_error(sub { $begin . 'X-Long: ' . 'x' x 21000 }), 'handshake error: Message is too long',
        'more than 20480 bytes';
};

subtest 'after an error' => sub {
    my ($cv, $peer) = shake_hands({}, sub { "HTTP/1.1 404 Not Found\x0d\x0a\x0d\x0a" });
    wait_outcome($cv);
    $peer->wait_eof;
    is $peer->bytes, '', 'the socket is closed, and nothing more is sent';
    my $first = error_of($cv);
    is error_of($cv), $first, 'recv dies in the same way again';
};

subtest 'the Accept, if http_headers has a key too' => sub {
    for my $key ('dGhlIHNhbXBsZSBub25jZQ==', 'x') {
        for my $name ('Sec-WebSocket-Key', 'sec-websocket-key') {
            my ($cv, $peer) = shake_hands(
                { http_headers => [$name => $key] },
                sub { switching($_[0]) =~ s/(?<=Accept: ).+(?=\x0d)/accept_for($key)/er });
            isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', "for $name: $key";
        }
    }
};

subtest 'an extension that http_headers offers' => sub {
    my ($cv, $peer) = shake_hands(
        { http_headers => { 'Sec-WebSocket-Extensions' => 'x-mine; a=1, x-other' } },
        sub { switching($_[0], 'Sec-WebSocket-Extensions: x-other; b="1,2"') });
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

differs 'an unknown protocol_version' => 'dies in the event loop' => sub {
    my $server = raw_server();
    like error_of(client(protocol_version => 'draft-of-mine')->connect($server->uri)), qr/\Ahandshake error: .*draft-of-mine/,
        'the condvar';
};

differs 'a wide character in what is sent' => 'dies in the event loop' => sub {
    my $server = raw_server();
    like error_of(client(http_headers => { 'X-A' => "\x{20ac}" })->connect($server->uri)), qr/\Ahandshake error: \S/,
        'http_headers';
    like error_of(client(subprotocol => "\x{20ac}")->connect($server->uri)), qr/\Ahandshake error: \S/, 'subprotocol';
    my $uri = WideUri->new($server->uri);
    like error_of(client()->connect($uri)), qr/\Ahandshake error: \S/, 'the path';
};

done_testing;
