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
    my @places = (['127.0.0.1', $port], ['127.0.0.256', $port], ['127.0.0.1.1', $port], ['localhost', $port]);
    for my $place (@places) {
        my $cv = client(timeout => 2)->connect("ws://127.0.0.1:$port/", @$place);
        ok !$cv->ready, "@$place: nothing is decided in connect";
        is error_of($cv), 'unable to connect', 'and then there is no connection';
    }
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
