package ApiFuzz::Shrink;

# Shortens the plan of a failing seed.
#
#   my ($plan, @problems) = ApiFuzz::Shrink::of_seed(42);

use strict;
use warnings;
use ApiFuzz;
use ApiFuzz::Step;
use Storable qw(dclone);

# Returns the shortest plan found that fails in the same way, and its problems.
sub of_seed {
    my ($seed) = @_;
    my $plan = ApiFuzz::Plan::of_seed($seed);
    my @problems = ApiFuzz->run_plan(dclone($plan)) or return $plan;
    my $like = _kind($problems[0]);
    1 while _leave_out(\$plan, $like);
    return ($plan, ApiFuzz->run_plan(dclone($plan)));
}

# Returns a pattern for the first words of a problem, without its details.
sub _kind {
    my ($problem) = @_;
    my $kind = quotemeta(($problem =~ /\A(?:connection \d+: )?([a-zA-Z :]*)/)[0]);
    return qr/$kind/;
}

# Tries to remove each step, first many at once. Returns true if it removed any.
sub _leave_out {
    my ($plan, $like) = @_;
    my $has_any = 0;
    for (my $index = 0; $index < _lists($$plan); $index++) {
        for my $count (16, 4, 1) { $has_any += _leave_out_of($plan, $like, $index, $count) }
    }
    return $has_any;
}

sub _leave_out_of {
    my ($plan, $like, $index, $count) = @_;
    my $has_any = 0;
    for (my $at = @{ (_lists($$plan))[$index] } - $count; $at >= 0; $at -= $count) {
        my $less = dclone($$plan);
        splice @{ (_lists($less))[$index] }, $at, $count;
        next unless grep { $_ =~ $like } ApiFuzz->run_plan(dclone($less));
        ($$plan, $has_any) = ($less, 1);
    }
    return $has_any;
}

# Returns all lists of steps in a plan: its own, then those inside steps.
sub _lists {
    my ($plan) = @_;
    my @lists = $plan->{steps};
    for (my $index = 0; $index < @lists; $index++) { push @lists, map { _lists_of_step(@$_) } @{ $lists[$index] } }
    return @lists;
}

sub _lists_of_step {
    my ($name, undef, @arguments) = @_;
    return map { _lists_in($_) } @arguments;
}

# An argument may be a list of steps, or a list of such lists.
sub _lists_in {
    my ($argument) = @_;
    return if ref $argument ne 'ARRAY';
    return map { _lists_in($_) } @$argument if !@$argument || grep { !_is_step($_) } @$argument;
    return $argument;
}

sub _is_step {
    my ($item) = @_;
    return ref $item eq 'ARRAY' && @$item > 1 && !ref $item->[0] && $STEP{ $item->[0] };
}

1;
