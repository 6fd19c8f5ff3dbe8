# Tests that timeout, rtimeout and wtimeout of the handle keep their meaning, with their callbacks.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Scalar::Util qw(refaddr);

sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync;
    return ($connection, $peer, recorder($connection));
}

my $timed_out = do { local $! = &Errno::ETIMEDOUT; "$!" };

for my $timeout (qw(timeout rtimeout wtimeout)) {
    my $on_timeout = "on_$timeout";

    subtest "$timeout calls $on_timeout" => sub {
        my ($connection, $peer, $seen) = ready();
        my $passed;
        $connection->handle->$on_timeout(sub { $passed = refaddr $_[0]; $_[0]->$timeout(0); poke() });
        $connection->handle->$timeout(0.05);
        wait_until($on_timeout, sub { $passed });
        is $passed, refaddr $connection->handle, 'with the handle';
        is_deeply $seen->order, [], 'and the connection goes on';
        $peer->write(text('x'));
        is_deeply $seen->wait_messages(1)->bodies, ['x'], 'as before';
    };

    subtest "$timeout without a callback" => sub {
        my ($connection, $peer, $seen) = ready();
        $connection->handle->$timeout(0.05);
        $seen->wait_finish;
        settle();
        is $seen->finished, 1, 'is an error: finish, once';
        is $connection->close_error, $timed_out, 'with the text of ETIMEDOUT';
        is $connection->send('late'), $connection, 'the connection is down';
        $peer->wait_eof;
    };

    subtest "$timeout given to the handle" => sub {
        my ($connection, $peer) = connection_and_peer(handle => { $timeout => 0.05 });
        recorder($connection)->wait_finish;
        is $connection->close_error, $timed_out, 'is in force';
    };

    subtest "$timeout changed in a message callback" => sub {
        my ($connection, $peer, $seen) = ready();
        $connection->on(next_message => sub { $_[0]->handle->$timeout(0.05) });
        $peer->write(text('x'));
        $seen->wait_finish;
        is_deeply $seen->order, ['message', 'finish'], 'takes effect';
    };
}

# Traffic goes on for twice the timeout, which fires once it has ended. All kinds run at the same time, to save time.
subtest 'activity' => sub {
    my %traffic = (receive => sub { $_[1]->write(text('x')) }, send => sub { $_[0]->send('x') });
    my @cases = map { { name => $_->[0], by => $_->[1], fired => 0 } }
        ['timeout', 'receive'], ['timeout', 'send'], ['rtimeout', 'receive'], ['wtimeout', 'send'];
    for my $case (@cases) {
        my ($timeout, $on_timeout) = ($case->{name}, "on_$case->{name}");
        @$case{qw(connection peer)} = ready();
        $case->{connection}->handle->$on_timeout(sub { $case->{fired}++; $_[0]->$timeout(0); poke() });
        $case->{connection}->handle->$timeout(0.6 * patience());
    }
    for (1 .. 8) { after(0.15 * patience()); $traffic{ $_->{by} }->($_->{connection}, $_->{peer}) for @cases }
    is $_->{fired}, 0, "$_->{name} is kept off by $_->{by}" for @cases;
    wait_until('the timeouts', sub { !grep { !$_->{fired} } @cases });
    is_deeply [map { $_->{fired} } @cases], [1, 1, 1, 1], 'when it has ended, they fire';
};

subtest 'the wrong activity' => sub {
    my ($connection, $peer, $seen) = ready();
    my %fired;
    for my $timeout (qw(rtimeout wtimeout)) {
        my $on_timeout = "on_$timeout";
        $connection->handle->$on_timeout(sub { $fired{$timeout}++; $_[0]->$timeout(0); poke() });
    }
    my $sender = AE::timer 0, 0.02, sub { $connection->send('x') };
    $connection->handle->rtimeout(0.2);
    wait_until('rtimeout', sub { $fired{rtimeout} });
    pass 'sends do not keep rtimeout off';
    undef $sender;
    my $writer = AE::timer 0, 0.02, sub { $peer->write(text('y')) };
    $connection->handle->wtimeout(0.2);
    wait_until('wtimeout', sub { $fired{wtimeout} });
    pass 'messages do not keep wtimeout off';
};

subtest 'timeout_reset' => sub {
    my ($connection) = ready();
    my $fired = 0;
    my $handle = $connection->handle;
    $handle->on_rtimeout(sub { $fired++ });
    $handle->rtimeout(0.4 * patience());
    for (1 .. 6) { after(0.1 * patience()); $handle->rtimeout_reset }
    is $fired, 0, 'keeps it off by hand';
};

done_testing;
