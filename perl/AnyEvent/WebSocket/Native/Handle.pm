package AnyEvent::WebSocket::Native::Handle;

# Calls the methods of a connection's AnyEvent::Handle. Most of these subs are called by the library, after its own frames
# have left the stack.

use strict;
use warnings;
use AE ();
use AnyEvent::Handle ();

sub discard { $_[0]{rbuf} = '' }
sub drain { $_[0]->_drain_wbuf }

# Bytes that are encrypted already wait in wbuf. _dotls writes wbuf only when it has added to it.
sub drain_tls {
    my ($handle) = @_;
    AnyEvent::Handle::_dotls($handle) if $handle->{fh} && $handle->{tls};
    $handle->_drain_wbuf if $handle->{fh};
}

sub push_write { $_[0]->push_write($_[1]) }

sub read_eof {
    my ($handle) = @_;
    delete $handle->{_rw};
    $handle->{_eof} = 1;
    $handle->_drain_rbuf;
}

sub read_error { $_[0]->_error($_[1], 1) }
sub write_error { $_[0]->_error($_[1], 1) }

sub read_by_handle {
    my ($handle) = @_;
    delete $handle->{_rw};
    $handle->start_read if $handle->{fh};
}

sub watch {
    my ($handle, $on_read) = @_;
    local $@;
    $handle->{_rw} = AE::io $handle->{fh}, 0, $on_read;
}

# Makes the callback that of a handle whose methods are AnyEvent::Handle's own, and reads natively.
sub take_over {
    my ($handle, $handle_callback) = @_;
    @$handle{qw( on_error on_eof on_read )} = ($handle_callback) x 3;
    local $@;
    $handle->{_rw} = AE::io $handle->{fh}, 0, $handle_callback;
    return;
}

sub read_natively {
    my ($handle, $on_read) = @_;
    return unless $handle->{_rw};    # a callback has destroyed the handle
    watch($handle, $on_read);
    # A callback ran a nested event loop, in which the handle read these bytes. It takes them for those that were there before.
    $on_read->($handle) if length $handle->{rbuf};
}

# --- for the other modules

# Returns the number of bytes that wait to be written. Does not copy the buffers, because perl would share their memory.
sub backlog {
    my ($handle) = @_;
    my $amount = 0;
    $amount += length($handle->{$_} // '') for qw( wbuf _tls_wbuf );
    return $amount;
}

# Destroys the handle, which would otherwise keep what the peer has not read for an hour; `finish` gets the message.
sub give_up {
    my ($handle, $errno, $message) = @_;
    $handle->{linger} = 0 if $handle->{fh};
    $handle->_error($errno, 1, $message);
}

1;
