# Tests that after ten million messages and a hundred thousand connections, which end in every way there is, memory is what it
# was once all had occurred, and no descriptor stays open.
#
#   prove -bv xt/soak.t       takes ten minutes or more
#
# SOAK_MESSAGES and SOAK_CONNECTIONS are the numbers over ws; over wss, a twentieth of that is added. -v shows the memory, in
# KiB, after each tenth of a run.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../t/lib";
use List::Util qw(max min);
use Test::More;
use WebSocketTest;
use WebSocketTest::TLS;
use WebSocketTest::Usage;

plan skip_all => 'needs /proc, and no valgrind' unless resident();

my $MESSAGES    = $ENV{SOAK_MESSAGES}    || 10_000_000;
my $CONNECTIONS = $ENV{SOAK_CONNECTIONS} || 100_000;
my $LESS_TLS    = 20;

my $MOST_GROWTH = 1024;    # KiB, from the second tenth on: before that perl and malloc find their size
my $DAY         = 86_400;

alarm 0;
my $why_not = WebSocketTest::TLS::unavailable();

# --- the series

# Runs the code, which gets a sub to call with how much of $all is done, and tests the notes taken.
sub flat_ok {
    my ($all, $run) = @_;
    my (@memory, @files);
    my $note = sub {
        my ($done) = @_;
        while (@memory < 10 && $done >= $all * (1 + @memory) / 10) {
            push @memory, resident();
            push @files, descriptors();
        }
    };
    $run->($note);
    note "memory, KiB: @memory";
    is scalar @memory, 10, 'all of it was done';
    cmp_ok max(@memory[2 .. 9]) - $memory[1], '<', $MOST_GROWTH, 'growth after the second tenth, KiB';
    is max(@files), min(@files), 'descriptors';
}

# --- connections, in batches, each of which ends in one way

# The ends. Each sub gets the connections and their peers; finish then comes, except where the name says that it is silent.
my %end = (
    'our close'         => sub { my ($c, $p) = @_; $_->close(1000) for @$c; $_->wait_eof->write(close_frame(1000))->close for @$p },
    'their close'       => sub { my ($c, $p) = @_; $_->write(close_frame(1000, 'bye'))->half_close for @$p },
    'EOF'               => sub { my ($c, $p) = @_; $_->close for @$p },
    'reset'             => sub { my ($c, $p) = @_; $_->reset for @$p },
    'a violation'       => sub { my ($c, $p) = @_; $_->write(frame(opcode => 3))->half_close for @$p },
    'the close timeout' => sub { my ($c, $p) = @_; $_->close(4000) for @$c },
    'destroy (silent)'  => sub { my ($c, $p) = @_; $_->handle->destroy for @$c },
    'drop (silent)'     => sub { my ($c, $p) = @_; @$c = () },
);

sub batch_of {
    my ($count, $end) = @_;
    my $timeout = $end =~ /timeout/ ? 0.01 : 30;
    my (@connections, @peers);
    for (1 .. $count) {
        my ($connection, $peer) = connection_and_peer(tcp => $end eq 'reset', close_timeout => $timeout);
        push @connections, $connection;
        push @peers, $peer->write(text('the only message'));
    }
    live_and_end($end, \@connections, sub { $end{$end}->(\@connections, \@peers) });
    $_->wait_eof($DAY) for grep { $_->fh && $end !~ /EOF|reset/ } @peers;
    $_->close for @peers;
}

# Here both ends are connections; each sub gets ours and the peers'.
my %secure_end = (
    'our close'      => sub { $_->close(1000) for @{ $_[0] } },
    'their close'    => sub { $_->close(1000) for @{ $_[1] } },
    'EOF'            => sub { @{ $_[1] } = () },
    'reset'          => sub { $_->handle->destroy for @{ $_[1] } },
    'a violation'    => sub { $_->handle->push_write(frame(opcode => 3)) for @{ $_[1] } },
    'drop (silent)'  => sub { @{ $_[0] } = () },
);

sub secure_batch_of {
    my ($count, $end) = @_;
    my (@connections, @peers);
    for (1 .. $count) {
        my ($left, $right) = tcp_pair();
        push @connections, connection_on($left, handle => { shared_tls_options('accept') });
        push @peers, connection_on($right, masked => 1, handle => { shared_tls_options('connect') })->send('the only message');
    }
    live_and_end($end, \@connections, sub { $secure_end{$end}->(\@connections, \@peers) });
}

sub live_and_end {
    my ($end, $connections, $come) = @_;
    my ($count, $echoed, $finished) = (scalar @$connections, 0, 0);
    for my $connection (@$connections) {
        $connection->on(each_message => sub { $_[0]->send($_[1]); poke() if ++$echoed == $count });
        $connection->on(finish => sub { poke() if ++$finished == $count });
    }
    wait_until("the messages ($end)", sub { $echoed == $count }, $DAY);
    $come->();
    wait_until("the end ($end)", sub { $finished == $count }, $DAY) unless $end =~ /silent/;
}

# Runs a batch, and waits until all its descriptors are closed.
sub alone {
    my ($batch, @arguments) = @_;
    my $before = descriptors();
    $batch->(@arguments);
    for (1 .. 1000) { return if descriptors() <= $before; settle() }
}

for ([ws => $CONNECTIONS, \&batch_of, sort keys %end], [wss => $CONNECTIONS / $LESS_TLS, \&secure_batch_of, sort keys %secure_end]) {
    my ($scheme, $count, $batch, @ends) = @$_;
    subtest "$count connections, $scheme: " . join(', ', @ends) => sub {
        plan skip_all => $why_not if $scheme eq 'wss' && $why_not;
        my $size = max(1, min(50, int $count / 10 / @ends));
        flat_ok($count, sub {
            my ($note) = @_;
            for (my $done = 0; $done < $count;) {
                alone($batch, $size, $_), $note->($done += $size) for @ends;
            }
        });
    };
}

# --- messages

# The peer, a separate process: writes a burst of frames, and the next when all of them have come back unchanged.
my $peer = <<'PROGRAM';
    use strict;
    use warnings;
    use AnyEvent;
    use AnyEvent::Handle;
    use WebSocketTest::TLS;
    my ($fd, $tls, $count, $size, @sizes) = @ARGV;
    open my $fh, '+<&=', $fd or die "cannot open: $!";
    my $burst = join '', map { WebSocketTest::Frame::binary(chr($_ % 256) x $sizes[$_ % @sizes]) } 1 .. $size;
    my $done = AE::cv;
    my $handle = AnyEvent::Handle->new(fh => $fh, $tls ? tls_options('connect') : ());
    $handle->on_error(sub { $done->croak($_[2]) });
    $handle->on_read(sub {
        return if length $_[0]{rbuf} < length $burst;
        $_[0]{rbuf} eq $burst or die "the echo is not what was sent\n";
        $_[0]{rbuf} = '';
        ($count -= $size) > 0 ? $_[0]->push_write($burst) : $done->send;
    });
    $handle->push_write($burst);
    $done->recv;
PROGRAM

my %sizes = (
    'small'        => [0 .. 16, 125, 126],
    'of all sizes' => [(map { 2**$_ } 0 .. 13), 125 .. 128, 65_535, 65_536, (40) x 100],
);

sub echo {
    my ($tls, $count, $sizes) = @_;
    flat_ok($count, sub { exchange($tls, $count, $sizes, @_) });
}

sub exchange {
    my ($tls, $count, $sizes, $note) = @_;
    my $burst = $count < 10_000 ? 100 : 1000;
    my ($left, $right) = tcp_pair();
    my $pid = spawn_perl($right, $peer, $tls, $count, $burst, @$sizes);
    close $right;
    my $connection = connection_on($left, handle => { no_delay => 1, $tls ? tls_options('accept') : () });
    my ($echoed, $finished) = (0, 0);
    $connection->on(each_message => sub { $_[0]->send($_[1]); $note->($echoed) if ++$echoed % $burst == 0 });
    $connection->on(finish => sub { $finished++; poke() });
    wait_until('the end', sub { $finished }, $DAY);
    is reap($pid), 0, 'the peer has had all of it back';
}

# The memory of large messages is kept for the next ones, up to a bound, which these reach soon.
subtest 'to begin with' => sub {
    exchange(0, 5000, [4096, 5000, 20_000], sub { });
    exchange(1, 30_000, $sizes{'of all sizes'}, sub { }) unless $why_not;
};

for my $tls (0, 1) {
    for my $name (sort keys %sizes) {
        my $count = $MESSAGES / 2 / ($tls ? $LESS_TLS : 1);
        subtest "$count messages, $name, " . ($tls ? 'wss' : 'ws') => sub {
            plan skip_all => $why_not if $tls && $why_not;
            echo($tls, $count, $sizes{$name});
        };
    }
}

done_testing;
