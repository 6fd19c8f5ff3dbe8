# Tests what AnyEvent::WebSocket::Server answers: the response object that the callback gets, and whatever it returns instead.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;

needs_server();
my @transports = transports();

# Returns the attempt, its peer, and what the peer gets when the callback has returned.
sub answered {
    my ($handshake, @edits) = @_;
    my ($attempt, $peer) = establishing(handshake => $handshake);
    $peer->write(request(@edits));
    is $attempt->error, '', 'there is a connection';
    settle();
    return ($attempt, $peer, $peer->bytes);
}

# Returns the default response with those lines at its end.
sub response_with {
    my (@lines) = @_;
    return $RESPONSE =~ s/\r\n\z/join '', map { "$_\r\n" } @lines, ''/er;
}

subtest 'the response object' => sub {
    my $response;
    answered(sub { $response = $_[1] }, [line => 'GET /path?query HTTP/1.1'], [add => 'Origin: https://o.example'],
        [add => 'Sec-WebSocket-Protocol: a']);
    is ref $response, 'Protocol::WebSocket::Response', 'its class';
    my %is = (version => 'draft-ietf-hybi-17', host => 'example.com', secure => 1, resource_name => '/path?query',
        origin => 'https://o.example', key => $KEY, subprotocol => undef, status => 101);
    is $response->$_, $is{$_}, $_ for sort keys %is;
    is_deeply $response->cookies, [], 'no cookies';
    is $response->to_string, $RESPONSE, 'to_string';
};

for my $transport (@transports) {
    subtest "$transport: the response" => sub {
        my ($attempt, $peer) = establishing(TRANSPORT => $transport);
        $peer->write(request());
        $attempt->wait;
        settle();
        is response_of($peer), $RESPONSE, 'is the same to the byte';
        is $peer->bytes, '', 'and nothing follows';
    };
}

subtest 'what the client offers' => sub {
    my ($attempt, $peer, $bytes) = answered(sub { $_[1] }, [add => 'Sec-WebSocket-Protocol: a, b'],
        [add => 'Sec-WebSocket-Extensions: permessage-deflate']);
    is $bytes, $RESPONSE, 'is not answered by itself';
};

subtest 'subprotocol' => sub {
    my ($attempt, $peer, $bytes) = answered(sub { $_[1]->subprotocol('b'); $_[1] }, [add => 'Sec-WebSocket-Protocol: a, b']);
    is $bytes, response_with('Sec-WebSocket-Protocol: b'), 'goes into the response';
    is $attempt->connection->subprotocol, undef, 'not into the connection';
    (undef, undef, $bytes) = answered(sub { $_[1]->subprotocol('not offered'); $_[1] });
    is $bytes, response_with('Sec-WebSocket-Protocol: not offered'), 'also if the client did not offer it';
};

subtest 'cookies' => sub {
    my (undef, undef, $bytes) = answered(sub {
        my ($request, $response) = @_;
        $response->cookie(name => 'a', value => 'b');
        $response->cookie(name => 'c', value => 'd e', path => '/', max_age => 5, secure => 1, discard => 1);
        return $response;
    });
    is $bytes, response_with('Set-Cookie: a=b; Version=1,c="d e"; Discard; Max-Age=5; Path=/; Secure; Version=1'),
        'are joined by a comma';
};

subtest 'another accept key' => sub {
    my $key = 'x3JJHMbDL1EzLkh9GBhXDw==';
    my (undef, undef, $bytes) = answered(sub { $_[1] }, [set => "Sec-WebSocket-Key: $key"]);
    like $bytes, qr{\r\nSec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n}, 'is answered with its own';
};

my %string = (
    'a refusal' => "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n",
    'no HTTP at all' => "This must be rejected\r\n\r\n",
    'an empty string' => '',
    'zero' => 0,
    'bytes over 127' => "\xe4\0\xff",
    'a long one' => 'x' x 300_000,
);
for my $name (sort keys %string) {
    for my $transport (@transports) {
        subtest "$transport: a string: $name" => sub {
            my ($attempt, $peer) = establishing(TRANSPORT => $transport, handshake => sub { ($string{$name}, 'other') });
            $peer->write(request());
            my ($connection, $other) = $attempt->results;
            isa_ok $connection, 'AnyEvent::WebSocket::Connection';
            is $other, 'other', 'the other results';
            $connection->send('a frame');
            $peer->wait_bytes(2 + length($string{$name}) + 7);
            ok $peer->bytes eq $string{$name} . text('a frame'), 'it is written as it is, before the first frame';
        };
    }
}

{
    package Overloaded;
    use overload '""' => sub { ${ $_[0] } }, fallback => 1;
    sub to_string { 'not this' }
}

subtest 'an object that is a string' => sub {
    my (undef, undef, $bytes) = answered(sub { bless \(my $text = "HTTP/1.1 200 OK\r\n\r\n"), 'Overloaded' });
    is $bytes, "HTTP/1.1 200 OK\r\n\r\n", 'is written as that string';
};

subtest 'any reference' => sub {
    my $array = [];
    my (undef, undef, $bytes) = answered(sub { $array });
    is $bytes, "$array", 'is written as perl shows it';
};

subtest 'another response than the one it was given' => sub {
    my (undef, undef, $bytes) = answered(sub {
        my %fields = (version => 'draft-ietf-hybi-17', key => $KEY, subprotocol => 'x', host => 'h');
        return Protocol::WebSocket::Response->new(%fields);
    });
    is $bytes, response_with('Sec-WebSocket-Protocol: x'), 'is used';
};

subtest 'a string made of the response' => sub {
    my (undef, undef, $bytes) = answered(sub { $_[1]->to_string =~ s/\r\n\z/X-A: b\r\n\r\n/r });
    is $bytes, response_with('X-A: b'), 'has more headers';
};

subtest 'a method of the class that a program replaces' => sub {
    no warnings qw(redefine once);
    require Protocol::WebSocket::Response;
    my $to_string = Protocol::WebSocket::Response->can('to_string');
    local *Protocol::WebSocket::Response::to_string = sub { $to_string->(@_) =~ s/\r\n\z/X-A: b\r\n\r\n/r };
    my (undef, undef, $bytes) = answered(sub { $_[1] });
    is $bytes, response_with('X-A: b'), 'counts';
};

for my $when ('before', 'in') {
    subtest "push_write of AnyEvent::Handle replaced $when the callback" => sub {
        my $original = AnyEvent::Handle->can('push_write');
        my $pushed = '';
        no warnings 'redefine';
        my $replace = sub { *AnyEvent::Handle::push_write = sub { $pushed .= $_[1]; goto &$original } };
        local *AnyEvent::Handle::push_write = $original;
        $replace->() if $when eq 'before';
        my (undef, undef, $bytes) = answered(sub { $replace->() if $when eq 'in'; $_[1] });
        is $bytes, $RESPONSE, 'the response';
        is $pushed, $RESPONSE, 'is seen there';
    };
}

subtest 'new of AnyEvent::Handle replaced by one that reads' => sub {
    my $original = AnyEvent::Handle->can('new');
    no warnings 'redefine';
    local *AnyEvent::Handle::new = sub {
        my $handle = $original->(@_);
        $handle->on_read(sub { });
        return $handle;
    };
    my (undef, undef, $bytes) = answered(sub { $_[1] });
    is $bytes, $RESPONSE, 'the server reads all the same';
};

subtest 'an old version' => sub {
    my ($attempt, $peer) = establishing(handshake => sub { $_[1]->version('no such version'); $_[1] });
    $peer->write(request());
    like $attempt->error, qr/\AVersion no such version is not supported at /, 'what to_string dies with fails the handshake';
    intact_ok($attempt, $peer);
};

differs 'a subclass of the response' => 'writes its address' => sub {
    @Response::ISA = 'Protocol::WebSocket::Response';
    my (undef, undef, $bytes) = answered(sub { bless $_[1], 'Response' });
    is $bytes, $RESPONSE, 'is written with its to_string';
    no warnings 'once';
    *Response::to_string = sub { 'its own' };
    (undef, undef, $bytes) = answered(sub { bless $_[1], 'Response' });
    is $bytes, 'its own', 'also with one of its own';
};

differs 'CR and LF in the subprotocol' => 'writes them, and so more headers' => sub {
    my (undef, undef, $bytes) = answered(sub { $_[1]->subprotocol("a\r\nX-A: b\n\r"); $_[1] });
    is $bytes, response_with('Sec-WebSocket-Protocol: aX-A: b'), 'are deleted';
};

differs 'CR and LF in cookies' => 'writes them, and so more headers' => sub {
    my (undef, undef, $bytes) = answered(sub { $_[1]->cookie(name => "a\r\nb", value => "c\r\nX-A:d"); $_[1] });
    unlike $bytes, qr/^X-A:/m, 'make no header';
    is scalar(() = $bytes =~ /\n/g), 6, 'nor a line';
    like $bytes, qr/^Set-Cookie: ab="?cX-A:d"?; Version=1\r$/m, 'they are deleted';
};

done_testing;
