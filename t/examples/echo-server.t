# Tests examples/echo-server.pl.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use AnyEvent::WebSocket::Message;
use ExampleProgram;
use ExampleTest;
use IO::Socket::INET;

plan skip_all => missing() if missing();

sub start { ExampleProgram->start('echo-server.pl', @_) }

sub port_of { ($_[0]->wait_for(qr/^listening on 127\.0\.0\.1:(\d+) with \S/m))[0] }

sub client_of { client_at("ws://127.0.0.1:$_[0]/") }

subtest 'without a port it takes a free one' => sub {
    my $server = start();
    my $client = client_of(port_of($server));
    my $seen = recorder($client);
    my $binary = AnyEvent::WebSocket::Message->new(opcode => 2, body => "\0\xff");
    $client->send($_) for "gr\x{fc}\x{df}\x{2026}", $binary, '';
    my @echoes = $seen->wait_messages(3)->messages;
    is_deeply [map { $_->opcode } @echoes], [1, 2, 1], 'text and binary stay what they are';
    is_deeply [map { $_->is_text ? $_->decoded_body : $_->body } @echoes], ["gr\x{fc}\x{df}\x{2026}", "\0\xff", ''],
        'and come back whole, the empty one too';
    my $again = client_of(port_of($server));
    $client->close(1000);
    $seen->wait_finish;
    my $still = recorder($again);
    $again->send('two');
    is_deeply $still->wait_messages(1)->bodies, ['two'], 'one that closes leaves the other be';
};

subtest '--port' => sub {
    my @servers = start('--port', 0);
    my $port = port_of($servers[0]);
    $servers[0]->stop;
    push @servers, start('--port', $port);
    is port_of($servers[1]), $port, 'takes the port that it is told';
    my $third = start('--port', $port);
    isnt $third->wait, 0, 'one that is taken is an error';
};

subtest '--ping-interval' => sub {
    plan skip_all => 'by design: the original has no pings' if is_original();
    my $server = start('--ping-interval', 0.1);
    my $client = client_of(port_of($server));
    next_event('a ping', sub { $client->on(ping => $_[0]) });
    pass 'the client is pinged';
};

subtest 'no WebSocket handshake' => sub {
    my $server = start();
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => port_of($server)) or die $@;
    print {$socket} "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    my $peer = WebSocketTest::Peer->new($socket)->wait_eof;
    is $peer->bytes, '', 'is hung up on';
};

subtest 'a wrong option' => sub {
    my $server = start('--prot', 1);
    $server->wait_for(qr/^usage: /m);
    isnt $server->wait, 0, 'prints the usage, and fails';
};

done_testing;
