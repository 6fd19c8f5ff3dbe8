#!/usr/bin/env perl
# Accepts a number of connections, one after the other: each sends a message, gets it back and closes. Used to count
# instructions, as replay.pl is.
#   perl -Mblib bench/connections.pl CONNECTIONS
use strict;
use warnings;
use EV;
use AnyEvent;
use AnyEvent::Socket;
use AnyEvent::WebSocket::Server;

my ($connections) = @ARGV;

# The peer is a separate program, so that its instructions are not counted.
my $peer = <<'PEER';
  use Socket;
  my($connections, $port) = @ARGV;
  my $address = pack_sockaddr_in($port, INADDR_LOOPBACK);
  my $request = join "\r\n", 'GET / HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade',
    'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', '';
  my $message = "\x81\xfe\0\x80\1\2\3\4" . 'x' x 128;
  my $close = "\x88\x82\1\2\3\4" . (pack('n', 1000) ^ "\1\2");
  for(1 .. $connections) {
    socket(my $fh, AF_INET, SOCK_STREAM, 0) or die $!;
    connect($fh, $address) or die $!;
    for my $out ($request, $message, $close) {
      syswrite($fh, $out) // die $!;
      sysread($fh, my $in, 1000) || die 'short';
    }
    close $fh;
  }
PEER

my $server = AnyEvent::WebSocket::Server->new;
my $done = AE::cv;
my ($ended, $child, %connections) = (0);
my $guard = tcp_server '127.0.0.1', 0, sub {
    my ($fh) = @_;
    $server->establish($fh)->cb(sub {
        my $connection = $_[0]->recv;
        $connections{$connection} = $connection;
        $connection->on(each_message => sub { $_[0]->send($_[1]) });
        $connection->on(finish => sub { delete $connections{ $_[0] }; $ended++ });
    });
}, sub {
    my (undef, undef, $port) = @_;
    my $pid = fork // die $!;
    exec $^X, '-e', $peer, $connections, $port unless $pid;
    $child = AE::child $pid, $done;
    return 0;
};
$done->recv;
EV::run EV::RUN_ONCE while $ended < $connections && %connections;
die "$ended of $connections connections\n" if $ended < $connections;
print "$ended\n";
