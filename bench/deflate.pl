#!/usr/bin/env perl
# Measures what it costs a client to receive compressed JSON: CPU time per message, user and system and of all threads,
# of this build and of Node ws, from the same sender, with context takeover.
#
#   bench/deflate.pl [--bytes N] [--count N] [--runs N] [--blib DIR]
#
# Node ws is looked for where bench/compare.pl has it, in BENCH_CACHE (default ~/.cache/ws-bench), then by NODE_PATH.
use strict;
use warnings;

use Compress::Raw::Zlib qw(Z_OK Z_SYNC_FLUSH);
use FindBin;
use Getopt::Long;
use IO::Socket::INET;
use List::Util qw(sum);
use Protocol::WebSocket::Handshake::Server;

# After this many different messages the same ones come again; by then they have left the sender's window.
use constant CYCLE => 500;

my %option = (bytes => 1024, count => 100_000, runs => 5, blib => "$FindBin::Bin/../blib");
GetOptions(\%option, qw(bytes=i count=i runs=i blib=s)) && !@ARGV or die "usage: see the first lines of $0\n";

$| = 1;
my $cache = $ENV{BENCH_CACHE} // "$ENV{HOME}/.cache/ws-bench";
$ENV{NODE_PATH} = join ':', "$cache/node/node_modules", $ENV{NODE_PATH} // ();
my @core = system('taskset -c 0 true >/dev/null 2>&1') == 0 ? qw(taskset -c 0) : ();
my @perl = ($^X, "-I$option{blib}/lib", "-I$option{blib}/arch");
my %receivers = (
    'this build' => [@core, @perl, "$FindBin::Bin/receivers/ours.pl"],
    'Node ws' => [@core, 'node', "$FindBin::Bin/receivers/ws.js"],
);

my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "no socket: $@\n";
my @messages = map { json($option{bytes}, $_) } 1 .. CYCLE;
my $wire = frames();
printf "%d bytes of JSON, compressed to %d\n", sum(map { length } @messages) / CYCLE, length($wire) / CYCLE;

my %times;
for (1 .. $option{runs}) {
    for my $name (sort keys %receivers) { push @{ $times{$name} }, measured($name) }
}
my %median = map {
    $_ => (sort { $a <=> $b } @{ $times{$_} })[$option{runs} / 2]
} keys %times;
printf "%-10s %8.2f µs a message\n", $_, $median{$_} for sort keys %median;
printf "this build / Node ws: %.2f\n", $median{'this build'} / $median{'Node ws'};

# Returns a message of a market's feed, the same each time.
sub json {
    my ($size, $seed) = @_;
    my @symbols = qw(AAPL MSFT GOOG AMZN TSLA);
    my $text = qq({"type":"update","seq":$seed,"items":[);
    my $n = $seed;
    while (length $text < $size - 80) {
        $n = ($n * 1103515245 + 12345) % 2**31;
        $text .= sprintf '{"symbol":"%s","price":%.2f,"volume":%d,"side":"%s"},',
            $symbols[($n >> 16) % 5], 100 + $n % 40_000 / 100, ($n >> 8) % 10_000, $n & 1 << 20 ? 'buy' : 'sell';
    }
    chop $text;
    return "$text]}";
}

sub frames {
    my ($deflate) = Compress::Raw::Zlib::Deflate->new(-WindowBits => -15, -AppendOutput => 1);
    return join '', map {
        my $out = '';
        $deflate->deflate($_, $out) == Z_OK && $deflate->flush($out, Z_SYNC_FLUSH) == Z_OK or die "zlib\n";
        my $length = length($out) - 4;
        ($length < 126 ? pack 'CC', 0xc1, $length : pack 'CCn', 0xc1, 126, $length) . substr $out, 0, $length;
    } @messages;
}

sub measured {
    my ($name) = @_;
    my $feeder = fork // die "fork: $!\n";
    $feeder or do { feed(); exit };
    open my $output, '-|', @{ $receivers{$name} }, $listener->sockport, $option{count} or die "$name: $!\n";
    my $line = readline($output) // die "$name has ended without a word\n";
    close $output;
    waitpid $feeder, 0;
    my ($time, $octets) = $line =~ /^cpu_us=([\d.]+) octets=(\d+)/ or die "$name: $line";
    my $expected = sum(map { length $messages[$_ % CYCLE] } 0 .. $option{count} - 1);
    die "$name received $octets bytes, not $expected\n" if $octets != $expected;
    return $time;
}

# Sends until the receiver has enough, and hangs up.
sub feed {
    local $SIG{PIPE} = 'IGNORE';
    my $socket = $listener->accept or die "accept: $!\n";
    my $handshake = Protocol::WebSocket::Handshake::Server->new;
    until ($handshake->is_done) {
        sysread $socket, my $bytes, 4096 or die "no handshake\n";
        $handshake->parse($bytes);
    }
    my $response = $handshake->to_string =~ s/\x0d\x0a\z/Sec-WebSocket-Extensions: permessage-deflate\x0d\x0a\x0d\x0a/r;
    syswrite $socket, $response;
    while (1) {
        for (my $at = 0; $at < length $wire;) { $at += syswrite($socket, $wire, length($wire) - $at, $at) || return }
    }
}
