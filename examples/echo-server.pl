#!/usr/bin/env perl
# An echo server: every message goes back to where it came from, text as text and binary as binary.
#
#   perl examples/echo-server.pl [--host ADDRESS] [--port PORT] [--ping-interval SECONDS]
#
# Without a port, or with port 0, it takes a free one; its first line says which. Ctrl-C ends it.
#
# It answers the handshake by hand with Protocol::WebSocket, which a server needs that takes other HTTP requests too, or
# that gives its connections more options than a max_payload_size. AnyEvent::WebSocket::Server does that part for you.
# Nothing in it knows which implementation of AnyEvent::WebSocket::Connection is installed; run it with
# ANYEVENT_WEBSOCKET_PP=1 to have the pure-Perl one.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::Socket qw(format_hostport tcp_server);
use AnyEvent::WebSocket::Connection;
use Getopt::Long qw(GetOptions);
use Protocol::WebSocket::Handshake::Server;

my %option = (host => '127.0.0.1', port => 0);
GetOptions(\%option, qw(host=s port=i ping-interval=f)) && !@ARGV
    or die "usage: $0 [--host ADDRESS] [--port PORT] [--ping-interval SECONDS]\n";

my %for_connections = (max_payload_size => 16 << 20);
$for_connections{ping_interval} = $option{'ping-interval'} if $option{'ping-interval'};

my %connections;

sub accept_client {
    my ($socket) = @_;
    my $handshake = Protocol::WebSocket::Handshake::Server->new;

    my $handle;
    $handle = AnyEvent::Handle->new(
        fh       => $socket,
        no_delay => 1,
        timeout  => 10,
        on_error => sub { undef $handle },
        on_read  => sub {
            # parse() takes from the buffer what is the handshake's; what follows is left for the connection.
            return undef $handle if !$handshake->parse($handle->{rbuf});
            return if !$handshake->is_done;
            $handle->push_write($handshake->to_string);
            $handle->timeout(0);
            serve($handle);
            undef $handle;
        },
    );
}

sub serve {
    my ($handle) = @_;
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, %for_connections);

    # Somebody must hold the connection, or it closes; nothing below refers to it, so this is its only owner.
    $connections{ 0 + $connection } = $connection;
    $connection->on(finish => sub { delete $connections{ 0 + $_[0] } });
    $connection->on(each_message => sub {
        my ($connection, $message) = @_;
        $connection->send($message);
    });
}

my $address;
my $server = tcp_server $option{host}, $option{port}, \&accept_client, sub {
    my (undef, $host, $port) = @_;
    $address = format_hostport $host, $port;
    return;
};

# Not from that callback, which comes before the socket listens.
$| = 1;
print "listening on $address with $INC{'AnyEvent/WebSocket/Connection.pm'}\n";
AnyEvent->condvar->recv;
