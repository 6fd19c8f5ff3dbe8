# Tests that methods that a program replaces at any time, as test doubles and traffic logs do, are called.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::TLS;

my $class = 'AnyEvent::WebSocket::Connection';

# Runs code, and returns what goes through a send that was put into the class: a text, 'opcode 8', ...
sub seen_by_send {
    my ($replace) = @_;
    my @seen;
    my $original = $class->can('send');
    my $double = sub { push @seen, ref $_[1] ? 'opcode ' . $_[1]->opcode : $_[1]; goto &$original };
    no warnings 'redefine';
    local *AnyEvent::WebSocket::Connection::send = $double;
    $replace->();
    return \@seen;
}

subtest 'send' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    is_deeply seen_by_send(sub {
        $connection->send('hello');
        $connection->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => 'x'));
        $peer->write(ping('p'));
        $peer->next_frame for 1 .. 3;
        $connection->close(4000, 'bye');
        $peer->next_frame;
    }), ['hello', 'opcode 2', 'opcode 10', 'opcode 8'], 'sees messages, pongs and the Close frame';
    $peer->wait_eof->close;
    $seen->wait_finish;
};

subtest 'send, when the peer closes' => sub {
    my ($connection, $peer) = connection_and_peer();
    is_deeply seen_by_send(sub { $peer->write(close_frame(4000)); $peer->frames_to_eof }), ['opcode 8'], 'sees the answer';
};

subtest 'a send that swallows everything' => sub {
    my ($connection, $peer) = connection_and_peer();
    no warnings 'redefine';
    local *AnyEvent::WebSocket::Connection::send = sub { $_[0] };
    $connection->send('x');
    $peer->write(ping('p'));
    $connection->close(4000);
    is_deeply [$peer->frames_to_eof], [], 'keeps the peer from seeing any frame';
};

subtest 'send, and back' => sub {
    my ($connection, $peer) = connection_and_peer();
    seen_by_send(sub { $connection->send('through the double') });
    is_deeply seen_by_send(sub { }), [], 'the double is not called without reason';
    $connection->send('straight')->close(4000);
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [1, 1, 8], 'all else is as before';
};

for my $module ('Test::MockModule', 'Sub::Override', 'Class::Method::Modifiers') {
    subtest "send replaced by $module" => sub {
        plan skip_all => "$module is not installed" if !eval "require $module";
        my ($connection, $peer) = connection_and_peer();
        my @seen;
        my $see = sub { push @seen, ref $_[1] ? 'opcode ' . $_[1]->opcode : $_[1] };
        my $keep;
        if ($module eq 'Test::MockModule') {
            $keep = Test::MockModule->new($class);
            $keep->mock(send => sub { $see->(@_); $keep->original('send')->(@_) });
        }
        elsif ($module eq 'Sub::Override') {
            my $original = $class->can('send');
            $keep = Sub::Override->new("${class}::send" => sub { $see->(@_); goto &$original });
        }
        else {
            # This runs in a separate process, because the modifier stays.
            my ($printed, $status) = run_perl({}, <<'PROGRAM');
                use WebSocketTest;
                use Class::Method::Modifiers 'install_modifier';
                my ($connection, $peer) = connection_and_peer();
                install_modifier('AnyEvent::WebSocket::Connection', before => send => sub {
                    print ref $_[1] ? 'opcode ' . $_[1]->opcode : $_[1], "\n";
                });
                $connection->send('hello');
                $connection->close(4000);
PROGRAM
            is $status, 0, 'it runs';
            return is $printed, "hello\nopcode 8\n", 'sees messages and the Close frame';
        }
        $connection->send('hello');
        $connection->close(4000);
        is_deeply \@seen, ['hello', 'opcode 8'], 'sees messages and the Close frame';
        undef $keep;
    };
}

subtest 'close replaced in the class' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $original = $class->can('close');
    my @seen;
    no warnings 'redefine';
    local *AnyEvent::WebSocket::Connection::close = sub { push @seen, 'close'; goto &$original };
    $peer->write(close_frame(4000));
    $peer->frames_to_eof;
    is_deeply \@seen, ['close'], 'is called when the peer closes';
};

# --- AnyEvent::Handle

sub octets_pushed {
    my ($run) = @_;
    my $octets = '';
    my $original = AnyEvent::Handle->can('push_write');
    no warnings 'redefine';
    local *AnyEvent::Handle::push_write = sub { $octets .= $_[1]; goto &$original };
    $run->();
    return $octets;
}

for my $when ('before', 'after') {
    subtest "push_write replaced $when the connection is made" => sub {
        my ($connection, $peer) = $when eq 'after' ? connection_and_peer() : ();
        $peer->sync if $peer;
        my $octets = octets_pushed(sub {
            ($connection, $peer) = connection_and_peer() if !$connection;
            $connection->send('hello');
            $connection->send('x' x 10_000);
            $peer->next_frame for 1 .. 2;
            $peer->write(ping('p') . text('x'));
            $peer->next_frame;
            $connection->close(4000);
        });
        is $octets, text('hello') . text('x' x 10_000) . pong('p') . close_frame(4000), 'sees all frames';
        is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'which arrive';
    };
}

subtest 'push_write, and back' => sub {
    my ($connection, $peer) = connection_and_peer();
    octets_pushed(sub { $connection->send('through the double') });
    $connection->send('straight');
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['through the double', 'straight'], 'all in order';
    $connection->on(each_message => sub { $_[0]->send($_[1]) });
    $peer->write(text('echo') x 3);
    is_deeply [map { $_->{payload} } $peer->next_frames(3)], [('echo') x 3], 'as before';
};

subtest 'push_write replaced while replies wait for one another' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $original = AnyEvent::Handle->can('push_write');
    my $count = 0;
    no warnings 'redefine';
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        *AnyEvent::Handle::push_write = sub { $count++; goto &$original } if $message->body == 5;
        *AnyEvent::Handle::push_write = $original if $message->body == 8;
        $self->send($message);
    });
    for (1 .. 3) {
        $peer->write(map { text($_) } 1 .. 10);
        is_deeply [map { $_->{payload} } $peer->next_frames(10)], [1 .. 10], 'all replies arrive, in order';
    }
    is $count, 9, 'it sees those that were sent meanwhile';
};

for my $method (qw(start_read stop_read on_read _drain_rbuf)) {
    subtest "$method replaced" => sub {
        my $original = AnyEvent::Handle->can($method);
        my $calls = 0;
        no warnings 'redefine';
        no strict 'refs';
        local *{"AnyEvent::Handle::$method"} = sub { $calls++; goto &$original };
        my ($connection, $peer) = connection_and_peer();
        my $seen = recorder($connection);
        $peer->write(text('one') . text('two'));
        $seen->wait_messages(2);
        is_deeply $seen->bodies, ['one', 'two'], 'messages arrive';
        cmp_ok $calls, '>', 0, 'and it is called' if $method ne 'stop_read';
        $connection->send('reply');
        is $peer->next_frame->{payload}, 'reply', 'and leave';
        $peer->close;
        $seen->wait_finish;
    };
}

subtest 'over TLS' => sub {
    my $why_not = WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    my ($server_handle, $client_handle) = WebSocketTest::TLS::tls_handles();
    my $server = $class->new(handle => $server_handle);
    my $client = $class->new(handle => $client_handle, masked => 1);
    my $seen = recorder($client);
    is octets_pushed(sub { $server->send('secret'); $seen->wait_messages(1) }), text('secret'), 'push_write sees plain octets';
    $server->send('more');
    $seen->wait_messages(2);
    is_deeply $seen->bodies, ['secret', 'more'], 'all arrive';
};

# --- other ways to call

subtest 'a tied scalar that holds the connection' => sub {
    { package Holding; sub TIESCALAR { bless [$_[1]] } sub FETCH { $_[0][0] } sub STORE { $_[0][0] = $_[1] } }
    my ($connection, $peer) = connection_and_peer();
    tie my $tied, 'Holding', $connection;
    is $tied->send('a string'), $connection, 'send returns the connection';
    $tied->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => 'a message'));
    my $seen = 0;
    $tied->on(each_message => sub { $seen++; poke() });
    $peer->write(text('x'));
    wait_until('a message', sub { $seen });
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['a string', 'a message'], 'is as good as the connection';
    $tied->close(4000);
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'also to close';
};

subtest 'elements of tied arrays and hashes that hold connections' => sub {
    require Tie::Array;
    require Tie::Hash;
    my ($connection, $peer) = connection_and_peer();
    tie my @array, 'Tie::StdArray';
    tie my %hash, 'Tie::StdHash';
    ($array[0], $hash{key}) = ($connection) x 2;
    $array[0]->send('array');
    $hash{key}->send('hash');
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['array', 'hash'];
};

subtest 'send, with a pong for a peer that does not read' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send('x' x 3_000_000);
    settle();
    is_deeply seen_by_send(sub {
        $peer->write(ping('p'));
        settle();
        $connection->send('after');
        settle();
    }), ['opcode 10', 'after'], 'sees it';
    $peer->resume;
    is_deeply [map { $_->{opcode} } $peer->next_frames(3)], [1, 10, 1], 'it arrives in its place';
};

done_testing;
