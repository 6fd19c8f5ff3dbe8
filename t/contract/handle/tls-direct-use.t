# Tests that direct use of the handle, nested event loops and stalled peers work with TLS.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use WebSocketTest::TLS;

my $why_not = WebSocketTest::TLS::unavailable();
plan skip_all => $why_not if $why_not;

# Returns a connection and the raw handle on the other side, after the handshake. The raw side notes bytes and EOF.
sub ready {
    my (%args) = @_;
    my ($server, $client) = tls_handles(delete $args{handle});
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $server, %args);
    my $raw = _raw($client);
    my $seen = recorder($connection);
    raw_write($raw, ping('ready'));
    next_frame($raw);
    return ($connection, $raw, $seen);
}

sub _raw {
    my ($handle) = @_;
    my $raw = { handle => $handle, in => '', eof => 0 };
    my $end = sub { $raw->{eof} = 1; $_[0]->destroy; poke() };
    $handle->on_eof($end);
    $handle->on_error($end);
    $handle->on_read(sub { $raw->{in} .= $_[0]{rbuf}; $_[0]{rbuf} = ''; poke() });
    return $raw;
}

sub next_frame {
    my ($raw, $seconds) = @_;
    my $frame;
    wait_until('a frame', sub { ($frame = decode_frame(\$raw->{in})) || $raw->{eof} }, $seconds);
    return $frame;
}

sub next_payload { my $frame = next_frame(@_); return $frame && $frame->{payload} }

sub raw_write { my ($raw, @frames) = @_; $raw->{handle}->push_write(join '', @frames) }

subtest 'push_write among sends' => sub {
    my ($connection, $raw) = ready();
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        $self->send('send ' . $message->body);
        $self->handle->push_write(text('raw ' . $message->body));
    });
    raw_write($raw, map { text($_), ping("ping $_") } 1 .. 20);
    is_deeply [map { next_payload($raw) } 1 .. 60], [map {; "send $_", "raw $_", "ping $_" } 1 .. 20], 'keeps its place';
};

subtest 'a callback that replaces a method of the handle, while a reply waits' => sub {
    my ($connection, $raw) = ready();
    my $original = AnyEvent::Handle->can('on_read');
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        no warnings 'redefine';
        *AnyEvent::Handle::on_read = sub { $original->(@_) } if $message->body eq 20;
        $self->send($message) if $message->body ne 20;
    });
    raw_write($raw, map { text($_) } 1 .. 20);
    is_deeply [map { next_payload($raw) } 1 .. 19], [1 .. 19], 'does not hold it back';
    no warnings 'redefine';
    *AnyEvent::Handle::on_read = $original;
};

subtest 'a callback that makes the slot of the session local, while replies wait' => sub {
    my ($connection, $raw) = ready();
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        { local $self->handle->{tls} = $self->handle->{tls} for 1 .. 3 }
        $self->send($message);
    });
    raw_write($raw, map { text($_) } 1 .. 20);
    is_deeply [map { next_payload($raw) } 1 .. 20], [1 .. 20], 'gets its replies out';
    raw_write($raw, map { text($_) } 1 .. 20);
    is_deeply [map { next_payload($raw) } 1 .. 20], [1 .. 20], 'also later';
};

subtest 'a peer that does not read, with 10 MB queued' => sub {
    my ($connection, $raw) = ready();
    $raw->{handle}->stop_read;
    my @bodies = map { $_ x 1_000_000 } 'a' .. 'j';
    $connection->send($_) for @bodies;
    $connection->close(4000);
    settle();
    $raw->{handle}->start_read;
    is_deeply [grep { next_payload($raw, 30) ne $bodies[$_] } 0 .. 9], [], 'all arrives, in order';
    is_deeply [close_of(next_frame($raw))], [4000, ''], 'the Close comes last';
    wait_until('EOF', sub { $raw->{eof} });
};

subtest 'messages of many sizes, sent before the handshake and after it' => sub {
    my ($server, $client) = tls_handles();
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $server);
    my $raw = _raw($client);
    # A TLS record has at most 16384 bytes, and the headers of these frames have 4 or 10.
    my @bodies = map { join '', map { chr 65 + $_ % 26 } 1 .. $_ } 40_000, 16_379 .. 16_381, 32_764, 32_765, 65_536, 100_000, 5;
    for my $when ('before', 'after') {
        $connection->send($_) for @bodies;
        is_deeply [grep { next_payload($raw) ne $bodies[$_] } 0 .. $#bodies], [], $when;
    }
};

subtest 'out of scope with much queued' => sub {
    my ($connection, $raw) = ready();
    $raw->{handle}->stop_read;
    $connection->send('x' x 3_000_000)->send('last');
    undef $connection;
    settle();
    $raw->{handle}->start_read;
    is_deeply [map { length next_payload($raw) } 1, 2], [3_000_000, 4], 'goes out';
    wait_until('EOF', sub { $raw->{eof} });
};

subtest 'stop_read and start_read' => sub {
    my ($connection, $raw, $seen) = ready();
    $connection->handle->stop_read;
    raw_write($raw, text('1'), text('2'));
    settle();
    is_deeply $seen->bodies, [], 'stopped: nothing is delivered';
    $connection->handle->start_read;
    is_deeply $seen->wait_messages(2)->bodies, ['1', '2'], 'started: all is';
};

subtest 'push_read while connected' => sub {
    my ($connection, $raw, $seen) = ready();
    my $chunk;
    $connection->handle->push_read(chunk => 6, sub { $chunk = $_[1] });
    raw_write($raw, '<raw!>', text('a frame'));
    is_deeply $seen->wait_messages(1)->bodies, ['a frame'], 'the connection gets its frame';
    is $chunk, '<raw!>', 'the read request its bytes';
};

subtest 'replacing on_read' => sub {
    my ($connection, $raw, $seen) = ready();
    my $bytes = '';
    $connection->handle->on_read(sub { $bytes .= $_[0]{rbuf}; $_[0]{rbuf} = ''; poke() });
    raw_write($raw, 'raw bytes');
    wait_until('the bytes', sub { $bytes eq 'raw bytes' });
    is_deeply $seen->order, [], 'the connection sees nothing any more';
};

subtest 'destroy in a callback' => sub {
    my ($connection, $raw, $seen) = ready();
    $connection->on(next_message => sub { $_[0]->send('last words'); $_[0]->handle->destroy; $_[0]->send('too late') });
    raw_write($raw, map { text($_) } 1 .. 20);
    is next_payload($raw), 'last words', 'what was sent before goes out';
    wait_until('EOF', sub { $raw->{eof} });
    is $connection->send('x')->close, $connection, 'the connection does nothing any more';
};

subtest 'push_shutdown in a callback, after sends there' => sub {
    my ($connection, $raw, $seen) = ready();
    $connection->on(next_message => sub { $_[0]->send("word $_") for 1 .. 3; $_[0]->handle->push_shutdown });
    raw_write($raw, text('1'), text('2'));
    is_deeply [map { next_payload($raw) } 1 .. 3], ['word 1', 'word 2', 'word 3'], 'the sends go out';
    wait_until('EOF', sub { $raw->{eof} });
};

subtest 'die in a callback' => sub {
    my ($connection, $raw, $seen) = ready();
    $connection->on(next_message => sub { $_[0]->send('before'); die "thrown\n" });
    raw_write($raw, text('1'), text('2'));
    $seen->wait_parse_error;
    is_deeply $seen->errors, ["thrown\n"], 'goes to parse_error';
    is next_payload($raw), 'before', 'what was sent before goes out';
    wait_until('EOF', sub { $raw->{eof} });
};

subtest 'recv in a callback, messages behind the current one' => sub {
    my ($connection, $raw, $seen) = ready();
    $connection->on(next_message => sub { after(0.01) });
    raw_write($raw, map { text($_) } 1 .. 50);
    is_deeply $seen->wait_messages(50)->bodies, [1 .. 50], 'each is delivered once, in order';
};

subtest 'on_drain' => sub {
    my ($connection, $raw) = ready();
    $raw->{handle}->stop_read;
    my $drained = 0;
    $connection->send('x' x 5_000_000);
    $connection->handle->on_drain(sub { $drained++; poke() });
    settle();
    is $drained, 0, 'is not called while the queue is full';
    $raw->{handle}->start_read;
    wait_until('on_drain', sub { $drained });
    is length next_payload($raw), 5_000_000, 'but when it is empty';
};

subtest 'rtimeout' => sub {
    my ($connection, $raw, $seen) = ready();
    my $fired = 0;
    $connection->handle->on_rtimeout(sub { $fired++; $_[0]->rtimeout(0); poke() });
    $connection->handle->rtimeout(0.5 * patience());
    for (1 .. 6) { after(0.12 * patience()); raw_write($raw, text('x')) }
    is $fired, 0, 'messages keep it off';
    wait_until('rtimeout', sub { $fired });
    is scalar $seen->messages, 6, 'when they end, it fires';
};

subtest 'a peer that goes without a word' => sub {
    my ($connection, $raw, $seen) = ready();
    raw_write($raw, text('last'));
    $raw->{handle}->destroy;
    $seen->wait_finish;
    settle();
    is_deeply $seen->order, ['message', 'finish'], 'message and finish, once';
};

subtest 'what is no TLS' => sub {
    my ($connection, $raw, $seen) = ready();
    syswrite $raw->{handle}->fh, 'this is no TLS record at all' x 10;
    $seen->wait_finish;
    is $seen->finished, 1, 'finish, once';
    ok length $connection->close_error, 'with an error';
};

subtest 'EOF in the middle of the handshake' => sub {
    my ($left, $right) = socket_pair();
    my $connection = connection_on($left, handle => { tls_options('accept') });
    my $seen = recorder($connection);
    $connection->send('never seen');
    close $right;
    $seen->wait_finish;
    is $seen->finished, 1, 'finish, once';
};

# Replies may be held back, to be encrypted together. They must precede whatever a callback does to the session.
my %act = (
    'push_write'      => [sub { $_[0]->handle->push_write(text('raw')) }, 'raw', 19],
    'a look'          => [sub { my $session = $_[0]->handle->{tls}; }, undef, 19],
    'stoptls'         => [sub { $_[0]->handle->stoptls }, undef, 10],
    'destroy'         => [sub { $_[0]->handle->destroy }, undef, 10],
    'die'             => [sub { die "thrown\n" }, undef, 10],
    'close'           => [sub { $_[0]->close }, undef, 10],
    'a send before more work' => [sub { $_[0]->send('sent'); my $sum = 0; $sum += $_ for 1 .. 10 }, 'sent', 19],
    'a new on_read'   => [sub { $_[0]->handle->on_read(sub { }) }, undef, 10],
    'nested loop'     => [sub { after(0.01) }, undef, 19],
);
for my $name (sort keys %act) {
    subtest "$name behind replies that wait" => sub {
        my ($act, $answer, $at_least) = @{ $act{$name} };
        my ($connection, $raw) = ready();
        my $count = 0;
        $connection->on(each_message => sub {
            return $act->($_[0]) if ++$count == 11;
            $_[0]->send($_[1]->body);
        });
        raw_write($raw, map { text($_) } 1 .. 20);
        my @expected = (1 .. 10, $answer // (), 12 .. 20);
        my @got;
        while (@got < @expected) {
            my $frame = next_frame($raw) or last;
            push @got, $frame->{payload} if $frame->{opcode} == 1;
        }
        is_deeply \@got, [@expected[0 .. $#got]], 'all arrives in order';
        cmp_ok scalar @got, '>=', $at_least, 'what was sent before arrives';
    };
}

my $exiting = <<'PROGRAM';
    use WebSocketTest;
    use WebSocketTest::TLS;
    open my $fh, '+<&=', shift or die "cannot open: $!";
    my $connection = connection_on($fh, handle => { tls_options('accept') });
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body); exit if $_[1]->body == 3 });
    recorder($connection)->wait_finish;
PROGRAM

subtest 'exit in a callback' => sub {
    my ($left, $right) = tcp_pair();
    my $pid = spawn_perl($left, $exiting);
    close $left;
    my $raw = _raw(AnyEvent::Handle->new(fh => $right, tls_options('connect')));
    raw_write($raw, map { text($_) } 1 .. 6);
    is_deeply [map { next_payload($raw) } 1 .. 3], ['re: 1', 're: 2', 're: 3'], 'what was sent arrives';
    is next_frame($raw), undef, 'then EOF';
    is reap($pid), 0, 'clean exit';
};

subtest 'many connections at once' => sub {
    my @ready = map { [ready()] } 1 .. 10;
    for my $three (@ready) { $three->[0]->on(each_message => sub { $_[0]->send($_[1]) }); raw_write($three->[1], map { text($_ x 1000) } 1 .. 9) }
    my @wrong;
    for my $three (@ready) { push @wrong, grep { next_payload($three->[1]) ne $_ x 1000 } 1 .. 9 }
    is_deeply \@wrong, [], 'do not mix';
};

for my $how (qw(destroy stoptls)) {
    subtest "$how by a callback of a second connection on the handle" => sub {
        my ($first, $raw) = ready();
        $first->on(each_message => sub { my ($self, $message) = @_; $self->send($message) });
        raw_write($raw, map { text($_) } 1 .. 5);
        next_payload($raw) for 1 .. 5;
        my $second = AnyEvent::WebSocket::Connection->new(handle => $first->handle);
        $second->on(each_message => sub {
            my ($self, $message) = @_;
            return $self->handle->$how if $message->body eq 'end';
            $self->send($message);
        });
        settle();
        raw_write($raw, map { text($_) } 6 .. 9, 'end');
        is_deeply [map { next_payload($raw) } 6 .. 9], [6 .. 9], 'comes after its replies';
    };
}

done_testing;
