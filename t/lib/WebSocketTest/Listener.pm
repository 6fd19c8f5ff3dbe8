package WebSocketTest::Listener;

# A WebSocket server on a port of its own, whose every answer the test decides.
#
#   my $listener = WebSocketTest::Listener->new(%options_of_its_handles);    # e.g. tls_options('accept')
#   my $client = ...->connect($listener->url);
#   my $connection = $listener->next_connection;           # awaits a client, and accepts its handshake
#   my $socket = $listener->next_socket;                   # or only the socket,
#   my $handle = $listener->next_request;                  # or the handle, once the request is there
#   my $connection = $listener->accept($handle);           # and then accept it,
#   $listener->answer($handle);                            # without a connection on our side,
#   $listener->refuse('HTTP/1.1 404 Not Found', 'Retry-After: 5');    # or answer the next request with that
#   $listener->waiting                                     # how many clients have not been taken yet
#   $listener->accepted                                    # how many there have been

use strict;
use warnings;
use AnyEvent::Handle;
use AnyEvent::Socket ();
use AnyEvent::WebSocket::Connection;
use Protocol::WebSocket::Handshake::Server;
use Scalar::Util qw(weaken);
use WebSocketTest ();

sub new {
    my ($class, %handle) = @_;
    my $self = bless { handle => \%handle, sockets => [], accepted => 0 }, $class;
    weaken(my $weak = $self);
    $self->{guard} = AnyEvent::Socket::tcp_server(
        '127.0.0.1', 0,
        sub { $weak->{accepted}++; push @{ $weak->{sockets} }, $_[0]; WebSocketTest::poke() },
        sub { $weak->{port} = $_[2]; 0 });
    return $self;
}

sub accepted { $_[0]{accepted} }
sub port     { $_[0]{port} }
sub url      { ($_[0]{handle}{tls} ? 'wss' : 'ws') . "://localhost:$_[0]{port}/" }
sub waiting  { scalar @{ $_[0]{sockets} } }

sub next_socket {
    my ($self) = @_;
    WebSocketTest::wait_until('a client', sub { @{ $self->{sockets} } });
    return shift @{ $self->{sockets} };
}

sub next_request {
    my ($self) = @_;
    my $handle = AnyEvent::Handle->new(fh => $self->next_socket, on_error => sub { }, %{ $self->{handle} });
    my (undef, $header) = WebSocketTest::next_event('a request', sub { $handle->push_read(line => "\r\n\r\n", $_[0]) });
    $self->{request} = "$header\r\n\r\n";
    return $handle;
}

sub request { $_[0]{request} }

sub next_connection {
    my ($self) = @_;
    return $self->accept($self->next_request);
}

# Accepts the last request.
sub accept {
    my ($self, $handle) = @_;
    $self->answer($handle);
    return AnyEvent::WebSocket::Connection->new(handle => $handle);
}

sub answer {
    my ($self, $handle) = @_;
    my $handshake = Protocol::WebSocket::Handshake::Server->new;
    $handshake->parse(my $copy = $self->{request}) or die $handshake->error;
    $handshake->res->subprotocol($self->{subprotocol}) if defined $self->{subprotocol};
    $handle->push_write($handshake->to_string);
    return;
}

# Names the subprotocol of later handshakes.
sub subprotocol { my ($self, $name) = @_; $self->{subprotocol} = $name; return $self }

sub refuse {
    my ($self, @lines) = @_;
    my $handle = $self->next_request;
    $handle->push_write(join '', map { "$_\r\n" } @lines, 'Content-Length: 0', '');
    $handle->push_shutdown;
    return;
}

1;
