# Tests that a subclass or a role may give its methods any name: none that this class uses inside gets in the way.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has private methods of other names' if is_original();
require WebSocketTest::Deflate;
WebSocketTest::Deflate->import;

my $class = 'AnyEvent::WebSocket::Connection';

# The names of subs inside: those that they had as methods, and those that functions elsewhere still have.
my %is_name = map { $_ => 1 } map { /\A[a-z]/ ? ($_, "_$_") : $_ } qw(
    IS_TRACED NO_STATUS _address _addresses _after_silence _answer_ping _attach _await_drain _await_pong _await_silence _backlogged
    _begin _broadcast _call_back _callbacks _can_close _check_attribute _check_attributes _chunk_received _close _close_code
    _close_received _deliver_rest _dispatch _drained _enable_deflate _encoded _end_stream _end_with_handle _expect_drain
    _expect_idleness _expect_recursion _failed _fetched _finish _finish_broadcast _finish_late _finish_later _finish_now _flush
    _for_each _forget_idle_window _forget_recursion _fragment_limit _frame_of _give_up _go_on_later _half_close _handle_destroyed
    _hold _hold_keepalive _is_forbidden _is_open _is_ours _is_strict _is_untouched _keep_alive _limit _limits_changed _list_of
    _log_exception _look_for_tls _next_chunk _octets _octets_of _off _opcode_number _option _pair_up _payload_limit
    _ping_received _pong_received _read_only _resume _resume_keepalive _seconds _seconds_since _send_anything _send_chunks
    _send_close _send_fragment _send_frame _send_part _set_limits _set_streaming _shown _soon _start _start_idle_timer
    _start_keepalive _stop_keepalive _take_failure _take_read_buffer _tell_failure _trace _traffic _transport_closed _turn
    _use_tls _was_alive _why_closed
    attach backlogged begin call_back chunk_received close_received configure encoded failed finish flush
    callback_removed finished give hand_out next_tick no_more_messages off option pause_for ping_received pong_received put_back
    resume_for rival take_back trace value why
);
my @names = sort keys %is_name;

our @called;
{
    package TakesAllNames;
    our @ISA = 'AnyEvent::WebSocket::Connection';
    package TakesAllNames::Role;
    use Moo::Role;
    package TakesAllNames::ByRole;
    use Moo;
    extends 'AnyEvent::WebSocket::Connection';
    no strict 'refs';
    for my $name (@names) {
        *{"TakesAllNames$_\::$name"} = sub { push @main::called, $name; die "$name is the program's own" } for '', '::Role';
    }
    with 'TakesAllNames::Role';
}

sub works {
    my ($what, $test) = @_;
    for my $subclass (qw(TakesAllNames TakesAllNames::ByRole)) {
        subtest "$subclass: $what" => sub {
            @called = ();
            $test->(class => $subclass);
            is_deeply \@called, [], 'no name of its own was called';
        };
    }
}

subtest 'the class itself' => sub {
    no strict 'refs';
    my @subs = grep { /\A_/ && defined &{"${class}::$_"} } keys %{"${class}::"};
    is_deeply [sort @subs], [], 'has no private subs';
    is scalar(grep { !TakesAllNames->can($_) } @names), 0, 'but the subclass has';
    is scalar(grep { !TakesAllNames::ByRole->can($_) } @names), 0, 'and so has that with a role';
};

works 'messages, one by one and many at once' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    my $unregister = $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
    $connection->on(next_message => sub { $_[0]->send('first') });
    $connection->on(each_message => sub { $_[2]->() });
    $peer->write(text('a'));
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['first', 're: a'], 'one';
    $peer->write(map { text($_) } 1 .. 50);
    is_deeply [map { $_->{payload} } $peer->next_frames(50)], [map { "re: $_" } 1 .. 50], 'many';
    $unregister->();
    $peer->write(text('b'), ping('p'));
    is $peer->next_frame->{payload}, 'p', 'and none';
};

works 'a callback that runs the event loop' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    my @seen;
    $connection->on(each_message => sub {
        push @seen, $_[1]->body;
        wait_until('the next', sub { @seen == 3 }) if @seen == 1;
        poke();
    });
    $peer->write(text('1') . text('2') . text('3'));
    wait_until('all', sub { @seen == 3 });
    is_deeply \@seen, [1 .. 3], 'in order';
};

works 'messages that came before there was a connection, and an early end' => sub {
    my ($left, $right) = socket_pair();
    my $handle = AnyEvent::Handle->new(fh => $left, on_error => sub { });
    $handle->{rbuf} = text('early');
    close $right;
    my %new = @_;
    my $connection = $new{class}->new(handle => $handle);
    my $seen = recorder($connection);
    $seen->wait_finish;
    is_deeply $seen->bodies, ['early'], 'the message is delivered';
    is scalar(next_event('a late finish', sub { $connection->on(finish => $_[0]) })), 2, 'who comes late is told';
};

works 'a handle that was destroyed' => sub {
    my %new = @_;
    my $handle = AnyEvent::Handle->new(fh => (socket_pair())[0], on_error => sub { });
    $handle->destroy;
    my $connection = $new{class}->new(handle => $handle);
    is((next_event('finish', sub { $connection->on(finish => $_[0]) }))[1], 'the handle had been destroyed already', 'finish');
};

works 'what send takes, and what it does not' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    { package AnyMessage; sub new { bless {} } sub opcode { undef } sub body { "\x{263a}" } }
    $connection->send(AnyMessage->new)->send(undef)->send_text("\xe9")->send_binary("\xe9")->send_json([1])->ping('p');
    is_deeply [map { $_->{payload} } $peer->next_frames(6)], ["\xe2\x98\xba", '', "\xc3\xa9", "\xe9", '[1]', 'p'], 'frames';
    croaks_here('send', sub { $connection->send({}) }, qr/^send takes a string/);
};

works 'close' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    my $seen = recorder($connection);
    is $connection->close(4000, "\x{263a}"), $connection, 'returns the connection';
    is_deeply [map { [close_of($_)] } $peer->frames_to_eof], [[4000, "\xe2\x98\xba"]], 'a Close frame';
    $peer->close;
    $seen->wait_finish;
};

works 'close, and a peer that does nothing' => sub {
    my ($connection, $peer) = connection_and_peer(@_, close_timeout => 0.01);
    $connection->close;
    like((next_event('finish', sub { $connection->on(finish => $_[0]) }))[1], qr/did not close the connection within/, 'times out');
};

for my $code (1000, 1005) {
    works "the peer's Close, code $code" => sub {
        my ($connection, $peer) = connection_and_peer(@_);
        my $seen = recorder($connection);
        $peer->write($code == 1005 ? close_frame() : close_frame($code));
        is_deeply [map { [$_->{opcode}, $_->{payload}] } $peer->frames_to_eof], [[8, $code == 1005 ? '' : pack 'n', $code]], 'is answered';
        is $connection->close_code, $code, 'and known';
        $peer->close;
        $seen->wait_finish;
        is $connection->close_error, undef, 'no error';
    };
}

works 'a violation' => sub {
    my ($connection, $peer) = connection_and_peer(@_, max_message_size => 10);
    my $seen = recorder($connection);
    $peer->write(text('x' x 11));
    is_deeply [map { (close_of($_))[0] } $peer->frames_to_eof], [1009], 'is answered';
    $peer->close;
    $seen->wait_finish;
    is_deeply $seen->order, ['parse_error', 'finish'], 'and reported';
};

works 'a callback that dies' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    $connection->on(each_message => sub { die "in a callback\n" });
    $peer->write(text('x'));
    is((next_event('parse_error', sub { $connection->on(parse_error => $_[0]) }))[1], "in a callback\n", 'parse_error');
};

works 'a callback that dies unheard' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    my @logged;
    my $guard = AnyEvent::Log::ctx($class)->log_cb(sub { push @logged, $_[0]; 1 });
    $connection->on(each_message => sub { die "in a callback\n" });
    $peer->write(text('x'));
    $peer->frames_to_eof;
    AnyEvent::Log::ctx($class)->log_cb(undef);
    like "@logged", qr/in a callback/, 'is logged';
};

works 'an error' => sub {
    my ($connection, $peer) = connection_and_peer(@_, tcp => 1);
    my $seen = recorder($connection);
    $peer->reset;
    $seen->wait_finish;
    ok $connection->close_error, 'is told';
};

works 'pings' => sub {
    my ($connection, $peer) = connection_and_peer(@_, ping_interval => 0.01, ping_timeout => 0.05);
    my (@pings, @pongs);
    $connection->on(ping => sub { push @pings, $_[1] });
    $connection->on(pong => sub { push @pongs, $_[1]; poke() });
    $peer->write(ping('from the peer'), pong($peer->next_frame->{payload}));
    wait_until('a pong', sub { @pongs });
    is_deeply \@pings, ['from the peer'], 'are told';
    cmp_ok $connection->latency, '>=', 0, 'their time is taken';
    like((next_event('finish', sub { $connection->on(finish => $_[0]) }))[1], qr/did not answer a ping within/, 'in the end no answer');
};

works 'a peer that says nothing' => sub {
    my ($connection, $peer) = connection_and_peer(@_, idle_timeout => 0.02);
    $connection->pause->resume;
    like((next_event('finish', sub { $connection->on(finish => $_[0]) }))[1], qr/sent nothing within/, 'times out');
};

works 'a peer that does not read' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->stall;
    $connection->send('x' x 1_000_000);
    $peer->write(ping('answered later'));
    ok $connection->buffered_amount, 'something waits';
    my $drain;
    $connection->on(drain => sub { $drain++; poke() });
    settle();
    $peer->resume;
    wait_until('drain', sub { $drain });
    is_deeply [map { $_->{opcode} } $peer->next_frames(2)], [1, 10], 'the pong comes behind';
};

works 'a peer that is sent too much' => sub {
    my ($connection, $peer) = connection_and_peer(@_, max_buffered_amount => 1000);
    $peer->stall;
    my @finish;
    $connection->on(finish => sub { @finish = @_; poke() });
    $connection->send('x' x 1_000_000);
    wait_until('finish', sub { @finish });
    like $finish[1], qr/wait for the peer to read/, 'is given up';
};

works 'a handle that is destroyed while something waits' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    my @done;
    $peer->stall;
    $connection->send_stream(sub { 'x' x 1_000_000 }, done => sub { @done = @_; poke() });
    $connection->handle->destroy;
    wait_until('the end of the stream', sub { @done });
    is $done[1], 'the connection was closed', 'ends the stream';
};

works 'broadcast' => sub {
    my @links = map { [connection_and_peer(@_)] } 1 .. 3;
    my $other = connection_and_peer();
    $links[0][1]->stall;
    is $class->broadcast([map { $_->[0] } @links], 'x' x 1_000_000), 3, 'to all';
    $_->[1]->resume for $links[0];
    is length $_->[1]->next_frame->{payload}, 1_000_000, 'arrives' for @links;
};

works 'streams' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    my (@chunks, $is_done);
    my $cancel = $connection->on(message_chunk => sub { push @chunks, $_[1]->body; poke() if $_[2] });
    my @data = map { 'x' x 100_000 } 1 .. 40;
    $connection->send_stream(sub { shift @data }, done => sub { $is_done = @_ == 1 });
    $peer->write(text('one', fin => 0) . continuation('two'));
    wait_until('chunks', sub { @chunks && join('', @chunks) eq 'onetwo' });
    my $bytes = 0;
    my $frame;
    do { $frame = $peer->next_frame; $bytes += length $frame->{payload} } until $frame->{fin};
    is $bytes, 4_000_000, 'out';
    ok $is_done, 'to the end';
    $cancel->();
    $connection->send_fragment('a')->send_fragment('b', final => 1);
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], [qw(a b)], 'fragments';
};

works 'a stream that dies' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    ok !eval { $connection->send_stream(sub { die "no more\n" }); 1 }, 'is an exception';
    is_deeply [map { (close_of($_))[0] } $peer->frames_to_eof], [1011], 'and closes';
};

works 'receive, closed and drained' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    my ($first, $closed) = ($connection->receive, $connection->closed);
    $peer->write(map { text($_) } 1 .. 50);
    is_deeply [map { $_->recv->body } $first, map { $connection->receive } 2 .. 40], [1 .. 40], 'messages';
    my @got;
    $connection->on(each_message => sub { push @got, $_[1]->body; poke() });
    wait_until('the rest', sub { @got == 10 });
    $peer->stall;
    $connection->send('x' x 1_000_000);
    my $drained = $connection->drained;
    $peer->resume;
    $drained->recv;
    $peer->close;
    is $closed->recv->error, undef, 'the end';
};

works 'compression' => sub {
    my ($server, $client) = agreed(threshold => 0, idle_timeout => 0.01);
    my ($connection, $peer) = connection_and_peer(@_);
    $connection->enable_deflate($server)->send('compressed');
    is wire_of($peer->next_frame, receiver(12)), 'compressed', 'out';
    ok $connection->stats->{compression_ratio_sent}, 'counted';
    after(0.05);
    my ($other) = connection_and_peer(@_, deflate => $client);
    is $other->deflate, $client, 'as an attribute';
};

works 'attributes that are set later' => sub {
    my ($connection, $peer) = connection_and_peer(@_);
    my %set = (
        max_payload_size => 100, max_fragments => 3, max_message_size => 10, max_control_rate => 100, strict => 1, idle_timeout => 10,
        ping_interval => 10, ping_timeout => 5, max_buffered_amount => 1000, close_timeout => 1,
    );
    $connection->$_($set{$_}) for sort keys %set;
    is_deeply +{ map { ($_ => $connection->$_) } keys %set }, \%set, 'have their values';
    is $connection->state, 'open', 'no harm is done';
    my $text = qr/is read-only/;
    croaks_here($_, sub { $connection->$_(1) }, $text) for qw(handle masked subprotocol deflate);
    croaks_here('max_payload_size', sub { $connection->max_payload_size('much') }, qr/must be a whole number/);
};

works 'what it tells of itself' => sub {
    my ($connection) = connection_and_peer(@_, tcp => 1);
    like $connection->$_, qr/\A127\.0\.0\.1:\d+\z/, $_ for qw(local peer);
    is $connection->stats->{messages_sent}, 0, 'stats';
};

subtest 'the trace' => sub {
    my ($out, $status) = run_perl({ ANYEVENT_WEBSOCKET_TRACE => 1 }, <<'PROGRAM');
        open STDERR, '>&', STDOUT;
        use WebSocketTest;
        @TakesAllNames::ISA = 'AnyEvent::WebSocket::Connection';
        sub TakesAllNames::_trace { die '_trace is its own' }
        my ($connection, $peer) = connection_and_peer(class => 'TakesAllNames', tcp => 1);
        $peer->write(text('hello') . frame(rsv => 2));
        my $seen = recorder($connection);
        $peer->frames_to_eof;
        $peer->close;
        $seen->wait_finish;
PROGRAM
    is $status, 0, 'the program ends well';
    like $out, qr/received text, 5 bytes: "hello".*failed: .*finished: end of file/s, 'and is traced';
};

done_testing;
