package ApiFuzz::Steps::Buffers;

# Uses of the handle's buffers, which are ordinary strings to a program. It may copy them (copies share memory with the
# original and must not change), search them, or make them read-only for a while.

use strict;
use warnings;
use ApiFuzz::Step;

# Returns a copy that shares no memory with the original, for later comparison.
sub duplicate { my ($text) = @_; return $text . '' }

sub keep {
    my ($fuzz, $name, $copy) = @_;
    push @{ $fuzz->{buffers} }, { name => $name, copy => $copy, is => duplicate($copy) };
}

# Each is called with the buffer itself as $_[0]. After a match, perl keeps a copy of the whole string.
my %LOOK = (
    copy      => sub { keep($_[1], 'copy of', $_[0]) },
    match     => sub { keep($_[1], 'match in', $1) if $_[0] =~ /\A(.{0,2000})/s },
    capture   => sub { $_[0] =~ /(.*)/s; push @{ $_[1]{copies} }, \"$1" },
    place     => sub { pos($_[0]) = length($_[0]) / 2 },
    number    => sub { no warnings 'numeric'; push @{ $_[1]{copies} }, $_[0] + 0 },
    reference => sub { push @{ $_[1]{copies} }, \$_[0] },
    part      => sub { push @{ $_[1]{copies} }, \substr($_[0], 0, 3) if length $_[0] > 3 },
    back      => sub { my $copy = $_[0]; keep($_[1], 'origin of', $copy); $_[0] = $copy },
    upgrade   => sub { utf8::upgrade($_[0]) unless $_[2] eq '_tls_wbuf' },
);

$STEP{buffer} = sub {
    my ($fuzz, $link, $slot, $how) = @_;
    my $handle = handle_of($link) or return;
    $LOOK{$how}->($handle->{$slot}, $fuzz, $slot) if defined $handle->{$slot};
};

# Frames sent while the buffer is read-only are lost. If bytes wait in it, AnyEvent::Handle's own watcher may write them, fail to
# remove them, and write them again.
$STEP{read_only} = sub {
    my ($fuzz, $link, $slot, $steps) = @_;
    my $handle = handle_of($link) or return;
    $link->{loses_frames} = 1;
    my $buffer = \($handle->{$slot} //= '');
    $link->{is_garbled} = 1 if length $$buffer;
    Internals::SvREADONLY($$buffer, 1);
    $fuzz->run(@$steps);
    Internals::SvREADONLY($$buffer, 0);
};

my %LOSE = (
    undef  => sub { undef $_[0]{ $_[1] } },
    delete => sub { delete $_[0]{ $_[1] } },
    empty  => sub { $_[0]{ $_[1] } = '' },
);

$STEP{lose} = sub {
    my ($fuzz, $link, $slot, $how) = @_;
    my $handle = handle_of($link) or return;
    return unless exists $handle->{$slot};
    @$link{qw(is_void loses_frames has_second)} = (1, 1, 1);
    # A part of what is lost may have been written.
    $link->{is_garbled} = 1 if $slot =~ /wbuf/;
    $LOSE{$how}->($handle, $slot);
};

1;
