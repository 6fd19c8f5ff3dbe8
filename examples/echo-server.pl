#!/usr/bin/env perl
# An echo server: every message goes back to where it came from, text as text and binary as binary.
#
#   perl examples/echo-server.pl [--host ADDRESS] [--port PORT] [--ping-interval SECONDS]
#
# Without a port, or with port 0, it takes a free one; its first line says which. Ctrl-C ends it.
#
# It answers the handshake by hand with Protocol::WebSocket, as a server has to that also answers other HTTP requests.
# AnyEvent::WebSocket::Server does that part for you.
#
# It also runs on the original AnyEvent::WebSocket::Connection, with fewer limits: set ANYEVENT_WEBSOCKET_PP=1.
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

# Limits to what a stranger may make us keep or do. AnyEvent::WebSocket::Native::Manual explains each value.
my %for_connections = (
    max_payload_size    => 1 << 20,
    max_message_size    => 1 << 20,
    max_fragments       => 128,
    max_buffered_amount => 4 << 20,
    max_control_rate    => 10,
    ping_interval       => $option{'ping-interval'} || 25,
    ping_timeout        => 20,
    idle_timeout        => 60,
    close_timeout       => 5,
);
# The original has only the first and the third.
delete @for_connections{ grep { !AnyEvent::WebSocket::Connection->can($_) } keys %for_connections };
my $max_connections = 1000;

my %connections;

sub accept_client {
    my ($socket) = @_;
    return if keys %connections >= $max_connections;
    my $handshake = Protocol::WebSocket::Handshake::Server->new;

    my $handle;
    # This covers the whole handshake; the handle's timeout would start again with each byte.
    my $timer = AE::timer 10, 0, sub { undef $handle };
    $handle = AnyEvent::Handle->new(
        fh       => $socket,
        no_delay => 1,
        on_error => sub { undef $_ for $handle, $timer },
        on_read  => sub {
            # parse() removes the handshake from the buffer; what follows it is left for the connection.
            return undef $handle if !$handshake->parse($handle->{rbuf});
            return if !$handshake->is_done;
            $handle->push_write($handshake->to_string);
            serve($handle);
            undef $_ for $handle, $timer;
        },
    );
}

sub serve {
    my ($handle) = @_;
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, %for_connections);

    # A connection closes when nobody holds it. Nothing below refers to it, so this is its only owner.
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

# This is not in that callback, which comes before the socket listens.
$| = 1;
print "listening on $address with $INC{'AnyEvent/WebSocket/Connection.pm'}\n";
AnyEvent->condvar->recv;
