# Tests that many connections and many messages leave neither cycles nor leaks.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Usage;

use Scalar::Util qw(weaken);

# Tests that there are no cycles. Devel::Cycle warns about globs, which it does not inspect.
sub no_cycles_ok {
    my ($thing, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    local $SIG{__WARN__} = sub { warn @_ unless $_[0] =~ /\AUnhandled type: GLOB/ };
    Test::Memory::Cycle::memory_cycle_ok($thing, $name);
}

subtest 'cycles' => sub {
    plan skip_all => 'by design: timers of AnyEvent::Impl::IOAsync hold themselves' if loop() eq 'IOAsync';
    plan skip_all => 'Test::Memory::Cycle is not installed' unless eval { require Test::Memory::Cycle };
    my ($connection, $peer) = connection_and_peer(masked => 1);
    no_cycles_ok($connection, 'a new connection');
    my $seen = recorder($connection);
    $connection->send('x');
    $peer->write(text('y') . ping('p'));
    $seen->wait_messages(1);
    no_cycles_ok($connection, 'with callbacks, after messages');
    no_cycles_ok(($seen->messages)[0], 'a message');
    $connection->close;
    $peer->wait_eof->close;
    $seen->wait_finish;
    no_cycles_ok($connection, 'after finish');
};

# The ways in which a connection lives; afterwards nothing of it may be left.
my %life = (
    'nothing happens'       => sub { },
    'messages'              => sub { my ($c, $p) = @_; $p->write(text('x'), ping('y')); $p->next_frame },
    'our close'             => sub { my ($c, $p, $s) = @_; $c->close(4000); $p->wait_eof->close; $s->wait_finish },
    'their close'           => sub { my ($c, $p, $s) = @_; $p->write(close_frame(1000))->wait_eof->close; $s->wait_finish },
    'EOF'                   => sub { my ($c, $p, $s) = @_; $p->close; $s->wait_finish },
    'a limit'               => sub { my ($c, $p, $s) = @_; $p->write(frame(length => 2**30)); $s->wait_parse_error },
    'a die'                 => sub { my ($c, $p, $s) = @_; $p->sync; $c->on(next_message => sub { die "x\n" }); $p->write(text('x')); $s->wait_parse_error },
    'destroy'               => sub { my ($c) = @_; $c->handle->destroy },
    'half a frame'          => sub { my ($c, $p) = @_; $p->write(substr text('xyz'), 0, 4); settle() },
    'a queue'               => sub { my ($c, $p) = @_; $p->stall; $c->send('x' x 1_000_000) },
    'close and forget'      => sub { my ($c) = @_; $c->close(4000) },
    'cancelled callbacks'   => sub { my ($c) = @_; $c->on($_ => sub { })->() for qw(next_message each_message finish parse_error) },
);

for my $name (sort keys %life) {
    subtest "gone without a trace: $name" => sub {
        my ($weak_connection, $weak_handle, $weak_callback);
        {
            my ($connection, $peer) = connection_and_peer();
            my $seen = recorder($connection);
            my $callback = sub { $name };
            $connection->on($_ => $callback) for qw(next_message each_message finish parse_error);
            $life{$name}->($connection, $peer, $seen);
            weaken($weak_connection = $connection);
            weaken($weak_handle = $connection->handle);
            weaken($weak_callback = $callback);
        }
        settle();
        is $weak_connection, undef, 'connection';
        is $weak_handle, undef, 'handle';
        is $weak_callback, undef, 'callbacks' if !is_original() || $name !~ /cancelled/;
    };
}

# Returns how much the process grows over a number of rounds, in KiB, after as many to warm up.
sub growth {
    my ($rounds, $code) = @_;
    $code->() for 1 .. $rounds;
    my $before = resident();
    $code->() for 1 .. $rounds;
    return resident() - $before;
}

subtest 'resident memory' => sub {
    plan skip_all => 'needs /proc, and no valgrind' unless resident();
    plan skip_all => 'by design: timers of AnyEvent::Impl::IOAsync leak' if loop() eq 'IOAsync';

    my $connections = growth(400, sub {
        my ($connection, $peer) = connection_and_peer(masked => 1);
        my $seen = recorder($connection);
        $connection->send('x' x 300);
        $peer->write(text('y' x 300) . ping('p'))->next_frames(2);
        $connection->close(4000, 'bye');
        $peer->wait_eof->close;
        $seen->wait_finish;
    });
    cmp_ok $connections, '<', 400, 'four hundred connections leave nothing behind';

    my ($connection, $peer) = connection_and_peer();
    my $count = 0;
    $connection->on(each_message => sub { $count++; $_[0]->send($_[1]); $_[0]->on(next_message => sub { }); $_[1]->decoded_body });
    my $messages = growth(60, sub { $peer->write((text('x' x 100) . ping('p')) x 100)->next_frames(200) });
    is $count, 12_000, 'twelve thousand messages';
    cmp_ok $messages, '<', 400, 'leave nothing behind either';

    my $registrations = growth(5000, sub { $connection->on($_ => sub { })->() for qw(each_message finish) });
    cmp_ok $registrations, '<', 400, 'nor do callbacks that come and go';

    my $errors = growth(5000, sub { eval { $connection->on(nonsense => sub { }) }; eval { $connection->send({}) } });
    cmp_ok $errors, '<', 400, 'nor do mistakes';
};

subtest 'a large message' => sub {
    plan skip_all => 'needs /proc, and no valgrind' unless resident();
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    my $size = 0;
    $connection->on(each_message => sub { $size += length $_[1]->body; poke() });
    my $frame = binary('x' x 4_000_000);
    my $growth = growth(8, sub { my $now = $size; $peer->write($frame); wait_until('the message', sub { $size > $now }) });
    is $size, 64_000_000, 'sixteen of four megabytes';
    cmp_ok $growth, '<', 6000, 'are gone when the callback has ended';
};

# The memory of a large message is reused for a smaller one; each round uses new sizes.
subtest 'messages of ever smaller sizes' => sub {
    plan skip_all => 'needs /proc, and no valgrind' unless resident();
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    my ($round, $count) = (0, 0);
    $connection->on(each_message => sub { $count++; poke() });
    my $growth = growth(60, sub {
        $round++;
        for my $size (1_048_576, 262_144, 65_536, 16_384, 4_200) {
            my $seen = $count;
            $peer->write(binary('x' x ($size + $round)));
            wait_until('the message', sub { $count > $seen });
        }
    });
    cmp_ok $growth, '<', 20_000, 'sixty rounds leave little behind, KiB';
};

done_testing;
