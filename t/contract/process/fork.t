# Tests that a child that destroys its copy neither writes to nor shuts down the parent's connection.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync;
    return ($connection, $peer, recorder($connection));
}

sub alive_ok {
    my ($connection, $peer, $seen) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $connection->send('parent');
    my @frames = $peer->sync;
    is_deeply [map { $_->{payload} } @frames], ['parent'], 'the parent goes on, and the child wrote nothing';
    my $count = () = $seen->messages;
    $peer->write(text('to the parent'));
    is $seen->wait_messages($count + 1)->bodies->[-1], 'to the parent', 'and hears what it should';
    is_deeply [grep { $_ ne 'message' } @{ $seen->order }], [], 'it is not shut down';
}

my %leave = (
    '_exit'                 => sub { POSIX::_exit(0) },
    'exit'                  => sub { exit 0 },
    'undef, then _exit'     => sub { undef $_[0]; POSIX::_exit(0) },
    'undef, then exit'      => sub { undef $_[0]; exit 0 },
    'exec'                  => sub { exec $^X, '-e', '1' or POSIX::_exit(127) },
);

for my $how (sort keys %leave) {
    for my $masked (0, 1) {
        subtest "a child that leaves by $how, masked $masked" => sub {
            my ($connection, $peer, $seen) = ready(masked => $masked);
            my $pid = fork_child(sub { $leave{$how}->($connection) });
            is reap($pid), 0, 'it leaves';
            alive_ok($connection, $peer, $seen);
        };
    }
}

subtest 'a child that registers and cancels' => sub {
    my ($connection, $peer, $seen) = ready();
    my $pid = fork_child(sub {
        my $cancel = $connection->on(each_message => sub { });
        $cancel->();
        $connection->on(finish => sub { $connection->send('finish') });
        undef $connection;
    });
    is reap($pid), 0, 'it leaves';
    alive_ok($connection, $peer, $seen);
};

subtest 'fork with half a frame received' => sub {
    my ($connection, $peer, $seen) = ready();
    my $frame = text('cut in two', mask => 1);
    $peer->write(substr $frame, 0, 9);
    settle();
    is reap(fork_child(sub { undef $connection; exit 0 })), 0, 'it leaves';
    $peer->write(substr $frame, 9);
    is_deeply $seen->wait_messages(1)->bodies, ['cut in two'], 'the parent reads the rest';
};

subtest 'fork in a message callback, between sends' => sub {
    for my $how ('exit', '_exit', 'undef, then exit') {
        my ($connection, $peer, $seen) = ready();
        my $pid;
        $connection->on(next_message => sub {
            my ($self) = @_;
            $self->send('before');
            $pid = fork_child(sub { $leave{$how}->($connection) });
            $self->send('after');
        });
        $peer->write(text('1') . text('2'));
        is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['before', 'after'], "$how: each is sent";
        is reap($pid), 0, 'the child leaves';
        is_deeply [$peer->sync], [], 'nothing is sent twice';
    }
};

# Runs as a separate program on the pure-Perl loop. EV's epoll, which parent and child would share, sometimes loses an event
# when one of them closes a descriptor that the other keeps.
my $given_away = <<'PROGRAM';
    use WebSocketTest;
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    my $pid = fork_child(sub {
        $peer->stall;       # the child must not read the replies itself
        my $finished = 0;
        $connection->on(each_message => sub { $_[0]->send('child: ' . $_[1]->body) });
        $connection->on(finish => sub { $finished++; poke() });
        wait_until('finish', sub { $finished });
        POSIX::_exit(7);
    });
    undef $connection;
    $peer->write(map { text($_) } 1 .. 3);
    print join ', ', map { $_->{payload} } $peer->next_frames(3);
    $peer->half_close;
    print ' | ', scalar $peer->frames_to_eof, ' | ', reap($pid) >> 8;
PROGRAM

subtest 'a child that serves the connection, which the parent has given away' => sub {
    my ($printed) = run_perl({ PERL_ANYEVENT_MODEL => 'Perl' }, $given_away);
    is $printed, 'child: 1, child: 2, child: 3 | 0 | 7', 'it answers, and sees the end, as does the peer';
};

subtest 'a child with connections of its own' => sub {
    my ($connection, $peer, $seen) = ready();
    my $pid = fork_child(sub {
        $peer->stall;
        my ($own, $own_peer) = connection_and_peer(masked => 1);
        $own->on(each_message => sub { $_[0]->send($_[1]) });
        $own_peer->write(text('x'));
        POSIX::_exit($own_peer->next_frame->{payload} eq 'x' ? 0 : 1);
    });
    is reap($pid), 0, 'can use them';
    alive_ok($connection, $peer, $seen);
};

subtest 'masks of parent and child' => sub {
    my ($connection, $peer) = ready(masked => 1);
    my @pids = map { fork_child(sub { $connection->send("child $_") for 1 .. 5 }) } 1, 2;
    reap($_) for @pids;
    $connection->send("parent $_") for 1 .. 5;
    my @frames = $peer->next_frames(15);
    is_deeply [sort map { $_->{payload} } @frames], [sort map({ ("child $_") x 2, "parent $_" } 1 .. 5)], 'all frames are whole';
    differs 'the masks differ' => 'may repeat rand in the child' => sub {
        my %masks = map { $_->{mask} => 1 } @frames;
        is scalar keys %masks, 15;
    };
};

subtest 'a child that a callback forks, and that runs the event loop' => sub {
    plan skip_all => 'by design: on EV and AnyEvent\'s own loop only' if loop() !~ /\A(?:EV|Perl)\z/;
    my ($left, $right) = socket_pair();
    # The peer must not be in the child, which would read its socket too.
    my $server = fork_child(sub {
        close $right;
        my ($connection, $parent) = (connection_on($left), $$);
        $connection->on(each_message => sub {
            my ($self, $message) = @_;
            if ($message->body eq 2) {
                defined(my $pid = fork) or die "fork: $!";
                if (!$pid) { after(0.05); POSIX::_exit(0) }
                waitpid $pid, 0;
            }
            $self->send(($$ == $parent ? 'parent ' : 'child ') . $message->body);
        });
        $connection->on(finish => sub { POSIX::_exit(0) });
        AE::cv->recv;
    });
    close $left;
    my $peer = WebSocketTest::Peer->new($right);
    $peer->write(text(1));
    $peer->next_frame;
    $peer->write(map { text($_) } 2 .. 5);
    is_deeply [map { $_->{payload} } $peer->next_frames(4)], [map {"parent $_"} 2 .. 5],
        'answers none of the messages that its parent has read';
    $peer->close;
    reap($server);
};

done_testing;
