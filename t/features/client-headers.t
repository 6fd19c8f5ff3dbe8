# Tests that http_headers_replace has a header of the program replace the client's own of that name.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;

plan skip_all => 'by design: the original only adds headers' if is_original();

sub request_with {
    my (%new) = @_;
    my (undef, undef, $request) = shake_hands({ http_headers_replace => 1, %new });
    return $request;
}

# Returns the names of the lines, in lower case.
sub names { [map { lc s/:.*//sr } @{ $_[0]->lines }] }

subtest 'one header' => sub {
    my $request = request_with(http_headers => { Origin => 'https://example.test', 'X-A' => 1 });
    is_deeply [$request->values('Origin')], ['https://example.test'], 'is sent once';
    is_deeply [sort @{ names($request) }], [qw(connection host origin sec-websocket-key sec-websocket-version upgrade x-a)],
        'the others stay as they are';
};

subtest 'all headers' => sub {
    my %mine = (
        Host => 'h', Origin => 'o', Upgrade => 'websocket', Connection => 'keep-alive, Upgrade', 'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==');
    my $request = request_with(http_headers => \%mine);
    my %sent = map { /(.+?): (.*)/ } @{ $request->lines };
    is_deeply \%sent, \%mine, 'have the values of the program';
    is scalar @{ $request->lines }, keys %mine, 'each once';
};

subtest 'case' => sub {
    my $request = request_with(http_headers => ['hOST' => 'example.test', 'ORIGIN' => 'o']);
    is_deeply [grep { /\A(?:host|origin)\z/ } @{ names($request) }], [qw(host origin)], 'of the name does not matter';
    is_deeply [$request->values('hOST')], ['example.test'], 'it is sent as given';
};

subtest 'twice the same' => sub {
    is_deeply [request_with(http_headers => [Origin => 'a', Origin => 'b'])->values('Origin')], ['a', 'b'], 'both are sent';
};

subtest 'the key' => sub {
    my $key = 'dGhlIHNhbXBsZSBub25jZQ==';
    my $new = { http_headers_replace => 1, http_headers => { 'Sec-WebSocket-Key' => $key } };
    my ($cv) = shake_hands($new, sub { switching($_[0]) });
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', 'the server\'s answer to it:';
    is error_for($new, sub { switching($_[0]) =~ s/(?<=Accept: ).+(?=\x0d)/accept_for('x')/er }),
        'handshake error: Not a valid response', 'another is refused';
};

subtest 'without http_headers_replace' => sub {
    my $request = request_with(http_headers_replace => 0, http_headers => { Origin => 'o' });
    is scalar(my @origins = $request->values('Origin')), 2, 'there are two';
};

done_testing;
