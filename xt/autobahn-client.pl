#!/usr/bin/env perl
# The client that xt/autobahn.t sends to the Autobahn test suite's fuzzing server.
#
#   perl -Mblib xt/autobahn-client.pl STRICT PORT AGENT
#
# Plays all cases that the server has, one after the other, then has it write its reports; prints "CASES BACKEND".
use strict;
use warnings;

# AnyEvent::WebSocket::Client does not know the attribute; the variable is read when a connection is made.
BEGIN { $ENV{ANYEVENT_WEBSOCKET_STRICT} = $ARGV[0] }

use AnyEvent;
use AnyEvent::WebSocket::Deflate::Client;

my (undef, $port, $agent) = @ARGV;
my $attempts = 200;

# Returns a connection without limits that compresses everything, like the server's.
sub connection {
    my ($path) = @_;
    my %limits = (max_payload_size => 0, max_fragments => 1 << 30);
    my $client = AnyEvent::WebSocket::Deflate::Client->new(%limits, deflate => { threshold => 0 });
    return $client->connect("ws://127.0.0.1:$port$path")->recv;
}

# Returns the first connection. It tries until there is one: the server is given its port, and cannot report when it listens.
sub first_connection {
    my ($path) = @_;
    for (1 .. $attempts) {
        my $connection = eval { connection($path) };
        return $connection if $connection;
        my $turn = AE::cv;
        my $pause = AE::timer 0.1, 0, $turn;
        $turn->recv;
    }
    die "nobody listens on port $port: $@";
}

# Receives messages until the server has closed; returns the last one.
sub last_message {
    my ($connection, $on_message) = @_;
    my ($done, $last) = AE::cv;
    $connection->on(each_message => sub { $last = $_[1]; $on_message->(@_) if $on_message });
    $connection->on(finish => sub { $done->send });
    $done->recv;
    return $last;
}

my $count = last_message(first_connection('/getCaseCount'))->body;
for my $case (1 .. $count) {
    last_message(connection("/runCase?case=$case&agent=$agent"), sub { $_[0]->send($_[1]) });
}
last_message(connection("/updateReports?agent=$agent"));

my $backend = AnyEvent::WebSocket::Connection->can('backend');
print "$count ", $backend ? AnyEvent::WebSocket::Connection->$backend : 'pp', "\n";
