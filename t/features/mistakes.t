# Tests that each mistake is an exception or a warning, at the caller's line, that says what is right.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use AnyEvent::Log;
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original takes all of these in silence' if is_original();

my $class = 'AnyEvent::WebSocket::Connection';

sub handle { AnyEvent::Handle->new(fh => (socket_pair())[0], on_error => sub { }) }

# Tests that the code, written on one line, warns once, at its line.
sub warns_here {
    my ($name, $code, $text) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($file, $line) = (caller)[1, 2];
    my $warnings = warnings_of($code);
    is @$warnings, 1, "$name: one warning" or return diag @$warnings;
    like $warnings->[0], $text, 'which says why';
    like $warnings->[0], qr/ at \Q$file\E line $line\.$/, 'at the line of the caller';
}

subtest 'attributes whose names are slips' => sub {
    my %slip = (
        max_payload_sise => 'max_payload_size', max_mesage_size => 'max_message_size', ping_intervall => 'ping_interval',
        mask => 'masked', strickt => 'strict', idle_time_out => 'idle_timeout', defalte => 'deflate', close_tiemout => 'close_timeout',
        max_fragment => 'max_fragments', max_bufferd_amount => 'max_buffered_amount',
    );
    for my $name (sort keys %slip) {
        my $handle = handle();
        warns_here($name, sub { $class->new(handle => $handle, $name => 5) }, qr/\Q$class\E has no attribute $name, .*did you mean $slip{$name}\?/);
    }
    my $again = sub { $class->new(handle => handle(), max_payload_sise => 5) };
    is @{ warnings_of(sub { $again->() for 1 .. 3 }) }, 1, 'once for each place';
};

subtest 'attributes that the original has always ignored' => sub {
    my @foreign = map { $_ => 1 } qw(name url user_data on_message timeout tls fh id parent log debug size);
    is_deeply warnings_of(sub { $class->new(handle => handle(), @foreign) }), [], 'are ignored';
    { package WithMask; use Moo; extends 'AnyEvent::WebSocket::Connection'; has mask => (is => 'ro'); has pings => (is => 'ro') }
    is_deeply warnings_of(sub { WithMask->new(handle => handle(), mask => 1, pings => 2) }), [], 'and so are those of a subclass';
};

subtest 'references where text is wanted' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @wrong = ({}, [], \'x', sub { }, bless({}, 'Any'));
    for my $wrong (@wrong) {
        my $text = qr/ must be a string, not (?:a reference to \w|an object of Any)/;
        croaks_here("send_text(" . ref($wrong) . ')', sub { $connection->send_text($wrong) }, qr/^send_text: the text$text/);
        croaks_here("send_binary(" . ref($wrong) . ')', sub { $connection->send_binary($wrong) }, qr/^send_binary: the octets$text/);
        croaks_here("ping(" . ref($wrong) . ')', sub { $connection->ping($wrong) }, qr/^ping: the payload$text/);
        croaks_here("send_fragment(" . ref($wrong) . ')', sub { $connection->send_fragment($wrong) }, qr/^send_fragment: the data$text/);
    }
    { package Text; use overload '""' => sub { 'text' }, fallback => 1 }
    my $object = bless [], 'Text';
    $connection->send_text($object)->send_binary($object)->ping($object);
    is_deeply [map { $_->{payload} } $peer->sync], [('text') x 3], 'objects that are meant to be strings may be sent';
};

subtest 'send_json with more than one value' => sub {
    my ($connection, $peer) = connection_and_peer();
    croaks_here('a list', sub { $connection->send_json(a => 1) }, qr/^send_json takes one value/);
    croaks_here('nothing', sub { $connection->send_json }, qr/^send_json takes one value/);
    is_deeply [$peer->sync], [], 'nothing is sent';
};

subtest 'send_json in the middle of fragments' => sub {
    my ($connection) = connection_and_peer();
    $connection->send_fragment('x');
    croaks_here('send_json', sub { $connection->send_json([1]) }, qr/a message is being sent in fragments/);
    croaks_here('send_text', sub { $connection->send_text('x') }, qr/a message is being sent in fragments/);
    croaks_here('send_binary', sub { $connection->send_binary('x') }, qr/a message is being sent in fragments/);
    croaks_here('send', sub { $connection->send('x') }, qr/a message is being sent in fragments/);
};

subtest 'broadcast' => sub {
    my ($connection, $peer) = connection_and_peer();
    croaks_here('except is an array', sub { $class->broadcast([$connection], 'x', except => [$connection]) }, qr/^broadcast: except must be a connection/);
    croaks_here('except is a string', sub { $class->broadcast([$connection], 'x', except => 'x') }, qr/^broadcast: except must be a connection/);
    my $text = qr/^broadcast: there is no option exept; the options are except and max_buffered_amount/;
    croaks_here('an option that is none', sub { $class->broadcast([$connection], 'x', exept => $connection) }, $text);
    is_deeply [$peer->sync], [], 'nothing is sent';
};

subtest 'close codes that must not be sent' => sub {
    for my $code (1004, 1006, 1015, 1016, 2000, 2999) {
        my ($connection, $peer) = connection_and_peer();
        warns_here("close($code)", sub { $connection->close($code, 'why') }, qr/^close: $code is a code that must not be sent/);
        is_deeply [close_of($peer->next_frame)], [$code, 'why'], 'and goes out as before';
    }
    for my $code (1000 .. 1003, 1007 .. 1014, 3000, 3999, 4000, 4999) {
        my ($connection, $peer) = connection_and_peer();
        is_deeply warnings_of(sub { $connection->close($code) }), [], "close($code): no warning";
    }
    my ($connection, $peer) = connection_and_peer();
    is_deeply warnings_of(sub { $connection->close }), [], 'nor for close without a code';
    ($connection, $peer) = connection_and_peer();
    is_deeply warnings_of(sub { $peer->write(close_frame(1006)); $peer->frames_to_eof }), [], 'nor when a peer has sent one';
    ($connection, $peer) = connection_and_peer();
    warns_here('a reason that is a reference', sub { $connection->close(1000, {}) }, qr/^close: the reason is a reference/);
    croaks_here('close(999)', sub { (connection_and_peer())[0]->close(999) }, qr/^close: 999 is not a close code, which is a whole number from 1000 to 4999/);
};

subtest 'read-only attributes' => sub {
    my ($connection) = connection_and_peer();
    for my $name (qw(handle masked subprotocol)) {
        croaks_here("$name(1)", sub { $connection->$name(1) }, qr/^$name is read-only: it can only be given to new/);
    }
    croaks_here('deflate(1)', sub { $connection->deflate(1) }, qr/^deflate is read-only: it can be given to new, or to enable_deflate/);
};

subtest 'what is valid is listed' => sub {
    my ($connection) = connection_and_peer();
    my $events = 'drain, each_message, finish, message_chunk, next_message, parse_error, ping and pong';
    croaks_here("on('message')", sub { $connection->on(message => sub { }) }, qr/^unrecognized event: message; the events are $events at/);
    croaks_here('send_fragment', sub { $connection->send_fragment('x', finale => 1) }, qr/^send_fragment: there is no option finale; the options are binary and final/);
    croaks_here('send_stream', sub { $connection->send_stream(sub { }, dune => 1) }, qr/^send_stream: there is no option dune; the options are binary and done/);
    my ($socket) = socket_pair();
    croaks_here('a socket as handle', sub { $class->new(handle => $socket) }, qr/^handle must be an AnyEvent::Handle: make one of this file handle with AnyEvent::Handle->new\(fh => \.\.\.\)/);
    croaks_here('no handle at all', sub { $class->new(handle => 'x') }, qr/^handle must be an AnyEvent::Handle at/);
    croaks_here('a class method', sub { $class->send('x') }, qr/^not an AnyEvent::WebSocket::Connection: call this on what connect or establish has returned/);
};

subtest 'compression' => sub {
    require AnyEvent::WebSocket::Deflate;
    my ($connection) = connection_and_peer();
    croaks_here('enable_deflate(undef)', sub { $connection->enable_deflate(undef) }, qr/^enable_deflate: compression takes what accept or confirm .* returned, and only if/);
    my $handle = handle();
    croaks_here('deflate => 1', sub { $class->new(handle => $handle, deflate => 1) }, qr/^deflate: compression takes/);
    croaks_here('an option', sub { AnyEvent::WebSocket::Deflate::offer(levle => 1) }, qr/^offer: there is no option levle; the options are client_max_window_bits, .* and threshold/);
    plan skip_all => 'AnyEvent::WebSocket::Client is not installed' if !eval { require AnyEvent::WebSocket::Deflate::Client };
    my $client = 'AnyEvent::WebSocket::Deflate::Client';
    croaks_here('deflate of the client', sub { $client->new(deflate => 1) }, qr/^deflate must be a reference to a hash of options/);
    warns_here('a slip', sub { $client->new(defalte => {}) }, qr/has no attribute defalte, .*did you mean deflate\?/);
};

# --- errors that nobody saw

subtest 'a connection on a handle that has been destroyed' => sub {
    my $handle = handle();
    $handle->destroy;
    my $connection = $class->new(handle => $handle);
    my @finish = next_event('finish', sub { $connection->on(finish => $_[0]) });
    is_deeply \@finish, [$connection, 'the handle had been destroyed already'], 'has its finish';
    is $connection->state, 'closed', 'and is closed';
    is $connection->close_error, $finish[1], 'with an error';
};

subtest 'finish registered after the end' => sub {
    for my $case (['EOF', sub { $_[0]->close }, undef], ['a reset', sub { $_[0]->reset }, do { local $! = Errno::ECONNRESET(); "$!" }]) {
        my ($name, $end, $error) = @$case;
        my ($connection, $peer) = connection_and_peer(tcp => 1);
        my $seen = recorder($connection);
        $end->($peer);
        $seen->wait_finish;
        my @late;
        my $in_order = sub { my $name = shift; sub { push @late, [$name, @_]; poke() } };
        $connection->on(finish => $in_order->($_)) for 1, 2;
        $connection->on(finish => $in_order->('taken back'))->();
        is_deeply \@late, [], "$name: not at once";
        wait_until('finish', sub { @late >= 2 });
        settle();
        is_deeply \@late, [[1, $connection, $error], [2, $connection, $error]], 'but from the event loop, each once, in order';
        is $seen->finished, 1, 'the others are not called again';
    }
};

subtest 'finish registered in finish' => sub {
    my ($connection, $peer) = connection_and_peer();
    my @order;
    $connection->on(finish => sub { push @order, 'first'; $_[0]->on(finish => sub { push @order, 'second'; poke() }) });
    $peer->close;
    wait_until('both', sub { @order == 2 });
    settle();
    is_deeply \@order, ['first', 'second'], 'is called, once';
};

subtest 'close in finish and in parse_error' => sub {
    for my $event (qw(finish parse_error)) {
        my ($connection, $peer) = connection_and_peer();
        my @seen;
        $connection->on($event => sub { push @seen, eval { $_[0]->close; 1 } ? $event : $@; poke() });
        $event eq 'finish' ? $peer->close : $peer->write(frame(rsv => 2));
        wait_until($event, sub { @seen });
        settle();
        is_deeply \@seen, [$event], $event;
    }
};

# --- variables of the environment

sub output_with {
    my ($env, $program) = @_;
    my ($out) = run_perl($env, 'BEGIN { open STDERR, ">&", STDOUT; $| = 1 } use AnyEvent::WebSocket::Connection;' . ($program || ''));
    return $out;
}

subtest 'variables of the environment' => sub {
    like output_with({ ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE => 'abc' }, 'print "code $AnyEvent::WebSocket::Connection::DEFAULT_CLOSE_CODE"'),
        qr/^ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE is 'abc', which is not a close code, and is ignored\ncode 1005$/, 'a close code that is none';
    is output_with({ ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE => 1000 }), '', 'a good one';
    for my $name (qw(PP STRICT TRACE)) {
        like output_with({ "ANYEVENT_WEBSOCKET_$name" => $_, WEBSOCKET_TEST_BACKEND => '' }),
            qr/^ANYEVENT_WEBSOCKET_$name is '$_', which switches it on; to switch it off, set it to 0 or unset it/, "ANYEVENT_WEBSOCKET_$name=$_"
            for qw(no OFF false);
        is output_with({ "ANYEVENT_WEBSOCKET_$name" => 0 }), '', "ANYEVENT_WEBSOCKET_$name=0";
        # If the original is not installed, the output says that instead.
        unlike output_with({ "ANYEVENT_WEBSOCKET_$name" => 1 }), qr/switches it on/, "ANYEVENT_WEBSOCKET_$name=1";
    }
};

# --- which of the two is loaded

my ($original) = grep { -e "$_/AnyEvent/WebSocket/Client.pm" && !m{/blib/} } @INC;

sub with_original_first {
    my ($env, $program) = @_;
    return run_perl($env, "BEGIN { unshift \@INC, '$original'; open STDERR, '>&', STDOUT } $program");
}

subtest 'the original first in @INC' => sub {
    plan skip_all => 'AnyEvent::WebSocket::Client is not installed' if !$original;
    my %env = (WEBSOCKET_TEST_BACKEND => '');
    my ($out) = with_original_first(\%env, 'use AnyEvent::WebSocket::Native; print AnyEvent::WebSocket::Native->backend,
        AnyEvent::WebSocket::Connection->backend');
    is $out, 'rustrust', 'use AnyEvent::WebSocket::Native comes before it';
    ($out) = with_original_first(\%env, 'require AnyEvent::WebSocket::Native; print AnyEvent::WebSocket::Native->backend');
    is $out, 'pp', 'backend tells that the original is loaded';
    ($out) = with_original_first(\%env, 'require AnyEvent::WebSocket::Native; print AnyEvent::WebSocket::Native->report');
    like $out, qr{^runs on the original, since \Q$original\E/AnyEvent/WebSocket/Connection\.pm comes first in \@INC: put 'use AnyEvent::WebSocket::Native;' before}, 'report tells why';
    ($out) = with_original_first(\%env, 'use AnyEvent::WebSocket::Connection; require AnyEvent::WebSocket::Native; AnyEvent::WebSocket::Native->import;');
    like $out, qr{^the original's AnyEvent/WebSocket/Message\.pm was loaded before AnyEvent::WebSocket::Native, and stays in use at}, 'too late is warned of';
    ($out) = with_original_first({ %env, ANYEVENT_WEBSOCKET_PP => 1 }, 'use AnyEvent::WebSocket::Native; print AnyEvent::WebSocket::Native->report');
    like $out, qr/^runs on the original, since ANYEVENT_WEBSOCKET_PP is set\n/, 'the fallback works there, too';
};

subtest 'report' => sub {
    like output_with({}, 'print AnyEvent::WebSocket::Native->report'),
        qr{^runs on the native engine\nAnyEvent::WebSocket::Connection is /.*Connection\.pm\nAnyEvent::WebSocket::Native \d\.\d+ is /.*Native\.pm\nperl v5\.}, 'for our own';
};

done_testing;
