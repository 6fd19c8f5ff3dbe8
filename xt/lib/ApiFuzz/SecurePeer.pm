package ApiFuzz::SecurePeer;

# The part of WebSocketTest::Peer that fuzzing needs, over TLS.

use strict;
use warnings;
use Socket qw(SOL_SOCKET SO_LINGER);
use WebSocketTest ();

sub new {
    my ($class, $handle) = @_;
    my $self = bless { handle => $handle, in => '', is_over => 0 }, $class;
    my ($in, $is_over) = \@$self{qw(in is_over)};
    my $end = sub { $$is_over = 1; WebSocketTest::poke() };
    $handle->on_read(sub { $$in .= $_[0]{rbuf}; $_[0]{rbuf} = ''; WebSocketTest::poke() });
    $handle->on_eof($end);
    $handle->on_error($end);
    return $self;
}

sub write      { $_[0]{handle}->push_write($_[1]); return $_[0] }
sub half_close { $_[0]{handle}->push_shutdown; return $_[0] }
sub stall      { $_[0]{handle}->stop_read; return $_[0] }
sub resume     { $_[0]{handle}->start_read; return $_[0] }
sub close      { $_[0]{handle}->destroy; return $_[0] }
sub eof        { $_[0]{is_over} }

sub reset {
    my ($self) = @_;
    my $fh = $self->{handle}->fh;
    setsockopt $fh, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0 if $fh;
    return $self->close;
}

1;
