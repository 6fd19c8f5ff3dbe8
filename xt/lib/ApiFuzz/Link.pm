package ApiFuzz::Link;

# One connection of a plan with its peer, and what each of the two must get from the other.
#
# What the peer gets is parsed and judged here: whole frames, masked as the role says, a Close frame last, and what was
# sent in the order in which it was sent. What the connection gets is compared with what the peer wrote.

use strict;
use warnings;
use AnyEvent::WebSocket::Connection;
use Encode ();
use Scalar::Util qw(blessed refaddr weaken);
use WebSocketTest ();
use WebSocketTest::Frame;
use WebSocketTest::TLS ();
use ApiFuzz::SecurePeer;

sub new {
    my ($class, $fuzz, $index, $spec) = @_;
    my $self = bless {
        index => $index, spec => $spec, feed => '', expected => [], received => 0, sent => [], loose => [], raw => [], credit => 0,
        pings => [], pongs => {}, cancels => [], finished => 0, errors => 0, tampered => {}, under_way => {},
    }, $class;
    weaken($self->{fuzz} = $fuzz);
    return $self;
}

# --- set up

my %context;

sub _tls {
    my ($side) = @_;
    $context{$side} ||= do { my %options = tls_options($side); AnyEvent::TLS->new(%{ $options{tls_ctx} }) };
    return (tls => $side, tls_ctx => $context{$side});
}
BEGIN { *tls_options = \&WebSocketTest::TLS::tls_options }

sub connect {
    my ($self) = @_;
    my $spec = $self->{spec};
    my $is_tls = $spec->{transport} eq 'tls' && !WebSocketTest::TLS::unavailable();
    my ($near, $far) = $spec->{transport} eq 'unix' ? WebSocketTest::socket_pair() : WebSocketTest::tcp_pair();
    my ($ours, $theirs) = $spec->{new}{masked} ? qw(connect accept) : qw(accept connect);
    $self->{peer} = $is_tls ? ApiFuzz::SecurePeer->new(AnyEvent::Handle->new(fh => $far, _tls($theirs), no_delay => 1))
        : WebSocketTest::Peer->new($far);
    my $handle = AnyEvent::Handle->new(fh => $near, %{ $spec->{handle} }, $is_tls ? (_tls($ours), no_delay => 1) : ());
    $self->_begin_early($handle) if $spec->{is_early} && !$is_tls;
    $self->{connection} = ($spec->{class} || 'AnyEvent::WebSocket::Connection')->new(handle => $handle, %{ $spec->{new} });
    $self->{address} = refaddr $self->{connection};
    weaken($self->{weak_connection} = $self->{connection});
    weaken($self->{handle} = $handle);
    $self->_observe;
    return $self;
}

# The handle has read something before the connection is made.
sub _begin_early {
    my ($self, $handle) = @_;
    $self->expect(1, '<early>', 1);
    $handle->{rbuf} .= $self->{feed};
    $self->{feed} = '';
}

# Registered first, and so called before any callback of the plan for the same message, but for next_message.
sub _observe {
    my ($self) = @_;
    weaken(my $weak = $self);
    my $connection = $self->{connection};
    $connection->on(each_message => sub { $weak && $weak->_got_message(@_) });
    $connection->on(finish => sub { $weak && $weak->_got_finish(@_) });
    $connection->on(parse_error => sub { $weak && $weak->_got_error(@_) });
}

sub problem {
    my ($self, $text) = @_;
    $self->{fuzz}->problem("connection $self->{index}: $text") if $self->{fuzz};
}

sub _is_it { blessed $_[1] && refaddr $_[1] == $_[0]{address} }

# --- what the connection gets

# A message that the peer will send, in so many frames.
sub expect {
    my ($self, $opcode, $body, $pieces) = @_;
    push @{ $self->{expected} }, [$opcode, $body];
    my $length = 1 + int length($body) / $pieces;
    my @parts = map { $_ * $length < length $body ? substr $body, $_ * $length, $length : '' } 0 .. $pieces - 1;
    for my $index (0 .. $#parts) {
        $self->queue(frame(opcode => $index ? 0 : $opcode, fin => $index == $#parts, payload => $parts[$index], $self->_mask));
    }
}

# Bytes that the peer will write, in some step.
sub queue {
    my ($self, $bytes) = @_;
    $self->{feed} .= $bytes;
}

sub _mask { $_[0]{spec}{new}{masked} ? () : (mask => 1) }

# The peer writes the next so many of them; 0 is all.
sub feed {
    my ($self, $count) = @_;
    my $bytes = substr $self->{feed}, 0, $count || length $self->{feed}, '';
    $self->{peer}->write($bytes) if length $bytes && !$self->{peer_is_gone};
}

sub peer_ends {
    my ($self, $how) = @_;
    return if $self->{peer_is_gone}++;
    $self->{peer}->$how;
}


sub _got_message {
    my ($self, $connection, $message, $unregister) = @_;
    $self->problem('a message callback gets another connection') unless $self->_is_it($connection);
    $self->problem('no unregister sub') unless ref $unregister eq 'CODE';
    my $index = $self->{received}++;
    WebSocketTest::poke();
    $self->problem('a message after finish') if $self->{finished} && !$self->{late}{$index};
    return if $self->{tampered}{$index} || $self->{is_void};
    return $self->problem("message $index is none") unless blessed $message && $message->isa('AnyEvent::WebSocket::Message');
    my $expected = $self->{expected}[$index] or return $self->problem('a message that nobody sent');
    return if $message->opcode == $expected->[0] && $message->body eq $expected->[1];
    $self->problem("message $index is " . shown($message->opcode, $message->body) . ', not ' . shown(@$expected));
}

# If that comes while next_message callbacks run, their messages still go to the others.
sub _got_finish {
    my ($self, $connection) = @_;
    $self->{late} = { %{ $self->{under_way} } };
    $self->problem('finish twice') if $self->{finished}++;
    $self->problem('a finish callback gets another connection') unless $self->_is_it($connection);
}

# A callback may die after all is over: its own send has found that the peer is gone, or it has run the event loop.
sub _got_error {
    my ($self, $connection, $error) = @_;
    my $is_late = $self->{finished} || $self->{errors}++;
    $self->problem("parse_error too late: $error") if $is_late && $error !~ $ApiFuzz::EXPECTED;
    $self->problem('a parse_error callback gets another connection') unless $self->_is_it($connection);
}

# --- what the peer gets

# The last thing that is sent either way.
sub send_last {
    my ($self) = @_;
    $self->expect(1, '<last>', 1);
    push @{ $self->{sent} }, [1, '<last>'];
    $self->{connection}->send('<last>');
}

# Judges what the peer has got up to now.
sub judge_frames {
    my ($self) = @_;
    while (my $frame = decode_frame(\$self->{peer}{in})) { $self->_judge_frame($frame) }
}

# Whether nothing is under way any more.
sub has_all {
    my ($self) = @_;
    $self->calm_down;
    $self->judge_frames;
    my $are_sent = !grep { @{ $self->{$_} } } qw(sent loose raw);
    return $are_sent && $self->{received} >= @{ $self->{expected} } && $self->_has_last_pong;
}

sub _has_last_pong { my $pings = $_[0]{pings}; return !@$pings || $_[0]{pongs}{ $pings->[-1] } }

sub tell_what_is_missing {
    my ($self) = @_;
    my $rest = length $self->{peer}{in};
    $self->problem("$rest octets of a frame that does not end") if $rest;
    for my $list (qw(sent loose raw)) {
        my $count = @{ $self->{$list} } or next;
        $self->problem("$count frame(s) lost ($list), the first is " . shown(@{ $self->{$list}[0] }));
    }
    $self->problem("only $self->{received} message(s) of " . @{ $self->{expected} }) if $self->{received} < @{ $self->{expected} };
    $self->problem('the last ping has no answer') unless $self->_has_last_pong;
}

# From now on nothing stands in the way of what is still to come.
sub calm_down {
    my ($self) = @_;
    $self->feed(0);
    $self->{peer}->resume unless $self->{peer_is_gone};
    my $handle = ApiFuzz::Steps::handle_of($self);
    $handle->start_read if $handle;
}

sub _judge_frame {
    my ($self, $frame) = @_;
    my ($opcode, $payload) = @$frame{qw(opcode payload)};
    my $shown = shown($opcode, $payload);
    $self->problem("masked is $frame->{masked}: $shown") if $frame->{masked} != ($self->{spec}{new}{masked} ? 1 : 0);
    $self->problem("not a whole message: $shown") if !$frame->{fin} || $frame->{rsv};
    $self->problem("a length of $frame->{form} bits: $shown") if $frame->{form} != _form(length $payload);
    $self->problem("a key twice: $shown") if $frame->{masked} && length $payload && $self->{keys}{ $frame->{mask} }++ > 1;
    return if $self->_take_loose('raw', $opcode, $payload);
    $self->problem("after the Close frame: $shown") if $self->{close} && !$self->{has_second};
    return $self->_judge_close($payload) if $opcode == 8;
    return $self->_judge_pong($payload) if $opcode == 10;
    $self->_judge_data($opcode, $payload);
}

sub _form { $_[0] < 126 ? 7 : $_[0] < 65536 ? 16 : 64 }

sub _judge_data {
    my ($self, $opcode, $payload) = @_;
    my $next = $self->{sent}[0];
    if ($next && $next->[0] == $opcode && $next->[1] eq $payload) { shift @{ $self->{sent} } }
    elsif ($self->_take_loose('loose', $opcode, $payload))         { }
    elsif ($self->{credit} > 0)                                    { $self->{credit}-- }
    else { $self->problem('unexpected ' . shown($opcode, $payload) . ($next ? ', not ' . shown(@$next) : '')) }
}

sub _take_loose {
    my ($self, $list, $opcode, $payload) = @_;
    my $entries = $self->{$list};
    for my $index (0 .. $#$entries) {
        next if $entries->[$index][0] != $opcode || $entries->[$index][1] ne $payload;
        return splice @$entries, $index, 1;
    }
    return;
}

sub _judge_pong {
    my ($self, $payload) = @_;
    $self->{pongs}{$payload}++;
    return if $self->{is_void};
    $self->problem('a pong that answers nothing: ' . shown(10, $payload)) unless grep { $_ eq $payload } @{ $self->{pings} };
}

sub _judge_close {
    my ($self, $payload) = @_;
    $self->{close} = 1;
    return if $self->{sends_any_close};
    my ($code, $reason) = length $payload ? unpack 'n a*', $payload : ();
    $self->problem('a Close frame with the code ' . $code) if defined $code && ($code < 1000 || $code > 4999);
    $self->problem('a Close frame with a reason that is not UTF-8')
        if defined $reason && !eval { Encode::decode('UTF-8', my $copy = $reason, Encode::FB_CROAK); 1 };
    $self->problem('a Close frame of ' . length($payload) . ' octets') if length $payload == 1 || length $payload > 125;
}

sub shown {
    my ($opcode, $body) = @_;
    my $start = substr $body, 0, 40;
    utf8::encode($start) if utf8::is_utf8($start);
    return "opcode $opcode, " . length($body) . ' octets "' . ($start =~ s/[^ -~]/./gr) . '"';
}

1;
