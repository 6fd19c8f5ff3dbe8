#!/usr/bin/env perl
# Runs the client's role alone, on EV, against a peer that does next to nothing. Prints the CPU time, user and system, that one
# message, one construction or one connection takes. For bench/compare.pl and bench/instructions.pl.
#   client.pl feed BYTES COUNT [tls]    receives
#   client.pl send BYTES COUNT          sends, masked
#   client.pl new COUNT                 constructs connections over handles that exist already
#   client.pl dial COUNT                connects, sends 128 B, gets them back and closes, one connection after the other
use strict;
use warnings;

use EV;
use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::WebSocket::Client;
use AnyEvent::WebSocket::Connection;
use Fcntl;
use Socket;
use Time::HiRes qw(clock_gettime CLOCK_PROCESS_CPUTIME_ID);

use constant { WARM_UP => 200, BURST => 50, BURST_BYTES => 1 << 17, BATCH => 200 };

my %modes = (feed => \&feed, send => \&send_masked, new => \&construct, dial => \&dial);
my $is_tls = ($ARGV[-1] // '') eq 'tls' && pop @ARGV;
my ($mode, @numbers) = @ARGV;
my $run = $modes{ $mode // '' };
die "usage: $0 feed BYTES COUNT [tls] | send BYTES COUNT | new COUNT | dial COUNT\n" if !$run || $is_tls && $mode ne 'feed';
printf "cpu_us=%.4f\n", 1e6 * $run->(@numbers) / $numbers[-1];

sub cpu { clock_gettime(CLOCK_PROCESS_CPUTIME_ID) }

# Starts the peer as a separate program, so that it is not measured; on another core if there is one.
sub start_peer {
    my ($code, @arguments) = @_;
    socketpair(my $near, my $far, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
    fcntl($far, F_SETFD, 0) or die "fcntl: $!";
    my $preamble = <<'PEER';
    system "taskset -cp 1 $$ >/dev/null 2>&1";
    my $fd = shift;
    open my $fh, '+<&=', $fd or die $!;
    binmode $fh;
    my $write = sub { syswrite $fh, $_[0] };
PEER
    $preamble .= tls_peer() if $is_tls;
    my $pid = fork // die "fork: $!";
    exec $^X, '-e', $preamble . $code, fileno $far, @arguments unless $pid;
    return (connection_over($near), $pid);
}

# Returns code that has the peer write encrypted, with a certificate made on the spot.
sub tls_peer {
    my $made =
        `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout - 2>/dev/null`;
    return "my \$made = <<'PEM';\n${made}PEM\n" . <<'PEER';
    require Net::SSLeay;
    Net::SSLeay::initialize();
    my $ctx = Net::SSLeay::CTX_new();
    for ([\&Net::SSLeay::PEM_read_bio_X509, \&Net::SSLeay::CTX_use_certificate],
        [\&Net::SSLeay::PEM_read_bio_PrivateKey, \&Net::SSLeay::CTX_use_PrivateKey]) {
      my($read, $use) = @$_;
      my $bio = Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem());
      Net::SSLeay::BIO_write($bio, $made);
      $use->($ctx, $read->($bio)) or die 'certificate';
    }
    my $ssl = Net::SSLeay::new($ctx);
    Net::SSLeay::set_fd($ssl, fileno $fh);
    Net::SSLeay::accept($ssl) == 1 or die 'no handshake';
    $write = sub { my $n = Net::SSLeay::write($ssl, $_[0]); $n > 0 ? $n : die 'no write' };
PEER
}

sub connection_over {
    my ($fh) = @_;
    my $handle = AnyEvent::Handle->new(fh => $fh, $is_tls ? (tls => 'connect', tls_ctx => { verify => 0 }) : ());
    return AnyEvent::WebSocket::Connection->new(handle => $handle, masked => 1, max_payload_size => 0);
}

sub frame_header {
    my ($size) = @_;
    return "\x81" . ($size < 126 ? pack 'C', $size : $size < 65536 ? pack 'Cn', 126, $size : pack 'CNN', 127, 0, $size);
}

sub feed {
    my ($size, $count) = @_;
    my ($connection, $pid) = start_peer(<<'PEER', $size, $count, unpack 'H*', frame_header($size));
    my($size, $left, $header) = @ARGV;
    my $frame = pack('H*', $header) . 'x' x $size;
    my $whole = 1 + int(262_144 / length $frame);
    while($left > 0) {
      my $burst = $left < $whole ? $left : $whole;
      my $out = $frame x $burst;
      while(length $out) { substr $out, 0, $write->($out) || die($!), '' }
      $left -= $burst;
    }
    sysread $fh, my $end, 1;
PEER
    my $done = AE::cv;
    my $received = 0;
    $connection->on(
        each_message => sub {
            my (undef, $message) = @_;
            length $message->body == $size or die "a message of the wrong size\n";
            $done->send(cpu()) if ++$received == $count;
        });
    my $start = cpu();
    my $cpu = $done->recv - $start;
    undef $connection;
    waitpid $pid, 0;
    return $cpu;
}

# Sends like a busy program: some messages per turn of the loop, once the kernel has taken the previous ones, so that
# each send tries to write.
sub send_masked {
    my ($size, $count) = @_;
    my $total = $count * (4 + length(frame_header($size)) + $size);
    my ($connection, $pid) = start_peer(<<'PEER', $total);
    my($left) = @ARGV;
    while($left > 0) { $left -= sysread($fh, my $in, 1 << 20) || die 'the other end is gone' }
    syswrite $fh, "\x81\0";
PEER
    my $payload = 'x' x $size;
    my $done = AE::cv;
    $connection->on(each_message => sub { $done->send(cpu()) });
    my $burst = BURST_BYTES / $size < BURST ? BURST_BYTES / $size : BURST;
    my $left = $count;
    my $timer;
    my $turn;
    $turn = sub {
        my $is_stuck = length($connection->handle->{wbuf} // '');
        for (1 .. ($is_stuck ? 0 : $burst)) { $left-- > 0 ? $connection->send($payload) : return undef $timer }
        $timer = AE::timer($is_stuck ? 0.0002 : 0, 0, $turn);
    };
    my $start = cpu();
    $turn->();
    my $cpu = $done->recv - $start;
    undef $turn;
    waitpid $pid, 0;
    return $cpu;
}

sub construct {
    my ($count) = @_;
    my $cpu = 0;
    for (my $left = $count; $left > 0; $left -= BATCH) {
        my (@peers, @handles, @connections);
        for (1 .. ($left < BATCH ? $left : BATCH)) {
            socketpair(my $near, my $far, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
            push @peers, $far;
            push @handles, AnyEvent::Handle->new(fh => $near);
        }
        my $start = cpu();
        push @connections, AnyEvent::WebSocket::Connection->new(handle => $_) for @handles;
        $cpu += cpu() - $start;
    }
    return $cpu;
}

# Returns the program of a server that knows the only client it will have, on another core.
sub server {
    return <<'SERVER';
    use Digest::SHA 'sha1_base64';
    use Socket qw(IPPROTO_TCP TCP_NODELAY);
    system "taskset -cp 1 $$ >/dev/null 2>&1";
    open my $listener, '<&=', shift or die $!;
    my ($message, $close) = ("\x81\x7e\0\x80" . 'x' x 128, "\x88\0");
    while (accept my $fh, $listener) {
      setsockopt $fh, IPPROTO_TCP, TCP_NODELAY, 1;
      sysread $fh, my $request, 4096 or next;
      my ($key) = $request =~ /^Sec-WebSocket-Key: (\S+)/m;
      my $accept = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
      my @lines = ('HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', "Sec-WebSocket-Accept: $accept");
      for my $answer (join("\r\n", @lines, '', ''), $message, $close) {
        syswrite $fh, $answer;
        sysread $fh, my $next, 4096 or last;
      }
    }
SERVER
}

sub dial {
    my ($count) = @_;
    socket my $listener, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    bind $listener, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
    listen $listener, 5 or die "listen: $!";
    my ($port) = unpack_sockaddr_in(getsockname $listener);
    fcntl $listener, F_SETFD, 0 or die "fcntl: $!";
    my $pid = fork // die "fork: $!";
    exec $^X, '-e', server(), fileno $listener unless $pid;
    my $client = AnyEvent::WebSocket::Client->new;
    dial_once($client, $port) for 1 .. WARM_UP;
    my $start = cpu();
    dial_once($client, $port) for 1 .. $count;
    my $cpu = cpu() - $start;
    kill TERM => $pid;
    waitpid $pid, 0;
    return $cpu;
}

sub dial_once {
    my ($client, $port) = @_;
    my $finished = AE::cv;
    my $connection;
    $client->connect("ws://127.0.0.1:$port/")->cb(sub {
        $connection = $_[0]->recv;
        $connection->on(each_message => sub { $_[0]->close });
        $connection->on(finish => sub { $finished->send });    # without arguments, which would hold the connection forever
        $connection->send('x' x 128);
    });
    $finished->recv;
}
