# Tests which next_message and each_message callbacks are called, when, and with which arguments.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Scalar::Util qw(refaddr weaken);

# Registers callbacks that log "name:body", sends the bodies, and returns the log.
sub course {
    my ($register, @bodies) = @_;
    my ($connection, $peer) = connection_and_peer();
    my @log;
    my $note = sub { my $name = shift; sub { push @log, "$name:" . $_[1]->body } };
    $register->($connection, $note, \@log);
    for my $body (@bodies) { $peer->write(text($body)); $peer->sync }
    return \@log;
}

subtest 'arguments' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->write(text('one'));
    my @next = next_event('next_message', sub { $connection->on(next_message => $_[0]) });
    $peer->write(binary('two'));
    my @each = next_event('each_message', sub { $connection->on(each_message => $_[0]) });
    is scalar @next, 2, 'next_message gets two';
    is scalar @each, 3, 'each_message gets three';
    is refaddr $_->[0], refaddr $connection, 'the very connection' for \@next, \@each;
    is ref $_->[1], 'AnyEvent::WebSocket::Message', 'a message' for \@next, \@each;
    is_deeply [$next[1]->body, $each[1]->body], ['one', 'two'], 'with its body';
    is ref $each[2], 'CODE', 'a coderef that unregisters';
};

subtest 'a callback that changes its arguments' => sub {
    my %change = (
        'assigns to $_[2]' => sub { $_[2] = 'changed' },
        'undefines $_[2]'  => sub { undef $_[2] },
        'chomps all'       => sub { chomp @_ },
        'keeps a reference to $_[2]' => do { my @kept; sub { push @kept, \$_[2]; ${ $kept[-1] } = 'changed' } },
        'shifts'           => sub { shift for 1 .. 3; $_[0] = 'changed' },
    );
    for my $what (sort keys %change) {
        my ($connection, $peer) = connection_and_peer();
        my @seen;
        $connection->on(each_message => sub { push @seen, [map { ref } @_]; poke(); &{ $change{$what} } });
        $connection->on(each_message => sub { push @seen, [map { ref } @_]; poke() });
        for my $round (1 .. 3) {
            $peer->write(text('x'));
            wait_until('both callbacks', sub { @seen == 2 * $round });
        }
        my @expected = (['AnyEvent::WebSocket::Connection', 'AnyEvent::WebSocket::Message', 'CODE']) x 6;
        # Both callbacks share the scalars of the connection and the message, and with them any change.
        @$_[0, 1] = @{ $expected[0] }[0, 1] for @seen;
        is_deeply \@seen, \@expected, "that $what: later calls get theirs";
    }
};

subtest '$_[2] of an outer call, while an inner one changes its own' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @outer;
    my $inner = 0;
    $connection->on(each_message => sub {
        if ($_[1]->body eq 'inner') { $_[2] = 'changed'; $inner++; poke(); return }
        $peer->write(text('inner'));
        wait_until('the inner call', sub { $inner });
        push @outer, ref $_[2];
        poke();
    });
    $peer->write(text('outer'));
    wait_until('the outer call', sub { @outer });
    is_deeply \@outer, ['CODE'], 'is as it was';
};

subtest 'next_message is for one message' => sub {
    is_deeply course(sub { my ($c, $note) = @_; $c->on(next_message => $note->('n')) }, 1, 2), ['n:1'];
};

subtest 'each_message is for every message' => sub {
    is_deeply course(sub { my ($c, $note) = @_; $c->on(each_message => $note->('e')) }, 1 .. 3), ['e:1', 'e:2', 'e:3'];
};

subtest 'next_message goes before each_message, each in order of registration' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        $c->on(each_message => $note->('e1'));
        $c->on(next_message => $note->('n1'));
        $c->on(each_message => $note->('e2'));
        $c->on(next_message => $note->('n2'));
    }, 1, 2), [qw(n1:1 n2:1 e1:1 e2:1 e1:2 e2:2)];
};

after_044 'a next_message registered inside next_message waits for the next message' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        $c->on(next_message => sub { $note->('outer')->(@_); $_[0]->on(next_message => $note->('inner')) });
    }, 1, 2, 3), [qw(outer:1 inner:2)];
};

subtest 'a next_message registered inside each_message waits for the next message' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        $c->on(each_message => sub { $_[2]->(); $_[0]->on(next_message => $note->('n')) });
    }, 1, 2, 3), [qw(n:2)];
};

after_044 'a chain of next_message sees every message, also when they come in one piece' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($chain, @log);
    $chain = sub { push @log, $_[1]->body; $_[0]->on(next_message => $chain) };
    $connection->on(next_message => $chain);
    $peer->write(map { text($_) } 1 .. 50);
    $peer->sync;
    undef $chain;
    is_deeply \@log, [1 .. 50];
};

subtest 'an each_message registered inside next_message gets the same message' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        $c->on(next_message => sub { $_[0]->on(each_message => $note->('e')) });
    }, 1, 2), [qw(e:1 e:2)];
};

subtest 'an each_message registered inside each_message starts with the next message' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        $c->on(each_message => sub { $note->('a')->(@_); $_[2]->(); $_[0]->on(each_message => $note->('b')) });
    }, 1, 2), [qw(a:1 b:2)];
};

after_044 'cancelling inside next_message: the list is taken already' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        my $cancel;
        $c->on(next_message => sub { $cancel->(); $note->('first')->(@_) });
        $cancel = $c->on(next_message => $note->('second'));
    }, 1, 2), [qw(first:1 second:1)];
};

subtest 'cancelling inside each_message: a copy of the list is gone through' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        my $cancel;
        $c->on(each_message => sub { $cancel->(); $note->('first')->(@_) });
        $cancel = $c->on(each_message => $note->('second'));
    }, 1, 2), [qw(first:1 second:1 first:2)];
};

subtest 'cancelling each_message inside next_message comes in time' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        my $cancel = $c->on(each_message => $note->('e'));
        $c->on(next_message => sub { $cancel->(); $note->('n')->(@_) });
    }, 1, 2), [qw(n:1)];
};

subtest 'the third argument of each_message unregisters that callback' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        $c->on(each_message => sub { $note->('twice')->(@_); $_[2]->() if $_[1]->body == 2 });
        $c->on(each_message => $note->('all'));
    }, 1 .. 3), [qw(twice:1 all:1 twice:2 all:2 all:3)];
};

subtest 'kept and called later, it works as well' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($log, $unregister) = (0);
    $connection->on(each_message => sub { $log++; $unregister = $_[2] });
    $peer->write(text('x'));
    $peer->sync;
    $unregister->();
    $peer->write(text('y'));
    $peer->sync;
    is $log, 1;
};

subtest 'each is for its own callback, whatever becomes of it' => sub {
    my %keeping = (
        'kept' => sub { my ($kept) = @_; sub { push @$kept, $_[2]; poke() } },
        'a reference to it kept' => sub { my ($kept) = @_; sub { my $scalar = \$_[2]; push @$kept, sub { $$scalar->() }; poke() } },
        'kept, and then a weak reference too' => sub {
            my ($kept) = @_;
            sub { push @$kept, $_[2]; weaken(my $weak = $_[2]); poke() };
        },
        'kept by a callback that dies' => sub { my ($kept) = @_; sub { push @$kept, $_[2]; poke(); die "thrown\n" } },
    );
    for my $how (sort keys %keeping) {
        my ($first, $first_peer) = connection_and_peer();
        my ($second, $second_peer) = connection_and_peer();
        my @kept;
        my @log;
        $first->on(parse_error => sub { });
        $first->on(each_message => $keeping{$how}->(\@kept));
        $first_peer->write(text('x'));
        wait_until('the first', sub { @kept });
        $second->on(each_message => sub { push @log, $_[1]->body });
        $second_peer->write(text('1'));
        $second_peer->sync;
        $kept[0]->();
        $second_peer->write(text('2'));
        $second_peer->sync;
        is_deeply \@log, [1, 2], "$how: it leaves another connection's callback alone";
    }
};

subtest 'one that a callback undefines harms no other' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->on(each_message => sub { undef &{ $_[2] } });
    my $log = 0;
    $connection->on(each_message => sub { $log++; $_[2]->() });
    for (1 .. 2) { $peer->write(text('x')); $peer->sync }
    is $log, 1;
};

subtest 'one that only a weak reference held is gone after the call' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @weak;
    my $cancel = $connection->on(each_message => sub { push @weak, $_[2]; weaken($weak[-1]); ok $weak[-1], 'not before' });
    $peer->write(text('x'));
    $peer->sync;
    $cancel->();
    $connection->on(each_message => sub { is $weak[0] && refaddr $weak[0], undef, 'and not given to another callback' })
        if !is_original();
    $peer->write(text('y'));
    $peer->sync;
};

subtest 'a coderef registered twice is called twice' => sub {
    is_deeply course(sub {
        my ($c, $note) = @_;
        my $same = $note->('s');
        $c->on($_ => $same) for qw(next_message next_message each_message each_message);
    }, 1, 2), [qw(s:1 s:1 s:1 s:1 s:2 s:2)];
};

subtest 'what a callback returns, or does to @_, changes nothing' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @log;
    $connection->on(each_message => sub { shift; shift; @_ = ('overwritten'); return (0, undef, 'x') });
    $connection->on(each_message => sub { push @log, [refaddr $_[0], $_[1]->body] });
    $peer->write(text('intact'));
    $peer->sync;
    is_deeply \@log, [[refaddr $connection, 'intact']];
};

subtest 'no callback at all' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->write(text('unheard') . binary('of'));
    is_deeply [$peer->sync], [], 'the message is dropped, and the connection lives';
    my $seen = recorder($connection);
    $peer->write(text('heard'));
    is_deeply $seen->wait_messages(1)->bodies, ['heard'], 'it is not kept for later';
};


done_testing;
