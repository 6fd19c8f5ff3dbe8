package WebSocketTest::ForkedServer;

# A server in a process of its own, written with blocking calls: for clients that block this one.
#
#   my $server = WebSocketTest::ForkedServer->start(sub { my ($peer) = @_; ... }, tls => 1);
#   my $url = $server->url;             # ws://localhost:PORT/, or wss://
#   my @options = $server->options;     # what a client needs to trust its certificate
#
# The sub is called for each connection, one after the other, in the child. `raw => 1` leaves TLS and the handshake to it,
# `accept => 0` lets nobody be accepted. The child is killed when the object is destroyed.
#
#   $peer->request                      # the head of the request, after the handshake
#   $peer->next_frame                   # the next frame, as decode_frame returns it; undef at the end
#   $peer->write(@octets)
#   $peer->message                      # the payload of the next frame that is text or binary; undef at the end; answers a Close
#   $peer->echo                         # sends each message back until there is none
#   $peer->wait_end                     # reads until the end
#   $peer->tell($text)                  # tells the test, which gets it from $server->told
#   $peer->fh
#   $peer->start_tls; $peer->head; $peer->accept($headers)       # what raw leaves to the sub

use strict;
use warnings;
use Digest::SHA ();
use IO::Socket::IP ();
use MIME::Base64 ();
use POSIX ();
use Test::More ();
use Time::HiRes ();
use WebSocketTest::Frame;

sub start {
    my ($class, $code, %option) = @_;
    my $listener = IO::Socket::IP->new(LocalHost => '127.0.0.1', Listen => 5) or die "listen: $@";
    # The certificate must be there before the fork.
    my @tls = $option{tls} ? _certificate() : ();
    pipe my $reader, my $writer or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    $pid or _serve($listener, $writer, $code, \@tls, %option);
    my $scheme = $option{tls} ? 'wss' : 'ws';
    my $port = $listener->sockport;
    return bless {
        pid => $pid, reader => $reader, url => "$scheme://127.0.0.1:$port/", port => $port, parent => $$, tls => \@tls,
    }, $class;
}

sub _certificate {
    require WebSocketTest::TLS;
    my %tls = WebSocketTest::TLS::tls_options('accept');
    return @{ $tls{tls_ctx} }{ qw( cert_file key_file ) };
}

sub url { $_[0]{url} }
sub port { $_[0]{port} }
sub pid { $_[0]{pid} }

# The certificate is for localhost.
sub options {
    my ($self) = @_;
    return @{ $self->{tls} } ? (SSL_ca_file => $self->{tls}[0], SSL_verifycn_name => 'localhost') : ();
}

# Returns the next line that the server tells; undef if it does not within a minute.
sub told {
    my ($self) = @_;
    my $line = '';
    while ($line !~ /\n/) {
        vec(my $bits = '', fileno $self->{reader}, 1) = 1;
        select($bits, undef, undef, 60 * ($ENV{WEBSOCKET_TEST_PATIENCE} || 1)) or return undef;
        sysread $self->{reader}, $line, 1, length $line or return undef;
    }
    chomp $line;
    return $line;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{parent};
    local ($?, $!);
    kill KILL => $self->{pid};
    waitpid $self->{pid}, 0;
}

# --- in the child

sub _serve {
    my ($listener, $writer, $code, $tls, %option) = @_;
    # Otherwise the test's own signal handlers would run here.
    $SIG{$_} = 'DEFAULT' for qw( ALRM INT TERM );
    $SIG{PIPE} = 'IGNORE';
    # If a signal ends the test, nobody kills this process, and prove would wait until it has closed what it inherited, also the
    # copies that Test::Builder has made.
    open STDOUT, '>', '/dev/null';
    close Test::More->builder->$_ for qw( output failure_output todo_output );
    alarm 600 * ($ENV{WEBSOCKET_TEST_PATIENCE} || 1);
    sleep 3600 while exists $option{accept} && !$option{accept};
    while (my $fh = $listener->accept) {
        my $peer = bless { fh => $fh, in => '', writer => $writer }, __PACKAGE__ . '::Peer';
        my $is_fine = eval {
            if (!$option{raw}) {
                $peer->start_tls(@$tls) if @$tls;
                $peer->accept($option{headers});
            }
            $code->($peer);
            1;
        };
        print STDERR "# the server died: $@" if !$is_fine;
        $peer->close;
    }
    POSIX::_exit(0);
}

package    # the server's end of a connection
    WebSocketTest::ForkedServer::Peer;

use WebSocketTest::Frame;

sub fh { $_[0]{fh} }
sub request { $_[0]{request} }
sub tell { syswrite $_[0]{writer}, "$_[1]\n" }
sub close { CORE::close($_[0]{fh}) }

sub start_tls {
    my ($self, $certificate, $key) = @_;
    require IO::Socket::SSL;
    IO::Socket::SSL->start_SSL($self->{fh}, SSL_server => 1, SSL_cert_file => $certificate, SSL_key_file => $key)
        or die "TLS: $IO::Socket::SSL::SSL_ERROR\n";
}

# Reads the head of the request.
sub head {
    my ($self) = @_;
    my $end;
    while (($end = index $self->{in}, "\r\n\r\n") < 0) { $self->_more or die "no request\n" }
    return $self->{request} = substr $self->{in}, 0, $end + 4, '';
}

sub accept {
    my ($self, $headers) = @_;
    my ($key) = ($self->request || $self->head) =~ /^Sec-WebSocket-Key: (\S+)\r$/m or die "no key\n";
    my $proof = MIME::Base64::encode_base64(Digest::SHA::sha1($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'), '');
    $self->write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            . "Sec-WebSocket-Accept: $proof\r\n"
            . ($headers || '')
            . "\r\n");
}

sub _more {
    my ($self) = @_;
    return $self->{fh}->sysread($self->{in}, 65536, length $self->{in});
}

sub next_frame {
    my ($self) = @_;
    while (1) {
        my $frame = decode_frame(\$self->{in});
        return $frame if $frame;
        $self->_more or return undef;
    }
}

sub message {
    my ($self) = @_;
    while (my $frame = $self->next_frame) {
        return $frame->{payload} if $frame->{opcode} == 1 || $frame->{opcode} == 2;
        if ($frame->{opcode} == 8) { $self->write(close_frame(1000)); last }
    }
    return undef;
}

sub write {
    my ($self, @octets) = @_;
    my $octets = join '', @octets;
    while (length $octets) {
        my $count = $self->{fh}->syswrite($octets, length $octets > 16384 ? 16384 : length $octets) or return;
        substr $octets, 0, $count, '';
    }
}

# Sends each message back, and answers a Close.
sub echo {
    my ($self) = @_;
    while (my $frame = $self->next_frame) {
        my $opcode = $frame->{opcode};
        $self->write(frame(opcode => $opcode, payload => $frame->{payload})) if $opcode <= 2 || $opcode == 8;
        $self->write(pong($frame->{payload})) if $opcode == 9;
        return if $opcode == 8;
    }
}

sub wait_end {
    my ($self) = @_;
    1 while $self->next_frame;
}

1;
