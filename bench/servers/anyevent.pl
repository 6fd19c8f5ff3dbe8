#!/usr/bin/env perl
# Echoes on AnyEvent::WebSocket::Connection, whichever the environment selects.
#   anyevent.pl [CERTIFICATE KEY]
use strict;
use warnings;

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::Socket qw(tcp_server);
use AnyEvent::WebSocket::Connection;
use Protocol::WebSocket::Handshake::Server;

my %tls;
if (my ($certificate, $key) = @ARGV) {
    require AnyEvent::TLS;
    %tls = (tls => 'accept', tls_ctx => AnyEvent::TLS->new(cert_file => $certificate, key_file => $key));
}

my %connections;

sub upgraded {
    my ($handle) = @_;
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, max_payload_size => 0);
    $connections{$connection} = $connection;
    $connection->on(each_message => sub { my ($connection, $message) = @_; $connection->send($message) });
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
        $handle->push_write($handshake->to_string);
        upgraded($handle);
        undef $handle;
    });
}

my $guard = tcp_server '127.0.0.1', 0, \&accepted, sub {
    my (undef, undef, $port) = @_;
    my $distribution = 'AnyEvent-WebSocket-' . (AnyEvent::WebSocket::Connection->backend eq 'rust' ? 'Native' : 'Client');
    my $loop = AnyEvent::detect() eq 'AnyEvent::Impl::EV' ? "EV $EV::VERSION" : AnyEvent::detect();
    syswrite STDOUT,
        "$port $distribution " . AnyEvent::WebSocket::Connection->VERSION . ", AnyEvent $AnyEvent::VERSION, $loop, perl $^V\n";
    return 1024;
};
AE::cv->recv;
