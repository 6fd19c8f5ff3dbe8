package ApiFuzz::Plan;

# Draws a plan from a seed: connections, and steps to carry out on them. A plan is plain data, drawn in full before it runs,
# so timing cannot change it and a seed gives the same plan in every run. ApiFuzz::Steps implements the steps.
#
#   my $plan = ApiFuzz::Plan::of_seed(42);
#   # { mood => 'gentle', connections => [{...}, ...], steps => [[name, connection, argument...], ...] }
#
# A gentle plan does nothing that may lose a message, so all must arrive. In a rude plan the program may do anything; in a
# hostile one the peer also violates the protocol.

use strict;
use warnings;
use ApiFuzz::Arguments;
use ApiFuzz::Draw;
use List::Util qw(sum0);

# The relative frequency of each step.
my %GENTLE = (
    send => 14, send_as => 1, ask => 2, broadcast => 3, fragments => 2, stream => 2, buffered_amount => 3, stats => 1,
    message => 10, pieces => 2, ping => 3, pong => 1, feed => 6, stall => 1, resume => 2, look => 2,
    turn => 8, settle => 1, later => 3, fork => 0.15,
    on => 7, cancel => 2, chunks => 1.5, chunks_end => 1, pause => 1.5, go_on => 2,
    keep => 3, arguments => 2, error_variable => 2, topic => 4,
    read => 2, limit => 3, junk => 2, wrap => 0.7, drop_old => 0.5, replace => 0.7, replace_during => 1.5, restore => 1,
    stop_read => 1, start_read => 2, on_drain => 1, push_write => 2, no_delay => 1, buffer => 3,
);
my %RUDE = (
    %GENTLE,
    die => 1.5, leave => 0.7, tamper => 2, forget_callbacks => 0.3,
    close => 1.2, send_close => 0.3, set => 0.5, undef => 0.6, orphan => 0.3, redefine => 0.5, rebless => 0.5,
    awaiting => 1.5,
    destroy => 0.5, push_shutdown => 0.4, push_read => 0.3, on_read => 0.1, wbuf_max => 0.4, timeout => 0.4, autocork => 0.4,
    read_only => 0.5, lose => 0.2,
    half_close => 0.6, close_peer => 0.5, reset => 0.3, their_close => 0.7,
);
my %HOSTILE = (%RUDE, broken => 4);
my %WEIGHT = (gentle => \%GENTLE, rude => \%RUDE, hostile => \%HOSTILE);

sub of_seed {
    my ($seed) = @_;
    begin($seed);
    my $mood = one_of(qw(gentle gentle gentle gentle rude rude rude rude hostile hostile));
    my $count = one_of(1, 1, 1, 1, 2, 3);
    my $context = { mood => $mood, count => $count, depth => 0, leave => one_of(qw(_exit exit)), steps => \&steps };
    return {
        seed => $seed, mood => $mood,
        connections => [map { connection($context) } 1 .. $count],
        steps => steps($context, 8 + int rand 60),
    };
}

my @ENDINGS = qw(drop drop close half_close their_close our_close outlive);

sub connection {
    my ($context) = @_;
    my $is_gentle = $context->{mood} eq 'gentle';
    my %new = (masked => one_of(0, 1));
    $new{strict} = one_of(0, 1) if chance(0.5);
    $new{max_payload_size} = $is_gentle ? 0 : one_of(0, undef, 1, 125, 1000, 100_000);
    $new{max_fragments} = $is_gentle ? 1000 : one_of(undef, 1, 2, 5) if chance(0.5) || $is_gentle;
    $new{close_timeout} = one_of(0, 0.001, 0.01, 30) if !$is_gentle && chance(0.5);
    my %handle;
    $handle{linger} = one_of(0, 1) if !$is_gentle && chance(0.2);
    $handle{low_water_mark} = 1000 if chance(0.1);
    $handle{read_size} = 16 if chance(0.1);
    return {
        transport => one_of(qw(unix unix unix unix unix tcp tcp tls)), new => \%new, handle => \%handle,
        class => one_of((undef) x 6, qw(ApiFuzz::Loud ApiFuzz::Plain)), is_early => one_of(0, 0, 0, 1),
        listens => one_of(0, 1), ending => one_of(@ENDINGS),
    };
}

sub steps {
    my ($context, $count) = @_;
    return [map { step($context) } 1 .. $count];
}

sub step {
    my ($context) = @_;
    my $name = weighted($context);
    return [$name, int rand $context->{count}, ApiFuzz::Arguments::of($name, $context)];
}

# Draws a step's name. Two levels down, only steps that contain no others are drawn, so that nesting ends.
sub weighted {
    my ($context) = @_;
    my $weight = $WEIGHT{ $context->{mood} };
    my @names = grep { $context->{depth} < 2 || !ApiFuzz::Arguments::has_steps($_) } sort keys %$weight;
    my $left = rand sum0(@$weight{@names});
    for my $name (@names) { return $name if ($left -= $weight->{$name}) < 0 }
    return $names[-1];
}

1;
