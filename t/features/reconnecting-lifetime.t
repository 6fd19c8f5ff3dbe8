# Tests that dropping a reconnecting connection ends everything at once, and that callbacks may drop it, die, or call anything.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Listener;
use WebSocketTest::Usage;

BEGIN { plan skip_all => 'AnyEvent::WebSocket::Client is not installed' if !eval { require AnyEvent::WebSocket::Client } }
use AnyEvent::WebSocket::Reconnecting;
use Scalar::Util qw(weaken);

my $listener;

sub reconnecting {
    my (%options) = @_;
    # One of its own: an earlier client may still try to connect to the last.
    $listener = WebSocketTest::Listener->new;
    return AnyEvent::WebSocket::Reconnecting->new(
        uri => $listener->url, initial_delay => 0.01, max_delay => 0.01, %options);
}

sub next_call {
    my ($self, $event) = @_;
    # In newer perls a sub keeps the sub around it, with all that this has captured.
    weaken($self);
    return next_event($event, sub { my $done = $_[0]; $self->on($event => sub { $done->(@_[1 .. $#_]) }) });
}

# The client of 0.44 has no method for connecting that a subclass could replace.
my $can_cancel = AnyEvent::WebSocket::Client->can('_make_tcp_connection');

# Brings an object into a state, and returns what notices that its socket has gone.
my %state = (
    idle => sub { settle(); return sub { 1 } },
    connecting => sub {
        my $handle = $listener->next_request;
        my $is_gone = !$can_cancel;
        $handle->on_error(sub { $is_gone = 1; poke() });
        $handle->on_read(sub { });
        return sub { $handle && $is_gone };
    },
    open => sub {
        my ($self) = @_;
        my $peer = $listener->next_connection;
        my $seen = recorder($peer);
        next_call($self, 'connect');
        return sub { $peer && $seen->finished };
    },
    waiting => sub { my ($self) = @_; close $listener->next_socket; next_call($self, 'retry'); return sub { 1 } },
);

for my $state (sort keys %state) {
    subtest "an object that is dropped: $state" => sub {
        my @called;
        my $self = reconnecting(autostart => $state ne 'idle', initial_delay => 0.05);
        my $is_gone = $state{$state}->($self);
        is $self->state, $state, 'state';
        $self->on($_ => do { my $event = $_; sub { push @called, $event } })
            for qw(connect disconnect retry give_up each_message next_message);
        weaken(my $weak = $self);
        weaken(my $inside = $self->{lifecycle});
        undef $self;
        is $weak, undef, 'is destroyed';
        wait_until('its socket is closed', $is_gone);
        after(0.1);
        is "@called", '', 'no callback is called';
        is $listener->waiting, 0, 'it does not come back';
        is $inside, undef, 'nothing is left';
    };
}

subtest 'a connection that the program keeps' => sub {
    my $self = reconnecting();
    my $peer = $listener->next_connection;
    my ($connection) = next_call($self, 'connect');
    my $messages = 0;
    $self->on(each_message => sub { $messages++ });
    undef $self;
    $peer->send('x');
    next_event('the message', sub { $connection->on(next_message => $_[0]) });
    is $messages, 0, 'goes on without the object';
    my $seen = recorder($connection);
    undef $peer;
    $seen->wait_finish;
    settle();
    is $listener->waiting, 0, 'and is not replaced';
};

# Subs that make the callback of an event be called.
my %cause = (
    connect => sub { $listener->next_connection },
    disconnect => sub { my ($self) = @_; my $peer = $listener->next_connection; next_call($self, 'connect'); return },
    each_message => sub { my $peer = $listener->next_connection; $peer->send('x'); return $peer },
    next_message => sub { my $peer = $listener->next_connection; $peer->send('x'); return $peer },
    retry => sub { close $listener->next_socket },
    give_up => sub { $listener->refuse('HTTP/1.1 404 Not Found') },
);

for my $event (sort keys %cause) {
    subtest "a callback for $event that drops the object" => sub {
        my $self = reconnecting();
        my $count = 0;
        $self->on($event => sub { $count++; undef $self; poke() }) for 1, 2;
        $self->on($_ => sub { $count++ if !$self }) for grep { $_ ne $event } keys %cause;
        my $kept = $cause{$event}->($self);
        wait_until($event, sub { $count });
        after(0.05);
        is $count, 1, 'is the last to be called';
        is $listener->waiting, 0, 'it does not come back';
    };

    subtest "a callback for $event that closes, sends and starts" => sub {
        my $self = reconnecting();
        my @states;
        my $unregister = $self->on($event => sub {
            my ($self) = @_;
            $self->close if $self->state ne 'closed';
            push @states, $self->state;
            $self->start->send('from the callback');
            push @states, $self->state;
            poke();
        });
        my $kept = $cause{$event}->($self);
        wait_until($event, sub { @states });
        $unregister->();
        undef $kept;
        my $seen = recorder(my $peer = $listener->next_connection);
        $seen->wait_messages(1);
        is_deeply $seen->bodies, ['from the callback'], 'comes back, and sends';
        my $is_connected = $event =~ /^(?:connect|each_message|next_message)$/;
        is "@states", $is_connected ? 'closing closing' : 'closed connecting', 'states';
    };

    subtest "a callback for $event that dies" => sub {
        plan skip_all => 'by design: an exception ends POE\'s kernel' if loop() eq 'POE';
        my $self = reconnecting();
        my ($calls, @warnings) = 0;
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        my @unregister = ($self->on($event => sub { $calls++; poke(); die "oops\n" }), $self->on($event => sub { $calls++ }));
        $self->send('queued');
        my $kept;
        # EV warns of the exception, and other loops die with it.
        eval { $kept = $cause{$event}->($self); 1 } or is $@, "oops\n", 'the loop lets the exception through';
        eval { wait_until('the call', sub { $calls }); 1 } or is $@, "oops\n", 'the loop lets the exception through';
        is $calls, $event =~ /message/ ? 1 : 2, 'does not keep the others from being called, unless it is for messages';
        $_->() for @unregister;
        undef $kept if $event ne 'connect';
        $self->start if $event eq 'give_up';
        my $seen = recorder(my $peer = $kept || $listener->next_connection);
        $self->send('more');
        wait_until('a message', sub { @{ $seen->bodies } && $seen->bodies->[-1] eq 'more' });
        like "@{ $seen->bodies }", $event =~ /message|disconnect/ ? qr/^(?:queued )?more$/ : qr/^queued more$/, 'it works on';
    };
}

subtest 'an exception in a message callback' => sub {
    my $self = reconnecting();
    my $peer = $listener->next_connection;
    next_call($self, 'connect');
    settle();
    $self->on(next_message => sub { die "oops\n" });
    $peer->send('x');
    my ($failure, $connection) = next_call($self, 'disconnect');
    is $failure->error, "oops\n", 'ends the connection, and disconnect gets it';
    my $next = $listener->next_connection;
    next_call($self, 'connect');
    pass 'it comes back';
};

subtest 'retry_if that drops or closes the object' => sub {
    for my $do (sub { undef $_[0] }, sub { $_[0]->close }) {
        my $count = 0;
        my $self;
        $self = reconnecting(retry_if => sub { $count++; $do->($self); poke(); 1 });
        my @called;
        $self->on($_ => do { my $event = $_; sub { push @called, $event } }) for qw(retry give_up);
        close $listener->next_socket;
        wait_until('the question', sub { $count });
        after(0.05);
        is "@called", '', 'no callback is called';
        is $listener->waiting, 0, 'it does not come back';
    }
};

subtest 'uri, client and subscribe that drop or close the object' => sub {
    for my $name (qw(uri client subscribe)) {
        for my $do (sub { undef $_[0] }, sub { $_[0]->close }) {
            my $count = 0;
            my $self;
            my %result = (uri => 'ws://localhost:1/', client => {});
            $self = reconnecting($name => sub { $count++; $do->($self); poke(); $result{$name} });
            my @called;
            $self->on($_ => do { my $event = $_; sub { push @called, $event } }) for qw(connect retry give_up);
            my $peer = $name eq 'subscribe' && $listener->next_connection;
            wait_until($name, sub { $count });
            recorder($peer)->wait_finish if $peer;
            after(0.02);
            is "@called", '', "$name: no callback is called";
            ok !$self || $self->state eq 'closed', 'it is closed';
        }
    }
};

subtest 'a condvar that comes too late' => sub {
    my @condvars = map { AE::cv } 1, 2;
    my $count = 0;
    my $self = reconnecting(uri => sub { poke(); $condvars[$count++] });
    wait_until('the first', sub { $count == 1 });
    $self->close->start;
    wait_until('the second', sub { $count == 2 });
    $condvars[0]->send('ws://localhost:1/');
    $condvars[1]->send($listener->url);
    my $peer = $listener->next_connection;
    next_call($self, 'connect');
    is $self->attempts, 0, 'is ignored';
    my $third = AE::cv;
    $self = reconnecting(uri => sub { poke(); $third });
    settle();
    undef $self;
    $third->send($listener->url);
    settle();
    is $listener->waiting, 0, 'also if the object has gone';
};

subtest 'a callback that runs the event loop' => sub {
    my $self = reconnecting();
    my @seen;
    for my $event (qw(connect disconnect retry)) {
        $self->on($event => sub { push @seen, $event; after(0.05) if @seen == 1 || @seen == 2; poke() });
    }
    my $peer = $listener->next_connection;
    wait_until('connect', sub { @seen });
    undef $peer;
    $peer = $listener->next_connection;
    wait_until('the second connect', sub { $seen[-1] eq 'connect' && @seen > 2 });
    is_deeply [@seen[0, 1]], [qw(connect disconnect)], 'sees the events';
    is $self->state, 'open', 'and it is connected in the end';
    settle();
    is $listener->waiting, 0, 'once';
};

subtest 'a child process that drops its copy' => sub {
    plan skip_all => 'by design: only for EV and AnyEvent\'s own loop' if loop() !~ /\A(?:EV|Perl)\z/;
    my $self = reconnecting();
    my $handle = $listener->next_request;
    my $pid = fork_child(sub { undef $self });
    left_ok($pid);
    my $peer = $listener->accept($handle);
    next_call($self, 'connect');
    $pid = fork_child(sub { undef $self });
    left_ok($pid);
    my $seen = recorder($peer);
    $self->send('x');
    $seen->wait_messages(1);
    is_deeply $seen->order, ['message'], 'leaves the attempt and the connection to its parent';
};

subtest 'descriptors' => sub {
    plan skip_all => 'by design: no /proc' if !defined descriptors();
    plan skip_all => 'by design: POE keeps those of watchers that were made in the callback of another' if loop() eq 'POE';
    my $self = reconnecting(initial_delay => 0, max_queue => 10);
    my $round = sub {
        close $listener->next_socket;
        my $peer = $listener->next_connection;
        $self->send('x');
        recorder($peer)->wait_messages(1);
        undef $peer;
        $listener->refuse('HTTP/1.1 500 Oops');
    };
    $round->() for 1 .. 5;
    settle();
    my $before = descriptors();
    $round->() for 1 .. 20;
    settle();
    cmp_ok descriptors(), '<=', $before + 2, 'do not grow with connections and failures';
};

subtest 'at the end of the program' => sub {
    my ($out, $status) = run_perl({}, 'use AnyEvent::WebSocket::Reconnecting; our $r = AnyEvent::WebSocket::Reconnecting->new('
        . 'uri => "ws://localhost:1/"); $r->on(retry => sub { print "retry\n"; exit }); AnyEvent->condvar->recv');
    is "$out$status", "retry\n0", 'nothing happens';
};

done_testing;
