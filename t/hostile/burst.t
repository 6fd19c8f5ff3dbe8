# Tests that the answers to a burst of very small messages leave together for as long as the burst is dispatched, so that the
# peer cannot make us spend a system call, and everybody else's time, on each of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Socket qw(SOL_SOCKET SO_SNDBUF);
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original writes each by itself' if is_original();

my $MESSAGES = 20_000;

sub write_calls {
    open my $file, '<', '/proc/self/io' or return;
    local $/;
    return (readline($file) =~ /^syscw: (\d+)/m)[0];
}

plan skip_all => 'no /proc/self/io to count system calls with' unless defined write_calls();

for my $masked (0, 1) {
    my ($left, $right) = tcp_pair();
    # The buffer holds the whole burst, so that one read returns as much as possible.
    setsockopt $_, SOL_SOCKET, SO_SNDBUF, 1 << 20 or die "setsockopt: $!" for $left, $right;
    my $connection = connection_on($left, masked => $masked);
    my $echoed = 0;
    $connection->on(each_message => sub { $_[0]->send($_[1]); poke() if ++$echoed == $MESSAGES });
    my $burst = text('', mask => !$masked) x $MESSAGES;
    is syswrite($right, $burst), length $burst, 'the burst fits the socket';
    my $before = write_calls();
    wait_until('all messages', sub { $echoed == $MESSAGES });
    # The aim is one call per millisecond; even a slow machine stays far below a tenth of the messages.
    cmp_ok write_calls() - $before, '<', $MESSAGES / 10, "masked $masked: system calls for $MESSAGES answers";
}

done_testing;
