# Tests that a frame is on the wire when the callback that sent it returns, or earlier if the callback does something else
# first, or never returns; even if more messages have already arrived, so that replies could leave together.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Socket qw(SHUT_WR);
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocketTest;

# Returns the payloads that are on the wire now. It reads the peer's socket without the event loop.
sub on_the_wire {
    my ($peer) = @_;
    my $bytes = $peer->bytes;
    1 while sysread $peer->fh, $bytes, 65536, length $bytes;
    my @payloads;
    while (my $frame = decode_frame(\$bytes)) { push @payloads, $frame->{payload} }
    return \@payloads;
}

# Returns a connection, with nothing under way, whose callbacks have just been quick, in bursts; and its peer.
sub quick_connection {
    my ($callback, @more) = @_;
    my ($connection, $peer) = connection_and_peer(@more);
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        return $self->send($message) if $message->body eq 'quick';
        $callback->($self, $message, $peer);
    });
    for (1 .. 2) {
        $peer->write(text('quick') x 8);
        $peer->next_frames(8);
    }
    return ($connection, $peer);
}

# Each is [name, a sub that makes the connection].
my @histories = (
    ['that is new' => sub { my ($callback) = @_; my ($connection, $peer) = connection_and_peer();
        $connection->on(each_message => sub { $callback->(@_[0, 1], $peer) }); return ($connection, $peer) }],
    ['whose callbacks have been quick' => sub { quick_connection(@_) }],
);

for my $history (@histories) {
    my ($which, $make) = @$history;
    for my $behind (0, 1, 3) {
        subtest "a callback that sends, and then works, with $behind messages behind, on a connection $which" => sub {
            my $seen;
            my ($connection, $peer) = $make->(sub {
                my ($self, $message, $peer) = @_;
                return if $message->body ne 'work';
                $self->send('started');
                $seen = on_the_wire($peer);
                poke();
            });
            $peer->stall->write(text('work') . text('behind') x $behind);
            wait_until('the callback', sub { $seen });
            is_deeply $seen, ['started'], 'the frame is on the wire before it works';
        };

        subtest "a callback that sends several, with $behind messages behind, on a connection $which" => sub {
            my $seen;
            my ($connection, $peer) = $make->(sub {
                my ($self, $message, $peer) = @_;
                return if $message->body ne 'work';
                $self->send($_) for 1 .. 3;
                $self->send(AnyEvent::WebSocket::Message->new(body => 'message'));
                $seen = on_the_wire($peer);
                poke();
            });
            $peer->stall->write(text('work') . text('behind') x $behind);
            wait_until('the callback', sub { $seen });
            is_deeply $seen, [1, 2, 3, 'message'], 'all are on the wire';
        };
    }

    subtest "a callback that sends, and then a slow one, on a connection $which" => sub {
        my $seen;
        my ($connection, $peer) = $make->(sub {
            my ($self, $message, $peer) = @_;
            return $self->send('reply') if $message->body eq 'slow at first';
            sleep 0.005;
            return $self->send('reply') if $message->body ne 'slow later';
            $seen = on_the_wire($peer);
            poke();
        });
        $peer->stall->write(text('slow at first') . text('slow') . text('slow') . text('slow later'));
        wait_until('the callbacks', sub { $seen });
        is_deeply $seen, [('reply') x 3], 'replies to the messages before are on the wire once one was slow';
    };

    # These leave without returning, each in a separate process. More messages follow, so that replies could wait.
    my %leaves = (
        '_exit'    => sub { POSIX::_exit(0) },
        'exec'     => sub { exec $^X, '-e', '1' },
        'kill'     => sub { kill KILL => $$; sleep 10 },
        'shutdown' => sub { shutdown $_[0]->handle->fh, SHUT_WR; POSIX::_exit(0) },
        'close'    => sub { close $_[0]->handle->fh; POSIX::_exit(0) },
    );
    for my $how (sort keys %leaves) {
        subtest "a callback that sends, and then leaves by $how, on a connection $which" => sub {
            plan skip_all => 'by design: on EV and AnyEvent\'s own loop only' if loop() !~ /\A(?:EV|Perl)\z/;
            my ($left, $right) = socket_pair();
            my $pid = fork_child(sub {
                close $right;
                my $connection = connection_on($left);
                $connection->on(each_message => sub {
                    my ($self, $message) = @_;
                    return $self->send($message) if $message->body eq 'quick';
                    return if $message->body ne 'leave';
                    $self->send('last words');
                    $leaves{$how}->($self);
                });
                AE::cv->recv;
            });
            close $left;
            my $peer = WebSocketTest::Peer->new($right);
            if ($which =~ /quick/) { $peer->write(text('quick') x 8); $peer->next_frames(8) }
            $peer->write(text('leave') . text('behind') x 3);
            my @payloads = map { $_->{payload} } $peer->frames_to_eof;
            reap($pid);
            is_deeply \@payloads, ['last words'], 'its frame arrives';
        };
    }
}

# Both events are tested, because a next_message callback has to be registered again for each message.
for my $event (qw(each_message next_message)) {
    subtest "a quick callback between two slow ones, for $event" => sub {
        my ($connection, $peer) = connection_and_peer();
        my $seen;
        my $callback;
        $callback = sub {
            my ($self, $message) = @_;
            $self->on(next_message => $callback) if $event eq 'next_message';
            return $self->send('reply') if $message->body =~ /quick|brief/;
            sleep 0.005;
            return $self->send('reply') if $message->body ne 'slow later';
            $seen = on_the_wire($peer);
            poke();
        };
        $connection->on($event => $callback);
        $peer->write(text('quick') x 8);
        $peer->next_frames(8);
        $peer->stall->write(text('slow') . text('brief') . text('slow later') . text('behind'));
        wait_until('the callbacks', sub { $seen });
        undef $callback;
        is_deeply $seen, [('reply') x 2], 'its reply is on the wire before the second';
    };
}

subtest 'two callbacks for each message, of which the second is slow' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @seen;
    $connection->on(each_message => sub { my ($self, $message) = @_; $self->send($message) });
    $connection->on(each_message => sub { sleep 0.002; push @seen, scalar @{ on_the_wire($peer) }; poke() });
    $peer->stall->write(map { text($_) } 1 .. 6);
    wait_until('the callbacks', sub { @seen == 6 });
    is_deeply \@seen, [(1) x 6], 'each reply is on the wire before the second ends';
};

subtest 'bytes that are written past the handle' => sub {
    my ($connection, $peer) = quick_connection(sub {
        my ($self, $message) = @_;
        return if $message->body ne 'raw';
        $self->send('sent');
        syswrite $self->handle->fh, text('raw');
    });
    $peer->write(text('raw') . text('behind') x 3);
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['sent', 'raw'], 'come after what was sent before';
};

subtest 'a pong before a slow callback' => sub {
    my $seen;
    my ($connection, $peer) = connection_and_peer();
    $connection->on(each_message => sub { $seen ||= on_the_wire($peer); poke() });
    $peer->stall->write(ping('p') . text('slow') . text('behind'));
    wait_until('the callback', sub { $seen });
    is_deeply $seen, ['p'], 'is on the wire when the callback begins';
};

# Ways to send as the last act of a callback. Each reply may be held back, but must arrive.
my %last_act = (
    'send is the last statement'   => sub { my ($self, $message) = @_; $self->send($message) },
    'return of send'               => sub { my ($self, $message) = @_; return $self->send($message) },
    'send in an if'                => sub { my ($self, $message) = @_; if ($message) { my $copy = $message; $self->send($copy) } },
    'send and a counter'           => do { my $n; sub { my ($self, $message) = @_; $self->send($message); $n++; return } },
    'send in a sub of its own'     => do { my $reply = sub { $_[0]->send($_[1]) }; sub { $reply->(@_) } },
    'send in a loop'               => sub { my ($self, $message) = @_; $self->send($_) for $message },
    'send in an eval'              => sub { my ($self, $message) = @_; eval { $self->send($message) } },
    'send in a sort block'         => sub { my ($self, $message) = @_; my @x = sort { $self->send($message); 0 } 1, 2; $self->send($message) },
    'send and next_message'        => sub { my ($self, $message) = @_; $self->on(next_message => sub { }); $self->send($message) },
);
for my $name (sort keys %last_act) {
    subtest $name => sub {
        my ($connection, $peer) = connection_and_peer();
        my $each = $name =~ /sort/ ? 2 : 1;
        $connection->on(each_message => $last_act{$name});
        for my $round (1 .. 5) {
            my @bodies = map { "$round $_" } 1 .. 16;
            $peer->write(map { text($_) } @bodies);
            is_deeply [map { $_->{payload} } $peer->next_frames($each * @bodies)], [map { ($_) x $each } @bodies], 'all replies arrive, in order';
        }
    };
}

done_testing;
