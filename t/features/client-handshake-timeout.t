# Tests that handshake_timeout ends a handshake that the server does not complete, from the TCP connection on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original has no deadline' if is_original();

my $class = 'AnyEvent::WebSocket::Client';
my $SECONDS = 0.2;
my $ERROR = "handshake error: no complete response within $SECONDS s";

subtest 'a silent server' => sub {
    for my $begin (
        '', 'HTTP/1.1 101', "HTTP/1.1 101 Switching Protocols\x0d\x0aUpgrade: websocket\x0d\x0a", "\x0d" x 10, "\0\xff" x 20,
        "\x15\x03\x01\x00\x02\x02\x46")
    {
        my ($cv, $peer) = shake_hands({ handshake_timeout => $SECONDS }, sub { $begin });
        is error_of($cv), $ERROR, 'after ' . length($begin) . ' bytes';
        $peer->wait_eof;
    }
};

subtest 'a server that does not speak TLS' => sub {
    my $server = raw_server();
    my $cv = client(handshake_timeout => $SECONDS)->connect($server->uri =~ s/\Aws/wss/r);
    is error_of($cv), "handshake error: the TLS handshake was not complete within $SECONDS s", 'and says nothing';
    $server->next_peer->wait_eof;
};

subtest 'a server that is silent over TLS' => sub {
    my $why_not = WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    my ($cv, $peer) = shake_hands({ handshake_timeout => patience() }, sub { 'HTTP/1.1 ' }, tls => 1);
    is error_of($cv), 'handshake error: no complete response within ' . patience() . ' s';
    $peer->wait_eof;
};

subtest 'a slow server' => sub {
    my ($cv, $peer) = shake_hands({ handshake_timeout => $SECONDS }, sub { "HTTP/1.1 101 x\x0d\x0a" });
    my $timer = AE::timer 0, $SECONDS / 10, sub { $peer->write("X-A: b\x0d\x0a") };
    is error_of($cv), $ERROR, 'gains nothing by lines that come one by one';
};

subtest 'a server in time' => sub {
    my ($cv, $peer) = shake_hands({ handshake_timeout => patience() }, sub { switching($_[0]) });
    my $connection = connection_of($cv);
    after(1.2 * patience());
    my $seen = recorder($connection);
    $peer->write(text('hello'));
    is_deeply $seen->wait_messages(1)->bodies, ['hello'], 'has no deadline afterwards';
};

{
    package Slow;    # whose TCP connection takes long
    our @ISA = 'AnyEvent::WebSocket::Client';

    sub _make_tcp_connection {
        my ($self, $scheme, $host, $port, $connected, @rest) = @_;
        my $later = sub {
            my ($fh) = @_;
            my $timer;
            $timer = AE::timer 2 * WebSocketTest::patience(), 0, sub { undef $timer; $connected->($fh) }
        };
        $self->SUPER::_make_tcp_connection($scheme, $host, $port, $later, @rest);
    }
}

subtest 'the time for TCP' => sub {
    my ($cv, $peer) = shake_hands(Slow->new(handshake_timeout => patience()), sub { switching($_[0]) });
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', 'does not count:';
};

subtest 'other values' => sub {
    my ($cv, $peer, $request) = shake_hands({ handshake_timeout => 0 });
    ok unanswered($cv, 2 * $SECONDS), '0 is none';
    $peer->write(switching($request));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
    ($cv, $peer) = shake_hands({ timeout => $SECONDS });
    ok unanswered($cv, 2 * $SECONDS), 'timeout is another thing';
    for my $wrong ('soon', -1, '') {
        croaks_here("with '$wrong' new", sub { $class->new(handshake_timeout => $wrong) }, qr/handshake_timeout must be/);
    }
};

done_testing;
