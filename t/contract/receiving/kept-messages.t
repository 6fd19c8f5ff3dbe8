# Tests that small messages that a program keeps take no more memory than they need, whatever larger ones came before.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Usage;

# Returns how much the process grows in the second run, in KiB; the first covers what perl and malloc need only once.
sub growth {
    my ($code) = @_;
    $code->();
    my $before = resident();
    $code->();
    return resident() - $before;
}

# The case with the smallest messages is first: malloc would serve them from memory that the other case has freed.
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
