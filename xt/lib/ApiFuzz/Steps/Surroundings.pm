package ApiFuzz::Steps::Surroundings;

# Steps by which a callback changes its arguments, $@ and $_, or leaves.

use strict;
use warnings;
use ApiFuzz::Step;
use ApiFuzz::Values;
use Scalar::Util qw(blessed);

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

# --- $_, of which each callback gets a fresh one

my %TOPIC = (
    assign     => sub { $_ = 'changed' },
    undef      => sub { undef $_ },
    reference  => sub { $_ = [$_[0]{depth}] },
    file       => sub { open my $fh, '<', \"1\n2\n3\n" or die; while (<$fh>) { last if $. > 1 } },
    whole_file => sub { open my $fh, '<', \"1\n2\n3\n" or die; while (<$fh>) { chomp } },
    local      => \&local_topic,
    scalar     => sub { *_ = \'read-only' },
    other      => sub { *_ = \my $other; $_ = 'other' },
    array      => sub { *_ = ['other'] },
    taken      => sub { push @{ $_[0]{copies} }, \$_; $_ = 'taken' },
    change     => sub { $_ = 'some text'; s/some/other/; /t/g },
    tied       => sub { tie $_, 'ApiFuzz::Holding', 'held'; $_ = 'more' },
    readonly   => sub { $_ = 'fixed'; Internals::SvREADONLY($_, 1) },
    loop       => sub { for (1 .. 2) { $_[0]->turn } },
);

sub local_topic {
    my ($fuzz, $link) = @_;
    local $_ = 'mine';
    $fuzz->turn;
    my $is_changed = !defined $_ || $_ ne 'mine';
    $link->problem('$_ of a callback that runs the loop becomes ' . (defined $_ ? $_ : 'undef')) if $is_changed;
}

# Only callbacks of the connection get a fresh $_, not those of the handle and the loop. The calls of one stream may share
# one, so a $_ that cannot be assigned to would break its next call.
$STEP{topic} = sub {
    my ($fuzz, $link, $how) = @_;
    my $event = $fuzz->{event} || 'none';
    $TOPIC{$how}->($fuzz, $link) if $event !~ /none|on_drain/ && !($event eq 'stream' && $how =~ /tied|readonly/);
};

package ApiFuzz::Ghost { sub DESTROY { local $@; eval { die 'ghost' } } }
package ApiFuzz::False { use overload bool => sub { 0 }, '""' => sub { '' }, fallback => 1; sub new { bless {}, $_[0] } }

1;
