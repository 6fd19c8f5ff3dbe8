#!/usr/bin/env perl
# Echoes a fixed number of messages over a socketpair, on EV. For counting instructions: what a message costs is the
# difference between two runs of different length, divided by the difference of their counts.
#   perl -Mblib bench/replay.pl MESSAGES [BYTES [IN_FLIGHT]]
use strict;
use warnings;
use EV;
use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::WebSocket::Connection;
use Fcntl;
use Socket;

my($messages, $bytes, $in_flight) = (@ARGV, 128, 1)[0 .. 2];
$in_flight = 1 unless @ARGV > 2;
$bytes = $ARGV[1] if @ARGV > 1;

# The peer is a program of its own, so that what counts this one's instructions leaves it alone.
my $peer = <<'PEER';
  my($messages, $bytes, $in_flight, $fd) = @ARGV;
  open my $fh, '+<&=', $fd or die $!;
  binmode $fh;
  my $length = $bytes < 126 ? pack('C', 0x80 | $bytes) : $bytes < 65536 ? pack('Cn', 0xfe, $bytes) : pack('CNN', 0xff, 0, $bytes);
  my $frame = "\x81" . $length . "\1\2\3\4" . 'x' x $bytes;
  my $reply = 1 + length($length) + $bytes;
  for(my $left = $messages; $left > 0; $left -= $in_flight) {
    my $burst = $left < $in_flight ? $left : $in_flight;
    my $out = $frame x $burst;
    while(length $out) { my $n = syswrite($fh, $out) // die $!; substr $out, 0, $n, '' }
    my $want = $burst * $reply;
    while($want > 0) { $want -= sysread($fh, my $in, $want) || die 'short' }
  }
PEER

socketpair(my $near, my $far, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
fcntl($far, F_SETFD, 0) or die $!;
my $pid = fork // die $!;
exec $^X, '-e', $peer, $messages, $bytes, $in_flight, fileno $far unless $pid;
close $far;

my $done = AE::cv;
my $connection = AnyEvent::WebSocket::Connection->new(handle => AnyEvent::Handle->new(fh => $near), max_payload_size => 0);
my $echoed = 0;
$connection->on(each_message => sub { my($c, $m) = @_; $c->send($m); $echoed++ });
$connection->on(finish => $done);
$done->recv;
waitpid $pid, 0;
die "echoed $echoed of $messages\n" unless $echoed == $messages;
print "$echoed\n";
