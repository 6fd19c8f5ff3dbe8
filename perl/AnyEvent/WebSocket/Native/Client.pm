package    # the class of AnyEvent/WebSocket/Client.pm, where its documentation stands
    AnyEvent::WebSocket::Client;

# This package contains only what programs may call or override.

use strict;
use warnings;
use AE ();
use AnyEvent ();
use AnyEvent::Handle ();
use AnyEvent::Socket ();
use AnyEvent::WebSocket::Connection ();
use AnyEvent::WebSocket::Native::ClientOptions ();
use AnyEvent::WebSocket::Native::Handshake::Connecting ();
use AnyEvent::WebSocket::Native::Handshake::TcpConnect ();
use Moo;
use Protocol::WebSocket::Handshake::Client ();
use Protocol::WebSocket::Request ();

has timeout => (is => 'ro', default => sub { 30 });
has [qw( ssl_no_verify ssl_ca_file protocol_version max_payload_size max_fragments )] => (is => 'ro');
has subprotocol => (is => 'ro', coerce => sub { ref $_[0] ? $_[0] : [$_[0]] });
has http_headers => (is => 'ro', coerce => \&AnyEvent::WebSocket::Native::ClientOptions::headers);
has env_proxy => (is => 'ro', default => sub { 0 });

AnyEvent::WebSocket::Native::ClientOptions::install(\&has, __PACKAGE__);

sub BUILD { AnyEvent::WebSocket::Native::ClientOptions::check(@_) }

sub connect {
    my ($self, $uri, $host, $port) = @_;
    my $done = AE::cv;
    AnyEvent::WebSocket::Native::Handshake::Connecting::start($self, $done, $uri, $host, $port);
    return $done;
}

# Programs override this. It calls `connected` with a file handle, or without one if there is no connection; `prepare` returns
# the seconds that one attempt may take.
sub _make_tcp_connection {
    my ($self, $scheme, @target) = @_;
    return AnyEvent::WebSocket::Native::Handshake::TcpConnect::tcp_connect($scheme, @target) if $self->env_proxy;
    return &AnyEvent::Socket::tcp_connect(@target);
}

AnyEvent::WebSocket::Native::Handshake::TcpConnect::set_class(__PACKAGE__, \&_make_tcp_connection);

1;
