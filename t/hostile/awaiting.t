# Tests with random programs that `receive` and callbacks together get each message once and in order, whatever is dropped,
# cancelled, paused or registered in between.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no receive' if is_original();

my $first = $ENV{WEBSOCKET_TEST_SEED} || 1;
my $count = $ENV{WEBSOCKET_TEST_SEED} ? 1 : 60;

# A program: what it holds, and what it has got so far.
sub new_program {
    my ($connection, $peer) = connection_and_peer();
    # Messages wait from the first call on.
    $connection->receive;
    return { connection => $connection, peer => $peer, sent => 0, waiting => [], got => [] };
}

sub note_message { my ($program, $message) = @_; push @{ $program->{got} }, $message->body; poke() }

# Takes the messages of the condvars that are ready, in the order in which they were asked for.
sub take {
    my ($program) = @_;
    my $waiting = $program->{waiting};
    while (@$waiting && $waiting->[0]->ready) { note_message($program, shift(@$waiting)->recv) }
}

sub stop_listening {
    my ($program) = @_;
    (delete $program->{unregister} || sub { })->();
}

my %ACTION = (
    write => sub {
        my ($program) = @_;
        $program->{peer}->write(join '', map { text('m' . $program->{sent}++) } 0 .. int rand 6);
    },
    receive => sub { my ($program) = @_; push @{ $program->{waiting} }, $program->{connection}->receive if !$program->{unregister} },
    # The message of one that is ready goes back.
    drop => sub { my ($program) = @_; pop @{ $program->{waiting} } },
    cancel => sub {
        my ($program) = @_;
        take($program);
        my $condvar = pop @{ $program->{waiting} };
        $condvar->cancel if $condvar;
    },
    listen => sub {
        my ($program) = @_;
        take($program);
        @{ $program->{waiting} } = ();
        $program->{unregister} ||= $program->{connection}->on(each_message => sub { note_message($program, $_[1]) });
    },
    unlisten => \&stop_listening,
    pause => sub { $_[0]{connection}->pause },
    resume => sub { $_[0]{connection}->resume },
    turn => sub { turn(); take($_[0]) },
);
my @ACTIONS = ((qw( write receive turn )) x 3, sort keys %ACTION);

sub finish {
    my ($program) = @_;
    $program->{connection}->resume;
    settle();
    take($program);
    @{ $program->{waiting} } = ();
    $ACTION{listen}->($program);
    wait_until('all messages', sub { @{ $program->{got} } >= $program->{sent} }, 5);
    settle();
}

for my $seed ($first .. $first + $count - 1) {
    srand $seed;
    my $program = new_program();
    my @done;
    for (1 .. 10 + int rand 60) {
        push @done, my $name = $ACTIONS[rand @ACTIONS];
        $ACTION{$name}->($program);
    }
    my $is_finished = eval { finish($program); 1 };
    is_deeply $program->{got}, [map { "m$_" } 0 .. $program->{sent} - 1], "seed $seed: each message once, in order"
        or diag "@done", $is_finished ? '' : ": $@";
    stop_listening($program);
}

done_testing;
