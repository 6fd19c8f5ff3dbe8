# Tests that peers get a bounded amount of our memory, descriptors and time, and that others do not notice. xt/resources.pl
# runs the same attacks, larger, with their figures.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Attacks;
use WebSocketTest::Usage;

plan skip_all => 'by design: the original has few bounds' if is_original();
plan skip_all => 'needs /proc, and no valgrind' unless resident();

for my $attack (attacks()) {
    my $size = $attack->{short};
    subtest "$attack->{name}: $size $attack->{unit}" => sub {
        my $cost = besiege($attack, $size);
        is $cost->{outcome}, $attack->{outcome}, 'what is reported';
        cmp_ok $cost->{grown}, '<', $attack->{grown}->($size, $cost), 'memory while it lasts, KiB';
        cmp_ok $cost->{again}, '<', most_again($cost), 'how much more another one takes';
        cmp_ok $cost->{cpu}, '<', $attack->{cpu}->($size), 'CPU time, s' if $attack->{cpu};
        note sprintf '%.0f a second, %d alive at once', @$cost{qw(rate alive)} if $cost->{rate};
        is $cost->{files}, 0, 'no descriptor stays open';
        cmp_ok $cost->{latency}[1], '<', slowest(), 'the longest that another connection had to wait, ms';
    };
}

done_testing;
