# Tests that the handshake callback gets the Protocol::WebSocket::Request of the client's request.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;

needs_server();
require Protocol::WebSocket::Handshake::Server;

# Returns what the callback gets for this request, which it is given in pieces of this size.
sub request_of {
    my ($bytes, $size) = @_;
    my @got;
    my ($attempt, $peer) = establishing(handshake => sub { @got = @_; $_[1] });
    for my $piece (defined $size ? unpack "(a$size)*", $bytes : $bytes) {
        $peer->write($piece);
        $attempt->wait_read if defined $size;
    }
    is $attempt->error, '', 'it is accepted';
    return @got;
}

my @METHODS = qw(resource_name fields host origin subprotocol cookies key version upgrade connection secure to_string);
my @KEYS = qw(resource_name fields host origin subprotocol cookies version secure);

my %request = (
    plain => request(),
    everything => request(
        [line => 'GET /a%20b/../c?d=e&f=%41 HTTP/1.1'], [set => 'Host: h.example:8080'], [add => 'Origin: http://o.example'],
        [add => 'Sec-WebSocket-Protocol: one, two'], [add => 'Cookie: a=b; c="d e"; $Path=/'], [add => 'X-A: b:c: d'],
        [add => 'Sec-WebSocket-Extensions: permessage-deflate'], [add => 'User-Agent: test'],
    ),
    'odd case' => request([line => 'GET /X HTTP/1.1'], [replace => 'Host', 'hOST:h'],
        [replace => 'Upgrade', 'UPGRADE: WebSocket'], [replace => 'Connection', 'connection: keep-alive ,  UpGrade'],
        [add => 'x-FOO:bar']),
    'an https Origin' => request([add => 'Origin: https://o.example']),
    'no path' => request([line => 'GET ?q HTTP/1.1']),
    'two of a field' => request([add => 'X-A: 1'], [add => 'x-a: 2']),
    'an empty field' => request([add => 'X-Empty:'], [add => 'Cookie:']),
    'bytes over 127' => request([line => "GET /\xe4\xff HTTP/1.1"], [add => "X-A: \xe4\xff"]),
    'cookies in two lines' => request([add => 'Cookie: a=b'], [add => 'Cookie: c=d']),
    'Sec-WebSocket-Origin' => request([add => 'Sec-WebSocket-Origin: http://s.example'], [add => 'Origin: http://o.example']),
);

for my $name (sort keys %request) {
    subtest "as Protocol::WebSocket has it: $name" => sub {
        my $expected = Protocol::WebSocket::Handshake::Server->new;
        ok $expected->parse(my $copy = $request{$name}), 'Protocol::WebSocket can read it';
        for my $size (undef, 1) {
            my ($request) = request_of($request{$name}, $size);
            is ref $request, 'Protocol::WebSocket::Request', 'the class';
            for my $method (@METHODS) { is_deeply [$request->$method], [$expected->req->$method], $method }
            for my $key (@KEYS) { is_deeply $request->{$key}, $expected->req->{$key}, "{$key}" }
        }
    };
}

subtest 'what it says' => sub {
    my ($request) = request_of($request{everything});
    my %is = (
        resource_name => '/a%20b/../c?d=e&f=%41', host => 'h.example:8080', origin => 'http://o.example',
        subprotocol => 'one, two', key => $KEY, version => 'draft-ietf-hybi-17', upgrade => 'websocket',
        connection => 'Upgrade', secure => undef,
    );
    is $request->$_, $is{$_}, $_ for sort keys %is;
    is ref $request->cookies, 'Protocol::WebSocket::Cookie', 'cookies';
    is_deeply $request->cookies->pairs, [['a', 'b'], ['c', 'd e'], ['$Path', '/']], 'their pairs';
    is $request->field('X-a'), 'b:c: d', 'field, in any case';
    is $request->field('nonsense'), undef, 'a field that is not there';
    is_deeply [sort keys %{ $request->fields }], [qw(connection cookie host origin sec-websocket-extensions sec-websocket-key
        sec-websocket-protocol sec-websocket-version upgrade user-agent x-a)], 'the names of the fields are in lower case';
};

subtest 'what a plain request lacks' => sub {
    my ($request) = request_of(request());
    is $request->$_, undef, $_ for qw(origin subprotocol secure);
    is_deeply $request->cookies, [], 'cookies';
};

subtest 'the last line of a field wins' => sub {
    my ($request) = request_of(request([add => 'X-A: 1'], [add => 'X-A: 2'], [add => 'Origin: a'], [add => 'Origin: b'],
        [add => 'Host: other.example']));
    is $request->field('x-a'), 2, 'an unknown one';
    is $request->origin, 'b', 'Origin';
    is $request->host, 'other.example', 'Host';
};

subtest 'secure' => sub {
    for my $field ('X-Forwarded-Proto: https', 'X-Forwarded-Proto: http', 'x-forwarded-proto: nonsense', 'Origin: https://o') {
        my ($request, $response) = request_of(request([add => $field]));
        ok $request->secure, "after $field";
        ok $response->secure, 'also in the response';
    }
    my ($request) = request_of(request([add => 'Origin: HTTPS://o']));
    ok !$request->secure, 'but not with an Origin in upper case';
};

subtest 'to_string' => sub {
    my @more = ('Origin: http://o', 'Sec-WebSocket-Protocol: a, b', 'X-A: b');
    my ($request) = request_of(request(map { [add => $_] } @more));
    is $request->to_string, join('', map { "$_\r\n" } 'GET /chat HTTP/1.1', 'Upgrade: WebSocket', 'Connection: Upgrade',
        'Host: example.com', 'Origin: http://o', 'Sec-WebSocket-Protocol: a, b', "Sec-WebSocket-Key: $KEY",
        'Sec-WebSocket-Version: 13', ''), 'is what Protocol::WebSocket would have sent';
};

subtest 'it is the program\'s' => sub {
    my ($first) = request_of(request([line => 'GET /first HTTP/1.1'], [add => 'X-A: 1']));
    my ($second) = request_of(request([line => 'GET /second HTTP/1.1']));
    is_deeply [$first->resource_name, $first->field('X-A'), $second->resource_name, $second->field('X-A')],
        ['/first', 1, '/second', undef], 'also later, beside another';
    $first->field('X-B' => 2);
    is $first->field('x-b'), 2, 'fields can be set';
};

differs 'lines of a list' => 'has the last alone' => sub {
    for my $name ('Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions') {
        my ($request) = request_of(request([add => "$name: a"], [add => 'X-A: b'], [add => "$name: b, c"]));
        is $request->field($name), 'a, b, c', "$name: joined";
    }
    my ($request) = request_of(request([add => 'Sec-WebSocket-Protocol: a'], [add => 'Sec-WebSocket-Protocol: b']));
    is $request->subprotocol, 'a, b', 'also in subprotocol';
};

differs 'lines of Upgrade and Connection' => 'looks at the last alone' => sub {
    my ($request) = request_of(request([add => 'Upgrade: h2c'], [add => 'Connection: keep-alive']));
    is $request->upgrade, 'h2c', 'the fields have the last';
    is $request->connection, 'keep-alive', 'of both';
};

done_testing;
