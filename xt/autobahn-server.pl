#!/usr/bin/env perl
# The echo server against which xt/autobahn.t has the Autobahn test suite play.
#
#   perl -Mblib xt/autobahn-server.pl STRICT
#
# Prints "PORT BACKEND" once it listens, and ends when its standard input does.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::Socket qw(tcp_server);
use AnyEvent::WebSocket::Connection;
use AnyEvent::WebSocket::Deflate;
use Protocol::WebSocket::Handshake::Server;

my ($strict) = @ARGV;
my %connections;

sub accept_client {
    my ($socket) = @_;
    my $handshake = Protocol::WebSocket::Handshake::Server->new;
    my $handle;
    $handle = AnyEvent::Handle->new(
        fh       => $socket,
        no_delay => 1,
        on_error => sub { undef $handle },
        on_read  => sub {
            return undef $handle if !$handshake->parse($handle->{rbuf});
            return if !$handshake->is_done;
            # Everything that can be compressed is compressed.
            my ($header, $deflate) =
                AnyEvent::WebSocket::Deflate::accept($handshake->req->fields->{'sec-websocket-extensions'}, threshold => 0);
            my $response = $handshake->to_string;
            $response =~ s/\x0d\x0a\z/Sec-WebSocket-Extensions: $header\x0d\x0a\x0d\x0a/ if $deflate;
            $handle->push_write($response);
            serve($handle, $deflate);
            undef $handle;
        },
    );
    return;
}

# Serves without limits, because cases 9.* send 16 MiB in one frame, and 4 MiB in frames of 64 bytes.
sub serve {
    my ($handle, $deflate) = @_;
    my $connection = AnyEvent::WebSocket::Connection->new(
        handle => $handle, strict => $strict, max_payload_size => 0, max_fragments => 1 << 30,
        $deflate ? (deflate => $deflate) : (),
    );
    $connections{ 0 + $connection } = $connection;
    $connection->on(finish => sub { delete $connections{ 0 + $_[0] } });
    $connection->on(each_message => sub { $_[0]->send($_[1]) });
    return;
}

my $backend = AnyEvent::WebSocket::Connection->can('backend');
my $server  = tcp_server '127.0.0.1', undef, \&accept_client, sub {
    my (undef, undef, $port) = @_;
    $| = 1;
    print "$port ", $backend ? AnyEvent::WebSocket::Connection->$backend : 'pp', "\n";
    return;
};
my $done   = AE::cv;
my $parent = AE::io *STDIN, 0, sub { $done->send unless sysread STDIN, my $ignored, 4096 };
$done->recv;
