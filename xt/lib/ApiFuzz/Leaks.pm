package ApiFuzz::Leaks;

# Runs a seed several times and checks that neither open descriptors nor, if Test::LeakTrace is installed, Perl values
# accumulate.
#
#   my @problems = ApiFuzz::Leaks::of_seed(42);

use strict;
use warnings;
use AnyEvent;
use ApiFuzz;

my $ROUNDS = 4;

# Returns why values are not counted, or '' if they are. AnyEvent's pure-Perl loop keeps a cancelled timer's record until
# the timer would have fired.
sub why_not_values {
    return 'by design: values are counted on EV only' if AnyEvent::detect() !~ /EV\z/;
    return eval { require Test::LeakTrace } ? '' : 'Test::LeakTrace is not installed';
}

my $count_values = why_not_values() ? undef : \&Test::LeakTrace::count_sv;

# A leak makes every run grow, whereas caches fill in the first run and sometimes in a later one. The counters exist
# beforehand because they are values too.
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
