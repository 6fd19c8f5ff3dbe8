package AnyEvent::WebSocket::Native::Transport;

# A non-blocking socket, with or without TLS, and waiting for it until a deadline. No event loop takes part.
#
# A deadline is a time of this file's clock; it may be infinite. Subs that can fail return an error text: exceptions are left
# to the program, whose signal handlers may die while we wait.

use strict;
use warnings;
use Errno ();
use IO::Handle ();
use IO::Socket::IP ();
use Socket ();
use Time::HiRes ();

use constant {
    TIMED_OUT => 'timed out',
    FOREVER => 9**9**9,
    CHUNK => 65536,
    # Systems refuse to wait for much longer, in seconds. Three years are as good as for ever.
    LONGEST => 1e8,
};

# Some systems have no monotonic clock.
my $CLOCK = eval { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()); Time::HiRes::CLOCK_MONOTONIC() };

sub now { return defined $CLOCK ? Time::HiRes::clock_gettime($CLOCK) : Time::HiRes::time() }

# Returns a transport on a connected file handle.
sub on_handle {
    my ($class, $fh) = @_;
    IO::Handle::blocking($fh, 0);
    # A request that waits for the acknowledgement of the one before would take 40 ms. Other sockets than TCP refuse this.
    setsockopt $fh, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    return bless { socket => $fh, is_tls => _is_tls($fh), wants => {} }, $class;
}

sub _is_tls { return ref $_[0] && UNIVERSAL::isa($_[0], 'IO::Socket::SSL') ? 1 : 0 }

# Connects to the first address of a host that answers. Returns a transport, or undef and an error text.
sub connect {
    my ($class, $host, $port, $deadline) = @_;
    # This waits as long as the system's resolver does.
    my ($error, @addresses) = Socket::getaddrinfo($host, $port, { socktype => Socket::SOCK_STREAM() });
    return (undef, "cannot look up $host: $error") if $error;
    my $why;
    while (my $address = shift @addresses) {
        # An address that never answers must leave time for the others.
        my $share = ($deadline - now()) / (1 + @addresses);
        return (undef, TIMED_OUT) if $share <= 0;
        (my $socket, $why) = _connect_to($address, now() + $share);
        return $class->on_handle($socket) if $socket;
    }
    return (undef, $why);
}

sub _connect_to {
    my ($address, $deadline) = @_;
    my $socket = IO::Socket::IP->new(PeerAddrInfo => [$address], Blocking => 0) or return (undef, "$@" || "$!");
    while (!$socket->connect) {
        return (undef, "$!") unless $!{EINPROGRESS} || $!{EALREADY} || $!{EWOULDBLOCK} || $!{EINTR};
        _select($socket, { write => 1 }, $deadline) or return (undef, TIMED_OUT);
    }
    return $socket;
}

# Starts TLS as a client of the host, verified unless the options of IO::Socket::SSL say otherwise. Returns an error text, or
# nothing.
sub start_tls {
    my ($self, $host, $options, $deadline) = @_;
    require IO::Socket::SSL;
    my $is_address = $host =~ /\A[0-9.]+\z|:/;
    my %given = (
        SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_PEER(),
        SSL_verifycn_scheme => 'http',
        SSL_verifycn_name => $host,
        SSL_hostname => $is_address ? '' : $host,
        %$options,
    );
    my $socket = $self->{socket};
    my $error = _prepare_tls($socket, %given);
    return $error if defined $error;
    $self->{is_tls} = 1;
    local $SIG{PIPE} = 'IGNORE';
    until ($socket->connect_SSL) {
        my $wants = _tls_wants() or return _tls_error();
        _select($socket, { $wants => 1 }, $deadline) or return TIMED_OUT;
    }
    return;
}

# Returns an error text if the options are wrong.
sub _prepare_tls {
    my ($socket, @options) = @_;
    local ($@, $SIG{__DIE__});
    my $is_fine = eval { IO::Socket::SSL->start_SSL($socket, @options, SSL_startHandshake => 0) };
    return $is_fine ? undef : $@ ? 'TLS: ' . $@ =~ s/ at \S+ line [0-9]+\.?\n\z//r : _tls_error();
}

# Returns what TLS waits for, or nothing if it has failed.
sub _tls_wants {
    no warnings 'once';
    my $error = $IO::Socket::SSL::SSL_ERROR or return;
    return 'read' if $error == IO::Socket::SSL::SSL_WANT_READ();
    return 'write' if $error == IO::Socket::SSL::SSL_WANT_WRITE();
    return;
}

sub _tls_error {
    no warnings 'once';
    return 'TLS: ' . ($IO::Socket::SSL::SSL_ERROR || $! || 'unknown error');
}

sub socket { return $_[0]{socket} }

# Returns the error that has ended the stream, or undef.
sub error { return $_[0]{error} }

# Appends what has arrived to $_[1]. Returns the number of bytes: 0 at the end of the stream, undef if nothing is there yet.
sub receive {
    my ($self) = @_;
    # With TLS, reading may write.
    local $SIG{PIPE} = 'IGNORE' if $self->{is_tls};
    my $count = $self->{socket}->sysread($_[1], CHUNK, length $_[1]);
    return defined $count ? $count : $self->_blocked('read');
}

# Writes as much as the system takes. Returns the number of bytes: 0 if the stream has ended, undef if it takes nothing yet.
sub send {
    my ($self, $octets) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $count = $self->{socket}->syswrite($octets);
    return defined $count ? $count : $self->_blocked('write');
}

# Notes what a transfer in this direction waits for. Returns undef, or 0 if it has failed.
sub _blocked {
    my ($self, $direction) = @_;
    my $wants = $self->{is_tls} ? _tls_wants() : $!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR} ? $direction : undef;
    if (!$wants) {
        $self->{error} = $self->{is_tls} ? _tls_error() : "$!";
        return 0;
    }
    $self->{wants}{$direction} = $wants;
    return undef;
}

# Waits until a transfer in one of these directions ("read", "write") may go on. Returns false at the deadline.
sub wait {
    my ($self, $deadline, @directions) = @_;
    my %wants = map { ($self->{wants}{$_} || $_) => 1 } @directions;
    return _select($self->{socket}, \%wants, $deadline);
}

# Returns true also after a signal: its handler may have changed everything.
sub _select {
    my ($socket, $wants, $deadline) = @_;
    my $left = $deadline - now();
    return 0 if $left <= 0;
    my $fd = fileno $socket;
    my %bits = map { $_ => '' } qw( read write );
    vec($bits{$_}, $fd, 1) = 1 for keys %$wants;
    return select($bits{read}, $bits{write}, undef, $left > LONGEST ? undef : $left) != 0;
}

# Closes the socket. With TLS, close_notify is sent if the system takes it at once.
sub close {
    my ($self) = @_;
    local ($@, $!);
    local $SIG{PIPE} = 'IGNORE';
    CORE::close($self->{socket});
    return;
}

1;
