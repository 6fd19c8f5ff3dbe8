package ApiFuzz::Steps::Parts;

# Messages sent in fragments or as a stream, and received in chunks.

use strict;
use warnings;
use ApiFuzz::Step;
use ApiFuzz::Values;
use ApiFuzz::Wire ();
use Encode ();
use Scalar::Util qw(weaken);

# Returns data of about $size characters, some with the UTF8 flag.
sub data_of {
    my ($number, $index, $size) = @_;
    my $data = substr "<$number.$index>" . 'pqrstuvw' x (1 + $size / 8), 0, $size;
    $data .= "\x{263a}" if $size % 5 == 1;
    $data .= "\xe9"     if $size % 5 == 2;
    return $data;
}

sub octets_of { my ($data) = @_; return utf8::is_utf8($data) ? Encode::encode('UTF-8', $data) : $data }

$STEP{fragments} = sub {
    my ($fuzz, $link, $number, $is_binary, $sizes, $is_ended, $steps) = @_;
    for my $index (0 .. $#$sizes) {
        my $is_last = $index == $#$sizes;
        send_fragment($link, $is_binary ? 2 : 1, data_of($number, $index, $sizes->[$index]), $is_last && $is_ended);
        $fuzz->run(@$steps) unless $is_last;
    }
};

# If a message of the same opcode is incomplete, this fragment continues it; one of another opcode must be refused.
sub send_fragment {
    my ($link, $opcode, $data, $is_final) = @_;
    my $connection = $link->{connection} or return;
    my $is_wrong = $link->{stream} || $link->{part} && $link->{part}[0] != $opcode;
    my $before = $link->{part};
    $link->sends_part($opcode, octets_of($data), $is_final) unless $is_wrong;
    my $returned = eval { $connection->send_fragment($data, binary => $opcode == 2, ($is_final ? (final => 1) : ())) } or do {
        my $error = $@;
        $link->problem("send_fragment dies: $error") if !$is_wrong && $link->is_judged;
        $link->{loses_frames} = 1 unless $is_wrong;
        die $error;
    };
    $link->problem('send_fragment does not die')            if $is_wrong && $link->is_judged;
    $link->problem('send_fragment returns something else') if $returned != $connection;
}

$STEP{stream} = sub {
    my ($fuzz, $link, $number, $is_binary, $sizes, $ending, $calls, $at_end) = @_;
    my $connection = $link->{connection} or return;
    my %stream = (
        link => $link, fuzz => $fuzz, number => $number, opcode => $is_binary ? 2 : 1, index => 0, done => 0,
        sizes => [@$sizes], ending => $ending, calls => [@$calls], at_end => $at_end,
    );
    weaken $stream{$_} for qw(link fuzz);
    my $is_wrong = $link->{stream} || $link->{part};
    $link->{stream} = \%stream unless $is_wrong;
    my @options = (binary => $is_binary, done => sub { done(\%stream, @_) });
    my $returned = eval { $connection->send_stream(sub { next_chunk(\%stream, @_) }, @options) } or do {
        my $error = $@;
        $link->{stream} = undef if !$is_wrong && ApiFuzz::Wire::is_refusal($error);
        $link->problem("send_stream dies: $error") if !$is_wrong && $link->is_judged;
        die $error;
    };
    $link->problem('send_stream does not die')            if $is_wrong && $link->is_judged;
    $link->problem('send_stream returns something else') if $returned != $connection;
};

sub next_chunk {
    my ($stream, $connection) = @_;
    my ($fuzz, $link) = @$stream{qw(fuzz link)};
    return undef unless $fuzz && $link;
    $link->problem('a chunk is asked for after the end') if $stream->{is_over} && $link->is_judged;
    $link->problem('a chunk is asked for while another is') if $stream->{is_asked};
    $link->judge_connection('a chunk to be sent', $connection);
    my $steps = shift @{ $stream->{calls} };
    local $stream->{is_asked} = 1;
    $fuzz->in_callback($steps, \@_, $link, 'stream') if $steps;
    my $size = shift @{ $stream->{sizes} };
    die "fuzz die\n" if !defined $size && $stream->{ending} eq 'die';
    my $data = defined $size ? data_of($stream->{number}, $stream->{index}++, $size) : undef;
    $link->sends_part($stream->{opcode}, octets_of(defined $data ? $data : ''), !defined $data);
    $stream->{is_over} = 1 unless defined $data;
    return $data;
}

sub done {
    my ($stream, $connection, $error) = @_;
    my ($fuzz, $link) = @$stream{qw(fuzz link)};
    return unless $fuzz && $link;
    WebSocketTest::poke();
    $link->problem('a stream is done twice') if $stream->{done}++;
    $link->problem("a stream ends with '$error'") if defined $error && $link->is_judged;
    $link->problem('a stream is done before its end') if !defined $error && !$stream->{is_over} && $link->is_judged;
    $link->judge_connection('done', $connection);
    $link->{stream} = undef;
    $fuzz->in_callback($stream->{at_end}, \@_, $link, 'stream');
}

# --- received

$STEP{chunks} = sub {
    my ($fuzz, $link, $calls) = @_;
    my $connection = $link->{connection} or return;
    $link->listen_for_chunks;
    my $cancel = $connection->on(message_chunk => $fuzz->callback($link, $calls, 'message_chunk'));
    push @{ $link->{chunk_cancels} }, $cancel;
};

# Unregisters the chunk callbacks at the end of the current message, the rest of which they would get anyway.
$STEP{chunks_end} = sub { my ($fuzz, $link) = @_; $link->{ends_chunks} = 1 if $link->{chunk_cancels} };

1;
