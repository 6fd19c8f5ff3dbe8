# Tests that a die in a message callback goes to parse_error, and one in finish to the event loop.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use AnyEvent::Log;
use WebSocketTest;

# Runs the event loop until the condition holds, and returns the exceptions that reached the loop: EV hands them to $EV::DIED,
# while the pure-Perl loop lets them through.
sub deaths_until {
    my ($what, $condition) = @_;
    my @deaths;
    no warnings 'once';
    local $EV::DIED = sub { push @deaths, $@; poke() };
    until (eval { wait_until($what, $condition); 1 }) {
        push @deaths, $@;
        last if $@ =~ /\Atimed out/;
    }
    return \@deaths;
}

for my $event (qw(next_message each_message)) {
    subtest "die in $event" => sub {
        my ($connection, $peer) = connection_and_peer();
        $peer->sync;
        my $seen = recorder($connection);
        my @errors;
        $connection->on(parse_error => sub { push @errors, \@_ });
        $connection->on($event => sub { die "thrown in $event\n" });
        $peer->write(text('1') . text('2') . text('3'));
        is_deeply deaths_until('parse_error', sub { @errors }), [], 'the event loop sees nothing';
        is_deeply \@errors, [[$connection, "thrown in $event\n"]], 'parse_error gets (connection, exception), once';
        cmp_ok scalar $seen->messages, '<=', 1, 'later messages are not delivered';
        is $connection->send('late'), $connection, 'send does nothing';
        is_deeply [grep { $_->{opcode} != 8 } $peer->frames_to_eof], [], 'the connection is shut down';
        $peer->half_close;
        $seen->wait_finish;
        is $seen->finished, 1, 'finish follows';
    };
}

subtest 'an exception object' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    my $exception = bless { code => 42 }, 'My::Exception';
    $connection->on(next_message => sub { die $exception });
    my ($passed, $error) = next_event('parse_error', sub { $connection->on(parse_error => $_[0]); $peer->write(text('x')) });
    is $error, $exception, 'is handed on as it is';
};

subtest 'an exception that is false, or empty as a string' => sub {
    { package False; use overload bool => sub { 0 }, '""' => sub { '' }, fallback => 1 }
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    $connection->on(next_message => sub { die bless [], 'False' });
    my (undef, $error) = next_event('parse_error', sub { $connection->on(parse_error => $_[0]); $peer->write(text('x')) });
    is ref $error, 'False', 'is one all the same';
    $peer->wait_eof;
};

subtest 'an undefined callback' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    $connection->on(next_message => \&no_such_sub);
    my (undef, $error) = next_event('parse_error', sub { $connection->on(parse_error => $_[0]); $peer->write(text('x')) });
    like $error, qr/undefined.*no_such_sub/i, 'is an exception as well';
};

subtest 'callbacks behind the one that died' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    my $called = 0;
    $connection->on(next_message => sub { die "thrown\n" });
    $connection->on($_ => sub { $called++ }) for qw(next_message each_message);
    next_event('parse_error', sub { $connection->on(parse_error => $_[0]); $peer->write(text('x')) });
    is $called, 0, 'are not called';
};

subtest 'what was sent before the die goes out' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body); die "thrown\n" if $_[1]->body == 3 });
    $peer->write(map { text($_) } 1 .. 5);
    is_deeply [map { $_->{payload} } grep { $_->{opcode} != 8 } $peer->frames_to_eof], ['re: 1', 're: 2', 're: 3'];
};

subtest 'die without a parse_error callback' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    $connection->on(each_message => sub { die "thrown\n" });
    $peer->write(text('x'));
    my @logged;
    my $guard = AnyEvent::Log::ctx('AnyEvent::WebSocket::Connection')->log_cb(sub { push @logged, $_[0]; 1 });
    my $deaths = deaths_until('EOF', sub { $peer->eof });
    AnyEvent::Log::ctx('AnyEvent::WebSocket::Connection')->log_cb(undef);
    is_deeply $deaths, [], 'the event loop sees nothing';
    return if is_original();
    is scalar @logged, 1, 'but it is logged';
    like $logged[0], qr{ error AnyEvent::WebSocket::Connection: a message callback of .* died, and nothing listens to parse_error: thrown$},
        'as an error, with the exception';
};

# Makes a message arrive without the event loop, so that the caller's $@ can be seen: whoever pushes a read callback makes the
# handle look at its buffer.
sub arrive {
    my ($connection, $bytes) = @_;
    $connection->handle->{rbuf} .= $bytes;
    $connection->handle->push_read(sub { 1 });
}

subtest '$@ of the surrounding code' => sub {
    my %callback = (
        'that returns'       => sub { },
        'that dies'          => sub { die "thrown\n" },
        'with an inner eval' => sub { eval { die "inner\n" } },
        'that assigns to $@' => sub { $@ = 'assigned' },
    );
    for my $name (sort keys %callback) {
        my ($connection, $peer) = connection_and_peer();
        $peer->sync;
        my $called = 0;
        $connection->on(each_message => sub { $called++; goto &{ $callback{$name} } });
        eval { die "from outside\n" };
        arrive($connection, text('x'));
        my $now = $@;
        is $called, 1, "a callback $name";
        is $now, "from outside\n", 'leaves it alone';
    }
};

subtest '$@ when parse_error is called' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 5);
    $peer->sync;
    my $called = 0;
    $connection->on(parse_error => sub { $called++; eval { die "inner\n" } });
    eval { die "from outside\n" };
    arrive($connection, text('123456'));
    my $now = $@;
    is $called, 1, 'parse_error is called';
    is $now, "from outside\n", 'and $@ is left alone';
};

subtest '$SIG{__DIE__} is not in the way' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    local $SIG{__DIE__} = sub { die "decorated: $_[0]" };
    $connection->on(each_message => sub { die "thrown\n" });
    my (undef, $error) = next_event('parse_error', sub { $connection->on(parse_error => $_[0]); $peer->write(text('x')) });
    is $error, "decorated: thrown\n", 'it is called as for any die';
};

SKIP: {
    skip 'by design: ' . loop() . ' does not let exceptions through', 3 if loop() =~ /Glib|POE/;

    subtest 'die in finish, after a reset behind the Close frame of the peer' => sub {
        my ($connection, $peer) = connection_and_peer(tcp => 1);
        turn();
        my ($called, @errors) = (0);
        $connection->on(parse_error => sub { push @errors, $_[1] });
        $connection->on(finish => sub { $called++; die "thrown in finish\n" });
        $peer->write(close_frame(1000))->reset;
        is_deeply deaths_until('finish', sub { $called }), ["thrown in finish\n"], 'reaches the event loop';
        is_deeply \@errors, [], 'not parse_error';
    };

    subtest 'die in finish' => sub {
        my ($connection, $peer) = connection_and_peer();
        my $called = 0;
        $connection->on(finish => sub { $called++; die "thrown in finish\n" });
        $peer->half_close;
        is_deeply deaths_until('finish', sub { $called && $peer->eof }), ["thrown in finish\n"], 'reaches the event loop';
        settle();
        is $called, 1, 'finish is not called again';
        is $connection->send('late'), $connection, 'the connection is down';
        is_deeply [$peer->frames_to_eof], [], 'and half-closed';
    };

    subtest 'die in parse_error' => sub {
        my ($connection, $peer) = connection_and_peer(max_payload_size => 5);
        $peer->sync;
        my $called = 0;
        $connection->on(parse_error => sub { $called++; die "thrown in parse_error\n" });
        my $seen = recorder($connection);
        $peer->write(text('123456'));
        is_deeply deaths_until('EOF', sub { $called && $peer->eof }), ["thrown in parse_error\n"], 'reaches the event loop';
        is $connection->send('late'), $connection, 'the connection is down';
        $peer->half_close;
        $seen->wait_finish;
        is $called, 1, 'parse_error is not called again, but finish is';
    };
}

for my $how (qw(next last)) {
    subtest "a callback that leaves with $how" => sub {
        my ($connection, $peer) = connection_and_peer();
        my $leave = { next => sub { no warnings 'exiting'; next }, last => sub { no warnings 'exiting'; last } }->{$how};
        my (@called, @errors);
        $connection->on(parse_error => sub { push @errors, $_[1] });
        $connection->on(each_message => sub {
            my ($self, $message) = @_;
            push @called, $message->body;
            poke();
            $leave->() if $message->body eq 'leave';
        });
        local $SIG{__WARN__} = sub { };
        for my $messages (['leave'], ['a', 'leave', 'b', 'leave', 'c']) {
            @called = ();
            $peer->write(map { text($_) } @$messages);
            wait_until('the callbacks', sub { @called == @$messages });
        }
        is_deeply \@called, ['a', 'leave', 'b', 'leave', 'c'], 'gets the next message';
        is_deeply \@errors, [], 'parse_error is not called';
        is_deeply [$peer->sync], [], 'the connection is open';
    };
}

done_testing;
