package WebSocketTest::SecurePeer;

# The other end of a connection over TLS: a WebSocketTest::Peer whose bytes go through an AnyEvent::Handle.
#
#   my $peer = WebSocketTest::SecurePeer->new(AnyEvent::Handle->new(fh => $fh, shared_tls_options('accept')));

use strict;
use warnings;
use AnyEvent::Handle;
use Scalar::Util 'weaken';
use Socket qw(SOL_SOCKET SO_LINGER);
use WebSocketTest::Peer;

our @ISA = 'WebSocketTest::Peer';

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

1;
