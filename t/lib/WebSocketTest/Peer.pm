package WebSocketTest::Peer;

# The raw other end of a connection: a non-blocking socket whose bytes the test sees and sets itself.
#
#   my $peer = WebSocketTest::Peer->new($fh);
#   $peer->write(@bytes);               # queued, written as the socket takes it
#   my $line = $peer->read_until("\n"); # awaits these bytes, and takes all up to them; undef when EOF came first
#   my $frame = $peer->next_frame;      # awaits one; undef when EOF came first
#   my @frames = $peer->frames_to_eof;  # awaits EOF; an incomplete frame stays in $peer->bytes
#   $peer->sync;                        # a ping and its pong: everything written before has been processed
#   $peer->answer(sub { my ($frame) = @_; ... bytes ... });   # from inside the event loop, frame by frame
#   $peer->stall; $peer->resume;        # stops and starts reading
#   $peer->half_close; $peer->close; $peer->reset;   # EOF; close(2); RST instead of EOF (TCP only)

use strict;
use warnings;
use AnyEvent;
use AnyEvent::Util ();
use Errno qw(EAGAIN EINTR);
use Scalar::Util 'weaken';
use Socket qw(SOL_SOCKET SO_LINGER);
use WebSocketTest::Frame;

sub new {
    my ($class, $fh) = @_;
    AnyEvent::Util::fh_nonblocking($fh, 1);
    my $self = bless { fh => $fh, in => '', out => '', eof => 0, error => undef, syncs => 0 }, $class;
    return $self->resume;
}

sub fh     { $_[0]{fh} }
sub bytes  { $_[0]{in} }
sub eof    { $_[0]{eof} }
sub error  { $_[0]{error} }
sub unsent { length $_[0]{out} }

sub stall {
    my ($self) = @_;
    delete $self->{reader};
    return $self;
}

sub resume {
    my ($self) = @_;
    weaken(my $weak = $self);
    $self->{reader} ||= AE::io $self->{fh}, 0, sub { $weak->_readable } unless $self->{eof};
    return $self;
}

sub _readable {
    my ($self) = @_;
    my $got = sysread $self->{fh}, $self->{in}, 262144, length $self->{in};
    return if !defined $got && ($! == EAGAIN || $! == EINTR);
    $self->{error} = "$!" unless defined $got;
    $self->{eof} = 1, delete $self->{reader} unless $got;
    $self->_answer if $self->{answer};
    WebSocketTest::poke();
}

sub answer {
    my ($self, $code) = @_;
    $self->{answer} = $code;
    return $self;
}

sub _answer {
    my ($self) = @_;
    while (my $frame = decode_frame(\$self->{in})) { $self->write($self->{answer}->($frame)) }
}

sub write {
    my ($self, @bytes) = @_;
    $self->{out} .= join '', @bytes;
    $self->_writable unless $self->{writer};
    return $self;
}

sub _writable {
    my ($self) = @_;
    my $put = length $self->{out} ? syswrite $self->{fh}, $self->{out} : 0;
    return $self->_cannot_write if !defined $put && $! != EAGAIN && $! != EINTR;
    substr $self->{out}, 0, $put, '' if $put;
    return $self->_drained unless length $self->{out};
    weaken(my $weak = $self);
    $self->{writer} ||= AE::io $self->{fh}, 1, sub { $weak->_writable };
}

sub _cannot_write {
    my ($self) = @_;
    @$self{qw(error out)} = ("$!", '');
    $self->_drained;
}

sub _drained {
    my ($self) = @_;
    delete $self->{writer};
    shutdown $self->{fh}, 1 if $self->{half_closing};
    WebSocketTest::poke();
}

sub half_close {
    my ($self) = @_;
    $self->{half_closing} = 1;
    $self->_drained unless length $self->{out};
    return $self;
}

sub close {
    my ($self) = @_;
    delete @$self{qw(reader writer)};
    close delete $self->{fh} if $self->{fh};
    return $self;
}

sub reset {
    my ($self) = @_;
    setsockopt $self->{fh}, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0;
    return $self->close;
}

sub next_frame {
    my ($self, $seconds) = @_;
    my $frame;
    WebSocketTest::wait_until('a frame from the connection',
        sub { ($frame = decode_frame(\$self->{in})) || $self->{eof} }, $seconds);
    return $frame;
}

sub next_frames {
    my ($self, $count) = @_;
    return map { $self->next_frame } 1 .. $count;
}

sub wait_eof {
    my ($self, $seconds) = @_;
    WebSocketTest::wait_until('EOF from the connection', sub { $self->{eof} }, $seconds);
    return $self;
}

sub wait_written {
    my ($self, $seconds) = @_;
    WebSocketTest::wait_until('the peer to get rid of its bytes', sub { !length $self->{out} }, $seconds);
    return $self;
}

sub wait_bytes {
    my ($self, $count, $seconds) = @_;
    WebSocketTest::wait_until("$count bytes from the connection", sub { length $self->{in} >= $count }, $seconds);
    return $self;
}

sub read_until {
    my ($self, $end, $seconds) = @_;
    WebSocketTest::wait_until('bytes from the connection', sub { $self->{eof} || index($self->{in}, $end) >= 0 }, $seconds);
    my $at = index $self->{in}, $end;
    return $at < 0 ? undef : substr $self->{in}, 0, $at + length $end, '';
}

sub frames_to_eof {
    my ($self, $seconds) = @_;
    $self->wait_eof($seconds);
    my @frames;
    while (my $frame = decode_frame(\$self->{in})) { push @frames, $frame }
    return @frames;
}

# Makes a round trip. Returns the frames that came before the pong. (More arguments go to the ping's frame: mask => 1.)
sub sync {
    my ($self, @more) = @_;
    my ($token, @before) = 's' . ++$self->{syncs};
    $self->write(ping($token, @more));
    while (my $frame = $self->next_frame) {
        return @before if $frame->{opcode} == 10 && $frame->{payload} eq $token;
        push @before, $frame;
    }
    die "EOF came before the pong '$token'\n";
}

1;
