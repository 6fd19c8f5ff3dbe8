#!/usr/bin/env perl
# The client of this build as the receiver of bench/deflate.pl.
use strict;
use warnings;

use EV;
use AnyEvent;
use AnyEvent::WebSocket::Deflate::Client;
use Time::HiRes qw(clock_gettime CLOCK_PROCESS_CPUTIME_ID);

my ($port, $count) = @ARGV;
my $client = AnyEvent::WebSocket::Deflate::Client->new(deflate => { server_max_window_bits => 15 });
my $connection = $client->connect("ws://127.0.0.1:$port/")->recv;
$connection->deflate or die "no compression\n";
my $done = AE::cv;
my ($received, $octets, $start) = (0, 0);
$connection->on(
    each_message => sub {
        return if $received == $count;
        $start //= clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
        $octets += length $_[1]->body;
        $done->send(clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $start) if ++$received == $count;
    });
printf "cpu_us=%.4f octets=%d\n", 1e6 * $done->recv / $count, $octets;
