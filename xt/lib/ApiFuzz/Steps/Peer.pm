package ApiFuzz::Steps::Peer;

# The peer's side: what it sends, when it reads, how it ends.

use strict;
use warnings;
use ApiFuzz::Step;
use WebSocketTest::Frame;

$STEP{message} = sub { my ($fuzz, $link, @message) = @_; expect($link, @message); $link->feed(0) };
$STEP{pong}    = sub { my ($fuzz, $link, $size) = @_; $link->answer('p' x $size) };
$STEP{feed}    = sub { my ($fuzz, $link, $count) = @_; $link->feed($count) };

sub expect {
    my ($link, $number, $opcode, $size, $pieces) = @_;
    $link->expect($opcode, substr("<$number>" . 'ABCDEFGH' x (1 + $size / 8), 0, 8 + $size), $pieces);
}

# A message that arrives in $count reads.
$STEP{pieces} = sub {
    my ($fuzz, $link, $number, $opcode, $size, $count) = @_;
    expect($link, $number, $opcode, $size, 1);
    my $each = 1 + int length($link->{feed}) / $count;
    for (1 .. $count) { $link->feed($each); $fuzz->turn }
};

$STEP{ping} = sub { my ($fuzz, $link, $number, $size) = @_; $link->ask("<$number>" . 'p' x $size) };

# The peer checks the frames it has received, and answers pings.
$STEP{look} = sub { my ($fuzz, $link) = @_; $link->judge_frames };

$STEP{stall}       = sub { my ($fuzz, $link) = @_; $link->{peer}->stall };
$STEP{resume}      = sub { my ($fuzz, $link) = @_; $link->{peer}->resume unless $link->{peer_is_gone} };
$STEP{half_close}  = sub { my ($fuzz, $link) = @_; $link->peer_ends('half_close') };
$STEP{close_peer}  = sub { my ($fuzz, $link) = @_; $link->peer_ends('close') };
$STEP{reset}       = sub { my ($fuzz, $link) = @_; $link->peer_ends($link->{spec}{transport} eq 'unix' ? 'close' : 'reset') };

$STEP{their_close} = sub {
    my ($fuzz, $link, $close) = @_;
    $link->queue({ payload => '' }, close_frame(@$close[0, 1], $link->mask));
    $link->feed(0);
};

# --- protocol violations

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
    $link->queue({ payload => '' }, $BROKEN[$which]->($link->mask));
    $link->feed(0) if $number % 2;
};

1;
