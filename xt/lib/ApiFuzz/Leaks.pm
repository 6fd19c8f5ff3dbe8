package ApiFuzz::Leaks;

# What a seed leaves behind: open descriptors, and Perl values if Test::LeakTrace is there to count them.
#
#   my @problems = ApiFuzz::Leaks::of_seed(42);    # runs it some times

use strict;
use warnings;
use AnyEvent;
use ApiFuzz;

my $ROUNDS = 4;

# A reason not to count values, or nothing. AnyEvent's pure-Perl loop keeps what is left of a timer until its time has come.
sub why_not_values {
    return 'by design: values are counted on EV only' if AnyEvent::detect() !~ /EV\z/;
    return eval { require Test::LeakTrace } ? '' : 'Test::LeakTrace is not installed';
}

my $count_values = why_not_values() ? undef : \&Test::LeakTrace::count_sv;

# Caches fill in the first run, and now and then in a later one; a leak has every run grow. The numbers have their place
# beforehand, as values are what is counted.
sub of_seed {
    my ($seed) = @_;
    my %count = map { $_ => [(0) x ($ROUNDS + 1)] } qw(descriptors values);
    for my $round (0 .. $ROUNDS) {
        my @problems = ApiFuzz->run_seed($seed);
        return @problems if @problems;
        $count{descriptors}[$round] += _descriptors();
        $count{values}[$round] += $count_values->() if $count_values;
    }
    return map { _growth($_, @{ $count{$_} }) } sort keys %count;
}

sub _descriptors {
    opendir my $dir, '/proc/self/fd' or return 0;
    return scalar grep { /\d/ } readdir $dir;
}

sub _growth {
    my ($what, @counts) = @_;
    my @steps = map { $counts[$_] - $counts[$_ - 1] } 1 .. $#counts;
    return if grep { $_ <= 0 } @steps;
    return "leaks $what: @steps more in each run";
}

1;
