# Tests random plans of what programs and peers may do. xt/api-fuzz.pl runs more of them, and prints or shortens a single one.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../xt/lib";
use Test::More;
use WebSocketTest;

needs_plain_loop();

plan skip_all => 'by design: the original would fail in ways that are described elsewhere' if is_original();
require ApiFuzz::Leaks;

my $SEEDS = 200;
my $EACH = 25;    # seeds per test

sub problems_of {
    my ($seed) = @_;
    my @problems = $seed % $EACH ? ApiFuzz->run_seed($seed) : ApiFuzz::Leaks::of_seed($seed);
    return map { "seed $seed: $_" } @problems;
}

SKIP: {
    my $why_not = ApiFuzz::Leaks::why_not_values();
    skip $why_not, 1 if $why_not;
    pass 'the values that a seed leaves behind are counted';
}

for (my $first = 1; $first < $SEEDS; $first += $EACH) {
    my $last = $first + $EACH - 1;
    is join("\n", map { problems_of($_) } $first .. $last), '', "seeds $first to $last";
}

done_testing;
