# Tests that callbacks neither harm others nor are harmed by what they leave in perl's global variables.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Everyday uses of $_ in callbacks.
my %habit = (
    'reads a file with while (<$fh>)' => sub { open my $fh, '<', $0 or die "$0: $!"; while (<$fh>) { last if $. > 2 } },
    'reads to the end of a file'      => sub { open my $fh, '<', $0 or die "$0: $!"; while (<$fh>) { } },
    'assigns to $_'                   => sub { $_ = 'changed' },
    'chomps an assignment'            => sub { chomp($_ = "line\n") },
    'substitutes in $_'               => sub { $_ = 'some text'; s/some/other/ },
    'undefines $_'                    => sub { undef $_ },
    'makes $_ a reference'            => sub { $_ = [$_[1]] },
    'takes a reference to $_'         => sub { my $reference = \$_; $$reference = 'changed' },
);

# First, because a value that is kept keeps the place of others.
subtest 'a value that a callback leaves in $_ or $@' => sub {
    for my $leave (sub { $_ = $_[0] }, sub { eval { die { connection => $_[0] } } }, sub { local $@; $_ = [$_[0]] }) {
        my ($connection, $peer) = connection_and_peer();
        my $calls = 0;
        $connection->on(each_message => sub { $leave->(@_); $calls++; poke() });
        $peer->write(text('x'));
        wait_until('the callback', sub { $calls });
        settle();
        undef $connection;
        $peer->wait_eof;
        ok $peer->eof, 'is not kept';
    }
};

for my $event (qw(next_message each_message)) {
    for my $what (sort keys %habit) {
        subtest "a callback for $event that $what" => sub {
            my ($connection, $peer) = connection_and_peer();
            my $count = 0;
            my $callback = sub { $habit{$what}->(@_); $count++; poke() };
            $connection->on(each_message => $callback) if $event eq 'each_message';
            for my $round (1 .. 3) {
                $connection->on(next_message => $callback) if $event eq 'next_message';
                for ('mine') {
                    $peer->write(text('message'));
                    wait_until("message $round", sub { $count == $round });
                    is $_, 'mine', "leaves the \$_ of who runs the event loop alone, round $round";
                }
            }
        };
    }
}

subtest '$_ of several callbacks' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @seen;
    $connection->on(next_message => sub { push @seen, ref \$_; $_ = 'left by the first' });
    for my $number (1 .. 2) {
        $connection->on(each_message => sub { push @seen, defined $_ ? ref $_ || $_ : 'undef'; $_ = "left by $number"; poke() });
    }
    $peer->write(text('one') . text('two') . text('three'));
    wait_until('seven calls', sub { @seen == 7 });
    is scalar(grep { /left by/ } @seen), 0, 'does not go from one to the next';
};

subtest '$_ of callbacks that run the event loop' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @after;
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        local $_ = 'of ' . $message->body;
        if ($message->body eq 'outer') {
            $peer->write(text('inner'));
            wait_until('the inner one', sub { @after });
        }
        push @after, $_;
        poke();
    });
    $peer->write(text('outer'));
    wait_until('both', sub { @after == 2 });
    is_deeply \@after, ['of inner', 'of outer'], 'is their own';
};

# The variables of the surrounding code keep their values while messages arrive.
subtest 'other variables' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @seen;
    $connection->on(each_message => sub {
        my (undef, $message) = @_;
        push @seen, [$@, $/, $,, $\];
        $message->body =~ /(.)(.*)/ or die;
        eval { die "of the callback\n" };
        @_ = ('changed');
        poke();
    });
    my $rounds = sub {
        'surrounding match' =~ /(\w+) (\w+)/ or die;
        eval { die "of the surroundings\n" };
        local ($/, $,, $\) = ('separator', 'comma', '');
        $peer->write(text('x1') . text('x2'));
        my $wanted = @seen + 2;
        wait_until('two messages', sub { @seen == $wanted });
        # EV wraps each of its callbacks in an eval.
        return (loop() eq 'EV' ? "of the surroundings\n" : $@, $/, $,, "$1 $2 $&", "@_");
    };
    is_deeply [$rounds->('an', 'argument')],
        ["of the surroundings\n", 'separator', 'comma', 'surrounding match surrounding match', 'an argument'],
        '$@, $/, $,, $1, $& and @_ are as before';
    is_deeply [map { @$_[1, 2] } @seen], [('separator', 'comma') x 2], 'callbacks see $/ and $, as they are';
};

differs '$! around sending' => 'leaves there what the last system call said' => sub {
    my ($connection, $peer) = connection_and_peer();
    for my $case (['a small message', 'x'], ['a large one', 'x' x 100_000]) {
        my ($name, $payload) = @$case;
        local $! = 2;
        $connection->send($payload);
        is $! + 0, 2, "$name: send leaves it alone";
    }
    local $! = 3;
    $connection->close(1000);
    is $! + 0, 3, 'so does close';
};

differs '$_ in what is new' => 'does not have it' => sub {
    for ('mine') {
        my ($connection, $peer) = connection_and_peer();
        my $count = 0;
        for my $event (qw(ping pong message_chunk drain)) { $connection->on($event => sub { $_ = 'changed'; $count++; poke() }) }
        $connection->on($_ => sub { $_ = 'changed'; $count++; poke() }) for qw(finish);
        my @chunks = ('a', 'b');
        $connection->send_stream(sub { $_ = 'changed'; shift @chunks }, done => sub { $_ = 'changed'; $count++; poke() });
        $connection->ping('p');
        $peer->write(ping('x') . pong('p') . text('chunk'));
        wait_until('four events', sub { $count >= 4 });
        is $_, 'mine', 'pings, pongs, chunks and streams leave it alone';
        $peer->stall;
        $connection->send('x' x 5_000_000);
        my $before = $count;
        $peer->resume;
        wait_until('drain', sub { $count > $before });
        is $_, 'mine', 'so does drain';
        $peer->close;
        $before = $count;
        wait_until('finish', sub { $count > $before });
        is $_, 'mine', 'and finish';
    }
};

# Runs in a separate program, because the replacement is permanent.
my $replacing = <<'PROGRAM';
    use WebSocketTest;
    our ($other, @other) = ('other', 1, 2);
    my $replace = eval "sub { $ARGV[0]; return }" or die $@;
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->on(next_message => sub { $replace->() });
    $peer->write(text('1') . text('2'));
    $seen->wait_messages(2);
    $peer->write(text('3'));
    print join ',', @{ $seen->wait_messages(3)->bodies };
PROGRAM
for my $code ('undef *_', '*_ = *other', 'undef *@', '*@ = *other', '*_ = \$other', '*_ = \@other') {
    my ($printed, $status) = run_perl({}, $replacing, $code);
    is $status, 0, "a callback that replaces a glob, $code: perl is alive";
    is $printed, '1,2,3', 'and all messages arrive';
}

# Tests that a callback may overwrite its arguments, for instance with `undef $_[0]` to drop the connection.
sub overwriting_ok {
    my ($name, $event, $begin) = @_;
    my ($connection, $peer) = connection_and_peer();
    my @seen;
    for (1 .. 2) { $connection->on($event => sub { push @seen, [map { ref || $_ } @_]; $_ = undef for @_; poke() }) }
    $begin->($connection, $peer);
    wait_until('both', sub { @seen == 2 });
    is_deeply $seen[1], $seen[0], "$name: the next one gets its own";
    is $seen[1][0], 'AnyEvent::WebSocket::Connection', 'above all the connection';
}

differs 'arguments that a callback overwrites' => 'has the next one get them as they are then' => sub {
    overwriting_ok('finish', finish => sub { $_[1]->close });
    overwriting_ok('parse_error', parse_error => sub { $_[1]->write(text('x', rsv => 1)) });
    overwriting_ok('ping', ping => sub { $_[1]->write(ping('p')) });
    overwriting_ok('pong', pong => sub { $_[1]->write(pong('p')) });
    overwriting_ok('message_chunk', message_chunk => sub { $_[1]->write(text('x')) });
    overwriting_ok('drain', drain => sub { $_[1]->stall; $_[0]->send('x' x 3_000_000); $_[1]->resume });
};

differs 'a stream and a callback for drain that overwrites its arguments' => 'does not stream' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->on(drain => sub { undef $_[0] });
    $peer->stall;
    my @parts = ('x' x 3_000_000, 'last');
    my $is_done;
    $connection->send_stream(sub { shift @parts }, done => sub { $is_done = 1; poke() });
    $peer->resume;
    wait_until('the end of the stream', sub { $is_done });
    is_deeply \@parts, [], 'it is sent';
};

done_testing;
