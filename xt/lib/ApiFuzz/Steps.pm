package ApiFuzz::Steps;

# What each step of a plan does: subs that get the run (ApiFuzz), the connection's ApiFuzz::Link, and the step's arguments.

use strict;
use warnings;
use AnyEvent;
use POSIX ();
use Scalar::Util qw(blessed weaken);
use WebSocketTest ();
use WebSocketTest::Frame;
use ApiFuzz::Values;

our %STEP;

# The handle, if the program still has a way to it.
sub handle_of { my ($link) = @_; return $link->{connection} ? $link->{connection}->handle : $link->{handle} }

# --- the connection's methods

$STEP{send} = sub {
    my ($fuzz, $link, $kind, $number, $size, $steps) = @_;
    my $connection = $link->{connection} or return;
    my $value = ApiFuzz::Values::of($fuzz, $connection, $kind, $number, $size, $steps);
    my $order = $value->{order};
    push @{ $link->{sent} }, [@$value{qw(opcode payload)}] if $order eq 'strict';
    push @{ $link->{loose} }, [@$value{qw(opcode payload)}] if $order eq 'loose';
    $link->{credit}++ if $order eq 'any';
    my $returned;
    local $SIG{__WARN__} = sub { } if $kind =~ /malformed|surrogate/;
    $value->{give}->(sub { $returned = $connection->send($_[0]) });
    $link->problem("send of $kind returns something else") unless defined $returned && $returned == $connection;
    $link->problem("send of $kind does not die") if $order eq 'none' && $fuzz->is_gentle;
};

$STEP{close} = sub {
    my ($fuzz, $link, $arguments) = @_;
    my $connection = $link->{connection} or return;
    $link->{sends_any_close} = 1 if ($arguments->[0] || 1005) eq '1005' && defined $arguments->[1];
    my $returned = $connection->close(@$arguments);
    $link->problem('close returns something else') unless $returned == $connection;
};

# A Close frame that the program has made itself.
$STEP{send_close} = sub {
    my ($fuzz, $link, $body) = @_;
    my $connection = $link->{connection} or return;
    $link->{sends_any_close} = 1;
    $connection->send(AnyEvent::WebSocket::Message->new(opcode => 8, body => $body));
};

$STEP{on} = sub {
    my ($fuzz, $link, $event, $calls) = @_;
    my $connection = $link->{connection} or return;
    push @{ $link->{cancels} }, $connection->on($event => $fuzz->callback($link, $calls, $event));
};

$STEP{cancel} = sub {
    my ($fuzz, $link, $which) = @_;
    my $cancel = $link->{cancels}[$which] or return;
    $cancel->();
};

$STEP{forget_callbacks} = sub { my ($fuzz, $link) = @_; $_->() for splice @{ $link->{cancels} } };

$STEP{read} = sub {
    my ($fuzz, $link, $name) = @_;
    my $value = $link->{connection} && $link->{connection}->$name;
    push @{ $fuzz->{copies} }, $value unless ref $value;
};

$STEP{set} = sub { my ($fuzz, $link, $name, $value) = @_; $link->{connection}->$name($value) if $link->{connection} };

$STEP{undef}   = sub { my ($fuzz, $link) = @_; undef $link->{connection} };
$STEP{rebless} = sub { my ($fuzz, $link, $class) = @_; bless $link->{connection}, $class if $link->{connection} };

# A method of a subclass is made anew, or taken away.
$STEP{redefine} = sub {
    my ($fuzz, $link, $name) = @_;
    no strict 'refs';
    no warnings 'redefine';
    my $super = "AnyEvent::WebSocket::Connection::$name";
    *{"ApiFuzz::Plain::$name"} = sub { my $self = shift; $self->$super(@_) } if $name ne 'none';
    delete $ApiFuzz::Plain::{$_} for $name eq 'none' ? qw(send close) : ();
    mro::method_changed_in('ApiFuzz::Plain');
};

$STEP{second} = sub {
    my ($fuzz, $link) = @_;
    my $handle = handle_of($link) or return;
    @$link{qw(is_void has_second)} = (1, 1);
    push @{ $fuzz->{more} }, AnyEvent::WebSocket::Connection->new(handle => $handle, %{ $link->{spec}{new} });
};

my @JUNK = (
    sub { $_[0]->on('nonsense' => sub { }) }, sub { $_[0]->on(undef, sub { }) }, sub { $_[0]->on('finish') },
    sub { $_[0]->on(finish => 'x') }, sub { $_[0]->on }, sub { $_[0]->handle(1) }, sub { $_[0]->masked(1) },
    sub { AnyEvent::WebSocket::Connection->send('x') }, sub { AnyEvent::WebSocket::Connection::send() },
    sub { AnyEvent::WebSocket::Connection::send(undef, 'x') }, sub { AnyEvent::WebSocket::Connection::send({}, 'x') },
    sub { AnyEvent::WebSocket::Connection::send(bless({}, 'ApiFuzz::Nothing'), 'x') },
    sub { AnyEvent::WebSocket::Connection->new(handle => undef) }, sub { AnyEvent::WebSocket::Connection->new(handle => {}) },
    sub { AnyEvent::WebSocket::Connection->new(handle => $_[0]->handle, max_fragments => 'x') },
    sub { AnyEvent::WebSocket::Connection->close },
);

$STEP{junk} = sub {
    my ($fuzz, $link, $which) = @_;
    my $connection = $link->{connection} or return;
    eval { $JUNK[$which]->($connection); 1 } and $link->problem("junk $which does not die");
};

# --- what a callback may do to its surroundings

$STEP{die} = sub {
    my ($fuzz, $link, $what) = @_;
    return if $fuzz->{is_top};
    no warnings 'uninitialized';
    die "fuzz die\n" if $what eq 'string';
    die ApiFuzz::Text->new(sub { 'fuzz die' }) if $what eq 'object';
    die $what eq 'false' ? ApiFuzz::False->new : undef;
};

$STEP{leave} = sub { my ($fuzz, $link, $how) = @_; $fuzz->{leave} = $how };

my %ARGUMENTS = (
    empty => sub { @{ $_[0] } = () },
    undef => sub { $_[0][0] = undef if blessed $_[0][0] && $_[0][0]->isa('AnyEvent::WebSocket::Connection') },
    shift => sub { shift @{ $_[0] } },
    copy  => sub { push @{ $_[1] }, [@{ $_[0] }[1 .. $#{ $_[0] }]] },
);

$STEP{arguments} = sub {
    my ($fuzz, $link, $how) = @_;
    $ARGUMENTS{$how}->($fuzz->{arguments}, $fuzz->{copies}) if $fuzz->{arguments};
};

my %ERROR_VARIABLE = (
    string => sub { $@ = 'fuzz' },
    object => sub { $@ = bless [$_[0]], 'ApiFuzz::Ghost' },
    undef  => sub { undef $@ },
    local  => sub { local $@ = 'fuzz'; $_[0]->turn },
    alias  => sub { *@ = \my $other },
    hold   => sub { push @{ $_[0]{copies} }, \$@ },
);

$STEP{error_variable} = sub { my ($fuzz, $link, $how) = @_; $ERROR_VARIABLE{$how}->($fuzz) };

# --- messages

# The message that the callback, which is running, was called with.
sub message_of {
    my ($fuzz) = @_;
    my $message = $fuzz->{arguments} && $fuzz->{arguments}[1];
    return blessed $message && $message->isa('AnyEvent::WebSocket::Message') ? $message : undef;
}

my %KEEP = (
    message    => sub { { message => $_[0], body => $_[0]->body } },
    body       => sub { { alias => \$_[0]{body}, body => $_[0]->body } },
    reference  => sub { { message => $_[0], reference => \$_[0], body => $_[0]->body } },
    weak       => sub { my $kept = { weak => $_[0] }; weaken $kept->{weak}; $kept },
    connection => sub { { connection => $_[1] } },
);

$STEP{keep} = sub {
    my ($fuzz, $link, $what) = @_;
    my $message = message_of($fuzz) or return;
    my $kept = $KEEP{$what}->($message, $link->{connection});
    push @{ $fuzz->{ $kept->{message} ? 'kept' : 'copies' } }, $kept;
};

my %TAMPER = (
    replace  => sub { $_[1][1] = 'replaced' },
    body     => sub { $_[0]{body} = 'other' x 1000 },
    opcode   => sub { $_[0]{opcode} = 7 },
    bless    => sub { bless $_[0], 'ApiFuzz::Message' },
    empty    => sub { %{ $_[0] } = () },
    append   => sub { $_[0]{body} .= "\x{20ac}" },
    readonly => sub { Internals::SvREADONLY($_[0]{body}, 1) },
);

$STEP{tamper} = sub {
    my ($fuzz, $link, $how) = @_;
    my $message = message_of($fuzz) or return;
    $_->{tampered} = 1 for grep { $_->{message} == $message } @{ $fuzz->{kept} };
    # A next_message callback comes before the one that compares.
    $fuzz->{link}{tampered}{ $fuzz->{index} } = 1 if $fuzz->{event} eq 'next_message';
    $TAMPER{$how}->($message, $fuzz->{arguments});
};

# --- the loop

$STEP{turn}   = sub { $_[0]->turn };
$STEP{settle} = sub { $_[0]->turn for 1 .. 3 };

my %LATER = (
    timer    => sub { AE::timer 0, 0, $_[0] },
    postpone => sub { AE::postpone(\&{ $_[0] }); () },
    idle     => sub { AE::idle $_[0] },
);

$STEP{later} = sub {
    my ($fuzz, $link, $how, $steps) = @_;
    weaken(my $weak = $fuzz);
    my $is_done;
    push @{ $fuzz->{watchers} }, $LATER{$how}->(sub { $weak->in_callback($steps, [], $link) if $weak && !$is_done++ });
};

# The child leaves, sends nothing, and spoils nothing.
my %LEAVE = (
    undef   => sub { $STEP{undef}->(@_) },
    destroy => sub { $STEP{destroy}->(@_) },
    cancel  => sub { $STEP{forget_callbacks}->(@_) },
    on      => sub { $STEP{on}->(@_, 'each_message', []) },
);

$STEP{fork} = sub {
    my ($fuzz, $link, $how) = @_;
    my ($exit, $before) = reverse split /, /, $how;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        local $SIG{__WARN__} = sub { print STDERR "a child warns: @_" };
        $LEAVE{$before}->($fuzz, $link) if $before;
        $exit eq 'exit' ? exit 0 : POSIX::_exit(0);
    }
    1 until waitpid($pid, 0) != -1 || !$!{EINTR};
    return if ($? & 127) == POSIX::SIGSEGV() && $exit eq 'exit' && WebSocketTest::loop() eq 'EV';    # see left_ok
    $link->problem("the child that leaves by $how: wait status $?") if $?;
};

# --- the handle

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
    $handle->on_drain($fuzz->callback($link, $calls, 'on_drain'));
};

# A frame that the program has made itself.
$STEP{push_write} = sub {
    my ($fuzz, $link, $number) = @_;
    my $handle = handle_of($link) or return;
    push @{ $link->{raw} }, [2, "<raw $number>"];
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

# --- the peer

$STEP{message} = sub { my ($fuzz, $link, @message) = @_; expect($link, @message); $link->feed(0) };
$STEP{pong}    = sub { my ($fuzz, $link, $size) = @_; $link->queue(pong('p' x $size, $link->_mask)) };
$STEP{feed}    = sub { my ($fuzz, $link, $count) = @_; $link->feed($count) };

sub expect {
    my ($link, $number, $opcode, $size, $pieces) = @_;
    $link->expect($opcode, substr("<$number>" . 'ABCDEFGH' x (1 + $size / 8), 0, 8 + $size), $pieces);
}

# A message that comes in so many reads.
$STEP{pieces} = sub {
    my ($fuzz, $link, $number, $opcode, $size, $count) = @_;
    expect($link, $number, $opcode, $size, 1);
    my $each = 1 + int length($link->{feed}) / $count;
    for (1 .. $count) { $link->feed($each); $fuzz->turn }
};

$STEP{ping} = sub {
    my ($fuzz, $link, $number, $size) = @_;
    my $payload = "<$number>" . 'p' x $size;
    push @{ $link->{pings} }, $payload;
    $link->queue(ping($payload, $link->_mask));
};

$STEP{stall}       = sub { my ($fuzz, $link) = @_; $link->{peer}->stall };
$STEP{resume}      = sub { my ($fuzz, $link) = @_; $link->{peer}->resume unless $link->{peer_is_gone} };
$STEP{half_close}  = sub { my ($fuzz, $link) = @_; $link->peer_ends('half_close') };
$STEP{close_peer}  = sub { my ($fuzz, $link) = @_; $link->peer_ends('close') };
$STEP{reset}       = sub { my ($fuzz, $link) = @_; $link->peer_ends($link->{spec}{transport} eq 'unix' ? 'close' : 'reset') };

$STEP{their_close} = sub {
    my ($fuzz, $link, $close) = @_;
    $link->queue(close_frame(@$close[0, 1], $link->_mask));
    $link->feed(0);
};

# --- frames that no peer may send

my @BROKEN = (
    sub { text('x', rsv => 4, @_) }, sub { text('x', rsv => 1, @_) }, sub { frame(opcode => 3, payload => 'x', @_) },
    sub { frame(opcode => 15, payload => 'x', @_) }, sub { ping('x' x 126, @_) }, sub { ping('x', fin => 0, @_) },
    sub { continuation('x', @_) }, sub { text('x', fin => 0, @_) . text('y', @_) }, sub { text('x', form => 16, @_) },
    sub { text('x', form => 64, @_) }, sub { text('x', form => 64, length => 2**63, @_) },
    sub { frame(opcode => 8, payload => 'x', @_) },
    sub { close_frame(1005, '', @_) }, sub { close_frame(999, '', @_) }, sub { close_frame(1000, "\xff", @_) },
    sub { close_frame(65535, 'x', @_) }, sub { text("\xff\xfe", @_) },
    sub { text("\xe2\x82", fin => 0, @_) . continuation("\xff", @_) },
    sub { binary('x' x 10, length => 2**40, @_) }, sub { binary('x', fin => 0, @_) x 200 }, sub { "\xff" x 300 },
    sub { "\0" x 300 }, sub { pack 'C*', map { ($_ * 7919 + 13) % 251 } 1 .. 500 }, sub { binary('x' x 70_000, @_) },
);

$STEP{broken} = sub {
    my ($fuzz, $link, $number, $which) = @_;
    $link->{is_void} = 1;
    $link->queue($BROKEN[$which]->($link->_mask));
    $link->feed(0) if $number % 2;
};

package ApiFuzz::Ghost   { sub DESTROY { local $@; eval { die 'ghost' } } }
package ApiFuzz::Message { our @ISA = 'AnyEvent::WebSocket::Message'; sub DESTROY { eval { 1 } } }
package ApiFuzz::False   { use overload bool => sub { 0 }, '""' => sub { '' }, fallback => 1; sub new { bless {}, $_[0] } }

1;
