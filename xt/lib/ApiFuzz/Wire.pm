package ApiFuzz::Wire;

# The part of an ApiFuzz::Link that checks what the peer gets: valid frames, masked according to the role, in the order in
# which they were sent, nothing after a Close frame, and fragments as the program chose them.

use strict;
use warnings;
use Encode ();
use Exporter 'import';
use WebSocketTest::Frame;

our @EXPORT_OK = qw(shown);

# --- expected frames

# Calls $code, which sends a frame. The peer must get it in the order of sending if $list is `sent`, and in any order if it is
# `loose`. If $code dies because the call was refused, the frame is no longer expected.
sub sending {
    my ($self, $list, $frame, $code) = @_;
    push @{ $self->{$list} }, $frame;
    return if eval { $code->(); 1 };
    my $error = $@;
    $self->take_back($list, $frame) if is_refusal($error);
    die $error;
}

sub take_back {
    my ($self, $list, $frame) = @_;
    @{ $self->{$list} } = grep { $_ != $frame } @{ $self->{$list} };
}

# Returns true for the exception of a refused call, which has sent nothing.
sub is_refusal { !ref $_[0] && $_[0] =~ /\A(?:send\w*|ping|broadcast)(?:: | takes )/ }

# Returns the list for a frame with this opcode. Control frames may come between the fragments of a message.
sub list_for { my ($self, $opcode) = @_; return $opcode > 7 && ($self->{part} || $self->{stream}) ? 'loose' : 'sent' }

# Returns true if a data frame must not be sent now, because a message in fragments is incomplete.
sub is_between_parts { my ($self, $opcode) = @_; return $self->{part} && $opcode < 8 }

# Expects another fragment of a message. The message's entry lists the lengths of its fragments.
sub sends_part {
    my ($self, $opcode, $octets, $is_final) = @_;
    my $frame = $self->{part} || [$opcode, '', []];
    push @{ $self->{sent} }, $frame unless $self->{part};
    $frame->[1] .= $octets;
    push @{ $frame->[2] }, length $octets;
    $self->{part} = $is_final ? undef : $frame;
}

# --- received frames

# Checks the frames that the peer has received since the last call.
sub judge_frames {
    my ($self) = @_;
    while (my $frame = decode_frame(\$self->{peer}{in})) { $self->_judge_frame($frame) }
}

sub _judge_frame {
    my ($self, $frame) = @_;
    return if $self->{is_garbled};
    my ($opcode, $payload) = @$frame{qw(opcode payload)};
    my $shown = shown($opcode, $payload);
    $self->problem("the mask bit is $frame->{masked}: $shown") if $frame->{masked} != ($self->{spec}{new}{masked} ? 1 : 0);
    $self->problem("reserved bits: $shown") if $frame->{rsv};
    $self->problem("a length in $frame->{form} bits: $shown") if $frame->{form} != _form(length $payload);
    return if $self->_take_loose('raw', $opcode, $payload);
    return $self->_judge_data($opcode, $payload, [length $payload]) if $payload =~ /\A<raw /;
    $self->problem("a masking key is reused: $shown") if $frame->{masked} && length $payload && $self->{keys}{ $frame->{mask} }++ > 1;
    $self->_count($opcode, $payload);
    $self->problem("after the Close frame: $shown") if $self->{close} && !$self->{has_second};
    return $self->_judge_control($frame, $shown) if $opcode > 7;
    return $self->_judge_part($frame, $shown) if !$frame->{fin} || $self->{begun};
    $self->_judge_data($opcode, $payload, [length $payload]);
}

sub _form { $_[0] < 126 ? 7 : $_[0] < 65536 ? 16 : 64 }

# Counts frames as `stats` does.
sub _count {
    my ($self, $opcode, $payload) = @_;
    my $counts = $self->{counts};
    $counts->{frames}++;
    $counts->{bytes} += length $payload;
    my %kind = (1 => 'messages', 2 => 'messages', 9 => 'pings', 10 => 'pongs');
    $counts->{ $kind{$opcode} }++ if $kind{$opcode};
}

sub _judge_part {
    my ($self, $frame, $shown) = @_;
    my $begun = $self->{begun};
    $self->problem(($begun ? 'in the middle of another message: ' : 'in the middle of no message: ') . $shown)
        if !$self->{has_second} && !$begun != !!$frame->{opcode};
    $begun = $self->{begun} = [$frame->{opcode}, '', []] if $frame->{opcode} || !$begun;
    $begun->[1] .= $frame->{payload};
    push @{ $begun->[2] }, length $frame->{payload};
    $self->_judge_data(@{ delete $self->{begun} }) if $frame->{fin};
}

# A message with the expected payload in other fragments may be another one, which comes in any order.
sub _judge_data {
    my ($self, $opcode, $payload, $lengths) = @_;
    my $next = $self->{sent}[0];
    my $is_alike = $next && $next->[0] == $opcode && $next->[1] eq $payload;
    if    ($is_alike && _has_lengths($next, $lengths))     { shift @{ $self->{sent} } }
    elsif ($self->_take_loose('loose', $opcode, $payload)) { }
    elsif ($self->{credit} > 0)                            { $self->{credit}-- }
    elsif ($self->{loses_frames})                          { }
    else {
        my $parts = $is_alike ? " in parts of @$lengths octets" : '';
        $self->problem('unexpected ' . shown($opcode, $payload) . $parts . ($next ? ', not ' . _shown_entry($next) : ''));
    }
}

sub _lengths { my ($entry) = @_; return $entry->[2] || [length $entry->[1]] }

sub _has_lengths { my ($entry, $lengths) = @_; return "@{ _lengths($entry) }" eq "@$lengths" }

sub _shown_entry { my ($entry) = @_; return shown(@$entry) . ' in parts of ' . "@{ _lengths($entry) } octets" }

sub _take_loose {
    my ($self, $list, $opcode, $payload) = @_;
    my $entries = $self->{$list};
    for my $index (0 .. $#$entries) {
        next if $entries->[$index][0] != $opcode || $entries->[$index][1] ne $payload;
        return splice @$entries, $index, 1;
    }
    return;
}

# --- control frames

sub _judge_control {
    my ($self, $frame, $shown) = @_;
    my ($opcode, $payload) = @$frame{qw(opcode payload)};
    $self->problem("a fragmented control frame: $shown") if !$frame->{fin};
    $self->problem("a control frame that is too long: $shown") if length $payload > 125;
    return $self->_judge_close($payload) if $opcode == 8;
    return $self->_judge_ping($payload)  if $opcode == 9;
    return $self->_judge_pong($payload)  if $opcode == 10;
    $self->_judge_data($opcode, $payload, [length $payload]);
}

# Pings must arrive in the order of sending. The peer answers each.
sub _judge_ping {
    my ($self, $payload) = @_;
    my $next = $self->{asked}[0];
    if    (defined $next && $next eq $payload)                            { shift @{ $self->{asked} } }
    elsif ($self->{asks_by_itself} && length $payload == 4)               { }
    elsif ($self->{loses_frames} || $self->{credit} && $self->{credit}--) { }
    else { $self->problem('unexpected ' . shown(9, $payload) . (defined $next ? ', not ' . shown(9, $next) : '')) }
    $self->answer($payload);
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
    my ($code, $reason) = length $payload ? unpack 'n a*', $payload : ();
    @$self{qw(their_code their_reason)} = ($code, $reason);
    return if $self->{sends_any_close};
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
