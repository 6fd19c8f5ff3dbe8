package Streams;

# Random streams of frames, right and wrong ones, each made from nothing but its number:
#
#   my $stream = Streams::stream($number);   # { number, role, kind, chunks }
#
# role is the receiver: a server, for which right frames are masked, or a client. kind is "valid", or what was done to a valid
# stream. chunks are its octets, cut at random places.

use strict;
use warnings;
use Encode ();
use WebSocketTest::Frame;

# Maximum size, so that a stream fits a socket's buffer.
my $MAX_OCTETS = 100_000;

# The rules that a frame (a hash for WebSocketTest::Frame::frame) of a stream can break. Each sub returns the frames that take
# the place of the given one.
my %break_frame = (
    'reserved bits'     => sub { my %f = @_; return { %f, rsv => 1 + int rand 7 } },
    'reserved opcode'   => sub { my %f = @_; return { %f, opcode => pick(3 .. 7, 11 .. 15) } },
    'long control'      => sub { my %f = @_; return (control(payload => octets(126 + int rand 300)), \%f) },
    'control in pieces' => sub { my %f = @_; return (control(fin => 0), \%f) },
    'stray frame'       => sub { my %f = @_; return (stray(), \%f) },
    'other FIN'         => sub { my %f = @_; return { %f, fin => !$f{fin} } },
    'other opcode'      => sub { my %f = @_; return { %f, opcode => pick(0 .. 2, 8 .. 10) } },
    'wide length'       => sub { my %f = @_; return { %f, form => length $f{payload} < 126 ? pick(16, 64) : 64 } },
    'top bit of length' => sub { my %f = @_; return { %f, form => 64, length => 1 << 63 | length $f{payload} } },
    'wrong length'      => sub { my %f = @_; return { %f, length => abs(length($f{payload}) + int(rand 9) - 4) } },
    'other masking'     => sub { my %f = @_; return { %f, unusual => 1 } },
    'broken text'       => sub { my %f = @_; return { %f, opcode => $f{opcode} && 1, payload => broken($f{payload}) } },
    'bad close code'    => sub { return close_with(bad_code()) },
    'bad close reason'  => sub { return close_with(1000, broken(characters(30))) },
    'half a close code' => sub { return { opcode => 8, payload => octets(1) } },
    'doubled'           => sub { my %f = @_; return (\%f, {%f}) },
    'left out'          => sub { return },
);

# The same for the octets of a stream, which the subs change in place.
my %break_octets = (
    'cut off'           => sub { substr($_[0], rand length $_[0]) = '' },
    'octet changed'     => sub { substr($_[0], rand length $_[0], 1) = octets(1) },
    'octets inserted'   => sub { substr($_[0], rand length $_[0], 0) = octets(1 + rand 5) },
    'octets lost'       => sub { substr($_[0], rand length $_[0], 1 + rand 5) = '' },
    'nothing but noise' => sub { $_[0] = octets(1 + rand 200) },
);

my @kinds = (sort(keys %break_frame), sort keys %break_octets);

sub stream {
    my ($number) = @_;
    srand $number;
    my ($role, $kind) = (pick('server', 'client'), rand() < 0.4 ? 'valid' : pick(@kinds));
    my @frames = frames();
    @frames = with_one($break_frame{$kind}, @frames) if $break_frame{$kind};
    my $octets = join '', map { encoded($role, %$_) } @frames;
    $break_octets{$kind}->($octets) if $break_octets{$kind};
    return { number => $number, role => $role, kind => $kind, chunks => [chunks($octets)] };
}

sub pick { return $_[rand @_] }

sub with_one {
    my ($break, @frames) = @_;
    my $at = rand @frames;
    splice @frames, $at, 1, $break->(%{ $frames[$at] });
    return @frames;
}

sub encoded {
    my ($role, %frame) = @_;
    my $is_masked = ($role eq 'server') != !!delete $frame{unusual};
    return frame(%frame, $is_masked ? (mask => octets(4)) : ());
}

sub chunks {
    my ($octets) = @_;
    my @cuts = sort { $a <=> $b } map { int rand 1 + length $octets } 1 .. rand 5;
    my @ends = (@cuts, length $octets);
    return map { my $start = $_ ? $ends[ $_ - 1 ] : 0; substr $octets, $start, $ends[$_] - $start } 0 .. $#ends;
}

# --- valid streams: messages, control frames anywhere, perhaps a Close frame and ignored octets after it

sub frames {
    my ($room, @frames) = ($MAX_OCTETS);
    for (1 .. 1 + rand 6) { push @frames, message(\$room), controls(0.2) }
    push @frames, closing() if rand() < 0.5;
    return @frames;
}

sub closing {
    my $code = good_code();
    my $close = pick({ opcode => 8, payload => '' }, close_with($code), close_with($code, characters(30) . 'end'));
    return ($close, rand() < 0.3 ? message(\(my $room = 200)) : ());
}

sub close_with {
    my ($code, $reason) = @_;
    return { opcode => 8, payload => pack('n', $code) . substr $reason // '', 0, 123 };
}

sub good_code { return pick(1000 .. 1003, 1007 .. 1014, 3000, 3000 + int rand 2000, 4999) }
sub bad_code { return pick(0, int rand 1000, 999, 1004 .. 1006, 1015, 2000, 2999, 5000, 5000 + int rand 60536, 65535) }

sub message {
    my ($room) = @_;
    my $opcode = pick(1, 2);
    my $length = payload_length($$room);
    my $payload = $opcode == 1 ? characters($length / 4) . ('x' x ($length % 4)) : octets($length);
    $$room -= length $payload;
    my @parts = parts($payload);
    my @frames = map { ({ opcode => 0, payload => $_, fin => 0 }, controls(0.4)) } @parts;
    my ($last) = grep { !$frames[$_]{opcode} } reverse 0 .. $#frames;
    $frames[$last]{fin} = 1;
    $frames[0]{opcode} = $opcode;
    return @frames;
}

sub parts {
    my ($payload) = @_;
    return $payload if rand() < 0.6;
    my @parts = map { substr $payload, 0, rand length $payload, '' } 1 .. 1 + rand 4;
    return (@parts, $payload);
}

# Returns a length of any form, often at its edges; the widest form is rare, because it takes time.
sub payload_length {
    my ($room) = @_;
    my $length = rand() < 0.03
        ? pick(65535, 65536, 65537, 66000 + int rand 9000)
        : pick(0, 1, int rand 125, 124 .. 128, 128 + int rand 2000);
    return $length <= $room ? $length : 0;
}

sub controls {
    my ($probability) = @_;
    return rand() < $probability ? map { control() } 1 .. 1 + rand 3 : ();
}

sub stray { return { opcode => pick(0, 1, 2), payload => '!', fin => pick(0, 1) } }

sub control { return { opcode => pick(9, 10), payload => octets(pick(0, 1, int rand 125, 125)), @_ } }

sub octets { return join '', map { chr rand 256 } 1 .. $_[0] }

# Returns UTF-8 of that many characters, of one to four octets, the first and last of each kind among them.
sub characters {
    my ($count) = @_;
    my @edges = (0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfeff, 0xffff, 0x10000, 0x10ffff);
    my @some = map { pick(32 + int rand 95, 32 + int rand 95, pick(@edges), 0xa0 + int rand 0x4000) } 1 .. 64;
    return Encode::encode('UTF-8', join '', map { chr } @some[ map { rand @some } 1 .. $count ]);
}

# Returns invalid UTF-8: overlong, surrogate, too high, cut, or a lone continuation.
sub broken {
    my ($text) = @_;
    substr $text, rand length $text, 0,
        pick("\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8", "\xff", "\xe2\x82", "\x80");
    return $text;
}

1;
