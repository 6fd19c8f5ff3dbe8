package WebSocketTest::Siege;

# Measures what an attack costs this process, and how long it delays another connection.
#
#   my $siege = WebSocketTest::Siege->new;
#   ... the attack, in the event loop ...
#   my $cost = $siege->cost;
#     grown     the most memory used, less that used at the start, KiB
#     cpu       seconds
#     files     file descriptors, less those open at the start
#     latency   milliseconds that the other connection's messages took: [median, most]

use strict;
use warnings;
use AnyEvent;
use Time::HiRes qw(time clock_gettime CLOCK_PROCESS_CPUTIME_ID);
use WebSocketTest;
use WebSocketTest::Usage;

my $EVERY = 0.002;    # seconds between the other connection's messages

sub new {
    my ($class) = @_;
    my $self = bless { latency => [], grown => 0 }, $class;
    my ($other, $peer) = connection_and_peer();
    $other->on(each_message => sub { $_[0]->send($_[1]) });
    @$self{qw(other peer)} = ($other, $peer);
    $peer->answer(sub { $self->_answered; '' });
    $self->_ask_in(0);
    wait_until('an answer', sub { @{ $self->{latency} } });
    @$self{qw(latency memory files cpu)} = ([], resident(), descriptors(), clock_gettime(CLOCK_PROCESS_CPUTIME_ID));
    return $self;
}

# Sends a message later. Its latency counts from when it is due, so that a loop that comes to it late is seen as late.
sub _ask_in {
    my ($self, $seconds) = @_;
    $self->{due} = time + $seconds;
    $self->{timer} = AE::timer $seconds, 0, sub { $self->{peer}->write(text('still there?')) };
}

sub _answered {
    my ($self) = @_;
    push @{ $self->{latency} }, 1000 * (time - $self->{due});
    $self->sample;
    $self->_ask_in($EVERY);
}

# Samples the memory. Call it at the peak, because the other connection may not get a turn there.
sub sample {
    my ($self) = @_;
    my $grown = resident() - ($self->{memory} || return);
    $self->{grown} = $grown if $grown > $self->{grown};
}

sub cost {
    my ($self) = @_;
    my $cpu = clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $self->{cpu};
    settle();
    my @latency = sort { $a <=> $b } @{ $self->{latency} };
    return {
        grown => $self->{grown}, cpu => $cpu, files => descriptors() - $self->{files},
        latency => [@latency[@latency / 2, -1]],
    };
}

1;
