package    # the class of AnyEvent/WebSocket/Connection.pm, where its documentation stands
    AnyEvent::WebSocket::Connection;

# This package contains only what programs may call, because their subclasses have subs of their own.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Attach ();
use AnyEvent::WebSocket::Native::Awaiting ();
use AnyEvent::WebSocket::Native::Backpressure ();
use AnyEvent::WebSocket::Native::Broadcast ();
use AnyEvent::WebSocket::Native::Closing ();
use AnyEvent::WebSocket::Native::Compression ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Events ();
use AnyEvent::WebSocket::Native::Formats ();
use AnyEvent::WebSocket::Native::Inspection ();
use AnyEvent::WebSocket::Native::Keepalive ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Overrides ();
use AnyEvent::WebSocket::Native::Streaming ();
use Carp ();
use Moo;

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# Programs rely on the original loading this module. Loading it late would reset limits that the program has set.
{
    no warnings 'once';
    my @limits = ($Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE, $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT);
    require Protocol::WebSocket::Frame;
    $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE = $limits[0] if defined $limits[0];
    $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT = $limits[1] if defined $limits[1];
}

our $DEFAULT_CLOSE_CODE = 1005;

if (my $code = $ENV{ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE}) {
    if (defined AnyEvent::WebSocket::Native::Closing::code_of($code)) { $DEFAULT_CLOSE_CODE = $code }
    else { warn "ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE is '$code', which is not a close code, and is ignored\n" }
}

AnyEvent::WebSocket::Native::Options::install(\&has, __PACKAGE__);

# The methods by module. `send` is an XSUB of the library.
my %METHODS = (
    Awaiting => [qw( closed drained receive )],
    Backpressure => [qw( buffered_amount pause resume )],
    Broadcast => [qw( broadcast )],
    Compression => [qw( enable_deflate )],
    Engine => [qw( state )],
    Formats => [qw( send_binary send_json send_text )],
    Inspection => [qw( local peer stats )],
    Keepalive => [qw( latency ping )],
    Streaming => [qw( send_fragment send_stream )],
);
for my $module (keys %METHODS) {
    no strict 'refs';
    *$_ = \&{"AnyEvent::WebSocket::Native::${module}::$_"} for @{ $METHODS{$module} };
}

*BUILD = \&AnyEvent::WebSocket::Native::Attach::attach;

# By event: what else to do when a callback is registered. If a slot is named before it, only when that is set.
my %THEN = (
    drain => [undef, \&AnyEvent::WebSocket::Native::Backpressure::backlogged],
    finish => ['_ws_end', \&AnyEvent::WebSocket::Native::Closing::finish_late],
    (   map {
            $_ => ['_ws_awaiting', sub { AnyEvent::WebSocket::Native::Awaiting::put_back($_[0], 0) }]
        } qw( each_message next_message )
    ),
    message_chunk => [
        undef,
        sub {
            AnyEvent::WebSocket::Native::Engine::set_streaming($_[0], 1);
            AnyEvent::WebSocket::Native::Awaiting::put_back($_[0], 1);
        },
    ],
);

sub on {
    my ($self, $event, $cb) = @_;
    Carp::croak("on: the callback must be a code reference")
        unless ref $cb eq 'CODE' || AnyEvent::WebSocket::Native::Util::is_callable($cb);
    AnyEvent::WebSocket::Native::Events::add($self, $event, $cb);
    my $then = $THEN{$event};
    $then->[1]->($self, $cb) if $then && (!defined $then->[0] || $self->{ $then->[0] });
    return unless defined wantarray;
    return sub { AnyEvent::WebSocket::Native::Events::remove($self, $event, $cb) };
}

sub close { AnyEvent::WebSocket::Native::Closing::close_with_default($DEFAULT_CLOSE_CODE, @_) }

AnyEvent::WebSocket::Native::Closing::set_method(\&close);
AnyEvent::WebSocket::Native::Overrides::watch(
    __PACKAGE__, \&AnyEvent::WebSocket::Native::Engine::class_generation,
    qw( BUILD handle masked max_fragments max_payload_size ),
);

1;
