# Tests back-pressure both ways: buffered_amount, drain and max_buffered_amount for a peer that does not read, pause and
# resume.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Errno ();
use Scalar::Util ();
use Socket;
use Test::More;
use WebSocketTest;
use WebSocketTest::TLS;
use WebSocketTest::Usage;

plan skip_all => 'by design: the original has no backpressure' if is_original();

my $much = 'x' x 4_000_000;

sub stalled {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->stall;
    return ($connection, $peer);
}

sub count_of {
    my ($connection, $event) = @_;
    my $count = 0;
    $connection->on($event => sub { $count++; WebSocketTest::poke() });
    return \$count;
}

subtest 'buffered_amount' => sub {
    my ($connection, $peer) = stalled();
    is $connection->buffered_amount, 0, 'nothing at first';
    $connection->send('small');
    is $connection->buffered_amount, 0, 'nor when the kernel has taken it';
    $connection->send($much);
    my $amount = $connection->buffered_amount;
    cmp_ok $amount, '>', 1_000_000, 'what the kernel has not taken';
    cmp_ok $amount, '<', length $much, 'without what it has';
    $connection->send($much);
    is $connection->buffered_amount, $amount + length($much) + 10, 'and the next frame on top';
    $peer->resume;
    wait_until('drain', sub { !$connection->buffered_amount });
    pass 'nothing when the peer has read';
    $connection->handle->destroy;
    is $connection->buffered_amount, 0, 'nothing without a handle';
};

for my $case (
    ['registered before', sub { my ($connection, $register) = @_; my $seen = $register->(); $connection->send($much); $seen }],
    ['registered when something waits', sub { my ($connection, $register) = @_; $connection->send($much); $register->() }],
) {
    my ($name, $order) = @$case;
    subtest "drain, $name" => sub {
        my ($connection, $peer) = stalled();
        my $drained = $order->($connection, sub { count_of($connection, 'drain') });
        settle();
        is $$drained, 0, 'not while something waits';
        $peer->resume;
        wait_until('drain', sub { $$drained });
        is $connection->buffered_amount, 0, 'when nothing does';
        $connection->send('small');
        settle();
        is $$drained, 1, 'once';
        $peer->stall;
        $connection->send($much);
        $peer->resume;
        wait_until('drain', sub { $$drained == 2 });
        pass 'and again the next time';
    };
}

for my $case (
    ['with a message behind', text('go') . text('other')],
    ['after a ping', ping('') . text('go')],
    ['after a message that was answered', text('answer') . text('go')],
) {
    my ($name, $octets) = @$case;
    subtest "a program that sends while nothing waits, from a message callback, $name" => sub {
        my ($connection, $peer) = connection_and_peer();
        my @left = 1 .. 5;
        my $go_on = sub { $_[0]->send(shift @left) while @left && !$_[0]->buffered_amount };
        $connection->on(drain => $go_on);
        $connection->on(each_message => sub {
            my ($connection, $message) = @_;
            $connection->send('answer') if $message->body eq 'answer';
            $go_on->($connection) if $message->body eq 'go';
        });
        $peer->write($octets);
        settle();
        is_deeply \@left, [], 'goes on to the end';
    };
}

# Asking for the amount must not copy the buffer: perl would share its memory with the copy.
for my $size (1000, 5000, 70_000) {
    subtest "buffered_amount in a message callback, with a message behind, $size bytes" => sub {
        my ($connection, $peer) = connection_and_peer();
        my $reply = 'r' x $size;
        $connection->on(each_message => sub {
            my ($self, $message) = @_;
            return if $message->body ne 'go';
            $self->send($reply);
            $self->buffered_amount;
        });
        $peer->write(text('go') . text('other') . text('go') . text('other'));
        is $_->{payload}, $reply, 'the frame arrives' for $peer->next_frames(2);
        is_deeply [$peer->sync], [], 'and nothing else';
    };

    subtest "send_stream in a message callback, with a message behind, chunks of $size bytes" => sub {
        my ($connection, $peer) = connection_and_peer();
        my @chunks = map { $_ x $size } 'a' .. 'e';
        my $expected = join '', @chunks;
        $connection->on(next_message => sub { $_[0]->send_stream(sub { shift @chunks }) });
        $peer->write(text('go') . text('other'));
        my $got = join '', map { $_->{payload} } $peer->next_frames(6);
        ok $got eq $expected, 'the stream arrives';
    };
}

subtest 'the amount of much that waits costs no memory' => sub {
    plan skip_all => 'needs /proc, and no valgrind' unless resident();
    my ($connection, $peer) = stalled();
    $connection->send('x' x 100_000_000);
    my $before = resident();
    my $amount = 0;
    $amount += $connection->buffered_amount for 1 .. 3;
    cmp_ok $amount, '>', 200_000_000, 'much waits';
    cmp_ok resident() - $before, '<', 20_000, 'the process has not grown by a copy, KiB';
    $connection->handle->{linger} = 0;
};

subtest 'a drain callback that runs the event loop' => sub {
    my ($connection, $peer) = stalled();
    my $calls = 0;
    $connection->on(drain => sub { settle() if ++$calls < 20; WebSocketTest::poke() });
    $connection->send($much);
    $peer->resume;
    wait_until('drain', sub { $calls });
    settle();
    is $calls, 1, 'is called once';
};

subtest 'no drain without a transport' => sub {
    for my $case (
        ['the peer goes', sub { $_[1]->close }],
        ['the handle is destroyed', sub { $_[0]->handle->destroy; $_[1]->resume }],
    ) {
        my ($name, $end) = @$case;
        my ($connection, $peer) = stalled();
        my $drained = count_of($connection, 'drain');
        $connection->send($much);
        $end->($connection, $peer);
        settle();
        is $$drained, 0, $name;
    }
};

subtest 'drain leaves the handle\'s on_drain alone' => sub {
    my ($connection, $peer) = stalled();
    my $handle_drained = 0;
    my $drained = count_of($connection, 'drain');
    $connection->send($much);
    $connection->handle->on_drain(sub { $handle_drained++ });
    $peer->resume;
    wait_until('drain', sub { $$drained && $handle_drained });
    pass 'both are called';
};

subtest 'a program that sends as fast as the peer reads' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($left, $most) = (200, 0);
    my $fill = sub {
        while ($left && !$connection->buffered_amount) { $connection->send('x' x 65536); $left-- }
        $most = $connection->buffered_amount if $connection->buffered_amount > $most;
    };
    $connection->on(drain => $fill);
    $fill->();
    my $frames = 0;
    $peer->answer(sub { $frames++; '' });
    wait_until('all frames', sub { $frames == 200 });
    cmp_ok $most, '<', 70_000, 'never has more than a message wait';
};

my $no_tls = WebSocketTest::TLS::unavailable();

for my $case (['ws'], ['wss', 1]) {
    my ($name, $tls) = @$case;
    subtest "max_buffered_amount over $name" => sub {
        plan skip_all => $no_tls if $tls && $no_tls;
        my ($left, $right) = tcp_pair();
        my $connection = connection_on($left, max_buffered_amount => 1_000_000, $tls ? (handle => {tls_options('accept')}) : ());
        my $client = $tls ? connection_on($right, masked => 1, handle => {tls_options('connect')}) : undef;
        if ($tls) {    # completes the handshake first
            $client->send('hello');
            next_event('hello', sub { $connection->on(next_message => shift) });
            $client->pause;
        }
        my $seen = recorder($connection);
        my $sent = 0;
        while (!defined $connection->close_error && $sent++ < 1000) { $connection->send('x' x 100_000) }
        like $connection->close_error, qr/^more than 1000000 bytes wait for the peer to read$/, 'the connection is given up';
        cmp_ok $sent, '>', 10, 'not before';
        is_deeply $seen->order, ['finish'], 'finish is called';
        is $connection->buffered_amount, 0, 'the memory is free';
    };
}

subtest 'what a peer did not read is not kept once it is given up' => sub {
    my ($connection, $peer) = stalled(max_buffered_amount => 100_000);
    Scalar::Util::weaken(my $fh = $connection->handle->fh);
    my $seen = recorder($connection);
    $connection->send($much);
    is_deeply $seen->order, ['finish'], 'it is given up';
    undef $connection;
    settle();
    is $fh, undef, 'the descriptor is closed';
};

subtest 'a finish callback that asks what waited' => sub {
    my ($connection, $peer) = stalled(max_buffered_amount => 100_000);
    Scalar::Util::weaken(my $fh = $connection->handle->fh);
    my ($drained, $waited) = count_of($connection, 'drain');
    $connection->on(finish => sub { $waited = $_[0]->buffered_amount });
    $connection->send($much);
    cmp_ok $waited, '>', 100_000, 'is told';
    settle();
    is $fh, undef, 'keeps nothing open';
    $peer->resume;
    settle();
    is $$drained, 0, 'and no drain follows';
};

subtest 'the kernel\'s part does not count' => sub {
    my ($connection, $peer) = stalled(max_buffered_amount => 1);
    my $seen = recorder($connection);
    $connection->send('x') for 1 .. 20;
    is_deeply $seen->order, [], 'not given up';
};

subtest 'pause and resume' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    is $connection->pause, $connection, 'pause returns the connection';
    $peer->write(map { text($_) } 1 .. 3);
    settle();
    is_deeply $seen->order, [], 'nothing is delivered';
    is $connection->resume, $connection, 'resume returns the connection';
    is_deeply $seen->order, [], 'and delivers nothing itself';
    $seen->wait_messages(3);
    pass 'but the event loop does';
    $peer->write(text('more'));
    $seen->wait_messages(4);
    pass 'and goes on';
};

subtest 'pause in a callback holds what has arrived with its message' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @bodies;
    $connection->on(each_message => sub { push @bodies, $_[1]->body; $_[0]->pause });
    my $also = count_of($connection, 'each_message');
    $peer->write(join '', map { text($_) } 1 .. 3);
    for my $count (1 .. 3) {
        wait_until('a message', sub { @bodies == $count });
        settle();
        is "@bodies", join(' ', 1 .. $count), 'one at a time, in order';
        is $$also, $count, 'all callbacks of a message are called';
        $connection->resume;
    }
};

{
    package Counting;       # forces calls of the handle's methods
    our @ISA = 'AnyEvent::Handle';
    sub push_write { my $self = shift; $self->SUPER::push_write(@_) }
}

for my $class (qw(AnyEvent::Handle Counting)) {
    subtest "pause in each callback, with $class" => sub {
        my ($ours, $theirs) = socket_pair();
        my $connection = AnyEvent::WebSocket::Connection->new(handle => $class->new(fh => $ours));
        my $peer = WebSocketTest::Peer->new($theirs);
        my $count = 0;
        $connection->on(each_message => sub { $count++; $_[0]->pause; WebSocketTest::poke() });
        for my $round (1 .. 3) {
            $peer->write(text($round));
            wait_until("message $round", sub { $count == $round });
            settle();
            ok !$connection->handle->{_rw}, "message $round: the handle does not read afterwards";
            $connection->resume;
            settle();
            ok $connection->handle->{_rw}, 'but after resume';
        }
    };
}

subtest 'pause and resume in one callback' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @bodies;
    $connection->on(each_message => sub { push @bodies, $_[1]->body; $_[0]->pause->resume; WebSocketTest::poke() });
    $peer->write(join '', map { text($_) } 1 .. 3);
    wait_until('messages', sub { @bodies == 3 });
    is "@bodies", '1 2 3', 'changes nothing';
};

subtest 'the peer notices, and what it sent is not lost' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    $connection->pause;
    my @lengths;
    $connection->on(each_message => sub { push @lengths, length $_[1]->body; WebSocketTest::poke() });
    $peer->write(binary($much), binary('x'));
    settle();
    cmp_ok $peer->unsent, '>', 1_000_000, 'the kernel takes no more';
    $connection->resume;
    wait_until('messages', sub { @lengths == 2 });
    is_deeply \@lengths, [length $much, 1], 'whole';
};

subtest 'sending goes on while receiving is paused' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->pause->send('out');
    is $peer->next_frame->{payload}, 'out', 'sent';
};

subtest 'paused messages come before finish' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->on(next_message => sub { $_[0]->pause });
    $peer->write(join '', map { text($_) } 1 .. 3)->half_close;
    $seen->wait_messages(1);
    $connection->resume;
    $seen->wait_finish;
    is_deeply $seen->bodies, [1 .. 3], 'all of them';
    is_deeply $seen->order, [('message') x 3, 'finish'], 'before finish';
};

# The transport may fail while messages are held: they come before finish all the same, whatever their callbacks do.
for my $case (
    ['the peer resets', sub { my ($connection, $peer) = @_; $peer->reset; $connection->ping }],
    ['a ping fails',    sub { my ($connection, $peer) = @_; $peer->close; do { $connection->ping; settle() } for 1 .. 2 }],
    ['the handle has an error', sub { my ($connection) = @_; $connection->handle->_error(Errno::ECONNRESET(), 1) }],
) {
    my ($name, $end) = @$case;
    for my $count (3, 5) {
        subtest "$count messages, each callback pauses, and $name" => sub {
            my ($connection, $peer) = connection_and_peer(tcp => 1);
            my $seen = recorder($connection);
            $connection->on(each_message => sub { $_[0]->pause });
            $peer->write(map { text($_) } 1 .. $count);
            $seen->wait_messages(1);
            settle();
            $end->($connection, $peer);
            $seen->wait_finish;
            is_deeply $seen->bodies, [1 .. $count], 'all messages are delivered';
            is_deeply $seen->order, [('message') x $count, 'finish'], 'before finish';
        };
    }
}

subtest 'a paused callback that sends, and waits for the answer in the event loop, twice' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @answers;
    my $another = AE::timer 0, 0, sub { };
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        return if $message->body ne 'go';
        $self->pause;
        for my $number (1 .. 2) {
            $self->send("request $number");
            push @answers, $peer->next_frame->{payload};
        }
        $self->resume;
    });
    $peer->write(text('go') . text('behind'));
    wait_until('both requests', sub { @answers == 2 });
    is_deeply \@answers, ['request 1', 'request 2'], 'both are written at once';
};

subtest 'a callback after resume that waits in the event loop for the next message' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @bodies;
    $connection->on(each_message => sub {
        push @bodies, $_[1]->body;
        WebSocketTest::poke();
        return if @bodies > 1;
        $peer->write(text('2'));
        wait_until('message 2', sub { @bodies == 2 });
    });
    settle();
    $connection->pause->resume;
    $peer->write(text('1'));
    wait_until('both', sub { @bodies == 2 });
    is "@bodies", '1 2', 'gets it';
};

subtest 'over TLS' => sub {
    plan skip_all => $no_tls if $no_tls;
    my ($left, $right) = socket_pair();
    my $server = connection_on($left, handle => {tls_options('accept')});
    my $client = connection_on($right, masked => 1, handle => {tls_options('connect')});
    my @bodies;
    $server->on(each_message => sub { push @bodies, $_[1]->body; $_[0]->pause; WebSocketTest::poke() });
    $client->send($_) for 1 .. 3;
    for my $count (1 .. 3) {
        wait_until('a message', sub { @bodies == $count });
        settle();
        is "@bodies", join(' ', 1 .. $count), 'one at a time';
        $server->resume;
    }
};

subtest 'after the end they do nothing' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->close;
    $seen->wait_finish;
    is_deeply warnings_of(sub { $connection->pause->resume; settle() }), [], 'and do not warn';
};

subtest 'max_buffered_amount that makes no sense' => sub {
    for my $value (-1, 'much', 'nan') {
        ok !eval { connection_and_peer(max_buffered_amount => $value); 1 }, "'$value' is an exception";
        like $@, qr/^max_buffered_amount must be a whole number/, 'that says why';
    }
};

subtest 'max_buffered_amount, with replies to messages that arrive at once' => sub {
    for my $size (60_000, 500_000) {
        my ($connection, $peer) = connection_and_peer(max_buffered_amount => 2_000_000);
        my ($reply, $largest, @end) = ('x' x $size, 0);
        $connection->on(each_message => sub {
            my ($self, $message) = @_;
            my $queued = length($self->handle->{wbuf} || q());
            $largest = $queued if $queued > $largest;
            $self->send($message->body eq 'quick' ? 'quick' : $reply);
        });
        $connection->on(finish => sub { push @end, $_[1]; poke() });
        for (1 .. 2) {
            $peer->write(text('quick') x 8);
            $peer->next_frames(8);
        }
        $peer->stall->write(text('x') x 3000);
        wait_until('the end', sub { @end });
        like $end[0], qr/^more than 2000000 bytes wait/, "$size bytes each: finish";
        cmp_ok $largest, '<', 2_000_000 + 2 * $size, 'not much more was queued';
    }
};

SKIP: {
    my $why_not = WebSocketTest::TLS::unavailable();
    skip $why_not, 1 if $why_not;
    subtest 'drain, with a TLS handshake that the peer answers late' => sub {
        my ($left, $right) = socket_pair();
        my $handle = AnyEvent::Handle->new(fh => $left, tls_options('connect'));
        my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, masked => 1);
        my $drained = 0;
        $connection->on(drain => sub { $drained++; poke() });
        $connection->send('hello');
        cmp_ok $connection->buffered_amount, '>', 0, 'the message waits';
        my $cpu = times;
        after(0.3);
        cmp_ok times - $cpu, '<', 0.15, 'waiting takes no CPU time';
        is $drained, 0, 'there is no drain yet';
        my $peer = AnyEvent::Handle->new(fh => $right, tls_options('accept'), on_read => sub { });
        wait_until('drain', sub { $drained });
        is $connection->buffered_amount, 0, 'nothing waits any more';
    };
}

done_testing;
