# Tests that the client's request is on the wire to the letter: its lines, their order and what is in them.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use MIME::Base64 qw(decode_base64);
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

my $CRLF = "\x0d\x0a";

# Returns the request that the client sends for this URI, wherever it points. 0.44 connects to the URI's own place.
sub request_to {
    my ($uri, %new) = @_;
    my $server = raw_server();
    my $cv = client(%new)->connect($uri, '127.0.0.1', $server->port);
    return next_request($server->next_peer);
}

sub request_with {
    my (%new) = @_;
    my (undef, undef, $request) = shake_hands(\%new);
    return $request;
}

sub request_for_path {
    my ($path) = @_;
    my (undef, undef, $request) = shake_hands({}, undef, path => $path);
    return $request;
}

sub lines_without_key { [map { s/\A(Sec-WebSocket-Key: ).+/$1/r } @{ $_[0]->lines }] }

subtest 'the whole request' => sub {
    my $server = raw_server();
    my $cv = client(subprotocol => [qw(chat superchat)], http_headers => ['X-One' => 1, 'x-two' => 'b c'])
        ->connect($server->uri('/path/to?query=1&more'));
    my $request = next_request($server->next_peer);
    my $port = $server->port;
    is $request->first, 'GET /path/to?query=1&more HTTP/1.1', 'the request line';
    is_deeply lines_without_key($request), [
        'Upgrade: WebSocket', 'Connection: Upgrade', "Host: 127.0.0.1:$port", "Origin: http://127.0.0.1:$port",
        'Sec-WebSocket-Protocol: chat,superchat', 'Sec-WebSocket-Key: ', 'Sec-WebSocket-Version: 13', 'X-One: 1', 'x-two: b c',
        ],
        'the lines';
    is $request->text, join($CRLF, $request->first, @{ $request->lines }, '', ''), 'CRLF ends each, and nothing else is there';
};

subtest 'without options' => sub {
    my ($cv, $peer, $request) = shake_hands();
    my $host = $request->value('Host');
    is $request->first, 'GET / HTTP/1.1', 'the request line';
    is_deeply lines_without_key($request), [
        'Upgrade: WebSocket', 'Connection: Upgrade', "Host: $host", "Origin: http://$host",
        'Sec-WebSocket-Key: ', 'Sec-WebSocket-Version: 13'
        ],
        'the lines';
    settle();
    is $peer->bytes, '', 'nothing follows before the answer';
};

subtest 'the key' => sub {
    my @keys = map { request_with()->key } 1 .. 2;
    is length decode_base64($_), 16, '16 bytes' for @keys;
    like $_, qr{\A[A-Za-z0-9+/]{22}==\z}, 'in base64' for @keys;
    isnt $keys[0], $keys[1], 'another each time';
};

differs 'the key is random' => 'takes it from rand' => sub {
    my @keys = map { srand 42; request_with()->key } 1 .. 2;
    isnt $keys[0], $keys[1], 'whatever the seed of rand';
};

subtest 'paths and queries' => sub {
    for my $case (
        ['', '/'], ['/', '/'], ['/?', '/?'], ['/?q', '/?q'], ['/a/b?c=d/e', '/a/b?c=d/e'], ['/a b', '/a%20b'],
        ['/a%20b', '/a%20b'],
        ['/gr%FCn', '/gr%FCn'], ["/\x{20ac}", '/%E2%82%AC'], ['//x', '//x'], ['/a?b?c', '/a?b?c'],
        )
    {
        my ($path, $target) = @$case;
        is request_for_path($path)->first, "GET $target HTTP/1.1", "of ...$target";
    }
};

differs 'a query without a path' => 'loses it' => sub {
    is request_for_path('?x=1')->first, 'GET /?x=1 HTTP/1.1', 'belongs to /';
    is request_for_path('?x=/1')->first, 'GET /?x=/1 HTTP/1.1', 'also if it has a slash';
};

differs 'a fragment' => 'sends it' => sub {
    is request_for_path('/a?b#c')->first, 'GET /a?b HTTP/1.1', 'is not sent';
    is request_for_path('#c')->first, 'GET / HTTP/1.1', 'also without a path';
};

after_044 'Host and Origin' => sub {
    for my $case (
        ['ws://example.test/', 'http', 'example.test'], ['ws://example.test:80/', 'http', 'example.test'],
        ['ws://example.test:443/', 'http', 'example.test:443'], ['ws://example.test:8080/', 'http', 'example.test:8080'],
        ['ws://ExAmple.TEST/', 'http', 'ExAmple.TEST'], ["ws://gr\x{fc}n.test/", 'http', 'xn--grn-ioa.test'],
        )
    {
        my ($uri, $scheme, $host) = @$case;
        my $request = request_to($uri);
        is_deeply [$request->values('Host')], [$host], "Host: $host";
        is_deeply [$request->values('Origin')], ["$scheme://$host"], "Origin: $scheme://$host";
    }
};

subtest 'Host and Origin over wss' => sub {
    my $why_not = WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    my (undef, undef, $request) = shake_hands({}, undef, tls => 1);
    like $request->value('Host'), qr/\A127\.0\.0\.1:\d+\z/, 'with the port';
    is $request->value('Origin'), 'https://' . $request->value('Host'), 'and https';
    plan(skip_all => 'by design: not yet in 0.44') if is_044();
    for my $case (
        ['wss://example.test/', 'example.test'], ['wss://example.test:443/', 'example.test'],
        ['wss://example.test:80/', 'example.test:80'])
    {
        my ($uri, $host) = @$case;
        my $server = raw_server(tls => 1);
        my $cv = client()->connect($uri, '127.0.0.1', $server->port);
        my $request = next_request($server->next_peer);
        is $request->value('Host'), $host, "Host: $host";
        is $request->value('Origin'), "https://$host", "Origin: https://$host";
    }
};

differs 'Host of an IPv6 address' => 'sends [' => sub {
    is request_to('ws://[::1]:81/')->value('Host'), '[::1]:81', 'has brackets';
    is request_to('ws://[::1]/')->value('Origin'), 'http://[::1]', 'as has Origin';
};

differs 'Host of a URI with a userinfo' => 'sends the user' => sub {
    for my $userinfo ('user', 'user:password', 'us%40er:') {
        my $request = request_to("ws://$userinfo\@example.test:81/");
        is $request->value('Host'), 'example.test:81', "$userinfo is left out";
        is $request->value('Origin'), 'http://example.test:81', 'of Origin too';
        unlike $request->text, qr/Authorization/i, 'and becomes no Authorization';
    }
};

subtest 'http_headers' => sub {
    my $request = request_with(http_headers => { 'x-b' => [2, 1], 'X-A' => '1', 'X-C' => [], 'X-D' => '' });
    is_deeply [@{ $request->lines }[6 .. $#{ $request->lines }]], ['X-A: 1', 'X-D: ', 'x-b: 2', 'x-b: 1'], 'a hash, sorted';
    is_deeply [request_with(http_headers => [b => 1, a => 2, b => 3])->values('b')], [1, 3], 'an array, as it is';
    is_deeply request_with(http_headers => undef)->lines->[6], undef, 'undef: none';
};

subtest 'http_headers named like lines of the client' => sub {
    my @names = qw(Host Origin Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version);
    my $request = request_with(http_headers => [map { $_ => 'mine' } @names]);
    my @values = map { [$request->values($_)] } @names;
    is_deeply [map { scalar @$_ } @values], [(2) x @names], 'are second lines';
    is_deeply [map { $_->[1] } @values], [('mine') x @names], 'behind the client\'s own';
};

subtest 'http_headers cannot break out of their line' => sub {
    my $request = request_with(http_headers => ["X-A\x0d\x0aX-B" => "1\x0d\x0aX-C: 2\x0aX-D\x0d\x0d\x0a\x0d\x0a"]);
    is $request->lines->[6], 'X-AX-B: 1X-C: 2X-D', 'CR and LF are deleted';
};

subtest 'http_headers with undef' => sub {
    my $request;
    my $warnings = warnings_of(sub { $request = request_with(http_headers => ['X-A' => undef, 'X-B' => 1]) });
    like "@$warnings", qr{\bun(?:initialized|defined)\b}, 'warn';
    is_deeply [@{ $request->lines }[6, 7]], ['X-A: ', 'X-B: 1'], 'and are empty';
};

subtest 'http_headers with a name and no value' => sub {
    my $request;
    my $warnings = warnings_of(sub { (undef, undef, $request) = shake_hands({ http_headers => ['X-A', 1, 'X-B'] }) });
    is_deeply [map { $request->values($_) } 'X-A', 'X-B'], [1, ''], 'is empty';
    ok scalar @$warnings, 'with a warning';
};

subtest 'bytes over 127 in http_headers' => sub {
    is request_with(http_headers => ['X-A' => "gr\xfcn"])->value('X-A'), "gr\xfcn", 'are sent as they are';
};

differs 'CR and LF in subprotocol' => 'sends them' => sub {
    is request_with(subprotocol => "a\x0d\x0aX-B: 1")->value('Sec-WebSocket-Protocol'), 'aX-B: 1', 'are deleted';
};

subtest 'protocol_version' => sub {
    for my $version (undef, '', 0, 'draft-ietf-hybi-17') {
        my $request = request_with(protocol_version => $version);
        is $request->value('Sec-WebSocket-Version'), 13, defined $version ? "'$version'" : 'undef';
    }
    my $server = raw_server();
    my $cv = client(protocol_version => 'draft-ietf-hybi-10')->connect($server->uri);
    my $request = next_request($server->next_peer);
    my $host = '127.0.0.1:' . $server->port;
    is_deeply lines_without_key($request), [
        'Upgrade: WebSocket', 'Connection: Upgrade', "Host: $host",
        "Sec-WebSocket-Origin: http://$host", 'Sec-WebSocket-Key: ', 'Sec-WebSocket-Version: 8'
        ],
        'draft-ietf-hybi-10';
};

subtest 'the drafts before' => sub {
    for my $version ('draft-ietf-hybi-00', 'draft-hixie-75') {
        my $server = raw_server();
        my $cv = client(protocol_version => $version, subprotocol => 'chat')->connect($server->uri('/path'));
        my $peer = $server->next_peer;
        require Protocol::WebSocket::Handshake::Server;
        my $handshake = Protocol::WebSocket::Handshake::Server->new;
        my $header = $peer->read_until($CRLF x 2);
        $handshake->parse($header);
        wait_until('the challenge', sub { length $peer->bytes >= 8 }), $handshake->parse(my $challenge = $peer->bytes)
            if $version eq 'draft-ietf-hybi-00';
        ok $handshake->is_done, "a server understands $version" or diag $handshake->error;
        is $handshake->req->version, $version, 'as what it is';
        is $handshake->req->resource_name, '/path', 'with its path';
        $handshake->res->subprotocol('chat');
        $peer->write($handshake->to_string);
        isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
    }
};

# Some strings are read without URI.
subtest 'a string and an object of URI' => sub {
    require URI;
    my @places = ('127.0.0.1', 'localhost');
    my @tails = ('', '/', '/a/b', '/a?b=c/d', '?q', '/?', '//', '/a;b=1,2', '/~x!$&\'()*+', '/%20', '/a b', '/|', '/#f', '/\x{e9}', ' ', "\n");
    for my $place (@places) {
        for my $tail (@tails) {
            my @requests = map {
                my $server = raw_server();
                my $url = 'ws://' . $place . ':' . $server->port . $tail;
                my $cv = client()->connect($_ ? URI->new($url) : $url);
                next_request($server->next_peer)->text =~ s/^Sec-WebSocket-Key: .*$//mr =~ s/${\ $server->port}/PORT/gr
            } 0, 1;
            is $requests[0], $requests[1], 'send the same request: ' . $place . ($tail =~ s/([^ -~])/sprintf '\\x{%x}', ord $1/ger);
        }
    }
};

done_testing;
