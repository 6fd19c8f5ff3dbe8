# Tests examples/http-and-websocket.pl.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use ExampleProgram;
use ExampleTest;
use IO::Socket::INET;

plan skip_all => 'by design: the original Server cannot refuse' if is_original();
plan skip_all => missing(modules => ['HTTP::Parser::XS']) if missing(modules => ['HTTP::Parser::XS']);

my $server = ExampleProgram->start('http-and-websocket.pl');
my ($address) = $server->wait_for(qr{^listening on http://(.*)/$}m);

# Returns the server's response to these pieces, up to the end of the connection. Each is sent when the one before has arrived.
sub response_to {
    my (@pieces) = @_;
    my $socket = IO::Socket::INET->new($address) or die "$address: $@";
    my $peer = WebSocketTest::Peer->new($socket);
    for my $piece (@pieces) { $peer->write($piece); settle() }
    return $peer->wait_eof->bytes;
}

sub get { "GET $_[0] HTTP/1.1\r\nHost: $address\r\n\r\n" }

subtest 'HTTP' => sub {
    like response_to(get('/')), qr{^HTTP/1\.1 200 OK\r\n.*new WebSocket}s, 'the page';
    like response_to(split //, get('/')), qr{^HTTP/1\.1 200 OK\r\n}, 'byte by byte';
    like response_to(get('/other')), qr{^HTTP/1\.1 404 }, 'another page is not there';
    like response_to(get('/') =~ s/GET/POST/r), qr{^HTTP/1\.1 405 }, 'no POST';
    like response_to('what?', "\r\n\r\n"), qr{^HTTP/1\.1 400 }, 'no HTTP';
    like response_to(get('/') . 'more'), qr{^HTTP/1\.1 400 }, 'nothing may follow the head';
    is response_to('GET / HTTP/1.1', ("\r\nX: " . 'x' x 9000) x 2), '', 'a head without an end is hung up on';
};

subtest 'WebSockets' => sub {
    like response_to(get('/echo')), qr{^HTTP/1\.1 4\d\d }, 'no other requests';
    my @clients = map { client_at("ws://$address/echo", max_payload_size => 0) } 1 .. 2;
    my @seen = map { recorder($_) } @clients;
    $clients[$_]->send("to $_ \x{20ac}")->send_binary("\0" x 1_000_000) for 0, 1;
    is_deeply $seen[$_]->wait_messages(2)->bodies, ["to $_ \xe2\x82\xac", "\0" x 1_000_000], 'each gets its own back' for 0, 1;
    $clients[0]->close(1000);
    $seen[0]->wait_finish;
    is $clients[0]->close_code, 1000, 'one closes';
    $clients[1]->send('still here');
    is $seen[1]->wait_messages(3)->bodies->[2], 'still here', 'the other does not';
    like response_to(get('/')), qr{^HTTP/1\.1 200 }, 'and the page is still served';
};

isnt +ExampleProgram->start('http-and-websocket.pl', '--prot', 1)->wait, 0, 'a wrong option is an error';

done_testing;
