package ApiFuzz::Steps::Handle;

# Calls to the handle.

use strict;
use warnings;
use ApiFuzz::Step;
use WebSocketTest::Frame;

$STEP{stop_read}      = sub { my $handle = handle_of($_[1]); $handle->stop_read if $handle };
$STEP{start_read}     = sub { my $handle = handle_of($_[1]); $handle->start_read if $handle };
$STEP{push_shutdown}  = sub { my $handle = handle_of($_[1]); $handle->push_shutdown if $handle };
$STEP{destroy}        = sub { my $handle = handle_of($_[1]); $handle->destroy if $handle };
$STEP{autocork}       = sub { my $handle = handle_of($_[1]); $handle->autocork(1) if $handle };
$STEP{no_delay}       = sub { my $handle = handle_of($_[1]); $handle->no_delay(1) if $handle };
$STEP{wbuf_max}       = sub { my $handle = handle_of($_[1]); $handle->wbuf_max($_[2]) if $handle };
$STEP{timeout}        = sub { my $name = $_[2]; my $handle = handle_of($_[1]); $handle->$name($_[3]) if $handle };

$STEP{on_drain} = sub {
    my ($fuzz, $link, $calls) = @_;
    my $handle = handle_of($link) or return;
    $link->{has_on_drain} = 1;
    $handle->on_drain($fuzz->callback($link, $calls, 'on_drain'));
};

# The program writes a frame of its own, bypassing the connection. The peer must get it in the order of sending, unless it
# comes in the middle of a message or the connection may no longer send.
$STEP{push_write} = sub {
    my ($fuzz, $link, $number) = @_;
    my $handle = handle_of($link) or return;
    push @{ $link->{ $link->{part} || $link->{stream} || !$link->is_judged ? 'raw' : 'sent' } }, [2, "<raw $number>"];
    $handle->push_write(binary("<raw $number>", mask => $link->{spec}{new}{masked} ? pack('N', 0x10000 + $number) : 0));
};

$STEP{push_read} = sub {
    my ($fuzz, $link, $count) = @_;
    my $handle = handle_of($link) or return;
    $link->{is_void} = 1;
    $handle->push_read(chunk => $count, sub { });
};

$STEP{on_read} = sub {
    my ($fuzz, $link) = @_;
    my $handle = handle_of($link) or return;
    $link->{is_void} = 1;
    $handle->on_read(sub { $_[0]{rbuf} = '' });
};

1;
