# Tests that a callback may run the event loop recursively, and wait in it for more messages.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use List::Util qw(min sum);
use Test::More;
use Time::HiRes ();
use WebSocketTest;

# wait_until and wait_in_callback lift AnyEvent's guard against recursion, so that a callback can wait.
sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync;
    return ($connection, $peer);
}

sub wait_in_callback {
    my ($what, $register) = @_;
    my $cv = AE::cv;
    $register->($cv);
    my $timeout = AE::timer 60 * patience(), 0, sub { $cv->croak("timed out waiting for $what in a callback") };
    local $AnyEvent::CondVar::Base::WAITING;
    return $cv->recv;
}

subtest 'recv of a timer in a message callback' => sub {
    for my $event (qw(next_message each_message)) {
        my ($connection, $peer) = ready();
        my @log;
        $connection->on($event => sub {
            push @log, 'before';
            my $timer;
            wait_in_callback('a timer', sub { my $cv = shift; $timer = AE::timer 0.01, 0, sub { $cv->send } });
            push @log, 'after';
            $_[0]->send('done');
        });
        $peer->write(text('x'));
        is $peer->next_frame->{payload}, 'done', "$event: it ends, and its send goes out";
        is_deeply \@log, ['before', 'after'], 'having been called once';
    }
};

subtest 'messages behind the current one' => sub {
    my ($connection, $peer) = ready();
    my $seen = recorder($connection);
    $connection->on(next_message => sub { after(0.01) });
    $peer->write(map { text($_) } 1 .. 100);
    is_deeply $seen->wait_messages(100)->bodies, [1 .. 100], 'each is delivered once, in order';
};

subtest 'every callback recurses' => sub {
    my ($connection, $peer) = ready();
    my (%begun, @ended);
    $connection->on(each_message => sub { $begun{ $_[1]->body }++; after(0.001); push @ended, $_[1]->body });
    $peer->write(map { text($_) } 1 .. 20);
    wait_until('twenty messages', sub { @ended == 20 || (after(0.01), 0)[1] });
    is_deeply \%begun, { map { $_ => 1 } 1 .. 20 }, 'each message is delivered once';
    is_deeply [sort { $a <=> $b } @ended], [1 .. 20], 'and each callback ends';
};

subtest 'another connection works meanwhile' => sub {
    my ($connection, $peer) = ready();
    my ($other, $other_peer) = ready();
    $other->on(each_message => sub { $_[0]->send('other: ' . $_[1]->body) });
    $connection->on(next_message => sub {
        $other_peer->write(text('x'));
        $_[0]->send($other_peer->next_frame->{payload});
    });
    $peer->write(text('go'));
    is $peer->next_frame->{payload}, 'other: x';
};

subtest 'the connection finishes meanwhile' => sub {
    my ($connection, $peer) = ready();
    my ($ended, $seen) = (0, recorder($connection));
    $connection->on(next_message => sub { $peer->close; after(0.02); $_[0]->send('late'); $ended++ });
    $peer->write(text('1') . text('2'));
    $seen->wait_finish;
    wait_until('the callback', sub { $ended || (after(0.01), 0)[1] });
    is $seen->finished, 1, 'finish once';
    is_deeply $seen->bodies, [grep { $_ <= 2 } 1 .. @{ $seen->bodies }], 'messages in order';
};

subtest 'the last reference goes meanwhile' => sub {
    my ($connection, $peer) = ready();
    my $ended = 0;
    $connection->on(next_message => sub { after(0.01); undef $connection; after(0.01); $_[0]->send('x'); $ended++ });
    $peer->write(text('1') . text('2'));
    is $peer->next_frame->{payload}, 'x', 'the connection lives until the callback ends';
    $peer->wait_eof;
    is $ended, 1, 'which it does';
};

if (loop() eq 'Glib') {
    note 'Glib does not dispatch a watcher inside itself: what follows cannot work with it';
    done_testing;
    exit;
}

my $asleep = 'is deaf to its own socket while a callback runs';

# Has the peer answer "request x" with "response x", from inside the event loop.
sub responding {
    my ($peer) = @_;
    return $peer->answer(sub { my ($frame) = @_; $frame->{payload} =~ /\Arequest (.+)/s ? text("response $1") : '' });
}

# Registers a callback that for "start x" sends "request x" and waits for "response x", and logs what it sees.
sub requesting {
    my ($connection, $log) = @_;
    my %waiting;
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        push @$log, $message->body;
        my ($kind, $id) = split ' ', $message->body;
        $waiting{$id}->send if $kind eq 'response';
        return poke() if $kind ne 'start';
        $self->send("request $id");
        wait_in_callback("response $id", sub { $waiting{$id} = shift });
        push @$log, "end $id";
        poke();
    });
}

differs 'a request and its response inside a callback' => $asleep => sub {
    my ($connection, $peer) = ready();
    responding($peer);
    requesting($connection, \my @log);
    $peer->write(text('start x'));
    wait_until('the end', sub { @log == 3 });
    is_deeply \@log, ['start x', 'response x', 'end x'], 'the request leaves, and the response arrives';
};

differs 'a request and its response with messages buffered behind the current one' => $asleep => sub {
    for my $buffered (1, 2, 50) {
        my ($connection, $peer) = ready();
        my @behind = map { "behind $_" } 1 .. $buffered;
        responding($peer);
        requesting($connection, \my @log);
        $peer->write(map { text($_) } 'start x', @behind);
        wait_until('the end', sub { @log == $buffered + 3 });
        is_deeply \@log, ['start x', @behind, 'response x', 'end x'], "$buffered: all in order, inside the callback that waits";
    }
};

differs 'one request after the other inside a next_message' => $asleep => sub {
    my ($connection, $peer) = ready();
    responding($peer);
    my @log;
    $connection->on(next_message => sub {
        my ($self) = @_;
        for my $id (1 .. 5) {
            $self->send("request $id");
            push @log, wait_in_callback("response $id",
                sub { my $cv = shift; $self->on(next_message => sub { $cv->send($_[1]->body) }) });
        }
        poke();
    });
    $peer->write(text('start'));
    wait_until('five responses', sub { @log == 5 });
    is_deeply \@log, [map { "response $_" } 1 .. 5], 'each has its response';
};

differs 'requests nested ten deep' => $asleep => sub {
    my ($connection, $peer) = ready();
    my @ids = 1 .. 10;
    my $held = '';
    $peer->answer(sub {
        my ($id) = $_[0]{payload} =~ /\Arequest (.+)/ or return '';
        $held = text("response $id") . $held;
        return $id < 10 ? text('start ' . ($id + 1)) : $held;
    });
    requesting($connection, \my @log);
    $peer->write(text('start 1'));
    wait_until('the end', sub { @log == 30 });
    is_deeply [grep { /^start/ } @log], [map { "start $_" } @ids], 'each starts the next';
    is_deeply [grep { /^end/ } @log], [map { "end $_" } reverse @ids], 'and they unwind in turn';
};

differs 'a Close frame, a violation, EOF inside' => $asleep => sub {
    my %bytes = ('close' => close_frame(4000), 'violation' => frame(opcode => 3), 'nothing' => '');
    for my $kind (sort keys %bytes) {
        my ($connection, $peer) = ready();
        my $seen = recorder($connection);
        my $ended = 0;
        $connection->on(next_message => sub { $peer->write($bytes{$kind})->half_close; $seen->wait_finish; $ended++ });
        $peer->write(text('1') . text('2'));
        $peer->wait_eof;
        settle();
        is $ended, 1, "$kind: the callback sees finish";
        is_deeply $seen->bodies, ['1', '2'], 'after the messages';
        is $seen->finished, 1, 'once';
    }
};

differs 'callbacks nested in one another, each waiting for the next message of one burst' => $asleep => sub {
    my ($connection, $peer) = ready();
    my @begun;
    $connection->on(each_message => sub {
        my $number = $_[1]->body;
        push @begun, $number;
        poke();
        wait_until('message ' . ($number + 1), sub { $begun[-1] > $number }) if $number < 5;
    });
    $peer->write(join '', map { text($_) } 1 .. 5);
    wait_until('the last message', sub { @begun == 5 });
    is_deeply \@begun, [1 .. 5], 'all get theirs';
};

differs 'several connections whose callbacks do so, inside one another' => $asleep => sub {
    my @ends = map { [ready()] } 1 .. 4;
    my @begun = (0) x @ends;
    # A loop of EV that begins inside another calls pending callbacks, and then waits, even if they have done what it waits for.
    my $wakes = AE::timer 0.01, 0.01, sub { };
    for my $index (0 .. $#ends) {
        $ends[$index][0]->on(each_message => sub {
            my $number = $_[1]->body;
            $begun[$index] = $number;
            poke();
            wait_until("message $number of all", sub { $number <= min(@begun) });
            wait_until('message ' . ($number + 1), sub { $begun[$index] > $number }) if $number < 4;
        });
    }
    $_->[1]->write(join '', map { text($_) } 1 .. 4) for @ends;
    wait_until('the last messages', sub { 4 * @ends == sum(@begun) });
    is_deeply \@begun, [(4) x @ends], 'all get theirs';
};

# Other loops let the exception out.
differs 'an on_drain that dies while a callback waits for the next message' => $asleep => sub {
    my ($connection, $peer) = ready();
    my ($last, $must_die) = (0, 0);
    my @died;
    no warnings 'once';
    local $EV::DIED = sub { push @died, $@ };
    $connection->handle->on_drain(sub { die "in on_drain\n" if $must_die-- > 0 });
    $connection->on(each_message => sub {
        $last = $_[1]->body;
        poke();
        return $_[0]->send('waits for the next reply') if $last != 5;
        $must_die = 1;
        wait_until('message 6', sub { $last > 5 }, 5);
    });
    $peer->write(join '', map { text($_) } 1 .. 8);
    wait_until('the last message', sub { $last == 8 });
    is_deeply \@died, ["in on_drain\n"], 'the loop sees the exception';
} if loop() eq 'EV';

{
    # Runs the event loop when it is destroyed.
    package WebSocketTest::Waiter;

    sub DESTROY { $_[0][0]->() }
}

subtest 'a destructor that runs the event loop when a burst ends' => sub {
    my ($connection, $peer) = ready();
    my ($other, $other_peer) = ready();
    my $seen = recorder($other);
    my @ids = 1 .. 8;
    $other->on(next_message => sub { Time::HiRes::sleep(0.02) });    # so the rest waits for the loop's next iteration
    my $wait = sub {
        $other_peer->write(join '', map { text($_) } @ids);
        wait_until('the first message', sub { @{ $seen->bodies } });
    };
    my $numbers = recorder($connection);
    $connection->on(each_message => sub { $_ = $_[1]->body eq 'last' ? bless [$wait], 'WebSocketTest::Waiter' : 'other' });
    $peer->write(text('first') . text('last'));
    $numbers->wait_messages(2);
    $seen->wait_messages(scalar @ids, 5);
    is_deeply $seen->bodies, \@ids, 'another connection gets what has arrived meanwhile';
};

differs 'a slow callback before one that waits for the next message of the burst' => $asleep => sub {
    my ($connection, $peer) = ready();
    my $seen = recorder($connection);
    # This takes longer than a burst may keep the event loop busy.
    $connection->on(next_message => sub { select undef, undef, undef, 0.05 });
    $connection->on(next_message => sub { $seen->wait_messages(2) });
    $peer->write(text('1') . text('2'));
    is_deeply $seen->wait_messages(2)->bodies, ['1', '2'], 'it gets it';
};

done_testing;
