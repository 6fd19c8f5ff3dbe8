# Tests that the client verifies servers over wss unless told not to, and with what.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

my $why_not = WebSocketTest::TLS::unavailable();
plan skip_all => $why_not if $why_not;

# With these, AnyEvent would trust other certificates than the test wants.
delete @ENV{qw(PERL_ANYEVENT_CA_FILE PERL_ANYEVENT_CA_PATH)};

my ($certificate) = certificate_files();    # for localhost
my $not_verified = qr/\Aconnect error: .*certificate verify failed\z/;

# Connects to a TLS server. The client is the class's own, so it verifies. Returns the condvar, and the server.
sub connecting {
    my ($new, $host, @more) = @_;
    my $server = raw_server(tls => 1);
    return (AnyEvent::WebSocket::Client->new(%$new)->connect($server->uri('/', $host), @more), $server);
}

sub connection_over_tls {
    my ($cv, $server) = connecting(@_);
    my $peer = $server->next_peer;
    $peer->write(switching(next_request($peer)));
    return (connection_of($cv), $peer);
}

subtest 'a certificate that ssl_ca_file has' => sub {
    my ($connection, $peer) = connection_over_tls({ ssl_ca_file => $certificate }, 'localhost');
    isa_ok $connection, 'AnyEvent::WebSocket::Connection';
    is $connection->handle->{peername}, 'localhost', 'the handle has the peername';
    my $seen = recorder($connection);
    $peer->write(text('hello'));
    is_deeply $seen->wait_messages(1)->bodies, ['hello'], 'messages come';
    $connection->send('back');
    undef $connection;
    is_deeply [map { $_->{payload} } grep { $_->{opcode} == 1 } $peer->frames_to_eof], ['back'], 'and go';
};

subtest 'a certificate that nobody knows' => sub {
    my ($cv, $server) = connecting({}, 'localhost');
    like error_of($cv), $not_verified, 'is refused';
    ok !eval { next_request($server->next_peer); 1 }, 'before the request is sent';
};

subtest 'a certificate for another name' => sub {
    my ($cv, $server) = connecting({ ssl_ca_file => $certificate }, '127.0.0.1');
    like error_of($cv), $not_verified, 'is refused';
};

subtest 'ssl_ca_file that cannot be read' => sub {
    my ($cv, $server) = connecting({ ssl_ca_file => "$certificate.none" }, 'localhost');
    like error_of($cv), $not_verified, 'is not reported, but nothing is trusted';
};

subtest 'PERL_ANYEVENT_CA_FILE' => sub {
    local $ENV{PERL_ANYEVENT_CA_FILE} = $certificate;
    my ($connection) = connection_over_tls({}, 'localhost');
    isa_ok $connection, 'AnyEvent::WebSocket::Connection';
};

subtest 'ssl_no_verify' => sub {
    my ($first) = connection_over_tls({ ssl_no_verify => 1 });
    my ($second) = connection_over_tls({ ssl_no_verify => 1, ssl_ca_file => "$certificate.none" }, 'localhost');
    isa_ok $_, 'AnyEvent::WebSocket::Connection', 'connects' for $first, $second;
    is $_->handle->{peername}, undef, 'without a peername' for $first, $second;
    is $_->handle->{tls_ctx}, AnyEvent::Handle::TLS_CTX(), 'in the context that AnyEvent shares' for $first, $second;
};

after_044 'another host than the URI\'s' => sub {
    my $server = raw_server(tls => 1);
    my $client = AnyEvent::WebSocket::Client->new(ssl_ca_file => $certificate);
    my $cv = $client->connect('wss://localhost/', '127.0.0.1', $server->port);
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    is $request->value('Host'), 'localhost', 'the URI\'s is in Host';
    $peer->write(switching($request));
    is connection_of($cv)->handle->{peername}, 'localhost', 'and it is verified';
    $cv = $client->connect('wss://other.test/', 'localhost', $server->port);
    like error_of($cv), $not_verified, 'not the place';
};

subtest 'a server without TLS' => sub {
    my $server = raw_server();
    my $cv = client()->connect($server->uri =~ s/\Aws/wss/r);
    my $peer = $server->next_peer;
    $peer->wait_bytes(1)->write("HTTP/1.1 400 Bad Request\x0d\x0a\x0d\x0a");
    like error_of($cv), qr/\Aconnect error: error:.*:SSL routines:/, 'is an error with the text of OpenSSL';
};

subtest 'a client without TLS' => sub {
    my $server = raw_server(tls => 1);
    my $cv = client()->connect($server->uri =~ s/\Awss/ws/r);
    my $peer = $server->next_peer;
    like error_of($cv), qr/\A(?:connect|handshake) error: /, 'is an error';
};

# Returns the name that the client sends to the server.
sub server_name {
    my ($host, %new) = @_;
    my $server = raw_server();
    my $cv = AnyEvent::WebSocket::Client->new(%new)->connect("wss://$host:" . $server->port . '/');
    my $peer = $server->next_peer;
    $peer->wait_bytes(5);
    $peer->wait_bytes(5 + unpack 'x3 n', $peer->bytes);
    return server_name_in($peer->bytes);
}

subtest 'the name for the server' => sub {
    is server_name('localhost', ssl_ca_file => $certificate), 'localhost', 'is sent';
    is server_name('127.0.0.1', ssl_no_verify => 1), undef, 'but no IP address';
};

differs 'the name for the server, with ssl_no_verify' => 'sends none' => sub {
    is server_name('localhost', ssl_no_verify => 1), 'localhost', 'is sent as well';
};

subtest 'what comes with the 101' => sub {
    my ($cv, $peer) = shake_hands(
        {},
        sub {
            switching($_[0]) . join '', map { text($_) } 1 .. 20;
        },
        tls => 1);
    $peer->half_close;
    my $seen = recorder(connection_of($cv))->wait_finish;
    is_deeply $seen->bodies, [1 .. 20], 'is not lost, also if an end of file follows';
};

done_testing;
