# What a program keeps of small messages takes what small messages have to take, whatever memory was at hand when they came.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Usage;

# How much the process has grown, KiB, the second time: what perl and malloc need once is there then.
sub growth {
    my ($code) = @_;
    $code->();
    my $before = resident();
    $code->();
    return resident() - $before;
}

# The smallest first, as malloc would serve it from what the others leave.
for my $case ([[4_000, 10], 100], [[60_000, 15_800, 4_200], 3]) {
    my ($sizes, $times) = @$case;
    my $small = $sizes->[-1];
    subtest "messages of $small bytes that a program keeps, each after larger ones" => sub {
        plan skip_all => 'needs /proc, and no valgrind' unless resident();
        my ($connection, $peer) = connection_and_peer();
        my (@kept, $count);
        $connection->on(each_message => sub { push @kept, $_[1] if length $_[1]->body == $small; $count++; poke() });
        my $rounds = 1000;
        my $growth = growth(sub {
            for (1 .. $rounds) {
                $count = 0;
                $peer->write(map { binary('x' x $_) } @$sizes);
                wait_until('the messages', sub { $count == @$sizes });
            }
        });
        is scalar @kept, 2 * $rounds, 'are all kept';
        cmp_ok $growth, '<', $rounds * $small * $times / 1024 + 1000, 'and take what they have to, KiB';
    };
}

done_testing;
