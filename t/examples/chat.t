# Tests examples/chat/chat-server.pl without a browser; xt/examples.t has the page in one, and several servers over Redis.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use ExampleProgram;
use ExampleTest;
use IO::Socket::INET;

plan skip_all => missing(modules => ['HTTP::Parser::XS']) if missing(modules => ['HTTP::Parser::XS']);
plan skip_all => 'by design: the original has no broadcast' if is_original();

my $server = ExampleProgram->start('chat/chat-server.pl');
my ($address) = $server->wait_for(qr{^listening on http://(.*)/$}m);

# Returns the server's answer, up to its end.
sub answer_to {
    my (@bytes) = @_;
    my $socket = IO::Socket::INET->new($address) or die "$address: $@";
    return WebSocketTest::Peer->new($socket)->write(@bytes)->wait_eof->bytes;
}

sub response_to { answer_to(map {"$_\r\n"} @_, '') }

sub person { client_at("ws://$address/messages") }

# Returns the next message of each as [name, text].
sub heard_by {
    my (@seen) = @_;
    return [map { my $said = ($_->wait_messages(1)->messages)[0]->decoded_json; [@$said{qw(name text)}] } @seen];
}

subtest 'the page' => sub {
    like response_to('GET / HTTP/1.1', "Host: $address"), qr{^HTTP/1\.1 200 .*text/html.*<title>Chat</title>}s, 'is served';
    like response_to('GET /chat.js HTTP/1.1'), qr{^HTTP/1\.1 200 .*text/javascript.*new WebSocket}s, 'with its script';
    like response_to('GET / HTTP/1.1'), qr{\r\nContent-Security-Policy: .*script-src 'self'}, 'which is all that may run';
    like response_to('GET /chat-server.pl HTTP/1.1'), qr{^HTTP/1\.1 404 }, 'nothing else is';
    like response_to('GET /../chat/index.html HTTP/1.1'), qr{^HTTP/1\.1 404 }, 'in whatever way';
    like response_to('POST / HTTP/1.1'), qr{^HTTP/1\.1 405 }, 'and only by GET';
    like response_to('what?'), qr{^HTTP/1\.1 400 }, 'what is no HTTP is refused';
    is answer_to("GET / HTTP/1.1\r\nX: ", 'x' x 20_000), '', 'and what does not end is hung up on';
};

subtest 'a WebSocket from another page' => sub {
    my @upgrade = ('GET /messages HTTP/1.1', "Host: $address", 'Upgrade: websocket', 'Connection: Upgrade',
        'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==');
    like response_to(@upgrade, 'Origin: http://elsewhere.example'), qr{^HTTP/1\.1 403 }, 'is refused';
    like response_to(@upgrade), qr{^HTTP/1\.1 403 }, 'also one that does not say from which';
    splice @upgrade, 4, 1, 'Sec-WebSocket-Version: 8';
    like response_to(@upgrade, "Origin: http://$address"), qr{^HTTP/1\.1 4}, 'and one of an old draft';
};

subtest 'a message' => sub {
    my @people = map { person() } 1 .. 3;
    my @seen = map { recorder($_) } @people;
    $people[0]->send_json({ name => "Zo\x{eb}", text => "<b>\x{1f600}</b>", admin => 1 });
    is_deeply heard_by(@seen), [(["Zo\x{eb}", "<b>\x{1f600}</b>"]) x 3], 'goes to all, its sender too, as it was';
    is_deeply [sort keys %{ ($seen[1]->messages)[0]->decoded_json }], ['name', 'text'], 'without what is not ours';
};

subtest 'what is no message' => sub {
    my $other = person();
    my $seen = recorder($other);
    my %bad = (
        'no JSON'           => 'hello',
        'no object'         => '["name","text"]',
        'no text'           => '{"name":"x"}',
        'an empty name'     => '{"name":"","text":"x"}',
        'a name of objects' => '{"name":{"a":1},"text":"x"}',
        'a name too long'   => '{"name":"' . 'x' x 41 . '","text":"x"}',
        'a text too long'   => '{"name":"x","text":"' . 'x' x 2001 . '"}',
    );
    for my $what (sort keys %bad) {
        my $person = person();
        $person->send($bad{$what});
        recorder($person)->wait_finish;
        is $person->close_code, 1008, "$what: the connection is closed";
    }
    my $person = person();
    $person->send('x' x 20_000);
    recorder($person)->wait_finish;
    is $person->close_code, 1009, 'far too long: the same';
    $other->send_json({ name => 'x' x 40, text => "\x{1f600}" x 2000 });
    is_deeply heard_by($seen), [['x' x 40, "\x{1f600}" x 2000]], 'at the limits: others get it, and nothing before it';
};

subtest 'SIGTERM' => sub {
    my @people = map { person() } 1 .. 2;
    my @seen = map { recorder($_) } @people;
    $server->signal('TERM');
    $_->wait_finish for @seen;
    is_deeply [map { $_->close_code } @people], [1001, 1001], 'closes all connections in order';
    is $server->wait, 0, 'then the server ends, with status 0';
};

subtest '--redis' => sub {
    my $why_not = missing(modules => ['AnyEvent::Redis']);
    plan skip_all => $why_not if $why_not;
    my $wrong = ExampleProgram->start('chat/chat-server.pl', '--redis', 'localhost');
    $wrong->wait_for(qr/^usage: /m);
    isnt $wrong->wait, 0, 'with what is no URL: the usage';
};

done_testing;
