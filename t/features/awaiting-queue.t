# Tests that no message is lost to receive, whoever cancels, and that messages which nobody takes do not pile up: the peer waits.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no receive' if is_original();

my $MANY = 16;

# Awaits a condvar, under a watchdog.
sub result_of {
    my ($cv) = @_;
    my $watchdog = AE::timer patience() * ($ENV{WEBSOCKET_TEST_TIMEOUT} || 60), 0, sub { $cv->croak('timed out') };
    return $cv->recv;
}

sub body_of { result_of($_[0])->body }

# Returns a connection whose receive was called once, and has given a message.
sub listening {
    my ($connection, $peer) = connection_and_peer(@_);
    my $cv = $connection->receive;
    $peer->write(text('first'));
    $cv->recv;
    return ($connection, $peer);
}

# --- cancelling

my %cancel = (
    'dropped' => sub { undef $_[0] },
    'cancelled' => sub { $_[0]->cancel },
    'dropped and cancelled' => sub { $_[0]->cancel; undef $_[0] },
    'told to croak by the program' => sub { $_[0]->croak('enough') },
    'told to send by the program' => sub { $_[0]->send('mine') },
    'whose callback was removed, dropped' => sub { $_[0]->cb(sub { fail 'called' }); $_[0]->cb(undef); undef $_[0] },
    'with a callback, cancelled' => sub { $_[0]->cb(sub { fail 'called' }); $_[0]->cancel },
    'that has timed out' => sub { my ($cv) = @_; wait_until('a timeout', sub { turn(); $cv->ready }) },
);

for my $name (sort keys %cancel) {
    subtest "a condvar $name" => sub {
        my ($connection, $peer) = listening();
        my $cv = $connection->receive($name =~ /timed/ ? (timeout => 0.01) : ());
        my $next = $connection->receive;
        $cancel{$name}->($cv);
        $peer->write(text('one'), text('two'));
        is body_of($next), 'one', 'the message goes to the next';
        is body_of($connection->receive), 'two', 'and the one behind it waits';
    };
    subtest "the only condvar, $name" => sub {
        my ($connection, $peer) = listening();
        my $cv = $connection->receive($name =~ /timed/ ? (timeout => 0.01) : ());
        $cancel{$name}->($cv);
        $peer->write(text('one'))->sync;
        is body_of($connection->receive), 'one', 'the message waits';
    };
}

subtest 'a condvar that was cancelled' => sub {
    my ($connection) = listening();
    my $cv = $connection->receive;
    $cv->cancel;
    croaks_here('recv', sub { $cv->recv }, qr/^cancelled at/);
    $cv->cancel;
    my $closed = $connection->closed;
    $closed->cancel;
    croaks_here('closed', sub { $closed->recv }, qr/^cancelled at/);
};

subtest 'a condvar that is dropped when it is ready' => sub {
    my ($connection, $peer) = listening();
    my $cv = $connection->receive;
    $peer->write(map { text($_) } 1 .. 3)->sync;
    ok $cv->ready, 'ready';
    undef $cv;
    is_deeply [map { body_of($connection->receive) } 1 .. 3], [1 .. 3], 'its message is the next again';
    my ($one, $two) = map { $connection->receive } 1 .. 2;
    $peer->write(text(4), text(5))->sync;
    my $waits = $connection->receive;
    undef $two;
    undef $one;
    is body_of($waits), 4, 'it goes to one that waits already';
    is body_of($connection->receive), 5, 'and the order stays';
};

subtest 'a condvar that is dropped when it was asked' => sub {
    my ($connection, $peer) = listening();
    my $cv = $connection->receive;
    $peer->write(text(1), text(2))->sync;
    is body_of($cv), 1, 'recv';
    is body_of($cv), 1, 'gives the same again';
    undef $cv;
    my $seen;
    my $other = $connection->receive;
    $other->cb(sub { $seen++ });
    undef $other;
    is $seen, 1, 'by a callback that was set when it was ready';
    my $early = $connection->receive;
    $early->cb(sub { $seen++; poke() });
    $peer->write(text('for the callback'));
    wait_until('a call', sub { $seen == 2 });
    undef $early;
    pass 'or before, even if that does not call recv';
    $peer->write(text(3));
    is body_of($connection->receive), 3, 'no message comes twice';
};

subtest 'many that are dropped' => sub {
    my ($connection, $peer) = listening();
    my $kept = $connection->receive;
    $connection->receive for 1 .. 1000;
    $connection->$_ for map { ('closed', 'drained') } 1 .. 1000;
    my $state = $connection->{_ws_awaiting};
    my @sizes = map { scalar @{ $state->{$_} } } qw(receivers closers drainers);
    ok !(grep { $_ > 3 } @sizes), "take no memory (@sizes)";
    $peer->write(text('one'));
    is body_of($kept), 'one', 'and the one that is kept waits on';
};

# --- back-pressure

subtest 'messages that nobody takes' => sub {
    my ($connection, $peer) = listening();
    $peer->write(map { text($_) } 1 .. 1000);
    settle();
    is $connection->stats->{messages_received}, 1 + $MANY, "$MANY wait, then the connection is paused";
    is_deeply [map { body_of($connection->receive) } 1 .. 1000], [1 .. 1000], 'and goes on when they are taken';
};

subtest 'a peer that sends without end' => sub {
    my ($connection, $peer) = listening(tcp => 1);
    my $large = text('x' x 60_000);
    my $written = 0;
    $peer->write(($large) x 1000);
    settle();
    my $unsent = $peer->unsent;
    cmp_ok $unsent, '>', 30_000_000, 'has to wait';
    settle();
    is $peer->unsent, $unsent, 'for as long as nobody takes them';
    body_of($connection->receive) for 1 .. 1000;
    is $peer->unsent, 0, 'and then gets rid of them';
};

subtest 'a pause of the program' => sub {
    my ($connection, $peer) = listening();
    $connection->pause;
    my $cv = $connection->receive;
    $peer->write(map { text($_) } 1 .. 100);
    settle();
    ok !$cv->ready, 'receive waits';
    $connection->resume;
    is body_of($cv), 1, 'until it is over';
    settle();
    $connection->pause;
    body_of($connection->receive) for 2 .. 1 + $MANY;
    my $next = $connection->receive;
    settle();
    ok !$next->ready, 'taking messages does not end it';
    $connection->resume;
    is body_of($next), 2 + $MANY, 'resume does';
    settle();
    my $count = $connection->stats->{messages_received};
    $connection->pause->resume;
    settle();
    is $connection->stats->{messages_received}, $count, 'but not the pause because of messages that wait';
    is_deeply [map { body_of($connection->receive) } 3 + $MANY .. 100], [3 + $MANY .. 100], 'nothing is lost';
};

subtest 'pings and pongs' => sub {
    my ($connection, $peer) = listening();
    $peer->write(map { text($_) } 1 .. $MANY - 1);
    is_deeply [$peer->sync], [], 'a ping is answered while a few messages wait';
    my @pending = map { $connection->receive } 1 .. $MANY + 5;
    is_deeply [$peer->sync], [], 'and while many condvars do';
    my $pong;
    $connection->on(pong => sub { $pong++; poke() });
    $connection->ping;
    is $peer->next_frame->{opcode}, 9, 'our ping is sent';
    $peer->write(pong(''));
    wait_until('pong', sub { $pong });
    pass 'and its pong arrives';
};

# --- closing

subtest 'close while many messages wait' => sub {
    my ($connection, $peer) = listening();
    $peer->write(map { text($_) } 1 .. 1000);
    settle();
    $connection->close(4001);
    $peer->write(close_frame(4001))->half_close;
    is result_of($connection->closed)->code, 4001, 'the Close frame of the peer behind them is read';
    is_deeply [map { body_of($connection->receive) } 1 .. $MANY], [1 .. $MANY], 'those that waited still do';
    ok !eval { $connection->receive->recv; 1 }, 'the others are discarded';
};

subtest 'close by a program that goes on receiving' => sub {
    for my $way ('close, then receive', 'receive, then close') {
        my ($connection, $peer) = listening();
        my $waits = $way =~ /^receive/ ? $connection->receive : undef;
        $connection->close(4001);
        $waits ||= $connection->receive;
        $peer->write((map { text($_) } 1 .. 1000), close_frame(4001));
        is_deeply [body_of($waits), map { body_of($connection->receive) } 2 .. 1000], [1 .. 1000], "$way: gets all";
        is eval { $connection->receive->recv; 1 } ? 'none' : $@->code, 4001, 'then the end';
        $peer->wait_eof->close;
        result_of($connection->closed);
    }
};

subtest 'the Close frame of the peer while many messages wait' => sub {
    my ($connection, $peer) = listening();
    my $closed = $connection->closed;
    $peer->write((map { text($_) } 1 .. 100), close_frame(4002));
    settle();
    ok !$closed->ready, 'is not read before they are taken';
    body_of($connection->receive) for 1 .. 100;
    $peer->wait_eof->close;
    is result_of($closed)->code, 4002, 'and then it is';
};

subtest 'end of file while many messages wait' => sub {
    my ($connection, $peer) = listening();
    $peer->write(map { text($_) } 1 .. 100)->wait_written->close;
    settle();
    is_deeply [map { body_of($connection->receive) } 1 .. 100], [1 .. 100], 'loses none';
    like result_of($connection->closed), qr/hung up/, 'and then comes the end';
};

# --- callbacks for messages

subtest 'a callback for each_message, then receive' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $cancel = $connection->on(each_message => sub { });
    croaks_here('receive', sub { $connection->receive }, qr/^receive: a callback for each_message gets the messages/);
    $cancel->();
    my $cv = $connection->receive;
    $peer->write(text('one'));
    is body_of($cv), 'one', 'works when it is gone';
    $cancel = $connection->on(message_chunk => sub { });
    croaks_here('receive', sub { $connection->receive }, qr/^receive: a callback for message_chunk gets the messages/);
    $cancel->();
    $cv = $connection->receive;
    $peer->write(text('two'));
    is body_of($cv), 'two', 'so it is with message_chunk';
};

subtest 'receive, then a callback for each_message' => sub {
    my ($connection, $peer) = listening();
    $peer->write(map { text($_) } 1 .. 100);
    settle();
    my @got;
    $connection->on(each_message => sub { push @got, $_[1]->body; poke() });
    is_deeply \@got, [], 'it is called from the event loop';
    wait_until('all', sub { @got == 100 });
    is_deeply \@got, [1 .. 100], 'and gets the messages that wait, and then the others';
    is scalar @{ $connection->{_each_message_cb} }, 1, 'receive no longer listens';
    croaks_here('receive', sub { $connection->receive }, qr/a callback for each_message/);
};

subtest 'a callback for messages that wait' => sub {
    my ($connection, $peer) = listening();
    $peer->write(map { text($_) } 1 .. 10)->sync;
    my @got;
    $connection->on(each_message => sub { push @got, $_[1]->body; $_[2]->() if @got == 3; poke() });
    wait_until('three', sub { @got == 3 });
    is body_of($connection->receive), 4, 'may leave the rest to receive';
    $connection->on(each_message => sub { push @got, $_[1]->body; $_[0]->pause; poke() });
    wait_until('four', sub { @got == 4 });
    settle();
    is_deeply \@got, [1 .. 3, 5], 'and may pause';
    $connection->resume;
    wait_until('six', sub { @got == 5 });
    is $got[-1], 6, 'and resume';
    my $error;
    $connection->on(parse_error => sub { $error = $_[1]; poke() });
    $connection->on(each_message => sub { die "in a callback\n" });
    $connection->resume;
    wait_until('an error', sub { $error });
    is $error, "in a callback\n", 'and may die';
};

subtest 'a callback for each_message while receive waits' => sub {
    my ($connection, $peer) = listening();
    my $cv = $connection->receive;
    my @got;
    $connection->on(each_message => sub { push @got, $_[1]->body; poke() });
    $peer->write(text('both'), text('callback'));
    is body_of($cv), 'both', 'receive gets what it waits for';
    wait_until('two', sub { @got == 2 });
    is_deeply \@got, ['both', 'callback'], 'and the callback gets all';
    ($connection, $peer) = listening();
    $cv = $connection->receive;
    @got = ();
    $connection->on(each_message => sub { push @got, $_[1]->body; poke() });
    $peer->write(text('once'))->sync;
    undef $cv;
    settle();
    is_deeply \@got, ['once'], 'once, even if the condvar is dropped';
};

subtest 'messages that wait when the connection ends' => sub {
    my ($connection, $peer) = listening();
    $peer->write((map { text($_) } 1 .. 100))->wait_written->close;
    settle();
    my @seen;
    $connection->on(finish => sub { push @seen, 'finish'; poke() });
    $connection->on(each_message => sub { push @seen, $_[1]->body });
    wait_until('finish', sub { @seen && $seen[-1] eq 'finish' });
    is_deeply \@seen, [1 .. 100, 'finish'], 'come before finish';
};

subtest 'next_message' => sub {
    my ($connection, $peer) = listening();
    my @got;
    $connection->on(next_message => sub { push @got, $_[1]->body; poke() });
    $peer->write(text(1), text(2), text(3))->sync;
    is_deeply \@got, [1], 'gets a message';
    is body_of($connection->receive), 1, 'that receive gets too';
    $connection->on(next_message => sub { push @got, $_[1]->body; poke() });
    wait_until('two', sub { @got == 2 });
    is_deeply \@got, [1, 2], 'also one that waits';
    is_deeply [map { body_of($connection->receive) } 1 .. 2], [2, 3], 'and the order stays';
};

subtest 'message_chunk' => sub {
    my ($connection, $peer) = listening();
    $peer->write(text('whole'), text('also whole'))->sync;
    my @got;
    my $cancel = $connection->on(message_chunk => sub { push @got, [$_[1]->body, $_[2] ? 1 : 0]; poke() });
    $peer->write(text('in ', fin => 0), continuation('parts'));
    wait_until('parts', sub { @got == 4 });
    is_deeply \@got, [['whole', 1], ['also whole', 1], ['in ', 0], ['parts', 1]], 'gets the messages that wait, each as one part';
    $cancel->();
    my $cv = $connection->receive;
    $peer->write(text('again'));
    is body_of($cv), 'again', 'then receive does';
};

done_testing;
