# Tests that env_proxy takes the proxy for a URI from the environment, and how the client speaks to it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use File::Temp ();
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: not yet in the original\'s 0.44: env_proxy' if is_044();
plan skip_all => 'AnyEvent::Connector is not installed' unless eval { require AnyEvent::Connector };

my @names = map { ($_, uc) } map { "${_}_proxy" } qw(ws wss http https no);
delete @ENV{@names};

my $CRLF = "\x0d\x0a";
my $ACCEPTED = "HTTP/1.1 200 Connection established$CRLF$CRLF";

# Returns where the client connects to: 'proxy' or 'direct', with this environment.
sub way {
    my ($environment, $scheme, %new) = @_;
    local @ENV{ keys %$environment } = values %$environment;
    my ($server, $proxy) = map { raw_server() } 1 .. 2;
    my $port = $proxy->port;
    s/PROXY/http:\/\/127.0.0.1:$port/ for @ENV{ keys %$environment };
    my $cv = client(env_proxy => 1, %new)->connect(($scheme || 'ws') . '://127.0.0.1:' . $server->port . '/');
    wait_until('a client', sub { $server->waiting || $proxy->waiting });
    return $proxy->waiting ? 'proxy' : 'direct';
}

# Connects through a proxy. Returns the condvar, the proxy's end, and the header it got.
sub through_proxy {
    my ($uri, $answer, @more) = @_;
    my $proxy = raw_server();
    local @ENV{qw(ws_proxy wss_proxy)} = ('http://127.0.0.1:' . $proxy->port) x 2;
    my $cv = client(env_proxy => 1)->connect($uri, @more);
    my $peer = $proxy->next_peer;
    my $header = $peer->read_until($CRLF x 2);
    $peer->write($answer) if defined $answer;
    return ($cv, $peer, $header);
}

subtest 'which variable' => sub {
    is way({}), 'direct', 'none is set';
    is way({ $_ => 'PROXY' }), 'proxy', "ws: $_" for qw(ws_proxy WS_PROXY http_proxy HTTP_PROXY);
    is way({ $_ => 'PROXY' }), 'direct', "ws: not $_" for qw(wss_proxy https_proxy HTTPS_PROXY);
    is way({ $_ => 'PROXY' }, 'wss'), 'proxy', "wss: $_" for qw(wss_proxy WSS_PROXY https_proxy HTTPS_PROXY);
    is way({ $_ => 'PROXY' }, 'wss'), 'direct', "wss: not $_" for qw(ws_proxy http_proxy HTTP_PROXY);
    is way({ ws_proxy => 'PROXY' }, 'ws', env_proxy => 0), 'direct', 'without env_proxy, none';
};

subtest 'several variables' => sub {
    is way({ ws_proxy => 'PROXY', http_proxy => 'http://127.0.0.1:1' }), 'proxy', 'ws_proxy comes first';
    is way({ ws_proxy => 'PROXY', WS_PROXY => 'http://127.0.0.1:1' }), 'proxy', 'lower case comes first';
    is way({ ws_proxy => '', WS_PROXY => 'PROXY' }), 'direct', 'also if it is empty';
    is way({ ws_proxy => '', http_proxy => 'PROXY' }), 'proxy', 'but then http_proxy follows';
};

subtest 'no_proxy' => sub {
    for my $name (qw(no_proxy NO_PROXY)) {
        is way({ ws_proxy => 'PROXY', $name => '127.0.0.1' }), 'direct', "$name with the host";
        is way({ ws_proxy => 'PROXY', $name => 'example.test, 0.0.1' }), 'direct', 'in a list, and it is a suffix';
    }
    is way({ ws_proxy => 'PROXY', no_proxy => $_ }), 'proxy', "not '$_'" for '*', '127.', '127.0.0.2', '';
    is way({ ws_proxy => 'PROXY', no_proxy => '', NO_PROXY => '127.0.0.1' }), 'proxy', 'lower case hides upper case';
};

subtest 'case of no_proxy' => sub {
    local @ENV{qw(ws_proxy no_proxy)} = ('http://127.0.0.1:1', 'LOCALHOST');
    my $server = raw_server();
    my $cv = client(env_proxy => 1)->connect($server->uri('/', 'localhost'));
    is error_of($cv), 'unable to connect', 'matters: the proxy is asked';
};

subtest 'what is said to the proxy' => sub {
    my ($cv, $peer, $header) = through_proxy('ws://example.test:81/path', $ACCEPTED);
    is $header, join($CRLF, 'CONNECT example.test:81 HTTP/1.1', 'Host: example.test:81', '', ''), 'CONNECT';
    my $request = next_request($peer);
    is $request->first, 'GET /path HTTP/1.1', 'then the request';
    is $request->value('Host'), 'example.test:81', 'with the Host of the URI';
    $peer->write(switching($request) . text('hello'));
    is_deeply recorder(connection_of($cv))->wait_messages(1)->bodies, ['hello'], 'then messages';
    (undef, undef, $header) = through_proxy('ws://example.test/', undef);
    is $header, join($CRLF, 'CONNECT example.test:80 HTTP/1.1', 'Host: example.test:80', '', ''), 'the port is always there';
    (undef, undef, $header) = through_proxy('wss://example.test/', undef);
    is $header, join($CRLF, 'CONNECT example.test:443 HTTP/1.1', 'Host: example.test:443', '', ''), 'for wss, too';
    (undef, undef, $header) = through_proxy('ws://example.test/', undef, 'other.test', 82);
    is $header, join($CRLF, 'CONNECT other.test:82 HTTP/1.1', 'Host: other.test:82', '', ''),
        'it is asked for the place, not for the Host';
};

subtest 'a userinfo of the proxy' => sub {
    my $proxy = raw_server();
    local $ENV{ws_proxy} = 'http://user:password@127.0.0.1:' . $proxy->port;
    my $cv = client(env_proxy => 1)->connect('ws://example.test/');
    my $header = $proxy->next_peer->read_until($CRLF x 2);
    is $header, join($CRLF, 'CONNECT example.test:80 HTTP/1.1', 'Host: example.test:80', '', ''), 'is not sent';
};

subtest 'answers that accept' => sub {
    for my $answer ($ACCEPTED, "HTTP/1.0 299 x${CRLF}Header: y$CRLF$CRLF", "HTTP/1.1 204\x0a\x0a") {
        my ($cv, $peer) = through_proxy('ws://example.test/', $answer);
        $peer->write(switching(next_request($peer)));
        isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', $answer =~ s/[\x0a\x0d].*//sr;
    }
};

subtest 'answers that do not' => sub {
    for my $answer (
        "HTTP/1.1 407 Proxy Authentication Required$CRLF$CRLF", "HTTP/1.1 302 Found$CRLF", "SSH-2.0-OpenSSH$CRLF",
        $CRLF)
    {
        my ($cv, $peer) = through_proxy('ws://example.test/', $answer);
        is error_of($cv), 'unable to connect', $answer =~ s/[\x0a\x0d].*//sr;
    }
    for my $answer ('', 'HTTP/1.1 200 x', "HTTP/1.1 200 x$CRLF", "HTTP/1.1 200 x${CRLF}A: b$CRLF") {
        my ($cv, $peer) = through_proxy('ws://example.test/', $answer);
        $peer->half_close;
        is error_of($cv), 'unable to connect', 'an end of file after ' . length($answer) . ' bytes';
    }
};

subtest 'no proxy there' => sub {
    my ($port, $reserved) = closed_port();
    local $ENV{ws_proxy} = "http://127.0.0.1:$port";
    is error_of(client(env_proxy => 1)->connect('ws://127.0.0.1/')), 'unable to connect', 'nobody listens';
};

subtest 'a proxy that is not http' => sub {
    for my $proxy ('socks5://127.0.0.1:1', 'https://127.0.0.1:1', '127.0.0.1:1') {
        local $ENV{ws_proxy} = $proxy;
        ok !eval { client(env_proxy => 1)->connect('ws://127.0.0.1/'); 1 }, 'connect itself dies';
        like $@, qr/\AOnly http proxy is supported: \Q$proxy\E at /, "and says so for $proxy";
    }
};

subtest 'wss through a proxy' => sub {
    my $why_not = WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    my ($cv, $peer) = through_proxy('wss://example.test/', $ACCEPTED);
    my $fh = $peer->fh;
    undef $peer;
    $peer = WebSocketTest::SecurePeer->new(AnyEvent::Handle->new(fh => $fh, shared_tls_options('accept')));
    my $request = next_request($peer);
    is $request->value('Host'), 'example.test', 'the request comes over TLS';
    $peer->write(switching($request) . text('hello'));
    is_deeply recorder(connection_of($cv))->wait_messages(1)->bodies, ['hello'], 'then messages';
};

differs 'CONNECT with an IPv6 address' => 'has no brackets' => sub {
    my (undef, undef, $header) = through_proxy('ws://[::1]:81/', undef);
    is $header, join($CRLF, 'CONNECT [::1]:81 HTTP/1.1', 'Host: [::1]:81', '', ''), 'has brackets';
};

differs 'a UNIX socket' => 'asks the proxy for it' => sub {
    my $directory = File::Temp->newdir;
    my $server = raw_server(host => 'unix/', port => "$directory/socket");
    local $ENV{ws_proxy} = 'http://127.0.0.1:1';
    my $cv = client(env_proxy => 1)->connect('ws://example.test/', 'unix/', "$directory/socket");
    my $peer = $server->next_peer;
    $peer->write(switching(next_request($peer)));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

subtest 'AnyEvent::Connector' => sub {
    my $server = raw_server();
    my ($printed) = run_perl({}, <<'PROGRAM', $server->port);
        use AnyEvent::WebSocket::Client;
        my $client = AnyEvent::WebSocket::Client->new;
        my $cv = $client->connect("ws://127.0.0.1:$ARGV[0]/");
        print $INC{'AnyEvent/Connector.pm'} ? 'loaded' : 'not loaded';
PROGRAM
    is $printed, 'not loaded', 'is loaded only with env_proxy';
};

done_testing;
