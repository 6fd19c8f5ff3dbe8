# Tests what a server agrees on with its clients: `subprotocols`, `origins`, `deflate`; and the options of its connections.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;

needs_our_server();
my @transports = transports();

# Returns the attempt, its peer and the response.
sub answered {
    my ($new, @edits) = @_;
    my ($attempt, $peer) = establishing(%$new);
    $peer->write(request(@edits));
    return ($attempt->wait, $peer, $attempt->error eq '' ? response_of($peer) : '');
}

sub protocols { map { [add => "Sec-WebSocket-Protocol: $_"] } @_ }

sub subprotocol_of { $_[0] =~ /^Sec-WebSocket-Protocol: (.*)\r$/m ? $1 : undef }

subtest 'backend' => sub { is(AnyEvent::WebSocket::Server->backend, 'rust', 'is rust') };

# --- subprotocols

for my $callback (undef, sub { $_[1] }) {
    my %new = (subprotocols => [qw(b c)], defined $callback ? (handshake => $callback) : ());
    my $how = $callback ? ', with a callback' : '';

    subtest "subprotocols$how" => sub {
        for my $row ([['b'], 'b'], [['a, b'], 'b'], [['a', 'c'], 'c'], [['a,c'], 'c'], [['a , b '], 'b']) {
            my ($lines, $chosen) = @$row;
            my ($attempt, undef, $response) = answered(\%new, protocols(@$lines));
            is subprotocol_of($response), $chosen, "of @$lines";
            is $attempt->connection->subprotocol, $chosen, 'the connection has it, too';
        }
    };

    subtest "subprotocols$how: none in common" => sub {
        for my $lines (['a'], ['B'], [''], ['bc'], []) {
            my ($attempt, undef, $response) = answered(\%new, protocols(@$lines));
            is $response, $RESPONSE, "of (@$lines)";
            is $attempt->connection->subprotocol, undef, 'nor has the connection one';
        }
    };
}

subtest 'subprotocols: the callback may choose another' => sub {
    my $seen;
    my ($attempt, undef, $response) = answered({ subprotocols => ['b'], handshake => sub {
        $seen = $_[1]->subprotocol;
        $_[1]->subprotocol('mine');
        return $_[1];
    } }, protocols('a, b'));
    is $seen, 'b', 'it sees which was chosen';
    is subprotocol_of($response), 'mine', 'the response has its own';
    is $attempt->connection->subprotocol, 'mine', 'so has the connection';
};

subtest 'subprotocols: establish_psgi' => sub {
    my ($attempt, $peer) = establishing(ENV => psgi_env(HTTP_SEC_WEBSOCKET_PROTOCOL => 'a, b'), subprotocols => ['b']);
    is subprotocol_of(response_of($peer)), 'b', 'as well';
};

# --- origins

subtest 'origins' => sub {
    my %new = (origins => ['https://a.example', 'http://b.example:81']);
    for my $origin (@{ $new{origins} }) {
        my ($attempt) = answered(\%new, [add => "Origin: $origin"]);
        is $attempt->error, '', "$origin is accepted";
    }
    for my $origin ('https://evil.example', 'http://a.example', 'https://a.example.evil', 'xhttps://a.example', 'null') {
        my $called = 0;
        my ($attempt, $peer) = answered({ %new, handshake => sub { $called++; $_[1] } }, [add => "Origin: $origin"]);
        like $attempt->error, qr/\Ahandshake error: the origin is not allowed: \S+\z/, "$origin is refused";
        is $called, 0, 'before the callback';
        intact_ok($attempt, $peer);
    }
};

for my $wrong ('a.example', 'https://a.example/', 'https://', '') {
    eval { AnyEvent::WebSocket::Server->new(origins => [$wrong]) };
    is $@, "origins: '$wrong' is not an origin, such as https://example.com at $0 line " . (__LINE__ - 1) . ".\n", "'$wrong' is no origin";
}

subtest 'origins, with reject' => sub {
    my ($attempt, $peer) = answered({ origins => ['https://a.example'], reject => 1 }, [add => 'Origin: https://evil.example']);
    like $attempt->error, qr/\Ahandshake error: /, 'the error';
    like response_of($peer), qr{\AHTTP/1\.1 403 }, 'the status';
};

subtest 'origins: establish_psgi' => sub {
    my %new = (origins => ['https://a.example']);
    is((establishing(%new, ENV => psgi_env(HTTP_ORIGIN => 'https://a.example')))[0]->error, '', 'one that is in the list');
    my ($attempt, $peer) = establishing(%new, ENV => psgi_env(HTTP_ORIGIN => 'https://b.example'));
    like $attempt->error, qr/\Ahandshake error: /, 'another';
};

# --- deflate

my $OFFER = [add => 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'];

sub extensions_of { $_[0] =~ /^Sec-WebSocket-Extensions: (.*)\r$/m ? $1 : undef }

# Returns RSV1 of a message that the connection sends.
sub rsv_of_message {
    my ($attempt, $peer) = @_;
    $attempt->connection->send('x' x 1000);
    return $peer->next_frame->{rsv};
}

for my $callback (undef, sub { ($_[1], 'other') }) {
    for my $transport (@transports) {
        my %new = (TRANSPORT => $transport, deflate => 1, $callback ? (handshake => $callback) : ());
        my $how = $transport . ($callback ? ', with a callback' : '');

        subtest "$how: deflate" => sub {
            my ($attempt, $peer, $response) = answered(\%new, $OFFER);
            like extensions_of($response), qr/\Apermessage-deflate\b/, 'the response has the extension';
            like $response, qr/\r\n\r\n\z/, 'and ends as one';
            ok $attempt->connection->deflate, 'the connection compresses';
            is rsv_of_message($attempt, $peer), 4, 'its messages';
        };

        subtest "$how: deflate, but not offered" => sub {
            for my $edits ([], [[add => 'Sec-WebSocket-Extensions: x-other']]) {
                my ($attempt, $peer, $response) = answered(\%new, @$edits);
                is $response, $RESPONSE, 'is not in the response';
                ok !$attempt->connection->deflate, 'the connection does not compress';
                is rsv_of_message($attempt, $peer), 0, 'its messages';
            }
        };
    }
}

subtest 'deflate with options' => sub {
    my ($attempt, undef, $response) = answered({ deflate => { server_no_context_takeover => 1 } }, $OFFER);
    like extensions_of($response), qr/server_no_context_takeover/, 'they are in the response';
};

subtest 'deflate and a response of the program\'s own' => sub {
    my $refusal = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    my ($attempt, $peer, $response) = answered({ deflate => 1, handshake => sub { $refusal } }, $OFFER);
    is $response, $refusal, 'a refusal is left alone';
    ok !$attempt->connection->deflate, 'and the connection does not compress';
};

subtest 'deflate and a program that negotiates by itself' => sub {
    my ($attempt, $peer, $response) = answered({ deflate => 1, handshake => sub {
        return $_[1]->to_string =~ s/\r\n\z/Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n/r;
    } }, $OFFER);
    my @lines = $response =~ /^Sec-WebSocket-Extensions: .*\r$/mg;
    is scalar @lines, 1, 'has the field once';
};

subtest 'deflate: establish_psgi' => sub {
    my ($attempt, $peer) = establishing(deflate => 1,
        ENV => psgi_env(HTTP_SEC_WEBSOCKET_EXTENSIONS => 'permessage-deflate'));
    my $is_agreed = defined extensions_of(response_of($peer)) ? 4 : 0;
    is $is_agreed, 4, 'the offer is in the environment';
    is rsv_of_message($attempt, $peer), $is_agreed, 'the connection does what the response says';
};

# --- options of the connection

subtest 'options of the connection' => sub {
    my %option = (max_fragments => 3, max_message_size => 1000, close_timeout => 7, ping_interval => 20, ping_timeout => 5,
        idle_timeout => 40, max_buffered_amount => 5000, max_control_rate => 9);
    my ($attempt, $peer) = answered({ %option, max_payload_size => 100 });
    is $attempt->connection->$_, $option{$_}, $_ for sort keys %option;
    is $attempt->connection->max_payload_size, 100, 'max_payload_size';
    $peer->write(text('x', fin => 0, mask => 1), map { continuation('x', fin => 0, mask => 1) } 1 .. 3);
    is((close_of($peer->next_frame))[0], 1009, 'they have their effect');
};

subtest 'names that other classes have' => sub {
    my %meant = (
        timeout => 'handshake_timeout', subprotocol => 'subprotocols', protocols => 'subprotocols', origin => 'origins',
        max_payload => 'max_payload_size', tls_ctx => 'ssl_cert_file', ssl_ca_file => 'ssl_cert_file',
    );
    for my $name (sort keys %meant) {
        my $warnings = warnings_of(sub { AnyEvent::WebSocket::Server->new($name => 1) });
        like "@$warnings", qr/has no attribute $name, which is ignored; did you mean $meant{$name}\?/, $name;
    }
};

subtest 'mistakes' => sub {
    my $class = 'AnyEvent::WebSocket::Server';
    croaks_here('subprotocols => "a"', sub { $class->new(subprotocols => 'a') }, qr/subprotocols/);
    croaks_here('origins => "a"', sub { $class->new(origins => 'a') }, qr/origins/);
    croaks_here('max_fragments => -1', sub { $class->new(max_fragments => -1) }, qr/max_fragments/);
    my $unknown = qr/\Adeflate: there is no option nonsense; /;
    croaks_here('deflate => { nonsense => 1 }', sub { $class->new(deflate => { nonsense => 1 }) }, $unknown);
};

done_testing;
