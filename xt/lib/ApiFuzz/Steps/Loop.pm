package ApiFuzz::Steps::Loop;

# The event loop, and child processes.

use strict;
use warnings;
use AnyEvent;
use ApiFuzz::Step;
use POSIX ();
use Scalar::Util qw(weaken);
use WebSocketTest ();

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

# The acts of a child before it exits. None of this may affect the parent's connection.
my %LEAVE = (
    undef   => sub { $STEP{undef}->(@_) },
    destroy => sub { $STEP{destroy}->(@_) },
    cancel  => sub { $STEP{forget_callbacks}->(@_) },
    on      => sub { $STEP{on}->(@_, 'each_message', []) },
);

# Never returns: a child that went on would run the rest of the seeds. A replaced method may die.
sub run_child {
    my ($fuzz, $link, $exit, $before) = @_;
    local $SIG{__WARN__} = sub { print STDERR "a child warned: @_" };
    my $is_done = eval { $LEAVE{$before}->($fuzz, $link) if $before; 1 };
    print STDERR "a child died: $@\n" unless $is_done || $@ =~ $ApiFuzz::EXPECTED;
    # With EV an exit may crash in the end, see left_ok; that is no business of AddressSanitizer.
    $SIG{SEGV} = 'DEFAULT';
    $exit eq 'exit' ? exit 0 : POSIX::_exit(0);
}

$STEP{fork} = sub {
    my ($fuzz, $link, $how) = @_;
    my ($exit, $before) = reverse split /, /, $how;
    defined(my $pid = fork) or die "fork: $!";
    run_child($fuzz, $link, $exit, $before) if !$pid;
    1 until waitpid($pid, 0) != -1 || !$!{EINTR};
    return if ($? & 127) == POSIX::SIGSEGV() && $exit eq 'exit' && WebSocketTest::loop() eq 'EV';    # see left_ok
    $link->problem("the child that did $how has wait status $?") if $?;
};

1;
