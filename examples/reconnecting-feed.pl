#!/usr/bin/env perl
# A client of a feed in a few lines: it subscribes, prints what comes, and comes back whenever the connection is lost.
#
#   perl examples/reconnecting-feed.pl URL CHANNEL...
#   perl examples/reconnecting-feed.pl wss://feed.example.com/v1 trades.BTC-EUR trades.ETH-EUR
#
# It ends with status 1 if there is no point in trying again. Ctrl-C closes in order. feed-client.pl does the same by hand,
# without AnyEvent::WebSocket::Reconnecting.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::WebSocket::Reconnecting;

my ($url, @channels) = @ARGV or die "usage: $0 URL CHANNEL...\n";
$| = 1;
binmode $_, ':encoding(UTF-8)' for *STDOUT, *STDERR;

my $feed = AnyEvent::WebSocket::Reconnecting->new(
    uri       => $url,
    subscribe => sub { $_[1]->send_json({ op => 'subscribe', channels => \@channels }) },
);
my $status = AE::cv;
$feed->on(each_message => sub { print $_[1]->decoded_body, "\n" });
$feed->on(retry => sub { printf "%s; next attempt in %.1f s\n", @_[1, 2] });
$feed->on(give_up => sub { print "$_[1]\n"; $status->send(1) });

my @signals = map { AE::signal $_ => \&stop } qw(INT TERM);

sub stop {
    $feed->on(disconnect => sub { $status->send(0) });
    $feed->close(1000);
    $status->send(0) if $feed->state eq 'closed';
}

exit $status->recv;
