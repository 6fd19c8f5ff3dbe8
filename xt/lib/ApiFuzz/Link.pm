package ApiFuzz::Link;

# One connection of a plan with its peer, and what each has sent to the other. What reaches the program is checked here; what
# reaches the peer, in ApiFuzz::Wire.

use strict;
use warnings;
use AnyEvent::WebSocket::Connection;
use Scalar::Util qw(blessed refaddr tainted weaken);
use WebSocketTest ();
use WebSocketTest::Frame;
use WebSocketTest::TLS ();
use ApiFuzz::SecurePeer;
use ApiFuzz::Step ();
use ApiFuzz::Wire qw(shown);

our @ISA = 'ApiFuzz::Wire';

sub new {
    my ($class, $fuzz, $index, $spec) = @_;
    my $self = bless {
        index => $index, spec => $spec, feed => '',
        (map { $_ => 0 } qw(received credit finished errors)),
        (map { $_ => [] } qw(expected sent loose raw pings asked cancels gone)),
        (map { $_ => {} } qw(pongs heard tampered under_way counts fed)),
    }, $class;
    weaken($self->{fuzz} = $fuzz);
    return $self;
}

# --- set up

sub connect {
    my ($self) = @_;
    my $spec = $self->{spec};
    my $is_tls = $spec->{transport} eq 'tls' && !WebSocketTest::TLS::unavailable();
    my ($near, $far) = $spec->{transport} eq 'unix' ? WebSocketTest::socket_pair() : WebSocketTest::tcp_pair();
    my ($ours, $theirs) = $spec->{new}{masked} ? qw(connect accept) : qw(accept connect);
    my $tls = \&WebSocketTest::TLS::shared_tls_options;
    $self->{peer} = $is_tls ? ApiFuzz::SecurePeer->new(AnyEvent::Handle->new(fh => $far, $tls->($theirs), no_delay => 1))
        : WebSocketTest::Peer->new($far);
    my $handle = AnyEvent::Handle->new(fh => $near, %{ $spec->{handle} }, $is_tls ? ($tls->($ours), no_delay => 1) : ());
    $self->_begin_early($handle) if $spec->{is_early} && !$is_tls;
    $self->_take($handle);
    return $self;
}

# The handle holds a message before the connection is made.
sub _begin_early {
    my ($self, $handle) = @_;
    $self->expect(1, '<early>', 1);
    $handle->{rbuf} .= $self->{feed};
    $self->{feed} = '';
}

sub _take {
    my ($self, $handle) = @_;
    my $spec = $self->{spec};
    $self->{connection} = ($spec->{class} || 'AnyEvent::WebSocket::Connection')->new(handle => $handle, %{ $spec->{new} });
    $self->{address} = refaddr $self->{connection};
    weaken($self->{weak_connection} = $self->{connection});
    weaken($self->{handle} = $handle);
    $self->_observe;
}

# Makes another connection on the same handle. The old one is kept or dropped.
sub wrap {
    my ($self, $keeps) = @_;
    my $old = delete $self->{connection};
    delete @$self{qw(chunk_cancels owes_drain)};
    @{ $self->{cancels} } = ();
    @$self{qw(is_wrapped finished errors)} = (1, 0, 0);
    $self->{old} = $old if $keeps;
    push @{ $self->{gone} }, $old;
    weaken $self->{gone}[-1];
    $self->_take($old->handle);
}

my %OBSERVER = (
    each_message => \&_got_message, finish => \&_got_finish, parse_error => \&_got_error, drain => \&_got_drain,
    ping => sub { shift->_heard(ping => @_) }, pong => sub { shift->_heard(pong => @_) },
);

# Registers our own callbacks first, so that for each message they precede all of the plan's except those for next_message.
sub _observe {
    my ($self) = @_;
    my $connection = $self->{connection};
    my @events = (qw(each_message finish parse_error), $self->{spec}{listens} ? qw(ping pong drain) : ());
    $connection->on($_ => $self->_observer($OBSERVER{$_})) for @events;
}

# A connection whose handle another one has taken over has no more events but `drain` in a gentle plan. In other plans the
# take-over may come in the middle of a message.
sub _observer {
    my ($self, $code) = @_;
    weaken(my $weak = $self);
    my $address = $self->{address};
    return sub {
        my $is_old = !$weak || $address != $weak->{address};
        $weak->$code(@_) unless $is_old && (!$weak || !$weak->{fuzz}->is_gentle || $code == \&_got_drain);
    };
}

# Registers a message_chunk callback of our own, which joins the chunks, before the first of the plan.
sub listen_for_chunks {
    my ($self) = @_;
    $self->{chunk_cancels} ||= [$self->{connection}->on(message_chunk => $self->_observer(\&_got_chunk))];
}

sub problem {
    my ($self, $text) = @_;
    $self->{fuzz}->problem("connection $self->{index}: $text") if $self->{fuzz};
}

# Returns true while all promises hold: the plan is gentle, and its connection is not being ended yet.
sub is_judged { my ($self) = @_; return $self->{fuzz}->is_gentle && !$self->{is_ending} }

sub _is_it { blessed $_[1] && refaddr $_[1] == $_[0]{address} }

sub _judge_connection {
    my ($self, $event, $connection) = @_;
    my $may_be_old = $self->{is_wrapped} && !$self->{fuzz}->is_gentle;
    $self->problem("a callback for $event gets another connection") unless $may_be_old || $self->_is_it($connection);
}

# --- what the connection gets

# Queues a message of the peer, in $pieces frames.
sub expect {
    my ($self, $opcode, $body, $pieces) = @_;
    push @{ $self->{expected} }, [$opcode, $body];
    $self->{has_tail} = 0;
    my $length = 1 + int length($body) / $pieces;
    my @parts = map { $_ * $length < length $body ? substr $body, $_ * $length, $length : '' } 0 .. $pieces - 1;
    $self->{fed}{messages}++;
    for my $index (0 .. $#parts) {
        my %frame = (opcode => $index ? 0 : $opcode, fin => $index == $#parts, payload => $parts[$index]);
        $self->queue(\%frame, frame(%frame, $self->mask));
    }
}

# Queues a ping of the peer.
sub ask {
    my ($self, $payload) = @_;
    push @{ $self->{pings} }, $payload;
    $self->{has_tail} = 0;
    $self->_queue_control(ping => $payload, ping($payload, $self->mask));
}

# Queues a pong of the peer.
sub answer {
    my ($self, $payload) = @_;
    $self->{has_tail} = 1;
    $self->_queue_control(pong => $payload, pong($payload, $self->mask));
}

sub _queue_control {
    my ($self, $event, $payload, $bytes) = @_;
    push @{ $self->{heard}{$event} }, $payload if $self->{spec}{listens};
    $self->{fed}{"${event}s"}++;
    $self->queue({ payload => $payload }, $bytes);
}

# Queues a frame that a later `feed` writes.
sub queue {
    my ($self, $frame, $bytes) = @_;
    $self->{fed}{frames}++;
    $self->{fed}{bytes} += length $frame->{payload};
    $self->{feed} .= $bytes;
}

sub mask { $_[0]{spec}{new}{masked} ? () : (mask => 1) }

# The peer writes the next $count queued octets; 0 means all.
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
    $self->_judge_connection('a message', $connection);
    $self->problem('no unregister sub') unless ref $unregister eq 'CODE';
    $self->problem('a whole message in the middle of chunks') if defined $self->{chunks} && $self->is_judged;
    $self->_received($message, blessed $message && $message->isa('AnyEvent::WebSocket::Message') ? $message->body : undef);
}

sub _got_chunk {
    my ($self, $connection, $message, $is_final) = @_;
    $self->_judge_connection('a chunk', $connection);
    $self->_judge_time('a chunk', $self->{received});
    WebSocketTest::poke();
    $self->problem('an empty chunk that is not the last') unless $is_final || length $message->body;
    $self->{chunks} = '' unless defined $self->{chunks};
    $self->{chunks} .= $message->body;
    return unless $is_final;
    $_->() for $self->{ends_chunks} ? @{ delete $self->{chunk_cancels} || [] } : ();
    $self->{ends_chunks} = 0;
    $self->_received($message, delete $self->{chunks});
}

sub _received {
    my ($self, $message, $body) = @_;
    my $index = $self->{received}++;
    WebSocketTest::poke();
    $self->problem('a message after finish') if $self->{finished} && !$self->{late}{$index};
    return if $self->{tampered}{$index} || $self->{is_void};
    $self->_judge_time("message $index", $index);
    return $self->problem("message $index is none") unless defined $body;
    $self->problem("message $index is not tainted") if ${^TAINT} && !tainted($body);
    my $expected = $self->{expected}[$index] or return $self->problem('a message that nobody sent');
    return if $message->opcode == $expected->[0] && $body eq $expected->[1];
    $self->problem("message $index is " . shown($message->opcode, $body) . ', not ' . shown(@$expected));
}

# If a callback pauses the connection, the message's remaining callbacks are still called.
sub _judge_time {
    my ($self, $what, $index) = @_;
    return unless $self->is_judged;
    $self->problem("$what in spite of pause") if $self->{at_hand} && !$self->{at_hand}{$index};
    $self->problem("$what from resume itself") if $self->{is_resuming};
}

sub _heard {
    my ($self, $event, $connection, $payload) = @_;
    $self->_judge_connection($event, $connection);
    WebSocketTest::poke();
    return unless $self->is_judged;
    $self->problem("the payload of a $event is not tainted") if ${^TAINT} && length $payload && !tainted($payload);
    # Answering a ping may call on_drain, which may pause.
    $self->problem("a $event in spite of pause") if $self->{at_hand} && !$self->{has_on_drain};
    my $expected = shift @{ $self->{heard}{$event} };
    $self->problem("$event: " . shown(0, $payload) . ', not ' . (defined $expected ? shown(0, $expected) : 'any'))
        if !defined $expected || $payload ne $expected;
}

# The connection promises `drain` after it reported a buffered amount.
sub _got_drain {
    my ($self, $connection) = @_;
    $self->_judge_connection('drain', $connection);
    WebSocketTest::poke();
    $self->{owes_drain} = 0;
    my $handle = $connection->handle;
    my ($left) = grep { length($handle->{$_} // '') } qw(wbuf _tls_wbuf);
    $self->problem("drain, but there is something in $left") if $left && $self->is_judged;
}

# If next_message callbacks are running, their messages still reach the each_message callbacks.
sub _got_finish {
    my ($self, $connection) = @_;
    WebSocketTest::poke();
    $self->{late} = { %{ $self->{under_way} } };
    $self->problem('finish twice') if $self->{finished}++;
    $self->problem('finish before the end') if $self->is_judged;
    $self->_judge_connection('finish', $connection);
}

# Only a callback's own exception may come after finish or an earlier error: that callback was still running, having found by
# sending, or by running the event loop, that the peer is gone.
sub _got_error {
    my ($self, $connection, $error) = @_;
    my $is_late = $self->{finished} || $self->{errors}++;
    $self->problem("parse_error too late: $error") if $is_late && $error !~ $ApiFuzz::EXPECTED;
    $self->problem("parse_error: $error") if $self->is_judged;
    $self->_judge_connection('parse_error', $connection);
}

# --- whether everything has arrived

# Sends one last message in each direction, once no stream is under way.
sub send_last {
    my ($self) = @_;
    return if $self->{has_sent_last} || $self->{stream} || !$self->{connection};
    $self->end_fragments;
    $self->{has_sent_last} = 1;
    $self->expect(1, '<last>', 1);
    $self->sending('sent', [1, '<last>'], sub { $self->{connection}->send('<last>') });
}

sub end_fragments {
    my ($self) = @_;
    my $part = $self->{part} or return;
    $self->sends_part($part->[0], '', 1);
    $self->{connection}->send_fragment('', binary => $part->[0] == 2, final => 1);
}

# Returns true once both sides have sent and received everything.
sub has_all {
    my ($self) = @_;
    $self->calm_down;
    $self->judge_frames;
    $self->send_last;
    $self->end_fragments unless $self->{stream};
    return $self->{has_sent_last} && !$self->{stream} && !$self->{owes_drain} && !length $self->{feed} && !$self->_missing;
}

# Descriptions of what has not arrived.
sub _missing {
    my ($self) = @_;
    my @missing;
    for my $list (qw(sent loose raw)) {
        my $count = @{ $self->{$list} } or next;
        push @missing, "$count frame(s) lost ($list), the first is " . shown(@{ $self->{$list}[0] });
    }
    my $expected = @{ $self->{expected} };
    push @missing, "only $self->{received} message(s) of $expected" if $self->{received} < $expected;
    push @missing, 'the last ping has no answer' unless $self->_has_last_pong;
    push @missing, 'pings were not sent: ' . @{ $self->{asked} } if @{ $self->{asked} };
    for my $event (sort keys %{ $self->{heard} }) {
        push @missing, "callbacks for $event were not called" if @{ $self->{heard}{$event} };
    }
    return @missing;
}

sub _has_last_pong { my $pings = $_[0]{pings}; return !@$pings || $_[0]{pongs}{ $pings->[-1] } }

sub report_missing {
    my ($self) = @_;
    my $rest = length $self->{peer}{in};
    $self->problem("$rest octets of a frame that does not end") if $rest;
    $self->problem($_) for $self->_missing;
    $self->problem('a stream does not end')             if $self->{stream};
    $self->problem('a message in parts does not end')   if $self->{begun};
    $self->problem('something waited, but no drain came') if $self->{owes_drain};
}

# Returns true if the connection has received all that the peer wrote, and no message is incomplete.
sub is_quiet {
    my ($self) = @_;
    my $is_received = $self->{received} == @{ $self->{expected} } && !length $self->{feed} && $self->_has_last_pong;
    my $is_busy = $self->{stream} || $self->{part} || $self->{at_hand} || defined $self->{chunks};
    my $are_heard = !grep { @$_ } values %{ $self->{heard} };
    return $is_received && !$is_busy && $are_heard && !($self->{has_tail} && !$self->{spec}{listens});
}

# Descriptions of the counts in which `stats` differs from ours.
sub wrong_counts {
    my ($self) = @_;
    my $stats = $self->{connection}->stats;
    my @wrong;
    for my $name (qw(messages frames bytes pings pongs)) {
        my %wanted = ("${name}_sent" => $self->{counts}{$name} || 0, "${name}_received" => $self->{fed}{$name} || 0);
        push @wrong, map { "connection $self->{index}: stats: $_ is $stats->{$_}, not $wanted{$_}" }
            grep { $stats->{$_} != $wanted{$_} } sort keys %wanted;
    }
    return @wrong;
}

# Resumes everything that would keep pending data from arriving.
sub calm_down {
    my ($self) = @_;
    $self->feed(0);
    $self->{peer}->resume unless $self->{peer_is_gone};
    my $connection = $self->{connection};
    $self->go_on if $self->{at_hand} && $connection;
    $connection->ping_interval(undef) if $self->{asks_by_itself} && $connection;
    my $handle = ApiFuzz::Step::handle_of($self);
    $handle->start_read if $handle;
}

sub pause {
    my ($self) = @_;
    $self->{at_hand} = { %{ $self->{under_way} } };
    return $self->{connection}->pause;
}

sub go_on {
    my ($self) = @_;
    delete $self->{at_hand};
    local $self->{is_resuming} = 1;
    return $self->{connection}->resume;
}

1;
