#!/usr/bin/env perl
# Echoes a fixed number of messages over a socketpair, on EV. Used to count instructions: a message costs the difference
# between two runs of different length, divided by the difference of their counts.
#   perl -Mblib bench/replay.pl MESSAGES [BYTES [IN_FLIGHT [tls]]]
use strict;
use warnings;
use EV;
use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::WebSocket::Connection;
use Fcntl;
use Socket;

my ($messages, $bytes, $in_flight, $is_tls) = (@ARGV, (undef, 128, 1, 0)[@ARGV .. 3]);

# The peer is a separate program, so that its instructions are not counted.
my $peer = <<'PEER';
  my($messages, $bytes, $in_flight, $fd, $is_tls) = @ARGV;
  open my $fh, '+<&=', $fd or die $!;
  binmode $fh;
  my $length = $bytes < 126 ? pack('C', 0x80 | $bytes) : $bytes < 65536 ? pack('Cn', 0xfe, $bytes) : pack('CNN', 0xff, 0, $bytes);
  my $frame = "\x81" . $length . "\1\2\3\4" . 'x' x $bytes;
  my $reply = 1 + length($length) + $bytes;
  my $write = sub { syswrite($fh, $_[0]) // die $! };
  my $read = sub { sysread($fh, my $in, $_[0]) || die 'short' };
  if($is_tls) {
    require Net::SSLeay;
    Net::SSLeay::initialize();
    my $ssl = Net::SSLeay::new(Net::SSLeay::CTX_new()) or die;
    Net::SSLeay::set_fd($ssl, $fd);
    Net::SSLeay::connect($ssl) == 1 or die 'no handshake';
    $write = sub { my $n = Net::SSLeay::write($ssl, $_[0]); $n > 0 ? $n : die 'no write' };
    $read = sub { length(Net::SSLeay::read($ssl, $_[0]) // '') || die 'short' };
  }
  for(my $left = $messages; $left > 0; $left -= $in_flight) {
    my $burst = $left < $in_flight ? $left : $in_flight;
    my $out = $frame x $burst;
    while(length $out) { substr $out, 0, $write->($out), '' }
    my $want = $burst * $reply;
    while($want > 0) { $want -= $read->($want) }
  }
PEER

socketpair(my $near, my $far, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
fcntl($far, F_SETFD, 0) or die $!;
my $pid = fork // die $!;
exec $^X, '-e', $peer, $messages, $bytes, $in_flight, fileno $far, $is_tls unless $pid;
close $far;

# Returns a key and a certificate, made on the spot.
sub tls {
    my $made =
        `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout - 2>/dev/null`;
    return (tls => 'accept', tls_ctx => { cert => $made, key => $made });
}

my $done = AE::cv;
my $handle = AnyEvent::Handle->new(fh => $near, $is_tls ? tls() : ());
my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, max_payload_size => 0);
my $echoed = 0;
$connection->on(each_message => sub { my ($c, $m) = @_; $c->send($m); $echoed++ });
$connection->on(finish => $done);
$done->recv;
waitpid $pid, 0;
die "echoed $echoed of $messages\n" unless $echoed == $messages;
print "$echoed\n";
