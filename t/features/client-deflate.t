# Tests that deflate has the client offer compression, and that its connections compress if the server accepts.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original has no compression' if is_original();
plan skip_all => 'Compress::Raw::Zlib is not installed' unless eval { require Compress::Raw::Zlib };
require WebSocketTest::Deflate;
WebSocketTest::Deflate->import;

my $EXTENSIONS = 'Sec-WebSocket-Extensions';

sub offer_of {
    my (%new) = @_;
    my (undef, undef, $request) = shake_hands(\%new);
    return $request->value($EXTENSIONS);
}

# Accepts what the client offers, with these options, and writes the bytes behind it.
sub accepting {
    my ($bytes, @options) = @_;
    return sub {
        my ($request) = @_;
        my ($answer) = AnyEvent::WebSocket::Deflate::accept($request->value($EXTENSIONS), @options);
        return switching($request, "$EXTENSIONS: $answer") . ($bytes // '');
    };
}

subtest 'the offer' => sub {
    is offer_of(), undef, 'there is none by default';
    is offer_of(deflate => $_), undef, 'nor with ' . (defined $_ ? "'$_'" : 'undef') for undef, 0, '';
    is offer_of(deflate => 1), AnyEvent::WebSocket::Deflate::offer(), '1 offers it';
    my %options = (server_no_context_takeover => 1, server_max_window_bits => 10);
    is offer_of(deflate => \%options), AnyEvent::WebSocket::Deflate::offer(%options), 'a hash has options';
    my (undef, undef, $request) = shake_hands({ deflate => 1, http_headers => { 'X-A' => 1 } });
    is $request->value('X-A'), 1, 'other headers are sent, too';
};

subtest 'a server that accepts' => sub {
    for my $tls (0, WebSocketTest::TLS::unavailable() ? () : 1) {
        my ($cv, $peer) =
            shake_hands({ deflate => { server_max_window_bits => 12, threshold => 0 } }, accepting(), tls => $tls);
        my $connection = connection_of($cv);
        is $connection->deflate->{peer_window_bits}, 12, 'the connection has what was agreed';
        my $text = 'compressed ' x 100;
        $connection->send($text);
        $peer->wait_bytes(6) unless $tls;
        wait_until('a frame', sub { length $peer->bytes > 6 });
        my $frame = decode_frame(\(my $bytes = $peer->bytes));
        is $frame->{rsv}, 4, 'its messages are marked';
        is receiver(15)->($frame->{payload}), $text, 'and compressed';
        my $seen = recorder($connection);
        my $sender = sender(12);
        $peer->write(compressed($sender->("$_ " x 100))) for 1 .. 3;
        is_deeply $seen->wait_messages(3)->bodies, [map { "$_ " x 100 } 1 .. 3], 'the server\'s are inflated';
    }
};

subtest 'compressed messages that come with the 101' => sub {
    my $sender = sender(15);
    my ($cv) = shake_hands({ deflate => 1 }, accepting(join '', map { compressed($sender->("early $_ " x 20)) } 1 .. 3));
    is_deeply recorder(connection_of($cv))->wait_messages(3)->bodies, [map { "early $_ " x 20 } 1 .. 3], 'are inflated';
};

subtest 'a server that declines' => sub {
    my ($cv, $peer) = shake_hands({ deflate => 1 }, sub { switching($_[0]) });
    my $connection = connection_of($cv);
    ok !$connection->deflate, 'there is no compression';
    $connection->send('plain ' x 100);
    is $peer->next_frame->{rsv}, 0, 'and nothing is marked';
};

subtest 'answers that were not offered' => sub {
    for my $answer (
        'permessage-deflate; unknown', 'permessage-deflate; client_max_window_bits=16',
        'permessage-deflate, permessage-deflate')
    {
        like error_for({ deflate => 1 }, sub { switching($_[0], "$EXTENSIONS: $answer") }),
            qr/\A(?:handshake error: |.*no answer to what was offered)/,
            "$answer is refused";
    }
    is error_for({ deflate => 1 }, sub { switching($_[0], "$EXTENSIONS: x-other") }), 'handshake error: Not a valid response',
        'as is another extension';
    like error_for(
        { deflate => { server_no_context_takeover => 1 } },
        sub { switching($_[0], "$EXTENSIONS: permessage-deflate") }
        ),
        qr/server_no_context_takeover/, 'and less than was asked for';
};

subtest 'options that are wrong' => sub {
    my $level = qr/\Adeflate: level must be /;
    croaks_here('level => 0', sub { AnyEvent::WebSocket::Client->new(deflate => { level => 0 }) }, $level);
    my $unknown = qr/\Adeflate: there is no option levle; the options are /;
    croaks_here('an unknown one', sub { AnyEvent::WebSocket::Client->new(deflate => { levle => 1 }) }, $unknown);
    croaks_here('an array', sub { AnyEvent::WebSocket::Client->new(deflate => [1]) }, qr/deflate must be/);
};

done_testing;
