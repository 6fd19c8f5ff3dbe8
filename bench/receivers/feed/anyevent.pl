#!/usr/bin/env perl
# Receives a feed with AnyEvent::WebSocket::Client, and tells a message of another length how many came before it.
#   anyevent.pl SCHEME PORT BYTES
use strict;
use warnings;

use AnyEvent;
use AnyEvent::WebSocket::Client;

my ($scheme, $port, $size) = @ARGV;
my $client = AnyEvent::WebSocket::Client->new(ssl_no_verify => 1);
my $connection = $client->connect("$scheme://127.0.0.1:$port/$$")->recv;
my $received = 0;
$connection->on(
    each_message => sub {
        my ($connection, $message) = @_;
        length $message->body == $size ? $received++ : $connection->send($received);
    });
AE::cv->recv;
