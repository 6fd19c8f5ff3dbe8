# Tests that AnyEvent::WebSocket::Client and ::Server work on top, unchanged.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use AnyEvent::Socket ();

plan skip_all => 'AnyEvent::WebSocket::Client is not installed' unless eval { require AnyEvent::WebSocket::Client };

# Starts a server by hand: handshake with Protocol::WebSocket, then a connection on the handle, which keeps any bytes after
# it.
sub start_server {
    my (%args) = @_;
    require Protocol::WebSocket::Handshake::Server;
    my $server = { connections => [], port => undef };
    $server->{guard} = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        my $handle = AnyEvent::Handle->new(fh => $_[0], %{ $args{handle} || {} });
        my $handshake = Protocol::WebSocket::Handshake::Server->new;
        $handle->on_error(sub { $_[0]->destroy });
        $handle->on_read(sub {
            my $bytes = delete $_[0]{rbuf};
            $handshake->parse($bytes);
            $_[0]{rbuf} = $bytes;
            return unless $handshake->is_done;
            $handle->push_write($handshake->to_string . join '', @{ $args{early} || [] });
            my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, %{ $args{new} || {} });
            $connection->on(each_message => sub { $_[0]->send('echo: ' . $_[1]->body) });
            push @{ $server->{connections} }, $connection;
            poke();
        });
    }, sub { $server->{port} = $_[2]; 0 });
    return $server;
}

sub connect_to {
    my ($server, %args) = @_;
    my $scheme = delete $args{scheme} || 'ws';
    my $cv = AnyEvent::WebSocket::Client->new(%args)->connect("$scheme://127.0.0.1:$server->{port}/path");
    wait_until('the handshake', sub { $cv->cb(sub { poke() }) if !$cv->ready; $cv->ready });
    return $cv->recv;
}

subtest 'no limit for the length of a response' => sub {
    for my $limit (9**9**9, 1e30, '18446744073709551615') {
        local $Protocol::WebSocket::Message::MAX_MESSAGE_SIZE = $limit;
        isa_ok eval { connect_to(start_server()) }, 'AnyEvent::WebSocket::Connection', "with $limit, the client gets";
    }
};

subtest 'client and server' => sub {
    my $server = start_server();
    my $client = connect_to($server);
    isa_ok $client, 'AnyEvent::WebSocket::Connection';
    is $client->masked, 1, 'the client masks';
    my $seen = recorder($client);
    $client->send('hello')->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => "\0\xff"));
    is_deeply $seen->wait_messages(2)->bodies, ['echo: hello', "echo: \0\xff"], 'messages go both ways';
    my $on_server = $server->{connections}[0];
    my $server_seen = recorder($on_server);
    $client->close(4000, 'done');
    $_->wait_finish for $seen, $server_seen;
    is_deeply [$on_server->close_code, $on_server->close_reason], [4000, 'done'], 'close';
};

subtest 'the server sends at once, and shuts down at once' => sub {
    my $server = start_server(early => [map { text("early $_") } 1 .. 30]);
    my $cv = AnyEvent::WebSocket::Client->new->connect("ws://127.0.0.1:$server->{port}/");
    wait_until('the handshake', sub { $cv->cb(sub { poke() }) if !$cv->ready; $cv->ready });
    my $client = $cv->recv;
    $_->handle->push_shutdown for @{ $server->{connections} };
    my $seen = recorder($client)->wait_finish;
    is_deeply $seen->bodies, [map { "early $_" } 1 .. 30], 'nothing is lost';
};

subtest 'limits of the client' => sub {
    my $server = start_server();
    my $client = connect_to($server, max_payload_size => 10);
    is $client->max_payload_size, 10, 'reach the connection';
    my $seen = recorder($client);
    $client->send('1234');
    is_deeply $seen->wait_messages(1)->bodies, ['echo: 1234'], 'at the limit';
    $client->send('12345');
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/\APayload is too big\./, 'above it';
};

subtest 'the scope of a client connection' => sub {
    my $server = start_server();
    my $client = connect_to($server);
    my $on_server = recorder($server->{connections}[0]);
    $client->send('last words');
    undef $client;
    $on_server->wait_finish;
    is_deeply $on_server->bodies, ['last words'], 'when it goes, the server sees what was sent, and the end';
};

subtest 'wss' => sub {
    require WebSocketTest::TLS;
    my $why_not = WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    my $server = start_server(handle => { WebSocketTest::TLS::tls_options('accept') }, early => [text('early')]);
    my $client = connect_to($server, scheme => 'wss', ssl_no_verify => 1);
    my $seen = recorder($client);
    $client->send('secret');
    is_deeply $seen->wait_messages(2)->bodies, ['early', 'echo: secret'], 'messages go both ways';
};

subtest 'AnyEvent::WebSocket::Server' => sub {
    plan skip_all => 'by design: Debian has no AnyEvent::WebSocket::Server' unless eval { require AnyEvent::WebSocket::Server };
    my $websocket_server = AnyEvent::WebSocket::Server->new;
    my ($on_server, $port);
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        $websocket_server->establish($_[0])->cb(sub {
            $on_server = $_[0]->recv;
            $on_server->on(each_message => sub { $_[0]->send('server: ' . $_[1]->body) });
            poke();
        });
    }, sub { $port = $_[2]; 0 });
    my $client = connect_to({ port => $port });
    my $seen = recorder($client);
    $client->send('hello');
    is_deeply $seen->wait_messages(1)->bodies, ['server: hello'], 'works with the client';
};

done_testing;
