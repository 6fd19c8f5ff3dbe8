# Tests that receive gives the messages in order, and that receive, closed and drained become ready however a connection ends.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Scalar::Util qw(weaken);
use Test::More;
use WebSocketTest;

use Config;

plan skip_all => 'by design: the original has no receive' if is_original();

# Awaits a condvar, under a watchdog.
sub result_of {
    my ($cv) = @_;
    my $watchdog = AE::timer patience() * ($ENV{WEBSOCKET_TEST_TIMEOUT} || 60), 0, sub { $cv->croak('timed out') };
    return $cv->recv;
}

sub body_of { result_of($_[0])->body }

# Returns the exception with which a condvar croaks, once it is ready.
sub exception_of {
    my ($cv) = @_;
    wait_until('an exception', sub { $cv->ready });
    return eval { $cv->recv; 1 } ? 'none' : $@;
}

# A condvar that is ready makes wait_until look.
sub poking { my ($cv) = @_; $cv->cb(sub { poke() }); return $cv }

subtest 'messages, one at a time' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $first = $connection->receive;
    ok !$first->ready, 'not ready while nothing has come';
    $peer->write(text('one'), frame(opcode => 2, payload => 'two'));
    my $message = $first->recv;
    is $message->body, 'one', 'the first';
    isa_ok $message, 'AnyEvent::WebSocket::Message';
    ok $connection->receive->recv->is_binary, 'the second';
    $peer->write(text('three'));
    is body_of($connection->receive), 'three', 'and one that comes later';
};

subtest 'many at once' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $first = $connection->receive;
    $peer->write(map { text($_) } 1 .. 200);
    is_deeply [body_of($first), map { body_of($connection->receive) } 2 .. 200], [1 .. 200], 'in order';
};

subtest 'with callbacks' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @got;
    my $next;
    $next = sub {
        $connection->receive->cb(sub { my $message = eval { $_[0]->recv } or return; push @got, $message->body; $next->(); poke() });
    };
    $next->();
    $peer->write(map { text($_) } 1 .. 200);
    wait_until('all', sub { @got == 200 });
    is_deeply \@got, [1 .. 200], 'in order; nobody but the connection holds the condvar';
    undef $next;
};

subtest 'a message before the first call' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->write(text('unheard'));
    $peer->sync;
    my $cv = $connection->receive;
    $peer->write(text('heard'));
    is body_of($cv), 'heard', 'is not for receive';
};

subtest 'several at once' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @cvs = map { $connection->receive } 1 .. 3;
    $peer->write(map { text($_) } 1 .. 4);
    is_deeply [map { body_of($_) } reverse @cvs], [3, 2, 1], 'first come, first served';
    is body_of($connection->receive), 4, 'and the rest waits';
};

subtest 'timeout' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($file, $line) = (__FILE__, __LINE__ + 1);
    ok !eval { $connection->receive(timeout => 0.01)->recv; 1 }, 'an exception';
    is $@, "no message within 0.01 s at $file line $line.\n", 'with this text';
    ok !ref $@, 'a string';
    my $cv = $connection->receive(timeout => 60);
    $peer->write(text('late'));
    is body_of($cv), 'late', 'the message that comes later goes to the next receive';
    $peer->write(text('waits'), text('waits too'));
    $peer->sync;
    is body_of($connection->receive(timeout => 0)), 'waits', '0: a message that is there';
    is body_of($connection->receive(timeout => undef)), 'waits too', 'undef: no timeout';
    like exception_of(poking($connection->receive(timeout => 0))), qr/^no message within 0 s/, '0: none is there';
    ok !$connection->receive(timeout => 9**9**9)->ready, 'infinite';
};

subtest 'mistakes' => sub {
    my ($connection) = connection_and_peer();
    croaks_here('a wrong timeout', sub { $connection->receive(timeout => 'soon') }, qr/^receive: timeout must be a number of seconds/);
    croaks_here('a negative one', sub { $connection->receive(timeout => -1) }, qr/^receive: timeout must be a number of seconds/);
    croaks_here('an unknown option', sub { $connection->receive(tiemout => 1) }, qr/^receive: there is no option tiemout; the options are timeout/);
};

# --- how it ends

sub die_in_callback {
    my ($connection, $peer) = @_;
    $connection->on(next_message => sub { die "in a callback\n" });
    $connection->on(parse_error => sub { });
    $peer->write(text('x'))->wait_eof->close;
}

# Each end: the arguments for the connection; what ends it; its text, its code, its reason and its error.
my %end = (
    "the peer's Close frame" => [{}, sub { $_[1]->write(close_frame(1001, 'bye'))->wait_eof->close }, qr/the peer closed it: 1001 bye/, 1001, 'bye', undef],
    'an empty Close frame' => [{}, sub { $_[1]->write(close_frame())->wait_eof->close }, qr/the peer closed it: 1005/, 1005, '', undef],
    'end of file' => [{}, sub { $_[1]->close }, qr/the peer hung up/, undef, undef, undef],
    'our close' => [{}, sub { $_[0]->close; $_[1]->wait_eof->write(close_frame(4000))->close }, qr/this side closed it: 1005\b/, 4000, '', undef],
    'our close, with a reason' => [{}, sub { $_[0]->close(4001, "gr\xfcn"); $_[1]->wait_eof->write(close_frame(4001))->close }, qr/this side closed it: 4001 gr\xfcn\b/, 4001, '', undef],
    'our close, and the peer hangs up' => [{}, sub { $_[0]->close(4001); $_[1]->wait_eof->close }, qr/this side closed it: 4001\b/, undef, undef, undef],
    'a reset' => [{ tcp => 1 }, sub { $_[1]->reset }, qr/reset/i, undef, undef, qr/reset/i],
    'a violation' => [{}, sub { $_[1]->write(frame(rsv => 2)); $_[1]->wait_eof->close }, qr/Protocol error/, undef, undef, qr/^Protocol error/],
    'a wrong Close frame' => [{}, sub { $_[1]->write(close_frame(1006)); $_[1]->wait_eof->close }, qr/Protocol error/, 1006, '', qr/^Protocol error/],
    'a callback that died' => [{}, \&die_in_callback, qr/in a callback/, undef, undef, qr/^in a callback/],
    'idle_timeout' => [{ idle_timeout => 0.05 }, sub { }, qr/sent nothing within/, undef, undef, qr/^the peer sent nothing within/],
    'close_timeout' => [{ close_timeout => 0.05 }, sub { $_[0]->close }, qr/did not close/, undef, undef, qr/^the peer did not close/],
    'a destroyed handle' => [{}, sub { $_[0]->handle->destroy }, qr/destroyed its handle/, undef, undef, qr/^the program destroyed its handle/],
    'a dropped connection' => [{}, sub { undef $_[0] }, qr/the program dropped it/, undef, undef, qr/^the program dropped it/],
);

sub is_end {
    my ($end, $expected) = @_;
    my (undef, undef, $text, $code, $reason, $error) = @$expected;
    isa_ok $end, 'AnyEvent::WebSocket::Native::Ended';
    like "$end", qr/^the connection has ended: /, 'a text';
    like "$end", $text, 'that says why';
    is $end->code, $code, 'code';
    is $end->reason, $reason, 'reason';
    is $end->initiator, $text =~ /this side/ ? q(local) : $text =~ /peer closed it/ ? q(peer) : undef, q(initiator);
    $error ? like($end->error, $error, 'error') : is($end->error, undef, 'no error');
}

for my $name (sort keys %end) {
    subtest "$name while they wait" => sub {
        my ($new, $do) = @{ $end{$name} };
        my ($connection, $peer) = connection_and_peer(%$new);
        my ($receive, @others) = map { poking($connection->receive) } 1 .. 3;
        my $closed = poking($connection->closed);
        ok !$closed->ready, 'not closed yet';
        $do->($connection, $peer);
        is_end(exception_of($receive), $end{$name});
        like exception_of($_), qr/^the connection has ended/, 'so do the others' for @others;
        wait_until('closed', sub { $closed->ready });
        is_end($closed->recv, $end{$name});
    };
}

for my $name (grep { !/dropped|died/ } sort keys %end) {
    subtest "$name before they are called" => sub {
        my ($new, $do) = @{ $end{$name} };
        my ($connection, $peer) = connection_and_peer(%$new);
        $do->($connection, $peer);
        wait_until('the end', sub { turn(); $connection->state eq 'closed' });
        settle();
        my $closed = $connection->closed;
        ok $closed->ready, 'closed is ready';
        is_end($closed->recv, $end{$name});
        is_end(exception_of($connection->receive), $end{$name});
        is_end(exception_of($connection->drained), $end{$name});
        is_end(exception_of($connection->receive(timeout => 5)), $end{$name});
    };
}

subtest 'the end with messages in the queue' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $first = $connection->receive;
    $peer->write((map { text($_) } 1 .. 40), close_frame(4000));
    my @bodies = (body_of($first), map { body_of($connection->receive) } 2 .. 40);
    is_deeply \@bodies, [1 .. 40], 'the messages first';
    like exception_of($connection->receive), qr/closed it: 4000/, 'then the end';
    $peer->wait_eof->close;
    $connection->closed->recv;
    like exception_of($connection->receive), qr/closed it: 4000/, 'again and again';
};

subtest 'a violation with messages in the queue' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen_error;
    my $first = $connection->receive;
    $connection->on(parse_error => sub { $seen_error++; poke() });
    $peer->write(text(1), text(2), frame(rsv => 2));
    wait_until('parse_error', sub { $seen_error });
    is_deeply [map { body_of($_) } $first, $connection->receive], [1, 2], 'the messages first';
    like exception_of($connection->receive), qr/Protocol error/, 'then the error, before the peer hangs up';
    ok !$connection->closed->ready, 'though the connection is not closed yet';
};

subtest 'the place of the exception' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $cv = $connection->receive;
    $peer->close;
    croaks_here('a wait', sub { $cv->recv }, qr/hung up/);
    croaks_here('another wait', sub { $connection->receive->recv }, qr/hung up/);
};

subtest 'the log of exceptions in callbacks' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @logged;
    my $guard = AnyEvent::Log::ctx('AnyEvent::WebSocket::Connection')->log_cb(sub { push @logged, $_[0]; 1 });
    my $cv = $connection->receive;
    $connection->on(next_message => sub { die "unheard\n" });
    $peer->write(text('x'))->wait_eof->close;
    AnyEvent::Log::ctx('AnyEvent::WebSocket::Connection')->log_cb(undef);
    like "@logged", qr/unheard/, 'is written as before: receive does not count as a callback for parse_error';
};

# --- drained

subtest 'drained' => sub {
    my ($connection, $peer) = connection_and_peer();
    ok $connection->drained->ready, 'ready when nothing waits';
    $peer->stall;
    $connection->send('x' x 4_000_000);
    my @cvs = map { $connection->drained } 1 .. 2;
    settle();
    ok !$cvs[0]->ready, 'not ready while something waits';
    my $program = 0;
    $connection->on(drain => sub { $program++; poke() });
    $peer->resume;
    is_deeply [$cvs[0]->recv], [], 'ready when all is written';
    ok $cvs[1]->ready, 'so is the other';
    wait_until('drain', sub { $program });
    is $connection->buffered_amount, 0, 'nothing waits';
    $peer->stall;
    $connection->send('x' x 4_000_000);
    my $again = $connection->drained;
    $peer->resume;
    $again->recv;
    pass 'again';
};

for my $name ('a reset', 'a destroyed handle', 'a dropped connection') {
    subtest "drained, and $name" => sub {
        my ($new, $do) = @{ $end{$name} };
        my ($connection, $peer) = connection_and_peer(%$new);
        $peer->stall;
        $connection->send('x' x 20_000_000);
        my $cv = poking($connection->drained);
        $do->($connection, $peer);
        like exception_of($cv), qr/^the connection has ended: /, 'croaks';
    };
}

subtest 'all that was sent before closed is awaited' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send('x' x 4_000_000);
    $connection->close;
    my ($drained, $closed) = ($connection->drained, $connection->closed);
    $peer->resume;
    $drained->recv;
    ok !$closed->ready, 'the peer has not closed yet';
    $peer->wait_eof->close;
    is $closed->recv->error, undef, 'now it has';
};

# --- what it costs

subtest 'programs that use none of these' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('x'), close_frame(1000));
    $peer->wait_eof->close;
    $seen->wait_finish;
    is_deeply [grep { /awaiting/ } keys %$connection], [], 'have no state for them';
};

my %life = (
    'waiting' => sub { my ($c) = @_; return ($c->receive, $c->closed, $c->receive(timeout => 60)) },
    'waiting with callbacks' => sub { my ($c) = @_; $_->cb(sub { eval { $_[0]->recv } }) for $c->receive, $c->closed; () },
    'messages in the queue' => sub { my ($c, $p) = @_; my $cv = $c->receive; $p->write(text(1), text(2))->sync; $cv },
    'a full queue' => sub { my ($c, $p) = @_; my $cv = $c->receive; $p->write(map { text($_) } 1 .. 50); settle(); $cv },
    'the end' => sub { my ($c, $p) = @_; my $cv = $c->closed; $p->close; $cv->recv; $c->receive },
    'drained' => sub { my ($c, $p) = @_; $p->stall; $c->send('x' x 4_000_000); $c->drained },
);
for my $name (sort keys %life) {
    subtest "gone without a trace: $name" => sub {
        my ($weak_connection, $weak_awaiting, @weak);
        {
            my ($connection, $peer) = connection_and_peer();
            my @cvs = $life{$name}->($connection, $peer);
            weaken($weak_connection = $connection);
            weaken($weak_awaiting = $connection->{_ws_awaiting});
            for my $cv (@cvs) { push @weak, $cv; weaken $weak[-1] }
        }
        settle();
        is $weak_connection, undef, 'the connection';
        is $weak_awaiting, undef, 'its state';
        is_deeply [grep { defined } @weak], [], 'and the condvars';
    };
}

subtest 'a copy in another thread' => sub {
    plan skip_all => 'by design: this perl has no threads' if !$Config{useithreads};
    my ($printed, $status) = run_perl({ PERL_ANYEVENT_MODEL => 'Perl' }, <<'PROGRAM');    # EV does not survive threads
        use strict;
        use warnings;
        use threads;
        use WebSocketTest;
        my ($connection, $peer) = connection_and_peer();
        my @cvs = ($connection->receive, $connection->closed);
        print threads->create(sub {
            my @new = map { $connection->$_ } qw(receive closed drained);
            return join ' ', map { $_->ready ? eval { $_->recv } || $@ : 'waits' } @new;
        })->join =~ s/ at \S+ line \d+(?: thread \d+)?\.?\n//gr;
        $peer->write(text('message'))->close;
        print "\n", $cvs[0]->recv->body, ' ', $cvs[1]->recv;
PROGRAM
    my $why = 'the connection has ended: it belongs to another thread';
    is $printed, join(' ', ($why) x 3) . "\nmessage the connection has ended: the peer hung up", 'has ended, and ours has not';
    is $status, 0, 'no crash at the end';
};

done_testing;
