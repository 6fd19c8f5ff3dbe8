# Tests that AnyEvent::WebSocket::Server, a server by hand, and the client negotiate permessage-deflate in the handshake.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

use AnyEvent::Socket ();

plan skip_all => 'by design: the original has no compression' if is_original();
plan skip_all => 'AnyEvent::WebSocket::Client is not installed' unless eval { require AnyEvent::WebSocket::Client };
plan skip_all => 'AnyEvent::WebSocket::Client is too old' unless AnyEvent::WebSocket::Client->can('_make_tcp_connection');
require AnyEvent::WebSocket::Deflate::Client;
require Protocol::WebSocket::Handshake::Server;
require WebSocketTest::Deflate;
WebSocketTest::Deflate->import;

sub with_header {
    my ($response, $value) = @_;
    my $text = $response->to_string;
    $text =~ s/\x0d\x0a\z/Sec-WebSocket-Extensions: $value\x0d\x0a\x0d\x0a/ if defined $value;
    return $text;
}

# Starts a server by hand. `answer` takes the header of the request, and returns that of the response and perhaps the
# parameters. `early` is sent together with the response.
sub start_server {
    my (%args) = @_;
    my $server = { connections => [], requests => [] };
    $server->{guard} = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        my $handle = AnyEvent::Handle->new(fh => $_[0], %{ $args{handle} || {} });
        my $handshake = Protocol::WebSocket::Handshake::Server->new;
        $handle->on_error(sub { $_[0]->destroy });
        $handle->on_read(sub {
            $handshake->parse(my $bytes = delete $_[0]{rbuf});
            return unless $handshake->is_done;
            my $fields = $handshake->req->fields;
            push @{ $server->{requests} }, $fields;
            my ($value, $parameters) = $args{answer}->($fields->{'sec-websocket-extensions'});
            $handle->push_write(with_header($handshake->res, $value) . ($args{early} || ''));
            my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, deflate => $parameters);
            $connection->on(each_message => sub { $_[0]->send($_[1]) });
            push @{ $server->{connections} }, $connection;
            poke();
        });
    }, sub { $server->{port} = $_[2]; 0 });
    return $server;
}

sub connecting {
    my ($server, %args) = @_;
    my $scheme = delete $args{scheme} || 'ws';
    my $cv = AnyEvent::WebSocket::Deflate::Client->new(%args)->connect("$scheme://127.0.0.1:$server->{port}/path");
    next_event('the handshake', sub { my $done = shift; $cv->cb(sub { $done->() }) });
    return $cv;
}

sub connect_to { connecting(@_)->recv }

my $accepts = sub { AnyEvent::WebSocket::Deflate::accept(@_) };

sub echoes_ok {
    my ($connection, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $seen = recorder($connection);
    $connection->send(json(1000, $_)) for 1 .. 5;
    is_deeply $seen->wait_messages(5)->bodies, [map { json(1000, $_) } 1 .. 5], $name || 'messages go both ways';
}

subtest 'the client and a server by hand' => sub {
    my $server = start_server(answer => $accepts);
    my $client = connect_to($server, deflate => { server_max_window_bits => 10 }, http_headers => { 'X-Other' => 'kept' });
    isa_ok $client, 'AnyEvent::WebSocket::Connection';
    echoes_ok($client);
    is $client->deflate->{peer_window_bits}, 10, 'as the client wanted it';
    is $server->{connections}[0]->deflate->{window_bits}, 10, 'on both ends';
    is $server->{requests}[0]{'x-other'}, 'kept', 'other headers are sent, too';
};

subtest 'compressed messages that come together with the handshake' => sub {
    my $sender = sender(12);
    my $early = join '', map { compressed($sender->("early $_ " x 20)) } 1 .. 3;
    my $client = connect_to(start_server(answer => $accepts, early => $early));
    is_deeply recorder($client)->wait_messages(3)->bodies, [map { "early $_ " x 20 } 1 .. 3];
};

subtest 'clients at the same time' => sub {
    my %server = (compresses => start_server(answer => $accepts), declines => start_server(answer => sub { }));
    my $client = AnyEvent::WebSocket::Deflate::Client->new;
    my %cv = map { $_ => $client->connect("ws://127.0.0.1:$server{$_}{port}/") } keys %server;
    wait_until('both', sub { $_->cb(sub { poke() }) for grep { !$_->ready } values %cv; !grep { !$_->ready } values %cv });
    my %connection = map { $_ => $cv{$_}->recv } keys %cv;
    ok $connection{compresses}->deflate, 'one that compresses';
    ok !$connection{declines}->deflate, 'one that does not';
    echoes_ok($connection{$_}, $_) for sort keys %connection;
};

subtest 'answers that were not offered' => sub {
    for my $answer ('permessage-deflate; unknown', 'permessage-deflate; client_max_window_bits=16') {
        my $cv = connecting(start_server(answer => sub { $answer }));
        my $text = eval { $cv->recv; 1 } ? 'it lived' : $@;
        like $text, qr/no answer to what was offered: \Q$answer\E at \S+ line \d+\.?$/, $answer;
    }
    my $other = connecting(start_server(answer => sub { 'x-other' }));
    like eval { $other->recv; 1 } ? 'it lived' : $@, qr/\Ahandshake error: Not a valid response at /, 'another extension';
    my $cv = connecting(start_server(answer => sub { 'permessage-deflate' }), deflate => { server_no_context_takeover => 1 });
    ok !eval { $cv->recv; 1 }, 'less than was asked for';
};

subtest 'no server, or none of WebSockets' => sub {
    my ($closed) = tcp_pair();
    my $silent = { port => (Socket::unpack_sockaddr_in(getsockname $closed))[0] };
    my $cv = connecting($silent, timeout => 1);
    like eval { $cv->recv; 'it lived' } || $@, qr/\Aunable to connect at \S+ line \d+\.?$/, 'the error of the parent class';
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub { syswrite $_[0], "HTTP/1.1 404 Not Found\x0d\x0a\x0d\x0a" },
        sub { $silent = { port => $_[2] }; 0 });
    $cv = connecting($silent);
    like eval { $cv->recv; 'it lived' } || $@, qr/\Ahandshake error: /, 'also of the handshake';
};

subtest 'wss' => sub {
    require WebSocketTest::TLS;
    my $why_not = WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    my $server = start_server(answer => $accepts, handle => { WebSocketTest::TLS::tls_options('accept') });
    my $client = connect_to($server, scheme => 'wss', ssl_no_verify => 1);
    ok $client->deflate, 'is agreed';
    echoes_ok($client);
};

subtest 'options of the client' => sub {
    my $level = qr/\Adeflate: level must be /;
    croaks_here('deflate => { level => 0 }', sub { AnyEvent::WebSocket::Deflate::Client->new(deflate => { level => 0 }) }, $level);
};

# This uses the server as its documentation and ours describe.
subtest 'AnyEvent::WebSocket::Server' => sub {
    plan skip_all => 'by design: Debian has no AnyEvent::WebSocket::Server' unless eval { require AnyEvent::WebSocket::Server };
    my $websocket_server = AnyEvent::WebSocket::Server->new(handshake => sub {
        my ($request, $response) = @_;
        my ($header, $parameters) = AnyEvent::WebSocket::Deflate::accept($request->fields->{'sec-websocket-extensions'});
        return $response unless $parameters;
        return (with_header($response, $header), $parameters);
    });
    my ($on_server, $port);
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        $websocket_server->establish($_[0])->cb(sub {
            ($on_server, my $parameters) = $_[0]->recv;
            $on_server->enable_deflate($parameters) if $parameters;
            $on_server->on(each_message => sub { $_[0]->send($_[1]) });
            poke();
        });
    }, sub { $port = $_[2]; 0 });
    my $client = connect_to({ port => $port });
    echoes_ok($client);
    ok $on_server->deflate, 'with compression';
    my $cv = AnyEvent::WebSocket::Client->new->connect("ws://127.0.0.1:$port/");
    next_event('the handshake', sub { my $done = shift; $cv->cb(sub { $done->() }) });
    echoes_ok($cv->recv, 'a client that does not offer it');
    ok !$on_server->deflate, 'gets none';
};

subtest 'the original' => sub {
    my $server = start_server(answer => $accepts);
    my ($printed, $status) = run_perl_against($server);
    plan skip_all => 'the original is not installed' if $status;
    is $printed, 'pp back', 'is a client without compression';
    is $server->{requests}[0]{'sec-websocket-extensions'}, undef, 'which offers none';
};

subtest 'AnyEvent::WebSocket::Server with options, and a client that offers nothing' => sub {
    plan skip_all => 'by design: Debian has no AnyEvent::WebSocket::Server' unless eval { require AnyEvent::WebSocket::Server };
    for my $options (1, {}, { threshold => 0 }, { threshold => 0, level => 1 }) {
        my ($near, $far) = socket_pair();
        my $opening = AnyEvent::WebSocket::Server->new(deflate => $options)->establish($near);
        syswrite $far, join "\x0d\x0a", 'GET / HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade',
            'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', '';
        next_event('the handshake', sub { my $done = shift; $opening->cb(sub { $done->() }) });
        my $connection = eval { $opening->recv } or diag $@;
        ok $connection && !$connection->deflate, 'agree on no compression';
    }
};

# Runs the original as a client in another process, while this one serves.
sub run_perl_against {
    my ($server) = @_;
    pipe my $read, my $write or die "pipe: $!";
    my $pid = fork_child(sub {
        close $read;
        open STDOUT, '>&', $write;
        local $ENV{ANYEVENT_WEBSOCKET_PP} = 1;
        exec $^X, (map { "-I$_" } @INC), '-e', <<'PROGRAM', $server->{port};
            use AnyEvent::WebSocket::Deflate::Client;
            my $connection = AnyEvent::WebSocket::Deflate::Client->new->connect("ws://127.0.0.1:$ARGV[0]/")->recv;
            my $done = AE::cv;
            $connection->on(each_message => sub { $done->send($_[1]->body) });
            $connection->send('back');
            print AnyEvent::WebSocket::Connection->backend, ' ', $done->recv;
PROGRAM
    });
    close $write;
    my $status = reap($pid);
    local $/;
    return (scalar(<$read>), $status);
}

done_testing;
