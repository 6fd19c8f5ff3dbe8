package ApiFuzz::Link;

# One connection of a plan with its peer, and the record of what each has sent to the other. ApiFuzz::Callbacks checks what
# reaches the program; ApiFuzz::Wire checks what reaches the peer.

use strict;
use warnings;
use AnyEvent::WebSocket::Connection;
use Scalar::Util qw(refaddr weaken);
use WebSocketTest ();
use WebSocketTest::Frame;
use WebSocketTest::TLS ();
use ApiFuzz::Callbacks;
use ApiFuzz::SecurePeer;
use ApiFuzz::Step ();
use ApiFuzz::Wire qw(shown);

our @ISA = qw(ApiFuzz::Callbacks ApiFuzz::Wire);

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
    $self->observe;
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

sub problem {
    my ($self, $text) = @_;
    $self->{fuzz}->problem("connection $self->{index}: $text") if $self->{fuzz};
}

# Returns true while all promises hold: the plan is gentle, and its connection is not being ended yet.
sub is_judged { my ($self) = @_; return $self->{fuzz}->is_gentle && !$self->{is_ending} }

# --- what the peer sends

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

# --- checks that everything has arrived

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

# Returns descriptions of what has not arrived.
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

# Returns descriptions of the counts in which `stats` differs from ours.
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
