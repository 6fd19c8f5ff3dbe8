# Tests that connecting to this machine, which may take a shorter way, does what connecting elsewhere does.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use AnyEvent::Socket ();
use Socket ();
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

# Connects, with more arguments for connect; returns the connection.
sub connected {
    my ($server, @place) = @_;
    my $cv = client()->connect($server->uri, @place);
    my $peer = $server->next_peer;
    $peer->write(switching(next_request($peer)));
    return connection_of($cv);
}

subtest 'hosts' => sub {
    my $server = raw_server(host => '0.0.0.0');
    for my $host (undef, '127.0.0.1', '127.255.3.4', '127.1', '0177.0.0.1', 'localhost', 'LOCALHOST') {
        my $connection = connected($server, defined $host ? ($host, $server->port) : ());
        isa_ok $connection, 'AnyEvent::WebSocket::Connection', 'through ' . ($host // 'the URL');
    }
};

subtest 'hosts and ports that are none' => sub {
    my ($port, $reserved) = closed_port();
    for my $host ('127.0.0.1', '127.0.0.256', '127.0.0.1.1', 'localhost') {
        my $cv = client(timeout => 2)->connect("ws://127.0.0.1:$port/", $host, $port);
        ok !$cv->ready, "$host: nothing is decided in connect";
        is error_of($cv), 'unable to connect', 'and then there is no connection';
    }
    my $server = raw_server();
    my $cv = client(timeout => 2)->connect($server->uri, "127.0.0.1\0.example", $server->port);
    is error_of($cv), 'unable to connect', 'a host is not cut off at a NUL';
};

subtest 'a URL without a host' => sub {
    my @warnings = @{ warnings_of(sub { error_of(client()->connect('ws:nowhere')) }) };
    is_deeply \@warnings, [], 'causes no warning';
};

subtest 'localhost on IPv6 alone' => sub {
    plan skip_all => 'by design: there is only one address of localhost'
        if grep { !$AnyEvent::PROTOCOL{$_} } qw(ipv4 ipv6);
    my $server = raw_server(host => '::1');
    isa_ok connected($server, 'localhost', $server->port), 'AnyEvent::WebSocket::Connection';
};

subtest 'without IPv4' => sub {
    local $AnyEvent::PROTOCOL{ipv4} = 0;
    my $server = raw_server();
    is error_of(client()->connect($server->uri)), 'unable to connect', 'its addresses are not used';
};

subtest 'a listener whose queue is full' => sub {
    socket my $listener, Socket::PF_INET, Socket::SOCK_STREAM, 0 or die $!;
    bind $listener, Socket::pack_sockaddr_in(0, Socket::INADDR_LOOPBACK) or die $!;
    listen $listener, 0 or die $!;
    my ($port) = Socket::unpack_sockaddr_in(getsockname $listener);
    my @attempts = map { client()->connect("ws://127.0.0.1:$port/") } 1 .. 4;
    my @peers;
    my $watcher = AE::io $listener, 0, sub { accept my $fh, $listener or return; push @peers, WebSocketTest::Peer->new($fh) };
    wait_until('all are accepted', sub { @peers >= 4 });
    $_->write(switching(next_request($_))) for @peers;
    isa_ok connection_of($_), 'AnyEvent::WebSocket::Connection' for @attempts;
};

subtest 'a program that was busy before' => sub {
    my $server = raw_server();
    select undef, undef, undef, 1.5;
    my $cv = client(handshake_timeout => 1)->connect($server->uri);
    my $peer = $server->next_peer;
    $peer->write(switching(next_request($peer)));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', 'has the time from then on, and';
};

for my $tls (0, 1) {
    subtest 'a program that is busy afterwards' . ($tls ? ', with TLS' : '') => sub { is_read_after_work($tls) };
}

# Connects to a server in another process, and looks at the response later than it should have come.
sub is_read_after_work {
    my ($tls) = @_;
    my $why_not = $tls && WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    my $server = raw_server(tls => $tls);
    my $pid = fork_child(sub {
        my $peer = $server->next_peer;
        $peer->write(switching(next_request($peer)));
        $peer->wait_eof;
    });
    my $cv = client(handshake_timeout => 1)->connect($server->uri);
    select undef, undef, undef, 1.5;
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', 'reads the response before it gives up, and';
    undef $cv;
    reap($pid);
}

subtest 'a program that is busy afterwards, and is the server itself' => sub {
    my $server = raw_server();
    my $cv = client(handshake_timeout => 0.5)->connect($server->uri);
    select undef, undef, undef, 1;
    my $peer = $server->next_peer;
    $peer->write(switching(next_request($peer)));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', 'gets the time that it has lost, and';
};

subtest 'a port that is an object' => sub {
    {
        package PortObject;
        use overload '""' => sub { $_[0]{port} };
    }
    my $server = raw_server();
    my $port = bless { port => $server->port }, 'PortObject';
    isa_ok connected($server, '127.0.0.1', $port), 'AnyEvent::WebSocket::Connection';
};

differs 'an error that is found inside connect' => 'hangs' => sub {
    my $server = raw_server();
    my $cv = client(http_headers => [X => "\x{263a}"])->connect($server->uri);
    ok !$cv->ready, 'the condvar is not ready when connect returns';
    my $calls = 0;
    $cv->cb(sub { $calls++; poke() });
    is $calls, 0, 'so its callback is called by the event loop';
    wait_until('the error', sub { $calls });
    ok !eval { $cv->recv; 1 }, 'with an error';
};

subtest 'replaced subs' => sub {
    no warnings qw(once prototype redefine);
    for my $name (qw(AnyEvent::Socket::tcp_connect AnyEvent::Socket::resolve_sockaddr)) {
        no strict 'refs';
        my $calls = 0;
        my $original = \&$name;
        local *$name = sub { $calls++; &$original };
        connected(raw_server());
        is $calls, 1, "$name is called";
    }
};

subtest 'a sub that was replaced before the client was loaded' => sub {
    my $server = raw_server();
    my ($output) = run_perl({}, <<'PROGRAM', $server->port);
        use AnyEvent;
        use AnyEvent::Socket;
        BEGIN { no warnings; *AnyEvent::Socket::tcp_connect = sub ($$$;$) { print "called for $_[0]\n"; $_[2]->() } }
        use AnyEvent::WebSocket::Client;
        eval { AnyEvent::WebSocket::Client->new->connect("ws://127.0.0.1:$ARGV[0]/")->recv };
PROGRAM
    is $output, "called for 127.0.0.1\n", 'is called';
};

after_044 'a replaced _make_tcp_connection' => sub {
    no warnings qw(once redefine);
    my @targets;
    my $original = \&AnyEvent::WebSocket::Client::_make_tcp_connection;
    local *AnyEvent::WebSocket::Client::_make_tcp_connection = sub { push @targets, @_[1 .. 3]; &$original };
    my $server = raw_server();
    connected($server);
    is_deeply \@targets, ['ws', '127.0.0.1', $server->port], 'is called';
};

done_testing;
