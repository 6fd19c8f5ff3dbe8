#!/usr/bin/env perl
# A client of a feed, such as an exchange's trades: it subscribes, prints what comes, notices when the feed has gone
# silent, and connects and subscribes again, after a while that grows from failure to failure.
#
#   perl examples/feed-client.pl [OPTIONS] URL CHANNEL...
#   perl examples/feed-client.pl wss://feed.example.com/v1 trades.BTC-EUR trades.ETH-EUR
#
#   --delay SECONDS       before the second try, doubled with each that fails (1), up to
#   --max-delay SECONDS   (60)
#   --timeout SECONDS     for connecting and the handshake together (20)
#   --ping SECONDS        between pings (15)
#   --silence SECONDS     without a byte from the server, pongs included, end a connection (40)
#
# Feeds differ in how one subscribes; this one takes {"op": "subscribe", "channels": [...]}, and sends objects that have
# a "channel". What happened between two connections is lost: a program that must know it asks for a snapshot in
# subscribe(). Ctrl-C closes in order.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::WebSocket::Client;
use Getopt::Long qw(GetOptions);
use List::Util qw(min);

my %option = (delay => 1, 'max-delay' => 60, timeout => 20, ping => 15, silence => 40);
GetOptions(\%option, map {"$_=f"} keys %option) && @ARGV > 1 or die "usage: $0 [OPTIONS] URL CHANNEL...\n";
my ($url, @channels) = @ARGV;
$| = 1;
binmode $_, ':encoding(UTF-8)' for *STDOUT, *STDERR;

my $client = AnyEvent::WebSocket::Client->new(timeout => $option{timeout});
my $failures = 0;    # since the last message
my ($connection, $timer, $stopping);

sub connect_feed {
    my $opening = $client->connect($url);

    # The client's own timeout ends once TCP is connected; this one covers a server that then says nothing.
    $timer = AE::timer $option{timeout}, 0, sub {
        $opening->cb(sub { });    # drops a connection that comes after all
        try_again('no answer to the handshake');
    };
    $opening->cb(sub {
        ($connection) = eval { $_[0]->recv } or return try_again($@);
        watch_connection();
        subscribe();
    });
}

sub watch_connection {
    # A connection that a router has cut looks like one with nothing to say. The pings make the server say something, and
    # idle_timeout ends the connection with an error if nothing comes for that long.
    undef $timer;
    $connection->ping_interval($option{ping});
    $connection->idle_timeout($option{silence});
    # A server may misbehave, too.
    $connection->max_message_size(1 << 20);
    $connection->close_timeout(5);

    $connection->on(each_message => sub { receive($_[1]) });
    $connection->on(finish => sub {
        my ($ended, $error) = @_;
        undef $connection;
        my $code = $ended->close_code;
        try_again($error // ($code ? join ' ', 'closed:', $code, $ended->close_reason : 'closed without a word'));
    });
}

sub subscribe {
    $connection->send_json({ op => 'subscribe', channels => \@channels });
    print "subscribed to @channels\n";
}

sub receive {
    my ($message) = @_;
    my $event = eval { $message->decoded_json };
    return warn 'not understood: ', $message->decoded_body, "\n" if ref $event ne 'HASH' || !defined $event->{channel};
    $failures = 0;    # only now: an overloaded server may well accept, and close at once
    print join(' ', map {"$_=$event->{$_}"} sort keys %$event), "\n";
}

# Connects again, later. The random part keeps clients that lost the same server from coming back at the same time.
sub try_again {
    my ($why) = @_;
    exit if $stopping;
    my $seconds = min($option{'max-delay'}, $option{delay} * 2**$failures++) * (0.5 + rand 0.5);
    $why =~ s/ at \S+ line \d+\.?\n\z//;
    printf "%s; next try in %.3f s\n", $why, $seconds;
    $timer = AE::timer $seconds, 0, \&connect_feed;
}

sub stop {
    exit if $stopping++ || !$connection;
    $connection->close(1000);
}

my @signals = map { AE::signal $_ => \&stop } qw(INT TERM);
connect_feed();
AnyEvent->condvar->recv;
