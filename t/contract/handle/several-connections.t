# Tests that a handle may serve several connections, one after the other, and may outlive them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::TLS;

my $class = 'AnyEvent::WebSocket::Connection';

# Wraps the handle again: the only way to change a read-only attribute of a connection that Client or Server has made.
sub wrapped_again {
    my ($connection, %more) = @_;
    my $new = $class->new(handle => $connection->handle, masked => $connection->masked, %more);
    $_[0] = undef;
    return $new;
}

# Each case is [name, the events before the connection is wrapped again].
for my $case (
    ['at once', sub { }],
    ['when control has been in the event loop', sub { settle() }],
    ['after messages', sub {
        my ($connection, $peer) = @_;
        my $seen = recorder($connection);
        $peer->write(text('one') . text('two'));
        $seen->wait_messages(2);
    }],
) {
    my ($name, $before) = @$case;
    subtest "wrapped again $name" => sub {
        my ($connection, $peer) = connection_and_peer();
        $before->($connection, $peer);
        $connection = wrapped_again($connection, max_payload_size => 0);
        my $seen = recorder($connection);
        $peer->write(text('x' x 70_000) . text('more'));
        $seen->wait_messages(2);
        is_deeply [map { length } @{ $seen->bodies }], [70_000, 4], 'it receives, with its own limits';
        $connection->send('reply');
        is $peer->next_frame->{payload}, 'reply', 'and sends';
        settle();
        $peer->write(text('later'));
        $seen->wait_messages(3);
        $peer->close;
        $seen->wait_finish;
        is_deeply $seen->order, [('message') x 3, 'finish'], 'and finishes';
    };
}

subtest 'wrapped again in a message callback' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($again, $seen);
    $connection->on(next_message => sub {
        $again = wrapped_again($connection);
        $seen = recorder($again);
        poke();
    });
    $peer->write(text('one'));
    wait_until('the second connection', sub { $seen });
    $peer->write(text('two'));
    $seen->wait_messages(1);
    is_deeply $seen->bodies, ['two'], 'the second gets what comes next';
};

subtest 'with both alive, the newer one receives' => sub {
    my ($old, $peer) = connection_and_peer();
    my $old_seen = recorder($old);
    my $new = $class->new(handle => $old->handle);
    my $new_seen = recorder($new);
    $peer->write(text('one'));
    $new_seen->wait_messages(1);
    is_deeply [$old_seen->bodies, $new_seen->bodies], [[], ['one']], 'alone';
    return if is_original();    # the original dies of the next message
    undef $new;
    settle();
    $peer->write(text('two'));
    settle();
    is_deeply $old_seen->bodies, [], 'also when it has gone';
};

my $why_not = WebSocketTest::TLS::unavailable();
subtest 'wrapped again over TLS' => sub {
    plan skip_all => $why_not if $why_not;
    my ($server_handle, $client_handle) = WebSocketTest::TLS::tls_handles();
    my $client = $class->new(handle => $client_handle, masked => 1);
    my $server = $class->new(handle => $server_handle);
    my $seen = recorder($server);
    $client->send('before');
    $seen->wait_messages(1);
    $server = wrapped_again($server);
    $seen = recorder($server);
    $client->send('after');
    $seen->wait_messages(1);
    is_deeply $seen->bodies, ['after'], 'it receives';
};

# Tests that the code gives no warnings. EV turns exceptions into warnings.
sub without_warnings_ok {
    my ($code) = @_;
    is_deeply warnings_of($code), [], 'without warnings';
}

for my $when ('before', 'after') {
    my $what = "a handle whose connection goes out of scope, $when the program has set its callbacks";
    differs $what => 'dies in the event loop of what it reads then' => sub {
        my ($connection, $peer) = connection_and_peer();
        my $handle = $connection->handle;
        my %called;
        my $set = sub {
            $handle->on_eof(sub { $called{on_eof}++; poke() });
            $handle->on_error(sub { $called{on_error}++; poke() });
        };
        my $seen = recorder($connection);
        $peer->write(text('message'));
        $seen->wait_messages(1);
        $set->() if $when eq 'before';
        undef $connection;
        $set->() if $when eq 'after';
        without_warnings_ok(sub {
            settle();
            $peer->write(text('to nobody'));
            settle();
            $peer->half_close;
            wait_until('on_eof', sub { $called{on_eof} });
        });
        is_deeply \%called, { on_eof => 1 }, 'calls on_eof';
    };
}

subtest 'a handle that the program goes on to use' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $handle = $connection->handle;
    settle();
    undef $connection;
    my $read = '';
    $handle->on_read(sub { $read .= $_[0]{rbuf}; $_[0]{rbuf} = ''; poke() });
    without_warnings_ok(sub {
        $peer->write('another protocol');
        wait_until('what was sent', sub { length $read == 16 });
    });
    is $read, 'another protocol', 'it reads';
    $handle->push_write('and writes');
    is $peer->wait_bytes(10)->bytes, 'and writes', 'and writes';
};

differs 'a handle that is kept without any purpose' => 'dies of what it reads' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $handle = $connection->handle;
    settle();
    undef $connection;
    without_warnings_ok(sub {
        $peer->write(text('x')) for 1 .. 3;
        settle() for 1 .. 20;
    });
    is length $handle->{rbuf}, 0, 'keeps nothing of what it reads';
};

done_testing;
