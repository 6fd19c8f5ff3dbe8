#!/usr/bin/env perl
# A server on AnyEvent::WebSocket::Connection, whichever the environment selects.
#   anyevent.pl MODE [CERTIFICATE KEY]
# Modes: echo; accept, the same behind AnyEvent::WebSocket::Server; broadcast, each message to all connections; deflate and
# deflate_each, a compressed echo.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::Socket qw(tcp_server);
use AnyEvent::WebSocket::Connection;
use Protocol::WebSocket::Handshake::Server;

my ($mode, $certificate, $key) = @ARGV;
my %connections;
my $on_message =
    $mode ne 'broadcast' ? sub { my ($connection, $message) = @_; $connection->send($message) }
    : AnyEvent::WebSocket::Connection->can('broadcast')
    ? sub { AnyEvent::WebSocket::Connection->broadcast([values %connections], $_[1]) }
    : sub { my $message = $_[1]; $_->send($message) for values %connections };

my %tls;
if (defined $certificate) {
    require AnyEvent::TLS;
    %tls = (tls => 'accept', tls_ctx => AnyEvent::TLS->new(cert_file => $certificate, key_file => $key));
}

# Returns the header of the response and the parameter of the connection for what the client asks, if this is to compress.
sub compression {
    my ($request) = @_;
    return ('') if $mode !~ /^deflate/;
    require AnyEvent::WebSocket::Deflate;
    my $offers = $request->fields->{'sec-websocket-extensions'};
    my ($header, $parameters) = AnyEvent::WebSocket::Deflate::accept($offers);
    return ("Sec-WebSocket-Extensions: $header\x0d\x0a", deflate => $parameters);
}

sub serve {
    my ($connection) = @_;
    $connections{$connection} = $connection;
    $connection->on(each_message => $on_message);
    $connection->on(finish => sub { delete $connections{ $_[0] } });
}

sub accepted {
    my ($fh) = @_;
    my $handshake = Protocol::WebSocket::Handshake::Server->new;
    my $handle;
    $handle = AnyEvent::Handle->new(fh => $fh, no_delay => 1, %tls, on_error => sub { undef $handle });
    $handle->on_read(sub {
        $handshake->parse($handle->{rbuf}) or return undef $handle;
        return if !$handshake->is_done;
        my ($header, @options) = compression($handshake->req);
        $handle->push_write($handshake->to_string =~ s/(?=\x0d\x0a\z)/$header/r);
        serve(AnyEvent::WebSocket::Connection->new(handle => $handle, max_payload_size => 0, @options));
        undef $handle;
    });
}

# Returns what takes a socket to AnyEvent::WebSocket::Server.
sub establisher {
    require AnyEvent::WebSocket::Server;
    my $server = AnyEvent::WebSocket::Server->new;
    return sub {
        $server->establish($_[0])->cb(sub { serve($_[0]->recv) });
    };
}

my $guard = tcp_server '127.0.0.1', 0, $mode eq 'accept' ? establisher() : \&accepted, sub {
    my (undef, undef, $port) = @_;
    my $distribution = 'AnyEvent-WebSocket-' . (AnyEvent::WebSocket::Connection->backend eq 'rust' ? 'Native' : 'Client');
    my $loop = AnyEvent::detect() eq 'AnyEvent::Impl::EV' ? "EV $EV::VERSION" : AnyEvent::detect();
    syswrite STDOUT,
        "$port $distribution " . AnyEvent::WebSocket::Connection->VERSION . ", AnyEvent $AnyEvent::VERSION, $loop, perl $^V\n";
    return 1024;
};
AE::cv->recv;
