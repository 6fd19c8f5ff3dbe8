package AnyEvent::WebSocket::Native::Handle;

# What is done to a connection's AnyEvent::Handle in its own name: mostly called by the library, once none of its frames is
# on the stack.

use strict;
use warnings;
use AE ();
use AnyEvent::Handle ();

sub discard { $_[0]{rbuf} = '' }
sub drain { $_[0]->_drain_wbuf }

# What is encrypted already waits in wbuf, of which _dotls takes notice only when it adds to it.
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

sub read_natively {
    my ($handle, $on_read) = @_;
    return unless $handle->{_rw};    # a callback has destroyed the handle
    watch($handle, $on_read);
    # A callback has run the event loop, and the handle read these, which it takes for what was there before.
    $on_read->($handle) if length $handle->{rbuf};
}

# --- what the other modules want of it

# Returns how many bytes wait for the peer to read. Without a copy, for which perl would share the buffer's memory.
sub backlog {
    my ($handle) = @_;
    my $amount = 0;
    $amount += length($handle->{$_} // '') for qw( wbuf _tls_wbuf );
    return $amount;
}

# Destroys the handle, which would keep what the peer has not read for an hour; `finish` gets the message.
sub give_up {
    my ($handle, $errno, $message) = @_;
    $handle->{linger} = 0 if $handle->{fh};
    $handle->_error($errno, 1, $message);
}

1;
