package WebSocketTest::SecurePeer;

# The other end of a connection over TLS, with the methods of WebSocketTest::Peer that such tests need.
#
#   my $peer = WebSocketTest::SecurePeer->new(AnyEvent::Handle->new(fh => $fh, shared_tls_options('accept')));

use strict;
use warnings;
use AnyEvent::Handle;
use Scalar::Util 'weaken';
use Socket qw(SOL_SOCKET SO_LINGER);
use WebSocketTest::Frame;

sub new {
    my ($class, $handle) = @_;
    my $self = bless { handle => $handle, in => '', eof => 0, error => undef }, $class;
    weaken(my $weak = $self);
    $handle->on_read(sub { $weak->{in} .= delete $_[0]{rbuf}; $_[0]{rbuf} = ''; WebSocketTest::poke() });
    $handle->on_eof(sub { $weak->_end });
    $handle->on_error(sub { $weak->_end($_[2]) });
    return $self;
}

sub _end {
    my ($self, $error) = @_;
    @$self{qw(eof error)} = (1, $error);
    WebSocketTest::poke();
}

sub handle { $_[0]{handle} }
sub fh { $_[0]{handle}->fh }
sub bytes { $_[0]{in} }
sub eof { $_[0]{eof} }
sub error { $_[0]{error} }
sub write { $_[0]{handle}->push_write($_[1]); $_[0] }
sub half_close { $_[0]{handle}->push_shutdown; $_[0] }
sub close { $_[0]{handle}->destroy; $_[0] }

sub reset {
    my ($self) = @_;
    setsockopt $self->fh, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0;
    my $fh = $self->fh;
    $self->close;
    CORE::close $fh;
    return $self;
}

sub read_until {
    my ($self, $end, $seconds) = @_;
    return WebSocketTest::Peer::read_until($self, $end, $seconds);
}

sub wait_eof {
    my ($self, $seconds) = @_;
    WebSocketTest::wait_until('EOF from the connection', sub { $self->{eof} }, $seconds);
    return $self;
}

sub frames_to_eof {
    my ($self, $seconds) = @_;
    $self->wait_eof($seconds);
    my @frames;
    while (my $frame = decode_frame(\$self->{in})) { push @frames, $frame }
    return @frames;
}

1;
