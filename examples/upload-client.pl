#!/usr/bin/env perl
# Sends a file of any size as one message, read as fast as the server takes it, and prints the server's answer.
#
#   perl examples/upload-client.pl URL FILE
#
# examples/upload-server.pl is the other half.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::WebSocket::Client;

@ARGV == 2 or die "usage: $0 URL FILE\n";
my ($url, $path) = @ARGV;
open my $file, '<:raw', $path or die "$path: $!\n";
$| = 1;

my $connection = AnyEvent::WebSocket::Client->new->connect($url)->recv;
my $done = AE::cv;

my $sent = 0;
$connection->send_stream(
    sub {
        # undef, at the end of the file, ends the message; an exception closes the connection.
        my $count = read $file, my $octets, 256 * 1024;
        die "$path: $!\n" if !defined $count;
        $sent += $count;
        return $count ? $octets : undef;
    },
    binary => 1,
    done   => sub { my (undef, $error) = @_; $done->croak($error) if $error },
);
my $progress = AE::timer 1, 1, sub { print STDERR "$sent bytes\n" };

$connection->on(each_message => sub { $done->send($_[1]->decoded_json) });
$connection->on(finish => sub {
    my ($connection, $error) = @_;
    $done->croak($error || 'the server closed the connection: ' . ($connection->close_reason // 'without a word'));
});

my $stored = eval { $done->recv } or die "not stored: $@";
print "stored as $stored->{name}, $stored->{size} bytes, SHA-256 $stored->{sha256}\n";
$connection->close(1000);
