#!/usr/bin/env perl
# Runs the attacks of t/hostile/resources.t at full size, and prints what each costs: memory, CPU time, and the time that
# another connection in the same process has to wait for an answer.
#   perl -Mblib xt/resources.pl [PATTERN]     those whose names match; fails if any exceeds its bound
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../t/lib";
use WebSocketTest::Attacks;

my ($pattern) = (@ARGV, '');
my $row = "%-34s %8s %-12s %9s %8s %9s %7s %8s %8s  %s\n";
printf $row, qw(attack size), '', 'most, KiB', 'at most', '2nd, KiB', 'CPU, s', 'median', 'most, ms', '';

my $over = 0;
for my $attack (grep { $_->{name} =~ /$pattern/ } attacks()) {
    my $size = $attack->{full};
    my $cost = besiege($attack, $size);
    my @problems = problems($attack, $size, $cost);
    $over ||= @problems;
    printf $row, $attack->{name}, $size, $attack->{unit}, $cost->{grown}, $attack->{grown}->($size, $cost),
        $cost->{again}, map({ sprintf '%.2f', $_ } $cost->{cpu}, @{ $cost->{latency} }),
        join ', ', pace($cost), @problems;
}
exit($over ? 1 : 0);

sub pace {
    my ($cost) = @_;
    return $cost->{rate} ? sprintf('%.0f a second, %d alive at once', @$cost{qw(rate alive)}) : ();
}

sub problems {
    my ($attack, $size, $cost) = @_;
    return (
        ($cost->{outcome} ne $attack->{outcome} ? "reported: $cost->{outcome}" : ()),
        ($cost->{grown} >= $attack->{grown}->($size, $cost) ? 'too much memory' : ()),
        ($attack->{cpu} && $cost->{cpu} >= $attack->{cpu}->($size) ? 'too much CPU time' : ()),
        ($cost->{latency}[1] >= slowest() ? 'others had to wait' : ()),
        ($cost->{again} >= most_again($cost) ? 'something is left of it' : ()),
        ($cost->{files} ? "$cost->{files} descriptors are left open" : ()),
    );
}
