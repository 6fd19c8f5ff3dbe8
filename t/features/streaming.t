# Tests that messages can be sent in fragments and received in chunks.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Scalar::Util qw(weaken);
use Test::More;
use WebSocketTest;
use WebSocketTest::Deflate;

plan skip_all => 'by design: the original does not stream' if is_original();

sub shapes { map { [@$_{qw(opcode fin payload)}] } @_ }
sub next_shapes { my ($peer, $count) = @_; [shapes(map { $peer->next_frame } 1 .. $count)] }

sub chunks_of {
    my ($connection) = @_;
    my @chunks;
    $connection->on(message_chunk => sub { push @chunks, [$_[1]->opcode, $_[1]->body, $_[2]]; WebSocketTest::poke() });
    return \@chunks;
}

# Joins chunks to whole messages, each as [opcode, body].
sub joined {
    my ($chunks) = @_;
    my ($body, @messages) = ('');
    for (@$chunks) { $body .= $_->[1]; ($_->[2] and push @messages, [$_->[0], $body] and $body = '') }
    return \@messages;
}

subtest 'send_fragment' => sub {
    my ($connection, $peer) = connection_and_peer();
    is $connection->send_fragment('a'), $connection, 'returns the connection';
    $connection->send_fragment("\x{263a}");
    $connection->ping('between');
    $connection->send_fragment('', final => 1)->send_fragment('b', binary => 1, final => 1)->send('c');
    is_deeply next_shapes($peer, 6),
        [[1, 0, 'a'], [0, 0, "\xe2\x98\xba"], [9, 1, 'between'], [0, 1, ''], [2, 1, 'b'], [1, 1, 'c']], 'frames';
};

subtest 'masked, and large' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 1);
    $connection->send_fragment('x' x 70_000)->send_fragment('y' x 300, final => 1);
    my @frames = map { $peer->next_frame } 1 .. 2;
    is_deeply [shapes(@frames)], [[1, 0, 'x' x 70_000], [0, 1, 'y' x 300]], 'frames';
    is_deeply [map { $_->{masked} } @frames], [1, 1], 'are masked';
};

subtest 'another message before the end' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $begin = sub { $connection->send_fragment('a') };
    for my $case (
        ['send', sub { $connection->send('x') }], ['send_text', sub { $connection->send_text('x') }], ['send_binary', sub { $connection->send_binary('x' x 10_000) }],
        ['send_fragment', sub { $connection->send_fragment('x', binary => 1) }], ['broadcast', sub { $connection->broadcast([$connection], 'x') }],
        ['send_stream', sub { $connection->send_stream(sub { 'x' }, binary => 1) }],
    ) {
        my ($name, $code) = @$case;
        $begin->();
        ok !eval { $code->(); 1 }, "$name is an exception";
        like $@, qr/a message is being sent in fragments/, 'that says why';
        $connection->send_fragment('', final => 1);
    }
    is_deeply [map { $_->[2] } grep { $_->[0] != 9 } shapes($peer->sync)], [('a', '') x 6], 'nothing else is sent';
};

subtest 'after close nothing is sent' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send_fragment('a')->close->send_fragment('b', final => 1);
    is_deeply [map { $_->[0] } shapes($peer->frames_to_eof)], [1, 8], 'and nobody dies';
};

subtest 'send_stream' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @parts = ('a', '', "\xff", 'd');
    my @done;
    is $connection->send_stream(sub { shift @parts }, binary => 1, done => sub { push @done, [@_] }), $connection, 'returns the connection';
    is_deeply next_shapes($peer, 5), [[2, 0, 'a'], [0, 0, ''], [0, 0, "\xff"], [0, 0, 'd'], [0, 1, '']], 'frames';
    is_deeply \@done, [[$connection]], 'done';
    $connection->send_stream(sub { undef });
    is_deeply next_shapes($peer, 1), [[1, 1, '']], 'of nothing';
};

subtest 'a stream that begins in a message callback, with a message behind' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @parts = ('a' .. 'e');
    $connection->on(next_message => sub { $_[0]->send_stream(sub { shift @parts }) });
    $peer->write(text('go') . text('other'));
    settle();
    is_deeply \@parts, [], 'is sent';
};

subtest 'a fragment while a stream is being sent' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @parts = ('a', 'b');
    $connection->send_stream(sub { eval { $_[0]->send_fragment('intruder') }; shift @parts });
    is_deeply [map { $_->[2] } @{ next_shapes($peer, 3) }], ['a', 'b', ''], 'is not sent as a part of it';
};

subtest 'a stream while a message is being sent in fragments' => sub {
    for my $kind (0, 1) {
        my ($connection, $peer) = connection_and_peer();
        $connection->send_fragment('part');
        ok !eval { $connection->send_stream(sub { undef }, binary => $kind); 1 }, 'is a mistake';
        $connection->send_fragment('end', final => 1);
        ok eval { $connection->send_stream(sub { undef }, binary => $kind); 1 }, 'but not later' or diag $@;
    }
};

subtest 'another message from the on_drain of the first part' => sub {
    for my $begin (sub { $_[0]->send_stream(sub { undef }) }, sub { $_[0]->send_fragment('x', binary => 1) }, sub { $_[0]->send('x') }) {
        my ($connection, $peer) = connection_and_peer();
        my ($calls, $error) = (0, "");
        $connection->handle->on_drain(sub { eval { $begin->($connection); 1 } or $error = $@ if $calls++ == 1 });
        $connection->send_fragment('part')->send_fragment('end', final => 1);
        like $error, qr/a message is being sent in fragments/, 'is a mistake';
        is_deeply next_shapes($peer, 2), [[1, 0, 'part'], [0, 1, 'end']], 'and changes nothing';
    }
};

subtest 'a stream whose code reference runs the event loop' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @parts = ('a' .. 'c');
    my ($nested, $depth) = (0, 0);
    $connection->send_stream(sub {
        my $part = shift @parts;
        $nested++ if $depth;
        $depth++;
        if (($part || '') eq 'b') {
            $peer->stall;
            $connection->ping('p' x 125) until $connection->buffered_amount > 1000;
            $peer->resume;
            wait_until('the peer to read', sub { !$connection->buffered_amount });
            settle();
        }
        $depth--;
        return $part;
    });
    is $nested, 0, 'is asked for one part at a time';
    is_deeply [map { $_->[2] } grep { $_->[0] != 9 } shapes($peer->sync)], ['a', 'b', 'c', ''], 'and all are sent, in order';
};

subtest 'a stream waits for a peer that does not read' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    my ($asked, $done) = (0, 0);
    $connection->send_stream(sub { $asked++ < 500 ? 'x' x 65536 : undef }, done => sub { $done++; WebSocketTest::poke() });
    settle();
    cmp_ok $asked, '<', 100, 'and is not asked for more';
    cmp_ok $connection->buffered_amount, '<', 70_000, 'nor waits in memory';
    my $octets = 0;
    $peer->answer(sub { $octets += length $_[0]{payload}; '' })->resume;
    wait_until('done', sub { $done && $octets == 500 * 65536 });
    is $asked, 501, 'all is sent';
};

subtest 'a stream leaves the event loop its turns' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($asked, $turns, $done) = (0, 0, 0);
    $peer->answer(sub { '' });
    my $timer = AE::timer 0, 0.0001, sub { $turns++ };
    $connection->send_stream(sub { $asked++ < 300 ? 'x' : undef }, done => sub { $done++; WebSocketTest::poke() });
    is $done, 0, 'does not end at once';
    wait_until('done', sub { $done });
    cmp_ok $turns, '>', 5, 'timers fire';
};

subtest 'a stream that dies' => sub {
    # An exception in a callback ends POE's kernel.
    for my $when (1, loop() eq 'POE' ? () : 3) {
        my ($connection, $peer) = connection_and_peer();
        my ($count, @done) = 0;
        $peer->stall if $when > 1;
        my $start = sub { $connection->send_stream(sub { ++$count == $when ? die "no more\n" : 'x' x 2_000_000 }, done => sub { push @done, $_[1] }) };
        my $error = '';
        if ($when == 1) { ok !eval { $start->(); 1 }, 'at once'; $error = $@ }
        else {
            local $SIG{__WARN__} = sub { $error .= $_[0] };
            no warnings 'once';
            local $EV::DIED = sub { $error .= $@ };
            $start->();
            $peer->resume;
            eval { $peer->frames_to_eof; 1 } or $error .= $@;
        }
        like $error, qr/no more/, 'hands its exception on';
        is_deeply \@done, ['the connection was closed'], 'done gets an error';
        my ($close) = grep { $_->{opcode} == 8 } $when == 1 ? $peer->frames_to_eof : ();
        is_deeply [close_of($close)], [1011, ''], 'the peer gets Close 1011' if $close;
        is $connection->state, 'closing', 'the connection is closed';
    }
};

subtest 'a stream whose connection ends' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    my @done;
    $connection->send_stream(sub { 'x' x 1_000_000 }, done => sub { push @done, $_[1]; WebSocketTest::poke() });
    $peer->close;
    wait_until('done', sub { @done });
    is $done[0], $connection->close_error, 'is done with the transport\'s error';
    ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send_stream(sub { 'x' x 1_000_000 }, done => sub { push @done, $_[1]; WebSocketTest::poke() });
    $peer->write(close_frame(4001, 'quota exceeded'))->resume;
    wait_until('done', sub { @done > 1 });
    is $done[1], 'quota exceeded', 'or the peer\'s reason';
    ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send_stream(sub { 'x' x 1_000_000 });
    weaken(my $weak = $connection);
    undef $connection;
    is $weak, undef, 'the stream does not keep the connection';
};

subtest 'a stream whose handle is destroyed while the peer does not read' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    my @done;
    $connection->send_stream(sub { 'x' x 1_000_000 }, done => sub { push @done, $_[1]; WebSocketTest::poke() });
    $connection->handle->destroy;
    $peer->resume;
    wait_until('done', sub { @done });
    is_deeply \@done, ['the connection was closed'], 'is done with an error';
};

subtest 'chunks' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    my $chunks = chunks_of($connection);
    $peer->write(text('a', fin => 0), continuation('b', fin => 0), ping('p'), continuation('c'), binary('whole'), text(''));
    wait_until('the last', sub { @{ joined($chunks) } == 3 });
    is_deeply joined($chunks), [[1, 'abc'], [2, 'whole'], [1, '']], 'messages';
    is $chunks->[0][1], 'a', 'as they come';
    is_deeply $seen->order, [], 'not as each_message';
    isa_ok((my $message = do { my $m; $connection->on(message_chunk => sub { $m = $_[1]; WebSocketTest::poke() }); $peer->write(text('x')); wait_until('x', sub { $m }) }),
        'AnyEvent::WebSocket::Message');
};

subtest 'a frame larger than what is read at a time' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    my $chunks = chunks_of($connection);
    my $body = join '', map { pack 'N', $_ } 1 .. 500_000;
    $peer->write(binary($body, mask => 1));
    wait_until('the end', sub { @{ joined($chunks) } });
    ok joined($chunks)->[0][1] eq $body, 'arrives';
    cmp_ok((sort { $b <=> $a } map { length $_->[1] } @$chunks)[0], '<=', 128 * 1024, 'in chunks of what was read');
};

subtest 'many fragments' => sub {
    my ($connection, $peer) = connection_and_peer(max_fragments => 3, max_message_size => 1000);
    my $chunks = chunks_of($connection);
    my $seen = recorder($connection);
    $peer->write(text('a', fin => 0), (map { continuation('a', fin => 0) } 1 .. 500), continuation('a'));
    wait_until('the end', sub { @{ joined($chunks) } });
    is_deeply joined($chunks), [[1, 'a' x 502]], 'are no matter';
    $peer->write(text('b' x 600, fin => 0), continuation('b' x 401));
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/^Message is too big/, 'but their sum is';
};

subtest 'strict' => sub {
    my ($connection, $peer) = connection_and_peer(strict => 1, masked => 1);
    my $chunks = chunks_of($connection);
    my $seen = recorder($connection);
    $peer->write(text("a\xc3", fin => 0), continuation("\xa9"));
    wait_until('the end', sub { @{ joined($chunks) } });
    is_deeply joined($chunks), [[1, "a\xc3\xa9"]], 'a character across frames';
    $peer->write(text("a\xc3", fin => 0), continuation('a'));
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/UTF-8/, 'a broken one';
};

subtest 'taking the callback out' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @bodies;
    $connection->on(each_message => sub { push @bodies, $_[1]->body; WebSocketTest::poke() });
    my @chunks;
    my $cancel; $cancel = $connection->on(message_chunk => sub { push @chunks, $_[1]->body; $cancel->() });
    $peer->write(text('a', fin => 0), continuation('b'), text('c'));
    wait_until('c', sub { @bodies });
    is_deeply [\@chunks, \@bodies], [['a'], ['c']], 'takes effect at the next message';
};

subtest 'a callback that dies' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->on(message_chunk => sub { die "oops\n" });
    my $seen = recorder($connection);
    $peer->write(text('a'));
    $seen->wait_parse_error;
    is_deeply $seen->errors, ["oops\n"], 'as in each_message';
};

subtest 'pause between chunks' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @chunks;
    $connection->on(message_chunk => sub { push @chunks, $_[1]->body; $_[0]->pause; WebSocketTest::poke() });
    $peer->write(text('a', fin => 0), continuation('b'));
    wait_until('a', sub { @chunks });
    settle();
    is_deeply \@chunks, ['a'], 'holds the next';
    $connection->resume;
    wait_until('b', sub { @chunks == 2 });
    is_deeply \@chunks, ['a', 'b'], 'until resume';
};

subtest 'compressed' => sub {
    require AnyEvent::WebSocket::Deflate;
    my ($response, $server) = AnyEvent::WebSocket::Deflate::accept(AnyEvent::WebSocket::Deflate::offer());
    my $client = AnyEvent::WebSocket::Deflate::confirm($response);
    my ($left, $right) = connection_pair({ deflate => $server }, { deflate => $client, masked => 1 });
    my $chunks = chunks_of($left);
    my $body = join ' ', 1 .. 10_000;
    $right->send($body);
    wait_until('the end', sub { @{ joined($chunks) } });
    is_deeply joined($chunks), [[1, $body]], 'arrives';
    $right->send_fragment('plain ')->send_fragment('parts', final => 1);
    wait_until('the end', sub { @{ joined($chunks) } == 2 });
    is_deeply joined($chunks)->[1], [1, 'plain parts'], 'as do fragments, which are not compressed';
};

subtest 'compressed, and longer than max_message_size' => sub {
    my ($server) = agreed();
    my ($connection, $peer) = connection_and_peer(deflate => $server, max_message_size => 100_000);
    my $octets = 0;
    $connection->on(message_chunk => sub { $octets += length $_[1]->body });
    my $seen = recorder($connection);
    my @parts = sender(12)->('x' x 1_000_000) =~ /(.{1,60})/gs;
    my $first = compressed(shift @parts, fin => 0);
    my $last = frame(opcode => 0, payload => pop @parts);
    $peer->write(join '', $first, (map { frame(opcode => 0, fin => 0, payload => $_) } @parts), $last);
    eval { $seen->wait_parse_error(5) };
    cmp_ok $octets, '<=', 100_000, 'no more than that is handed on';
    like join('', @{ $seen->errors }), qr/max_message_size/, 'and it is refused';
};

subtest 'many chunks that take their time' => sub {
    my ($connection, $peer) = connection_and_peer();
    my ($count, $at_first_turn) = (0);
    my $timer;
    $connection->on(message_chunk => sub {
        $timer ||= AE::timer 0, 0, sub { $at_first_turn = $count };
        select undef, undef, undef, 0.005;
        WebSocketTest::poke() if ++$count == 200;
    });
    $peer->write(text('x') x 200);
    wait_until('all', sub { $count == 200 });
    cmp_ok $at_first_turn, '<', 100, 'leave the event loop its turns';
};

subtest 'mistakes' => sub {
    my ($connection) = connection_and_peer();
    for my $case (
        ['an unknown option of send_fragment', sub { $connection->send_fragment('x', fin => 1) }], ['of send_stream', sub { $connection->send_stream(sub { }, final => 1) }],
        ['no code', sub { $connection->send_stream('x') }], ['done that is none', sub { $connection->send_stream(sub { }, done => 1) }],
    ) {
        my ($name, $code) = @$case;
        ok !eval { $code->(); 1 }, "$name is an exception";
        like $@, qr/^send_(?:stream|fragment): .* at \Q${\ __FILE__}\E line/, 'at the caller\'s line';
    }
};

{
    package Unprintable;
    use overload '""' => sub { die "no string\n" }, fallback => 1;
}

for my $case (['a reference', {}, qr/^send_stream: the data/], ['an object that dies', bless({}, 'Unprintable'), qr/^no string$/]) {
    my ($name, $chunk, $error) = @$case;
    subtest "a stream whose code returns what cannot be sent: $name" => sub {
        my ($connection, $peer) = connection_and_peer();
        my (@done, $asked);
        my $lived = eval { $connection->send_stream(sub { $asked++ ? $chunk : 'x' }, done => sub { push @done, $_[1] }); 1 };
        ok !$lived, 'send_stream dies';
        like $@, $error, 'and says why';
        is_deeply \@done, ['the connection was closed'], 'done is called';
        is((close_of(($peer->frames_to_eof)[-1]))[0], 1011, 'the peer gets a Close frame');
    };
}

subtest 'a stream that ends while an outer call sends a part of it' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @parts = map { 'x' x 20 } 1 .. 12;
    my ($is_over, $asked_late, @done) = (0, 0);
    # The peer reads while a part is being sent, so the stream goes on inside the callback.
    $connection->handle->on_drain(sub { AnyEvent::WebSocket::Native::Events::call_back($connection, 'drain') if @parts == 6 });
    $connection->send_stream(
        sub { $asked_late++ if $is_over; my $part = shift @parts; $is_over++ if !defined $part; return $part },
        done => sub { push @done, $_[1]; poke() },
    );
    wait_until('the end of the stream', sub { @done });
    settle();
    is $asked_late, 0, 'no part is asked for after the end';
    is_deeply \@done, [undef], 'done is called once, without an error';
    is_deeply [map { length $_->{payload} } $peer->next_frames(13)], [(20) x 12, 0], 'the peer gets every part';
};

done_testing;
