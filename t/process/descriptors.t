# Tests that closing a descriptor behind the connection's back is an error, and that no byte ever goes to, or is taken from,
# whoever has its number now.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Fcntl qw(SEEK_SET);
use File::Temp;
use Test::More;
use WebSocketTest;

needs_plain_loop();

my $LARGE = 1_000_000;    # octets, more than a socket takes

sub ready {
    my ($connection, $peer) = connection_and_peer(@_);
    $peer->sync(mask => 1);
    return ($connection, $peer, recorder($connection));
}

# --- new owners of the number

my %taker = (
    file   => sub { my $file = File::Temp->new; sub { seek $file, 0, SEEK_SET; local $/; my $octets = <$file>; defined $octets ? $octets : '' } },
    socket => sub { my ($near, $far) = socket_pair(); sub { my $kept = $near; octets_from($far) } },
);

sub octets_from {
    my ($fh) = @_;
    my $bits = '';
    vec($bits, fileno $fh, 1) = 1;
    return '' unless select my $ready = $bits, undef, undef, 0;
    sysread $fh, my $octets, 1_000_000;
    return $octets;
}

# Has something take the number; returns a sub that reads what arrived there.
sub take_number {
    my ($number, $kind) = @_;
    my $look = $taker{$kind}->();
    return $look if grep { $_ == $number } numbers();
    die "the number $number is not taken\n";
}

sub numbers {
    opendir my $dir, '/proc/self/fd' or die "/proc/self/fd: $!";
    return grep { /\d/ } readdir $dir;
}

plan skip_all => 'needs /proc' unless -d '/proc/self/fd';

# --- ways to get rid of the descriptor, with things under way

my %under_way = (
    'nothing'               => sub { },
    'output that waits'     => sub { my ($connection, $peer) = @_; $peer->stall; $connection->send('x' x $LARGE) },
    'our Close'             => sub { my ($connection) = @_; $connection->close(4000) },
    'a Close that waits'    => sub { my ($connection, $peer) = @_; $peer->stall; $connection->send('x' x $LARGE)->close(4000) },
    'half a frame received' => sub { my ($connection, $peer) = @_; $peer->write(substr text('half'), 0, 3); settle() },
    'input that waits'      => sub { my ($connection, $peer) = @_; $peer->write(text('waits')) },
    'a close_timeout'       => sub { my ($connection) = @_; $connection->close },
    'on_drain'              => sub { my ($connection, $peer) = @_; $peer->stall; $connection->send('x' x $LARGE); $connection->handle->on_drain(sub { }) },
);

my %ridding = (
    'destroy'              => sub { $_[0]->handle->destroy },
    'finish'               => sub { my (undef, $peer, $seen) = @_; $peer->close; $_[0]->send('to nobody'); $seen->wait_finish },
    'close on the fh'      => sub { close $_[0]->handle->fh },
    'destroy, then forget' => sub { $_[0]->handle->destroy; undef $_[0] },
);

# Does what a program may still do with the connection. Returns an exception, or nothing.
sub use_it {
    my ($connection) = @_;
    return unless $connection;
    for my $code (sub { $connection->send('misdirected') }, sub { $connection->send('m' x 10_000) },
        sub { $connection->send(AnyEvent::WebSocket::Message->new(opcode => 9, body => 'ping')) },
        sub { $connection->close(4001, 'misdirected') })
    {
        eval { $code->(); 1 } or return $@;
    }
    return;
}

# Runs the code without AnyEvent's own complaints about a closed fh.
sub quietly {
    my ($code) = @_;
    no warnings 'once';
    local $SIG{__WARN__} = sub { };
    local $EV::DIED = sub { };
    return eval { $code->(); 1 };
}

# The pure-Perl loop cannot find the number of a watcher whose fh is closed.
my $can_close = loop() ne 'Perl';

for my $how (sort keys %ridding) {
    for my $what (sort keys %under_way) {
        next if $how eq 'close on the fh' && !$can_close;
        subtest "$how, with $what: who gets the number gets no byte" => sub {
            for my $kind (sort keys %taker) {
                my ($connection, $peer, $seen) = ready(close_timeout => 0.02);
                my $number = fileno $connection->handle->fh;
                $under_way{$what}->($connection, $peer);
                $ridding{$how}->($connection, $peer, $seen);
                my $look = take_number($number, $kind);
                quietly(sub { use_it($connection) });
                quietly(sub { $peer->resume if $peer->fh; after(0.03); settle() });
                is $look->(), '', "a $kind";
                undef $connection;
                quietly(\&settle);
                is $look->(), '', 'nor when the connection is gone';
                is_deeply [grep { !/waits/ } @{ $seen->bodies }], [], 'and no message comes from there';
            }
        };
    }
}

subtest 'replies that wait while the fh is closed, and its number taken, in a callback' => sub {
    plan skip_all => 'by design: not on this loop' unless $can_close;
    for my $masked (0, 1) {
        my ($connection, $peer) = ready(masked => $masked);
        my $look;
        $connection->on(each_message => sub {
            my ($self) = @_;
            $self->send('a reply');
            my $number = fileno $self->handle->fh;
            close $self->handle->fh if !$look;
            $look ||= take_number($number, 'socket');
            quietly(sub { $self->send('another') });
        });
        $peer->write(join '', map { text("$_", mask => 1) } 1 .. 4);
        quietly(\&settle);
        is $look->(), '', "masked $masked: nothing goes there";
    }
};

subtest 'who gets the number keeps its own input' => sub {
    my ($connection, $peer, $seen) = ready();
    my $number = fileno $connection->handle->fh;
    $connection->handle->destroy;
    my ($near, $far) = socket_pair();
    ok((grep { fileno $_ == $number } $near, $far), 'a socket has the number');
    syswrite $_, text('of others', mask => 1) for $near, $far;
    settle();
    is_deeply $seen->bodies, [], 'the connection reads nothing of it';
    is octets_from($_), text('of others', mask => 1), 'it is all there' for $near, $far;
};

# --- close(2) on the number, behind perl's back

for my $masked (0, 1) {
    subtest "a descriptor closed behind everybody's back, then send, masked $masked" => sub {
        my ($connection, $peer, $seen) = ready(masked => $masked);
        POSIX::close(fileno $connection->handle->fh);
        is $connection->send('into nothing'), $connection, 'send returns the connection';
        $seen->wait_finish;
        is $connection->send('again'), $connection, 'and goes on doing so';
        settle();
        is $seen->finished, 1, 'finish comes once';
        like +($seen->arguments('finish'))[0][1], qr/\S/, 'with an error';
        is $connection->close_error, ($seen->arguments('finish'))[0][1], 'which is close_error';
        $peer->wait_eof;
        is $peer->bytes, '', 'the peer gets nothing more';
    };
}

subtest "a descriptor closed behind everybody's back, inside a callback with replies that wait" => sub {
    my ($connection, $peer, $seen) = ready();
    $connection->on(each_message => sub { $_[0]->send('re'); POSIX::close(fileno $_[0]->handle->fh) if $_[1]->body eq '2' });
    $peer->write(join '', map { text("$_", mask => 1) } 1 .. 3);
    $seen->wait_finish;
    settle();
    is $seen->finished, 1, 'finish comes once';
    like $connection->close_error, qr/\S/, 'with an error';
};

subtest 'a large message when the descriptor is closed' => sub {
    my ($connection, $peer, $seen) = ready();
    POSIX::close(fileno $connection->handle->fh);
    is $connection->send('x' x $LARGE), $connection, 'send returns the connection';
    $seen->wait_finish;
    like $connection->close_error, qr/\S/, 'finish comes, with an error';
};

# A watcher of a closed descriptor would keep AnyEvent's own loop from seeing any other.
for my $case (
    ['drain', sub { my ($connection) = @_; $connection->on(drain => sub { }); $connection->send('x' x $LARGE) }],
    ['a stream', sub { my ($connection) = @_; $connection->send_stream(sub { 'x' x $LARGE }, done => sub { $_[0]{is_done} = 1 }) }],
    ['a ping', sub { my ($connection, $peer) = @_; $connection->send('x' x $LARGE); $peer->write(ping('p')); settle() }],
) {
    my ($name, $begin) = @$case;
    differs "destroy, while $name waits for a peer that does not read" => 'has none of that' => sub {
        for my $linger (0, 3600) {
            my ($other, $other_peer) = connection_and_peer();
            my $seen = recorder($other);
            my ($connection, $peer) = connection_and_peer(handle => { linger => $linger });
            $peer->stall;
            $begin->($connection, $peer);
            $connection->handle->destroy;
            $other_peer->write(text('message'));
            ok eval { $seen->wait_messages(1, 5); 1 }, "linger $linger: other connections receive" or diag $@;
            settle();
            ok $connection->{is_done}, 'the stream is done' if $name eq 'a stream';
        }
    };
}

done_testing;
