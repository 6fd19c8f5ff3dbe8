package AnyEvent::WebSocket::Native::Handshake::TcpConnect;

# Makes TCP connections: through a proxy, and to this machine.

use strict;
use warnings;
use AE ();
use AnyEvent ();
use AnyEvent::Socket ();
use AnyEvent::WebSocket::Native::Engine ();
use Socket ();

# The flag that makes a new socket nonblocking; 0 on systems that have none.
use constant NONBLOCK => eval { Socket::SOCK_NONBLOCK() } || 0;

# Connects as tcp_connect does, through the proxy of the environment if there is one for the target.
sub tcp_connect {
    my ($scheme, @target) = @_;
    my ($host, $port) = @target;
    my $connector = $host eq 'unix/' ? undef : _proxy_for($scheme, $host, $port);
    return &AnyEvent::Socket::tcp_connect(@target) unless $connector;
    return $target[2]->() if $host =~ /[\x00-\x20\x7f]/;    # it could add lines to what the proxy is asked
    $target[0] = "[$host]" if $host =~ /:/;
    return $connector->tcp_connect(@target);
}

sub _proxy_for {
    my ($scheme, $host, $port) = @_;
    require AnyEvent::Connector;
    my %variables = (ws => [qw( ws http )], wss => [qw( wss https )]);
    for my $variable (@{ $variables{$scheme} || [] }) {
        my $connector = AnyEvent::Connector->new(env_proxy => $variable);
        return $connector if defined $connector->proxy_for($host, $port);
    }
    return;
}

# The class of clients, and its method that connects in the usual way.
my ($class, $method);
sub set_class { ($class, $method) = @_ }

# The subs that this method calls. A sub that the program had replaced before this module was loaded is undef here. The program may
# replace the method and the subs at any time.
my ($tcp_connect, $resolve) = map { _own_sub_of_socket($_) } qw( tcp_connect resolve_sockaddr );

sub _own_sub_of_socket {
    my ($name) = @_;
    return AnyEvent::Socket->can($name)
        if AnyEvent::WebSocket::Native::Engine::has_own_sub('AnyEvent::Socket', $name, 'AnyEvent/Socket.pm');
    return undef;
}

# Connects to this machine over IPv4, where a connection is established at once, and returns the file handle. Returns nothing if
# the client has to connect in the usual way: the target is another one, there is no connection yet, or the program has a subclass
# or has replaced a sub that would be called.
sub connect_at_once {
    my ($client, $host, $port) = @_;
    return if !defined $host || !defined $port;
    ($host, $port) = ("$host", "$port");    # they may be objects
    my $address = _loopback_address($host) // return;
    return if $port !~ /\A[1-9][0-9]{0,4}\z/ || $port > 65535;
    return if !_connects_as_usual($client) || $client->env_proxy;
    socket my $fh, Socket::PF_INET, Socket::SOCK_STREAM | NONBLOCK, Socket::IPPROTO_TCP or return;
    AnyEvent::fh_unblock($fh) if !NONBLOCK;
    # connect returns false in any case, because the socket is nonblocking.
    connect $fh, Socket::pack_sockaddr_in($port, $address);
    getpeername $fh or return;
    # The loop's time is old if the program was busy. A deadline that begins now would be over too early.
    AE::now_update;
    return $fh;
}

sub _connects_as_usual {
    my ($client) = @_;
    return
           ref $client eq $class
        && $client->can('_make_tcp_connection') == $method
        && $tcp_connect
        && \&AnyEvent::Socket::tcp_connect == $tcp_connect
        && $resolve
        && \&AnyEvent::Socket::resolve_sockaddr == $resolve;
}

# Returns the address, packed, if AnyEvent::Socket would try it first.
sub _loopback_address {
    my ($host) = @_;
    my $priority = \%AnyEvent::PROTOCOL;
    return unless $priority->{ipv4};
    return Socket::INADDR_LOOPBACK if $host eq 'localhost' && $priority->{ipv4} >= ($priority->{ipv6} || 0);
    return $host =~ /\A127\.[0-9.]+\z/ ? Socket::inet_pton(Socket::AF_INET, $host) : undef;
}

1;
