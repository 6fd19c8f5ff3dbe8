#!/usr/bin/env perl
# Loads an echo server and checks every reply, byte for byte:
#
#   echo-load.pl raw|client PORT PID BYTES IN_FLIGHT CONNECTIONS SECONDS
#
# "raw" speaks TCP with frames made beforehand, so that it is seldom what limits the rate; "client" is
# AnyEvent::WebSocket::Client. Prints the messages echoed, the seconds they took, and the CPU microseconds that the
# server, process PID, spent on each.
use strict;
use warnings;

use IO::Socket::INET;
use List::Util qw(max);
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(time);

my ($mode, $port, $pid, $size, $depth, $connections, $seconds) = @ARGV;
my %load = (raw => \&raw_load, client => \&client_load);
my $run = $load{ $mode // '' } or die "usage: $0 raw|client PORT PID BYTES IN_FLIGHT CONNECTIONS SECONDS\n";

my ($messages, $elapsed, $cpu) = $run->();
printf "%d %.3f %.3f\n", $messages, $elapsed, $cpu * 1e6 / $messages;

# Runs $step, which returns a number of messages, until the time is over.
sub measure {
    my ($step) = @_;
    my ($start, $cpu_before, $messages) = (time, cpu_seconds(), 0);
    $messages += $step->() while time - $start < $seconds;
    return ($messages, time - $start, cpu_seconds() - $cpu_before);
}

# Returns the server's CPU time. schedstat counts nanoseconds if the kernel has it, stat only ticks.
sub cpu_seconds {
    if (open my $file, '<', "/proc/$pid/schedstat") {
        my ($nanoseconds) = split ' ', <$file>;
        return $nanoseconds / 1e9 if $nanoseconds;
    }
    open my $file, '<', "/proc/$pid/stat" or die "server $pid: $!";
    my @fields = split ' ', <$file> =~ s/^.*\) //r;
    return ($fields[11] + $fields[12]) / 100;
}

sub payload {
    my ($bytes, $is_text) = @_;
    return join '', map { chr($is_text ? 32 + rand 95 : rand 256) } 1 .. $bytes;
}

sub frame {
    my ($opcode, $payload, $mask) = @_;
    my $length = length $payload;
    my $bit = defined $mask ? 0x80 : 0;
    my $header = pack 'C', 0x80 | $opcode;
    $header .= $length < 126 ? pack('C', $bit | $length)
        : $length < 65536    ? pack('Cn', $bit | 126, $length)
        :                      pack('CQ>', $bit | 127, $length);
    return $header . $payload if !defined $mask;
    return $header . $mask . ($payload ^ substr($mask x (1 + $length / 4), 0, $length));
}

# Returns one write of several frames, text and binary by turns, and the bytes that must come back.
sub batch {
    my ($request, $reply) = ('', '');
    for my $n (1 .. $depth) {
        my $opcode = $n % 2 ? 1 : 2;
        my $payload = payload($size, $opcode == 1);
        $request .= frame($opcode, $payload, payload(4));
        $reply .= frame($opcode, $payload);
    }
    return [$request, $reply];
}

sub connect_raw {
    my $socket = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port, Timeout => 10) or die "connect: $@";
    $socket->setsockopt(6, 1, 1); # TCP_NODELAY
    my $key = encode_base64(payload(16), '');
    $socket->print("GET / HTTP/1.1\r\nHost: 127.0.0.1:$port\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            . "Sec-WebSocket-Key: $key\r\nSec-WebSocket-Version: 13\r\n\r\n");
    my $answer = '';
    while ($answer !~ /\r\n\r\n/) { $socket->sysread($answer, 4096, length $answer) or die "no handshake: $answer" }
    $answer =~ m{^HTTP/1.1 101 .*\r\n\r\n$}s or die "handshake: $answer";
    return $socket;
}

sub raw_load {
    local $SIG{ALRM} = sub { die "the server has stopped answering\n" };
    my @sockets = map { connect_raw() } 1 .. $connections;
    my @batches = map { batch() } 1 .. ($size > 100_000 ? 2 : 8);
    my $turn = 0;
    return measure(sub {
        alarm 20;
        my @sent;
        for my $socket (@sockets) {
            my $batch = $batches[ $turn++ % @batches ];
            for (my $done = 0; $done < length $batch->[0];) {
                $done += syswrite($socket, $batch->[0], length($batch->[0]) - $done, $done) // die "write: $!";
            }
            push @sent, $batch;
        }
        for my $n (0 .. $#sockets) {
            my ($expected, $reply) = ($sent[$n][1], '');
            while ((my $missing = length($expected) - length $reply) > 0) {
                sysread($sockets[$n], $reply, max($missing, 4096), length $reply) or die "the server hung up: $!";
            }
            $reply eq $expected or die "a wrong reply\n";
        }
        alarm 0;
        return @sockets * $depth;
    });
}

sub client_load {
    require AnyEvent;
    require AnyEvent::WebSocket::Client;
    my @pool = map {
        my $client = AnyEvent::WebSocket::Client->new(max_payload_size => 16 << 20);
        $client->connect("ws://127.0.0.1:$port/")->recv;
    } 1 .. $connections;
    my @payloads = map { payload($size, 1) } 1 .. 8;
    my (@expected, $open, $done);
    my $turn = 0;
    for my $connection (@pool) {
        my $queue = [];
        push @expected, $queue;
        $connection->on(each_message => sub {
            my (undef, $message) = @_;
            $message->body eq (shift @$queue // '') or die "a wrong reply\n";
            $done->send if --$open == 0;
        });
        $connection->on(parse_error => sub { $done->croak($_[1]) });
    }
    return measure(sub {
        $done = AnyEvent->condvar;
        my $late = AnyEvent->timer(after => 20, cb => sub { $done->croak('the server has stopped answering') });
        $open = @pool * $depth;
        for my $n (0 .. $#pool) {
            for (1 .. $depth) {
                my $payload = $payloads[ $turn++ % @payloads ];
                push @{ $expected[$n] }, $payload;
                $pool[$n]->send($payload);
            }
        }
        $done->recv;
        return @pool * $depth;
    });
}
