# Tests that receive, closed and drained survive whatever callbacks do: die, run the event loop, destroy, fork, exit, and
# methods that a program replaces.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no receive' if is_original();

# Awaits a condvar, under a watchdog, also in a callback.
sub result_of {
    my ($cv) = @_;
    wait_until('a condvar', sub { $cv->ready or $cv->cb(sub { poke() }), 0 });
    return $cv->recv;
}

sub body_of { result_of($_[0])->body }

sub exception_of { my ($cv) = @_; return eval { result_of($cv); 1 } ? 'none' : $@ }

subtest 'a callback of receive that dies' => sub {
    my ($connection, $peer) = connection_and_peer();
    my (@errors, @got);
    $connection->on(parse_error => sub { push @errors, $_[1] });
    $connection->receive->cb(sub { die "in a callback\n" });
    my $other = $connection->receive;
    my $closed = $connection->closed;
    $peer->write(text(1), text(2));
    like exception_of($other), qr/^the connection has ended: in a callback/, 'ends the connection, as any message callback does';
    is_deeply \@errors, ["in a callback\n"], 'and is reported to parse_error';
    $peer->wait_eof->close;
    is result_of($closed)->error, "in a callback\n", 'closed tells it';
};

SKIP: {
    skip 'by design: ' . loop() . ' does not let exceptions through', 1 if loop() =~ /Glib|POE/;
    subtest 'callbacks that die at the end' => sub {
        my ($connection, $peer) = connection_and_peer();
        my @called;
        my @cvs = map { my $method = $_; my $cv = $connection->$method; $cv->cb(sub { push @called, $method; die "in $method\n" }); $cv }
            qw(receive receive closed closed);
        $connection->on(finish => sub { push @called, 'finish'; die "in finish\n" });
        my @warnings;
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        no warnings 'once';
        local $EV::DIED = sub { push @warnings, $@ };
        $peer->close;
        for (1 .. 10) { push @warnings, $@ unless eval { settle(); 1 } }
        is_deeply \@called, [qw(finish receive receive closed closed)], 'all are called';
        like "@warnings", qr/^in finish/, 'and the first exception is not lost';
    };
}

subtest 'a callback that runs the event loop' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @got;
    $connection->receive->cb(sub {
        push @got, $_[0]->recv->body;
        push @got, body_of($connection->receive) for 1 .. 30;
        poke();
    });
    $peer->write(map { text($_) } 1 .. 40);
    wait_until('31 messages', sub { @got == 31 });
    push @got, body_of($connection->receive) for 1 .. 9;
    is_deeply \@got, [1 .. 40], 'gets the next messages, in order';
};

SKIP: {
    skip 'by design: Glib runs no watcher inside its own callback', 1 if loop() eq 'Glib';
    subtest 'a callback that waits for the end' => sub {
        my ($connection, $peer) = connection_and_peer();
        my $end;
        $connection->receive->cb(sub {
            my ($cv) = @_;
            $cv->recv;
            $connection->close(4000);
            $end = result_of($connection->closed);
            poke();
        });
        $peer->answer(sub { AnyEvent::postpone { $peer->half_close }; close_frame(4000) });
        $peer->write(text('x'));
        wait_until('the end', sub { $end });
        is $end->code, 4000, 'sees it';
    };
}

for my $what ('its handle', 'it') {
    subtest "a callback that destroys $what" => sub {
        my ($connection, $peer) = connection_and_peer();
        my $closed = $connection->closed;
        my $first = $connection->receive;
        my $second = $connection->receive;
        $first->cb(sub { $what eq 'it' ? undef $connection : $connection->handle->destroy });
        $peer->write(map { text($_) } 1 .. 10);
        is body_of($second), 2, 'messages that were read are delivered';
        like result_of($closed), qr/^the connection has ended: the program/, 'closed is ready';
    };
}

subtest 'one that destroys while many messages wait' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $first = $connection->receive;
    $peer->write(map { text($_) } 1 .. 100);
    result_of($first);
    settle();
    $connection->handle->destroy;
    settle();
    my @got = map { eval { body_of($connection->receive) } } 1 .. 200;
    is_deeply \@got, [2 .. 1 + @got], 'what has been read comes first';
    like exception_of($connection->receive), qr/destroyed its handle/, 'then the end';
};

subtest 'callbacks that call receive again at the end' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $tries = 0;
    my $try;
    $try = sub { $connection->receive->cb(sub { $try->() if !eval { $_[0]->recv } && ++$tries < 100; poke() }) };
    $try->();
    $peer->close;
    wait_until('all tries', sub { $tries == 100 });
    like exception_of($connection->receive), qr/hung up/, 'are answered at once';
    undef $try;
};

subtest '$@ and $_' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $cv = $connection->receive;
    $peer->write(text(1), text(2))->sync;
    local $_ = 'topic';
    eval { die "before\n" };
    undef $cv;
    is $@, "before\n", 'a condvar that gives its message back leaves $@ alone';
    is $_, 'topic', 'and $_';
};

subtest 'subclasses with such names' => sub {
    { package OwnNames; our @ISA = 'AnyEvent::WebSocket::Connection'; sub receive { 'mine' } sub closed { 0 } sub drained { die } }
    my ($connection, $peer) = connection_and_peer(class => 'OwnNames');
    my $seen = recorder($connection);
    is $connection->receive, 'mine', 'keep their methods';
    $peer->write(text('x'), close_frame(1000))->wait_eof->close;
    $seen->wait_finish;
    is_deeply $seen->order, ['message', 'finish'], 'and work as before';
};

subtest 'methods that a program replaces' => sub {
    my $class = 'AnyEvent::WebSocket::Connection';
    no warnings 'redefine';
    my @called;
    local *AnyEvent::WebSocket::Connection::pause = sub { push @called, 'pause' };
    local *AnyEvent::WebSocket::Connection::resume = sub { push @called, 'resume' };
    local *AnyEvent::WebSocket::Connection::buffered_amount = sub { push @called, 'buffered_amount'; 1 };
    my ($connection, $peer) = connection_and_peer();
    my $first = $connection->receive;
    $peer->write((map { text($_) } 1 .. 100), close_frame(4000));
    is_deeply [map { body_of($_) } $first, map { $connection->receive } 2 .. 100], [1 .. 100], 'are not called inside';
    result_of($connection->drained) if $connection->state eq 'open';
    is_deeply \@called, [], 'none of them';
};

subtest 'lists of callbacks that a program replaces' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $first = $connection->receive;
    $connection->{_each_message_cb} = [];
    $peer->write(text('lost'))->sync;
    $peer->close;
    like exception_of($first), qr/hung up/, 'do not make it wait forever';
};

SKIP: {
    skip 'by design: only for EV and AnyEvent\'s own loop', 2 if loop() !~ /\A(?:EV|Perl)\z/;
    subtest 'a fork in a callback' => sub {
        my ($connection, $peer) = connection_and_peer();
        my ($pid, @got);
        $connection->receive->cb(sub {
            push @got, $_[0]->recv->body;
            $pid = fork_child(sub {
                my $cv = $connection->receive;
                undef $cv;
                undef $connection;
            });
            poke();
        });
        my $second = $connection->receive;
        $peer->write(map { text($_) } 1 .. 5);
        wait_until('a fork', sub { $pid });
        left_ok($pid);
        push @got, body_of($second), map { body_of($connection->receive) } 3 .. 5;
        is_deeply \@got, [1 .. 5], 'leaves the messages to the parent';
        $peer->write(text(6));
        is body_of($connection->receive), 6, 'also those that come later';
    };
    subtest 'programs that end while something waits' => sub {
        my $wait = 'our @cvs = map { $connection->$_ } qw(receive closed drained);';
        for my $how ($wait, "$wait exit 0;", '$connection->receive->cb(sub { exit 0 }); $peer->write(text("x")); settle(); exit 1') {
            my ($out, $status) = run_perl({ PERL_ANYEVENT_MODEL => loop() }, <<"PROGRAM");
                open STDERR, '>&', STDOUT;
                use WebSocketTest;
                our (\$connection, \$peer) = connection_and_peer();
                $how
PROGRAM
            is $out, '', "no word ($how)";
            is $status, 0, 'no harm';
        }
    };
}

subtest 'callbacks that assign to $_' => sub {
    my ($connection, $peer) = connection_and_peer();
    my %is_called;
    my @condvars = map { my $method = $_; $connection->$method } qw(receive closed);
    $condvars[$_]->cb(do { my $which = $_; sub { $is_called{$which} = 1; $_ = 'other'; poke() } }) for 0, 1;
    local $_ = "the caller's";
    $peer->write(text('message'));
    wait_until('receive', sub { $is_called{0} });
    is $_, "the caller's", 'receive';
    $peer->close;
    wait_until('closed', sub { $is_called{1} });
    is $_, "the caller's", 'closed';
    $connection->closed->cb(sub { $_ = 'other' });
    is $_, "the caller's", 'a condvar that is ready already';
};

done_testing;
