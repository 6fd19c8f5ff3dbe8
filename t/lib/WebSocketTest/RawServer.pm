package WebSocketTest::RawServer;

=head1 NAME

WebSocketTest::RawServer - a server for the handshakes of AnyEvent::WebSocket::Client, written byte by byte

=head1 SYNOPSIS

    my $server = raw_server();                                  # or raw_server(tls => 1)
    my $cv = client(subprotocol => 'chat')->connect($server->uri('/path'));
    my $peer = $server->next_peer;
    my $request = next_request($peer);                          # WebSocketTest::RawServer::Request
    $peer->write(switching($request) . text('early'));
    my $connection = connection_of($cv);                        # or error_of($cv)

    my ($cv, $peer, $request) = shake_hands({ subprotocol => 'chat' }, sub { switching($_[0]) });

=head1 DESCRIPTION

The server only listens: the test reads each request and writes each answer. Peers are L<WebSocketTest::Peer> or, with
C<tls>, L<WebSocketTest::SecurePeer>.

=cut

use strict;
use warnings;

use AnyEvent::Handle;
use AnyEvent::Socket ();
use AnyEvent::WebSocket::Client;
use Carp;
use Digest::SHA ();
use Exporter 'import';
use Scalar::Util qw(blessed weaken);
use WebSocketTest ();
use WebSocketTest::Peer;
use WebSocketTest::SecurePeer;

our @EXPORT = qw(
    raw_server client next_request switching accept_for shake_hands
    wait_outcome connection_of error_of error_for unanswered closed_port
);
our @CARP_NOT = qw(WebSocketTest);

my $CRLF = "\x0d\x0a";

# raw_server(%options): host (127.0.0.1), port (any); tls => 1, or a hash of options for the AnyEvent::Handles
sub raw_server {
    my (%options) = @_;
    my $self = bless { peers => [], tls => $options{tls} }, __PACKAGE__;
    weaken(my $weak = $self);
    my $host = defined $options{host} ? $options{host} : '127.0.0.1';
    $self->{guard} = AnyEvent::Socket::tcp_server(
        $host, $options{port}, sub { $weak->_accept($_[0]) },
        sub { $self->{port} = $_[2]; 0 });
    return $self;
}

sub _accept {
    my ($self, $fh) = @_;
    push @{ $self->{peers} }, $self->{tls} ? $self->_secure($fh) : WebSocketTest::Peer->new($fh);
    WebSocketTest::poke();
}

sub _secure {
    my ($self, $fh) = @_;
    require WebSocketTest::TLS;
    my @tls = ref $self->{tls} ? %{ $self->{tls} } : WebSocketTest::TLS::shared_tls_options('accept');
    return WebSocketTest::SecurePeer->new(AnyEvent::Handle->new(fh => $fh, no_delay => 1, @tls));
}

sub port { $_[0]{port} }

sub uri {
    my ($self, $path, $host) = @_;
    my $scheme = $self->{tls} ? 'wss' : 'ws';
    return "$scheme://" . ($host || '127.0.0.1') . ":$self->{port}" . (defined $path ? $path : '/');
}

# Awaits the next connection to the server.
sub next_peer {
    my ($self, $seconds) = @_;
    WebSocketTest::wait_until('a client', sub { scalar @{ $self->{peers} } }, $seconds);
    return shift @{ $self->{peers} };
}

# Returns how many connections are waiting for next_peer.
sub waiting { scalar @{ $_[0]{peers} } }

# client(%new): over wss it does not verify unless told to.
sub client { AnyEvent::WebSocket::Client->new(ssl_no_verify => 1, @_) }

# Returns a port on which nobody listens, and the socket that keeps it from others.
sub closed_port {
    socket my $socket, Socket::PF_INET(), Socket::SOCK_STREAM(), 0 or die "socket: $!";
    bind $socket, Socket::pack_sockaddr_in(0, Socket::INADDR_LOOPBACK()) or die "bind: $!";
    return ((Socket::unpack_sockaddr_in(getsockname $socket))[0], $socket);
}

# Awaits a whole header.
sub next_request {
    my ($peer) = @_;
    my $text = $peer->read_until($CRLF x 2);
    croak 'the client closed without a request' unless defined $text;
    return WebSocketTest::RawServer::Request->new($text);
}

sub accept_for {
    my ($key) = @_;
    return Digest::SHA::sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
}

# switching($request, @lines): the text of a good 101, with more lines
sub switching {
    my ($request, @lines) = @_;
    my @own = (
        'HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade',
        'Sec-WebSocket-Accept: ' . accept_for($request->key));
    return join '', map { "$_$CRLF" } @own, @lines, '';
}

# shake_hands($client, $answer, %options): connects, and writes what $answer returns for the request. Returns the condvar,
# the peer and the request.
#   $client   an object, or a reference to a hash for `client`
#   options   tls; path; arguments => [more for connect]
sub shake_hands {
    my ($client, $answer, %options) = @_;
    $client = client(%{ $client || {} }) unless blessed $client;
    my $server = raw_server(tls => $options{tls});
    my $cv = $client->connect($server->uri($options{path}), @{ $options{arguments} || [] });
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    $peer->write($answer->($request)) if $answer;
    return ($cv, $peer, $request);
}

# Connects as shake_hands does, and returns the error, or "it connected".
sub error_for {
    my (@arguments) = @_;
    my ($cv, $peer) = shake_hands(@arguments);
    return error_of($cv);
}

# Awaits the end of the handshake.
sub wait_outcome {
    my ($cv, $seconds) = @_;
    $cv->cb(sub { WebSocketTest::poke() }) unless $cv->ready;
    WebSocketTest::wait_until('the outcome of connect', sub { $cv->ready }, $seconds);
    return $cv;
}

sub connection_of { scalar wait_outcome($_[0])->recv }

# Returns the text that recv croaks with, without the place that Carp adds.
sub error_of {
    my ($cv) = @_;
    wait_outcome($cv);
    return 'it connected' if eval { $cv->recv; 1 };
    my $error = $@;
    return $error =~ s/ at \S+ line \d+\.?\n\z//r;
}

# Reports that nothing has been decided, after this many seconds.
sub unanswered {
    my ($cv, $seconds) = @_;
    WebSocketTest::after($seconds);
    return !$cv->ready;
}

package WebSocketTest::RawServer::Request;

sub new {
    my ($class, $text) = @_;
    my ($first, @lines) = split /\x0d\x0a/, $text;
    return bless { text => $text, first => $first, lines => \@lines }, $class;
}

sub text { $_[0]{text} }
sub first { $_[0]{first} }
sub lines { $_[0]{lines} }

# Returns all values of that name, which is compared as it is written.
sub values {
    my ($self, $name) = @_;
    return map { /\A\Q$name\E: (.*)\z/s ? $1 : () } @{ $self->{lines} };
}

sub value { ($_[0]->values($_[1]))[-1] }
sub key { $_[0]->value('Sec-WebSocket-Key') }

1;
