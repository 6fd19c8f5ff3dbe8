# Tests that a reconnecting connection delivers messages in both directions, and comes back whenever the connection ends.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Listener;

BEGIN { plan skip_all => 'AnyEvent::WebSocket::Client is not installed' if !eval { require AnyEvent::WebSocket::Client } }
use AnyEvent::WebSocket::Reconnecting;

my $listener;

# Returns an object, and a reference to its log: each event's name and what came with it.
sub reconnecting {
    my (%options) = @_;
    # One of its own: an earlier client may still try to connect to the last.
    $listener = WebSocketTest::Listener->new;
    my $self = AnyEvent::WebSocket::Reconnecting->new(
        uri => $listener->url, initial_delay => 0.01, max_delay => 0.04, random => sub { 1 }, %options);
    my @log;
    for my $event (qw(connect disconnect retry give_up each_message)) {
        $self->on($event => sub { push @log, [$event, @_[1 .. $#_]]; poke() });
    }
    return ($self, \@log);
}

sub names { my ($log) = @_; join ' ', map { $_->[0] } @$log }

sub wait_for {
    my ($log, $event, $count) = @_;
    wait_until($event, sub { (grep { $_->[0] eq $event } @$log) >= ($count || 1) });
    return (grep { $_->[0] eq $event } @$log)[-1];
}

subtest 'messages' => sub {
    my ($self) = reconnecting();
    is $self->state, 'connecting', 'it starts by itself';
    is $self->connection, undef, 'and has no connection yet';
    my (@each, @next);
    my $unregister = $self->on(each_message => sub { push @each, [@_]; poke() });
    $self->on(next_message => sub { push @next, [@_]; $_[0]->on(next_message => sub { push @next, [@_] }) if @next == 1 });
    my $peer = $listener->next_connection;
    my $seen = recorder($peer);
    $peer->send($_) for 'one', 'two', 'three';
    wait_until('the messages', sub { @each == 3 });
    is $self->state, 'open', 'it is open';
    isa_ok $self->connection, 'AnyEvent::WebSocket::Connection', 'and has a connection';
    is_deeply [map { $_->[1]->body } @each], [qw(one two three)], 'each_message gets all';
    is_deeply [map { $_->[1]->body } @next], [qw(one two)], 'next_message one each';
    is $each[0][0], $self, 'with the object';
    is ref $each[0][2], 'CODE', 'and a sub that unregisters';
    $each[0][2]->();
    $self->on(each_message => sub { poke() });
    $peer->send('four');
    next_event('the fourth', sub { $self->on(next_message => $_[0]) });
    is scalar @each, 3, 'which works';
    is $self->send('a')->send_text("\x{fc}")->send_binary("\x{fc}")->send_json({ x => 1 }), $self, 'sending returns the object';
    $self->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => 'b'));
    $seen->wait_messages(5);
    is_deeply [map { [$_->opcode, $_->body] } $seen->messages],
        [[1, 'a'], [1, "\xc3\xbc"], [2, "\xfc"], [1, '{"x":1}'], [2, 'b']], 'and the peer gets it';
};

my %end = (
    'the peer hangs up' => [sub { undef $_[0] }, qr/^the peer closed the connection without a Close frame$/],
    'the peer closes' => [sub { $_[0]->close(4001, 'over') }, qr/^closed by the peer: 4001 over$/],
    'the peer closes without a reason' => [sub { $_[0]->close(1012) }, qr/^closed by the peer: 1012$/],
);
$end{'we close'} = [sub { $_[1]->close(4002, 'mine') }, qr/^closed by this side: 4002 mine$/] if !is_original();
$end{'the peer breaks a rule'} = [sub { $_[0]->handle->push_write(frame(opcode => 3)) }, qr/^Protocol error: /] if !is_original();

for my $how (sort keys %end) {
    subtest "$how" => sub {
        my ($do, $text) = @{ $end{$how} };
        my ($self, $log) = reconnecting();
        my $peer = $listener->next_connection;
        my $connection = wait_for($log, 'connect')->[1];
        $do->($peer, $connection);
        recorder($peer)->wait_finish if $peer;
        is $peer->close_code, 1002, 'the peer gets a Close frame' if $how eq 'the peer breaks a rule';
        my ($failure, $ended) = @{ wait_for($log, 'disconnect') }[1, 2];
        like "$failure", $text, 'disconnect gets the reason as a string';
        is $ended, $connection, 'and the connection';
        is $failure->attempts, 1, 'the first failure';
        my (undef, $again, $delay) = @{ wait_for($log, 'retry') };
        is $again, $failure, 'retry gets the same';
        is $delay, 0.01, 'and the delay';
        is $self->state, 'waiting', 'it waits';
        is $self->connection, undef, 'without a connection';
        my $next = $listener->next_connection;
        my $replaced = wait_for($log, 'connect', 2)->[1];
        isnt $replaced, $connection, 'and connects again';
        is $self->connection, $replaced, 'the connection is the new one';
        is names($log), 'connect disconnect retry connect', 'events';
        $next->send('hello');
        is wait_for($log, 'each_message')->[1]->body, 'hello', 'which delivers messages';
    };
}

subtest 'the server hangs up before the handshake' => sub {
    my ($self, $log) = reconnecting();
    close $listener->next_socket;
    my (undef, $failure) = @{ wait_for($log, 'retry') };
    like "$failure", qr/^connect error: .*[^\n]\z/, 'retry gets the error';
    unlike "$failure", qr/ line \d/, 'without a line';
    my $peer = $listener->next_connection;
    wait_for($log, 'connect');
    is names($log), 'retry connect', 'there is no disconnect, since there was no connect';
};

subtest 'while nobody listens' => sub {
    my $gone = WebSocketTest::Listener->new;
    my $url = $gone->url;
    undef $gone;
    my ($self, $log) = reconnecting(uri => $url);
    wait_for($log, 'retry', 3);
    is_deeply [map { "$_->[1]" } @$log[0 .. 2]], [('unable to connect') x 3], 'it tries again';
    is_deeply [map { $_->[1]->attempts } @$log[0 .. 2]], [1 .. 3], 'and counts';
    is $self->attempts, scalar @$log, 'as attempts tells';
};

# Awaits the end of the client's side.
sub ended {
    my ($handle) = @_;
    my $done;
    $handle->on_error(sub { $done = 1; poke() });
    $handle->on_read(sub { });
    wait_until('the end of the attempt', sub { $done });
}

# Returns the first delays of a server that always hangs up.
sub delays {
    my ($count, %options) = @_;
    my ($self, $log) = reconnecting(%options);
    close $listener->next_socket for 1 .. $count;
    wait_for($log, 'retry', $count);
    return [map { 0 + sprintf '%.6f', $_->[2] } @$log[0 .. $count - 1]];
}

subtest 'the delay' => sub {
    is_deeply delays(5), [0.01, 0.02, 0.04, 0.04, 0.04], 'doubles up to a maximum';
    is_deeply delays(3, delay_factor => 3, max_delay => 0.06), [0.01, 0.03, 0.06], 'or grows otherwise';
    is_deeply delays(3, max_delay => 0, delay_factor => 10, initial_delay => 0.001), [0.001, 0.01, 0.1], 'without a maximum';
    my @random = (0, 0.5, 0.25);
    is_deeply delays(3, random => sub { shift @random }), [0, 0.01, 0.01], 'a random part of that is waited';
    my $delays = delays(4, random => undef);
    is_deeply [grep { $_ < 0 || $_ > 0.04 } @$delays], [], 'by default from nothing to all';
};

subtest 'the count of failures' => sub {
    my ($self, $log) = reconnecting(stable_after => 0.2 * patience());
    my $peer;
    for my $count (1 .. 2) {
        $peer = $listener->next_connection;
        wait_for($log, 'connect', $count);
        undef $peer;
        is wait_for($log, 'retry', $count)->[1]->attempts, $count, 'goes on if a connection ends at once';
    }
    $peer = $listener->next_connection;
    wait_for($log, 'connect', 3);
    is $self->attempts, 2, 'and is not reset by connecting';
    after(0.3 * patience());
    is $self->attempts, 0, 'but after a while';
    undef $peer;
    is wait_for($log, 'retry', 3)->[1]->attempts, 1, 'and starts again';
};

subtest 'start' => sub {
    my ($self, $log) = reconnecting(autostart => 0, initial_delay => 600, max_delay => 600);
    settle();
    is $self->state, 'idle', 'without autostart it does nothing';
    is $listener->waiting, 0, 'nothing at all';
    is $self->start->start, $self, 'start returns the object';
    close $listener->next_socket;
    wait_for($log, 'retry');
    is $self->state, 'waiting', 'it waits long';
    $self->start;
    is $self->attempts, 0, 'start begins anew';
    my $peer = $listener->next_connection;
    wait_for($log, 'connect');
    $self->start;
    settle();
    is $self->state, 'open', 'and does nothing while it is connected';
    is $listener->waiting, 0, 'nothing at all';
};

subtest 'close while it is connected' => sub {
    my ($self, $log) = reconnecting();
    my $peer = $listener->next_connection;
    my $seen = recorder($peer);
    wait_for($log, 'connect');
    is $self->close(1000, 'bye'), $self, 'returns the object';
    is $self->close(1000), $self, 'twice is as good';
    is $self->state, 'closing', 'it closes';
    $seen->wait_finish;
    is_deeply [$peer->close_code, $peer->close_reason], [1000, 'bye'], 'the peer gets a Close frame';
    wait_for($log, 'disconnect');
    is $self->state, 'closed', 'then it is closed';
    is $self->connection, undef, 'without a connection';
    settle();
    is names($log), 'connect disconnect', 'and does not come back';
    is $listener->waiting, 0, 'not at all';
    $self->start;
    $peer = $listener->next_connection;
    wait_for($log, 'connect', 2);
    pass 'unless it is started';
    $self->close->start;
    is $self->state, 'closing', 'start while it closes';
    my $next = $listener->next_connection;
    wait_for($log, 'connect', 3);
    pass 'connects again afterwards';
};

subtest 'a close code that is none' => sub {
    plan skip_all => 'by design: the original takes any' if is_original();
    my ($self, $log) = reconnecting();
    my $peer = $listener->next_connection;
    wait_for($log, 'connect');
    croaks_here 'close', sub { $self->close(7) }, qr/7/;
    is $self->state, 'open', 'and does not close';
};

subtest 'close while it is not connected' => sub {
    my ($self, $log) = reconnecting(initial_delay => 0.05);
    $self->close;
    is $self->state, 'closed', 'before it has begun';
    settle();
    is $listener->waiting, 0, 'nothing has begun';

    $self->start;
    close $listener->next_socket;
    wait_for($log, 'retry');
    $self->close;
    after(0.1);
    is $listener->waiting, 0, 'ends the waiting';
    is names($log), 'retry', 'without further events';
};

# The client of 0.44 has no method for connecting that a subclass could replace.
sub needs_046 { plan skip_all => 'by design: only later' if !AnyEvent::WebSocket::Client->can('_make_tcp_connection') }

subtest 'close while it connects' => sub {
    needs_046();
    my ($self, $log) = reconnecting();
    my $handle = $listener->next_request;
    $self->close;
    ended($handle);
    is $self->state, 'closed', 'ends the attempt';
    is names($log), '', 'without an event';
};

subtest 'connect_timeout' => sub {
    needs_046();
    my ($self, $log) = reconnecting(connect_timeout => 0.2 * patience());
    my $handle = $listener->next_request;
    my $failure = wait_for($log, 'retry')->[1];
    like "$failure", qr/^not connected within [\d.]+ seconds$/, 'ends an attempt that takes too long';
    ended($handle);
    pass 'and closes its socket';
    my $peer = $listener->next_connection;
    wait_for($log, 'connect');
    after(0.4 * patience());
    is $self->state, 'open', 'and not an attempt that was successful';
};

subtest 'a uri that is a sub' => sub {
    my @results = (
        sub { $listener->url . 'one' },
        sub { ($listener->url . 'two', '127.0.0.1', $listener->port) },
        sub { my $cv = AE::cv; AE::postpone { $cv->send($listener->url . 'three') }; $cv },
        sub { die "no address\n" },
        sub { my $cv = AE::cv; $cv->croak('no address either'); $cv },
        sub { URI->new($listener->url . 'six') },
    );
    my @arguments;
    my ($self, $log) = reconnecting(uri => sub { push @arguments, @_; (shift @results)->() });
    for my $path (qw(one two three six)) {
        my $peer = $listener->next_connection;
        like $listener->request, qr{^GET /$path }, "is called for each attempt: $path";
    }
    is_deeply [map { "$_->[1]" } grep { $_->[0] eq 'retry' && $_->[1] =~ /no address/ } @$log],
        ['no address', 'no address either'], 'an exception is a failure';
    is_deeply \@arguments, [($self) x 6], 'it gets the object';
};

subtest 'a client' => sub {
    my @requests;
    my $client = AnyEvent::WebSocket::Client->new(http_headers => { 'X-Client' => 'object' });
    for my $given ($client, { http_headers => { 'X-Client' => 'hash' } }, sub { { http_headers => { 'X-Client' => 'sub' } } }, sub { $client }) {
        my ($self) = reconnecting(client => $given);
        my $peer = $listener->next_connection;
        push @requests, $listener->request =~ /^X-Client: (\w+)/m;
    }
    is_deeply \@requests, [qw(object hash sub object)], 'may be an object, arguments of one, or a sub that returns either';
};

subtest 'a client object whose attempt is no longer wanted' => sub {
    my ($self, $log) = reconnecting(client => AnyEvent::WebSocket::Client->new);
    my $handle = $listener->next_request;
    $self->close;
    my $peer = $listener->accept($handle);
    recorder($peer)->wait_finish;
    ok defined $peer->close_code, 'a connection that comes late is closed';
    is names($log), '', 'without an event';
};

subtest 'options of connections' => sub {
    plan skip_all => 'by design: the original has none' if is_original();
    my ($self, $log) = reconnecting(idle_timeout => 50, max_message_size => 1000);
    my $peer = $listener->next_connection;
    my $connection = wait_for($log, 'connect')->[1];
    is_deeply [map { $connection->$_ } qw(idle_timeout max_message_size ping_interval)], [50, 1000, 25], 'are set, and pings';
    ($self, $log) = reconnecting(ping_interval => 0);
    $peer = $listener->next_connection;
    is wait_for($log, 'connect')->[1]->ping_interval, 0, 'unless the program says otherwise';
    ($self, $log) = reconnecting(client => { ping_interval => 7 });
    $peer = $listener->next_connection;
    is wait_for($log, 'connect')->[1]->ping_interval, 7, 'or the client';
};

subtest 'a peer that is silent' => sub {
    plan skip_all => 'by design: the original has no pings' if is_original();
    my ($self, $log) = reconnecting(ping_interval => 0.02, ping_timeout => 0.05 * patience());
    my $peer = $listener->next_connection;
    $peer->pause;
    like '' . wait_for($log, 'disconnect')->[1], qr/^the peer did not answer a ping within/, 'is given up';
    my $next = $listener->next_connection;
    wait_for($log, 'connect', 2);
    pass 'and replaced';
};

done_testing;
