# Tests that what is sent while there is no connection waits in order, within limits, and is never lost in silence.
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

sub reconnecting {
    my (%options) = @_;
    # One of its own: an earlier client may still try to connect to the last.
    $listener = WebSocketTest::Listener->new;
    my $self = AnyEvent::WebSocket::Reconnecting->new(uri => $listener->url, initial_delay => 0.01, max_delay => 0.01, %options);
    $self->on($_ => \&poke) for qw(connect disconnect retry give_up);
    return $self;
}

sub is_open { my ($self) = @_; wait_until('the connection', sub { $self->state eq 'open' }) }

subtest 'what is sent before there is a connection' => sub {
    my $self = reconnecting(autostart => 0);
    my $data = { x => 1 };
    $self->send('a')->send_text("\x{fc}")->send_binary("\x{fc}")->send_json($data);
    $self->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => "\x{20ac}"));
    $data->{x} = 2;
    is $self->queued, 5, 'waits';
    is $self->queued_bytes, 1 + 2 + 1 + 7 + 3, 'in so many bytes';
    $self->start;
    my $seen = recorder(my $peer = $listener->next_connection);
    $seen->wait_messages(5);
    is_deeply [map { [$_->opcode, $_->body] } $seen->messages],
        [[1, 'a'], [1, "\xc3\xbc"], [2, "\xfc"], [1, '{"x":1}'], [2, "\xe2\x82\xac"]], 'and goes out, in order, as it was';
    is $self->queued, 0, 'nothing waits any more';
    is $self->queued_bytes, 0, 'not a byte';
};

subtest 'what is sent between two connections' => sub {
    my $self = reconnecting();
    my $peer = $listener->next_connection;
    is_open($self);
    undef $peer;
    next_event('retry', sub { $self->on(retry => $_[0]) });
    $self->send($_) for 1 .. 3;
    my $seen = recorder($peer = $listener->next_connection);
    is_open($self);
    $self->send(4);
    $seen->wait_messages(4);
    is_deeply $seen->bodies, [1 .. 4], 'goes out with the next';
};

subtest 'what is sent after the peer has closed' => sub {
    my $self = reconnecting();
    my $handle = $listener->next_request;
    $listener->answer($handle);
    is_open($self);
    my $connection = $self->connection;
    $handle->push_write(close_frame(1012));
    after(0.01) until defined $connection->close_code;
    is $self->state, 'open', 'and has not hung up';
    $self->send('late');
    $handle->destroy;
    my $seen = recorder(my $peer = $listener->next_connection);
    $seen->wait_messages(1);
    is_deeply $seen->bodies, ['late'], 'goes out with the next connection';
};

subtest 'subscribe' => sub {
    my @arguments;
    my $self = reconnecting(subscribe => sub {
        my ($self, $connection) = @_;
        push @arguments, [@_];
        $connection->send('subscribe');
        $self->send('from subscribe');
        return 'anything';
    });
    $self->on(connect => sub { my ($self, $connection) = @_; $self->send('from connect'); $connection->send('at once') });
    for my $count (1, 2) {
        $self->send('queued');
        my $seen = recorder(my $peer = $listener->next_connection);
        $seen->wait_messages(5);
        is_deeply $seen->bodies, ['subscribe', 'at once', 'queued', 'from subscribe', 'from connect'],
            "comes first, on connection $count, and what is queued stays in order";
        is_deeply $arguments[-1], [$self, $self->connection], 'it gets the object and the connection';
        undef $peer;
        undef $seen;
        next_event('disconnect', sub { $self->on(disconnect => $_[0]) });
    }
};

subtest 'a subscribe that waits for an answer' => sub {
    my $self = reconnecting(subscribe => sub {
        my ($self, $connection) = @_;
        my $done = AE::cv;
        $connection->on(next_message => sub { $_[1]->body eq 'ok' ? $done->send : $done->croak($_[1]->body) });
        $connection->send('login');
        return $done;
    });
    my $seen = recorder(my $peer = $listener->next_connection);
    $seen->wait_messages(1);
    $self->send('queued');
    settle();
    is_deeply $seen->bodies, ['login'], 'holds back what is queued';
    is_deeply [$self->state, $self->connection], ['connecting', undef], 'and the connection';
    $peer->send('denied');
    my (undef, $failure) = next_event('retry', sub { $self->on(retry => $_[0]) });
    is "$failure", 'denied', 'fails';
    $seen->wait_finish;
    ok defined $peer->close_code, 'the connection is closed';
    $seen = recorder($peer = $listener->next_connection);
    $seen->wait_messages(1);
    $peer->send('ok');
    $seen->wait_messages(2);
    is_deeply $seen->bodies, ['login', 'queued'], 'or succeeds';
};

subtest 'a subscribe that dies, that never ends, or whose connection is lost' => sub {
    my @ways = (
        sub { die "oops\n" },
        sub { our $never = AE::cv },
        sub { our $never = AE::cv },
        sub { 1 },
    );
    my $self = reconnecting(subscribe => sub { (shift @ways)->() }, connect_timeout => 0.5 * patience());
    my @events;
    $self->on($_ => do { my $event = $_; sub { push @events, [$event, "$_[1]"] } }) for qw(connect disconnect retry);
    my $seen = recorder(my $peer = $listener->next_connection);
    $seen->wait_finish;
    $seen = recorder($peer = $listener->next_connection);
    $seen->wait_finish;
    undef $peer;
    $peer = $listener->next_connection;
    turn();
    undef $peer;
    $peer = $listener->next_connection;
    is_open($self);
    is_deeply [map { $_->[0] } @events], [qw(retry retry retry connect)], 'is tried again, without connect and disconnect';
    is $events[0][1], 'oops', 'after an exception';
    like $events[1][1], qr/^not connected within/, 'after the time is up';
    like $events[2][1], qr/^the peer closed/, 'after the end';
};

subtest 'limits' => sub {
    my $self = reconnecting(autostart => 0, max_queue => 2);
    $self->send(1)->send(2);
    croaks_here 'max_queue', sub { $self->send(3) }, qr/^send: not connected, and 2 messages wait already \(max_queue\)/;
    is_deeply [map { $_->body } $self->clear_queue], [1, 2], 'clear_queue returns the messages';
    is_deeply [$self->queued, $self->queued_bytes], [0, 0], 'and removes them';
    is_deeply [$self->clear_queue], [], 'then there are none';
    $self->send(3);

    $self = reconnecting(autostart => 0, max_queue_bytes => 10);
    $self->send('x' x 6);
    my $text = qr/^send_binary: not connected, and no room for 5 bytes beside the 6 that wait \(max_queue_bytes\)/;
    croaks_here 'max_queue_bytes', sub { $self->send_binary('x' x 5) }, $text;
    $self->send('x' x 4);
    is $self->queued_bytes, 10, 'up to all';

    $self = reconnecting(max_queue => 0);
    croaks_here 'without a queue', sub { $self->send_text('x') }, qr/^send_text: not connected at/;
    my $seen = recorder(my $peer = $listener->next_connection);
    is_open($self);
    $self->send('x');
    $seen->wait_messages(1);
    pass 'with a connection it sends';
};

subtest 'after close' => sub {
    my $self = reconnecting();
    $self->send('x')->close;
    croaks_here 'send', sub { $self->send_json([]) }, qr/^send_json: it has been closed/;
    is_deeply [map { $_->body } $self->clear_queue], ['x'], 'what was queued can be had';
    $self->start->send('y');
    my $seen = recorder(my $peer = $listener->next_connection);
    $seen->wait_messages(1);
    is_deeply $seen->bodies, ['y'], 'start takes messages again';
};

subtest 'mistakes' => sub {
    my $self = reconnecting(autostart => 0);
    croaks_here 'a reference', sub { $self->send({}) }, qr/^send takes a string or an object with opcode and body/;
    croaks_here 'a ping', sub { $self->send(AnyEvent::WebSocket::Message->new(opcode => 9, body => '')) }, qr/^send: the opcode/;
    croaks_here 'no text', sub { $self->send_text([]) }, qr/^send_text: the text must be a string/;
    croaks_here 'no octets', sub { $self->send_binary("\x{20ac}") }, qr/^send_binary: there are characters/;
    croaks_here 'no JSON', sub { $self->send_json(sub { }) }, qr/^send_json: /;
    croaks_here 'two values', sub { $self->send_json(1, 2) }, qr/^send_json takes one value/;
    my $text = qr/^unrecognized event: ping; the events are connect, disconnect, each_message, give_up, next_message and retry/;
    croaks_here 'an unknown event', sub { $self->on(ping => sub { }) }, $text;
    croaks_here 'no callback', sub { $self->on(connect => 'poke') }, qr/^on: the callback must be a code reference/;
    is $self->queued, 0, 'none of them is queued';

    my $class = 'AnyEvent::WebSocket::Reconnecting';
    my %mistake = (
        uri => [undef, qr/^new: uri is missing/], client => ['x', qr/^client must be an AnyEvent::WebSocket::Client/],
        max_queue => [-1, qr/^max_queue must be a whole number/], max_attempts => ['x', qr/^max_attempts must be a whole/],
        initial_delay => [-1, qr/^initial_delay must be a number of seconds/],
        delay_factor => [0.5, qr/^delay_factor must be a number of at least 1/],
        random => [1, qr/^random must be a reference to a sub/], ping_interval => [-1, qr/^ping_interval must be a number/],
        reties => [1, qr/^new: there is no option reties; the options are autostart, client, /],
    );
    for my $name (sort keys %mistake) {
        my ($value, $text) = @{ $mistake{$name} };
        croaks_here "$name", sub { $class->new(uri => 'ws://localhost/', autostart => 0, $name => $value) }, $text;
    }
    croaks_here 'client', sub { $class->new(uri => 'ws://x/', client => { timeuot => 1 }) }, qr/Client has no attribute timeuot; did you mean timeout\?/;
    my $meant = qr/Client has no attribute headers; did you mean http_headers\?/;
    croaks_here 'headers', sub { $class->new(uri => 'ws://x/', client => { headers => [] }) }, $meant;
    my $place = qr/^new: http_headers is an argument of the client: client => \{ http_headers => \.\.\. \}/;
    croaks_here 'an argument of the client', sub { $class->new(uri => 'ws://x/', http_headers => []) }, $place;
    croaks_here 'http_headers', sub { $class->new(uri => 'ws://x/', client => { http_headers => 'x' }) }, qr/^client: .*headers/s;
    croaks_here 'an odd list', sub { $class->new('uri') }, qr/^new takes options/;
    isa_ok $class->new({ uri => 'ws://localhost/', autostart => 0 }), $class, 'a hash';
};

done_testing;
