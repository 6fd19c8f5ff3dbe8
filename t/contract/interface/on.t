# Tests that the coderef that on returns unregisters every registration of that same callback, for that event.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync;
    return ($connection, $peer);
}

subtest 'the coderef unregisters' => sub {
    my ($connection, $peer) = ready();
    my $called = 0;
    for my $event (qw(next_message each_message)) {
        my $cancel = $connection->on($event => sub { $called++ });
        is ref $cancel, 'CODE', "$event: on returns a coderef";
        $cancel->();
        $peer->write(text('x'));
        $peer->sync;
        is $called, 0, 'called before a message, it unregisters';
    }
};

subtest 'every registration of the same coderef' => sub {
    my ($connection, $peer) = ready();
    my ($called, $others) = (0, 0);
    my $same = sub { $called++ };
    my @cancel = map { $connection->on(each_message => $same) } 1 .. 3;
    $connection->on(each_message => sub { $others++ });
    $cancel[1]->();
    $peer->write(text('x'));
    $peer->sync;
    is $called, 0, 'goes';
    is $others, 1, 'and no other';
    $connection->on(each_message => $same);
    $peer->write(text('y'));
    $peer->sync;
    is $called, 1, 'it may be registered again';
    $cancel[0]->();
    $peer->write(text('z'));
    $peer->sync;
    is $called, 1, 'and an old coderef unregisters that as well';
};

subtest 'for that event' => sub {
    my ($connection, $peer) = ready();
    my @log;
    my $same = sub { push @log, ref $_[1] ? $_[1]->body : 'finish'; poke() };
    my %cancel = map { $_ => $connection->on($_ => $same) } qw(next_message each_message finish);
    $cancel{each_message}->();
    $peer->write(text('1') . text('2'));
    $peer->close;
    wait_until('finish', sub { @log && $log[-1] eq 'finish' });
    is_deeply \@log, ['1', 'finish'], 'the other events keep it';
};

subtest 'equal code is not the same coderef' => sub {
    my ($connection, $peer) = ready();
    my @log;
    my ($first, @more) = map { my $n = $_; $connection->on(each_message => sub { push @log, $n }) } 1 .. 3;
    $first->();
    $peer->write(text('x'));
    $peer->sync;
    is_deeply \@log, [2, 3];
};

subtest 'unregistering twice, or when all is over' => sub {
    my ($connection, $peer) = ready();
    my $cancel = $connection->on(finish => sub { });
    my $seen = recorder($connection);
    $cancel->() for 1 .. 3;
    $peer->close;
    $seen->wait_finish;
    ok eval { $cancel->(); 1 }, 'is harmless';
};

subtest 'a finish callback that unregisters itself and others' => sub {
    my ($connection, $peer) = ready();
    my ($called, @cancel) = (0);
    @cancel = map { $connection->on(finish => sub { $called++; $_->() for @cancel; poke() }) } 1 .. 3;
    $peer->half_close->wait_eof;
    wait_until('finish', sub { $called });
    settle();
    cmp_ok $called, '>=', 1, 'does no harm';
    @cancel = ();
};

subtest 'an unknown event croaks at the line of the caller' => sub {
    my ($connection) = ready();
    for my $event ('message', 'Finish', 'on_finish', '', 'finish ', '0') {
        my ($file, $line) = (__FILE__, __LINE__ + 1);
        my $lived = eval { $connection->on($event => sub { }); 1 };
        ok !$lived, "'$event'";
        like $@, qr/ at \Q$file\E line $line\.?$/, 'at this line';
        like $@, qr/\Q$event\E/, 'naming the event';
    }
};

subtest 'at the line of the caller, through a subclass of Moo' => sub {
    { package Sub; use Moo; extends 'AnyEvent::WebSocket::Connection' }
    my ($connection) = ready(class => 'Sub');
    my ($file, $line) = (__FILE__, __LINE__ + 1);
    my $lived = eval { $connection->on(nonsense => sub { }); 1 };
    like $@, qr/ at \Q$file\E line $line\.?$/;
};

subtest 'after an error on() registered nothing' => sub {
    my ($connection, $peer) = ready();
    my $called = 0;
    eval { $connection->on(every_message => sub { $called++ }) };
    $peer->write(text('x'));
    $peer->sync;
    is $called, 0;
};

subtest 'an object that can be called like code' => sub {
    { package Callable; use overload '&{}' => sub { my $self = shift; sub { push @{ $$self }, $_[1]->body } }, fallback => 1 }
    my ($connection, $peer) = ready();
    my $log = [];
    my $cancel = $connection->on(each_message => bless \$log, 'Callable');
    $peer->write(text('x'));
    $peer->sync;
    is_deeply $log, ['x'], 'is a callback';
    $cancel->();
    $peer->write(text('y'));
    $peer->sync;
    is_deeply $log, ['x'], 'until it is unregistered';
};

subtest 'a blessed coderef' => sub {
    my ($connection, $peer) = ready();
    my $called = 0;
    $connection->on(each_message => bless sub { $called++ }, 'Blessed::Code');
    $peer->write(text('x'));
    $peer->sync;
    is $called, 1, 'is a callback';
};

subtest 'a condvar' => sub {
    my ($connection, $peer) = ready();
    $connection->on(next_message => my $cv = AE::cv);
    $peer->write(text('to the condvar'));
    $peer->sync;
    ok $cv->ready, 'is a callback, too';
    is(($cv->recv)[1]->body, 'to the condvar', 'and receives the arguments');
};

done_testing;
