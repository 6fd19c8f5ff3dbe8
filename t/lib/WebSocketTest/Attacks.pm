package WebSocketTest::Attacks;

# Attacks by peers on our memory or our time, each of any size, with bounds on what they may cost.
#
#   for my $attack (attacks()) {
#       my $cost = besiege($attack, $attack->{short});     # that of WebSocketTest::Siege, and in addition:
#       $cost->{again}      # the growth in memory when the same attack is repeated, KiB: a leak of the first
#       $cost->{outcome}    # the reported events, which should be $attack->{outcome}
#   }
#
# and, where peers come and go,
#       $cost->{alive}      # the largest number at once
#       $cost->{rate}       # the number per second, which on a slow machine is lower than wanted
#
# An attack has
#   name, unit     the unit of `short`, the size for a test, and `full`, the size for the figures
#   grown          a sub of the size and the cost: the most memory that it may take while it lasts, KiB
#   cpu            a sub of the size: the most CPU time that it may take, seconds; optional
#   run            a sub of the size and a sub that samples the memory; it returns the outcome, and other measurements

use strict;
use warnings;
use AnyEvent::Socket ();
use Exporter 'import';
use JSON::PP qw(encode_json decode_json);
use List::Util 'max';
use Socket;
use Time::HiRes qw(time sleep);
use WebSocketTest;
use WebSocketTest::Siege;

our @EXPORT = qw(attacks besiege most_again slowest);

my $PATIENCE = 120;

my $MEGABYTE = 'x' x 2**20;

# The memory that a connection may take that has received little, KiB; half of that is usual.
my $KIB_ALIVE = 8;

# Returns the cost of an attack of this size, measured in a separate process.
sub besiege {
    my ($attack, $size) = @_;
    my $program = 'use WebSocketTest::Attacks; WebSocketTest::Attacks::play(@ARGV)';
    my ($printed, $status) = run_perl({}, $program, $attack->{name}, $size);
    die "$attack->{name}: wait status $status\n" if $status;
    return decode_json($printed);
}

# Runs an attack in that process. A small attack comes first, for what perl needs once.
sub play {
    my ($name, $size) = @_;
    my ($attack) = grep { $_->{name} eq $name } attacks();
    my $siege;
    my $run = sub { $attack->{run}->($_[0], sub { $siege->sample if $siege }) };
    $run->($size < 5 ? $size : 5);
    $siege = WebSocketTest::Siege->new;
    my ($outcome, %more) = $run->($size);
    my $cost = { %{ $siege->cost }, %more };
    my (undef, %again) = $run->($size);
    my $more_alive = max(0, ($again{alive} || 0) - ($more{alive} || 0));
    my $again = $siege->cost->{grown} - $cost->{grown};
    print encode_json({ %$cost, again => $again, more_alive => $more_alive, outcome => $outcome });
}

# Returns the bound of $cost->{again}: malloc's gaps, and the connections that were alive the second time only. If everything
# leaked, it would be as much as the first time.
sub most_again { my ($cost) = @_; return 4096 + $cost->{grown} / 3 + $KIB_ALIVE * $cost->{more_alive} }

# Returns the bound of the time that another connection has to wait, ms; only a loaded machine takes that long.
sub slowest { return 2000 * patience() }

# --- attackers, in separate processes so that their memory does not count as ours

# Returns the connection, its recorder and the attacker's process. The attacker gets a sub that writes to its socket.
sub attacked {
    my ($new, $attacker) = @_;
    my ($ours, $theirs) = socket_pair();
    my $connection = connection_on($ours, %$new);
    my $pid = fork_child(sub { close $ours; $attacker->(sub { print_all($theirs, @_) }, $theirs) });
    return ($connection, recorder($connection), $pid);
}

# Reads until the connection closes.
sub read_all {
    my ($fh) = @_;
    shutdown $fh, 1;
    1 while sysread $fh, my $bytes, 65536;
}

sub print_all {
    my ($fh, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    for (my $at = 0; $at < length $bytes;) { $at += syswrite($fh, $bytes, length($bytes) - $at, $at) || POSIX::_exit(1) }
}

# Awaits the end of a single attacker, and of its connection; returns the reported events.
sub course {
    my ($connection, $seen, $pid) = @_;
    reap($pid);
    $seen->wait_finish($PATIENCE);
    return join ' ', @{ $seen->order };
}

sub in_chunks {
    my ($write, $count, $frame) = @_;
    my $chunk = 1000;
    for (my $left = $count; $left > 0; $left -= $chunk) { $write->($frame x ($left < $chunk ? $left : $chunk)) }
}

# --- one connection each

sub huge_claim {
    my ($mebibytes, $new) = @_;
    return course(attacked($new, sub {
        my ($write, $socket) = @_;
        $write->(frame(opcode => 2, length => 2**62));
        $write->($MEGABYTE) for 1 .. $mebibytes;
        read_all($socket);
    }));
}

sub fragments {
    my ($count, $new) = @_;
    return course(attacked($new, sub {
        my ($write, $socket) = @_;
        $write->(text('x', fin => 0));
        in_chunks($write, $count, continuation('x', fin => 0));
        $write->(continuation('x'));
        read_all($socket);
    }));
}

sub pings {
    my ($count) = @_;
    return course(attacked({}, sub { in_chunks($_[0], $count, ping('x' x 125)) }));
}

# The program itself queues the data, so it pays for all of it.
sub stalled {
    my ($mebibytes, $sample) = @_;
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->stall;
    for (1 .. $mebibytes) { $connection->send($MEGABYTE); turn() }
    $sample->();
    settle();
    $peer->close;
    $seen->wait_finish;
    return join ' ', @{ $seen->order };
}

# --- many connections

sub crowd {
    my ($count, %new) = @_;
    my @peers;
    my @crowd = map { push @peers, (my $pair = [socket_pair()])->[1]; connection_on($pair->[0], %new) } 1 .. $count;
    return (\@crowd, [map { recorder($_) } @crowd], \@peers);
}

# Returns the events that all of them report.
sub outcome_of {
    my ($recorders) = @_;
    $_->wait_finish($PATIENCE) for @$recorders;
    my %outcome = map { join(' ', @{ $_->order }) => 1 } @$recorders;
    return join ' or ', sort keys %outcome;
}

sub slow_loris {
    my ($octets, $sample) = @_;
    my ($crowd, $recorders, $peers) = crowd(100);
    my $frame = text('x' x 60_000, mask => 1);
    for my $at (0 .. $octets - 1) {
        syswrite $_, $frame, 1, $at for @$peers;
        # No time has to pass: the next octets come when the loop has seen these.
        turn() for 1, 2;
    }
    $sample->();
    close $_ for @$peers;
    return outcome_of($recorders);
}

sub claims_of_many {
    my ($count, $sample) = @_;
    my ($crowd, $recorders, $peers) = crowd($count, max_payload_size => 0);
    for my $octets (frame(opcode => 2, length => 2**62), 'x' x 100, 'x' x 100) {
        print_all($_, $octets) for @$peers;
        turn() for 1 .. 3;
    }
    $sample->();
    close $_ for @$peers;
    return outcome_of($recorders);
}

sub unanswered_closes {
    my ($count, $sample) = @_;
    my ($crowd, $recorders, $peers) = crowd($count, close_timeout => 0.05);
    $_->send('x' x 300_000)->close(4000) for @$crowd;
    $sample->();
    my $outcome = outcome_of($recorders);
    my $with_message = grep { /did not close/ } map { ($_->arguments('finish'))[0][1] // '' } @$recorders;
    my $with_file = grep { defined $_->handle->fh } @$crowd;
    return "$outcome, " . ($with_message == $count ? 'with' : 'without') . " a message, $with_file files";
}

# The number of those open at once depends on scheduling: the server accepts all that wait before it reads from any.
sub resets {
    my ($count, $rate) = @_;
    my ($accepted, $alive, %open, $port) = (0, 0);
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        my $connection = connection_on($_[0]);
        my $number = ++$accepted;
        $open{$number} = $connection;
        $alive = keys %open if $alive < keys %open;
        $connection->on(finish => sub { delete $open{$number}; poke() });
    }, sub { $port = $_[2]; 0 });
    my $start = time;
    my $pid = fork_child(sub { at_rate($rate, $count, sub { connect_and_reset($port) }) });
    wait_until('all resets', sub { $accepted == $count && !%open }, $PATIENCE);
    my $seconds = time - $start;
    reap($pid);
    return ('all accepted', alive => $alive, rate => $count / $seconds);
}

# Runs the code $count times, at this rate; if one is late, the next follows at once.
sub at_rate {
    my ($rate, $count, $code) = @_;
    my $start = time;
    for my $number (1 .. $count) {
        my $early = $rate ? $start + $number / $rate - time : 0;
        sleep $early if $early > 0;
        $code->();
    }
}

sub connect_and_reset {
    my ($port) = @_;
    socket my $socket, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    connect $socket, pack_sockaddr_in($port, INADDR_LOOPBACK) or die "connect: $!";
    syswrite $socket, substr text('half a frame'), 0, 5;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0;
    close $socket;
}

# --- the table

sub up_to { my ($base, $each) = @_; return sub { $base + ($each || 0) * $_[0] } }

sub up_to_each_alive { my ($size, $cost) = @_; return 1024 + $KIB_ALIVE * $cost->{alive} }

sub attacks {
    return (
        { name => 'a frame that claims 2**62 octets', unit => 'MiB sent', short => 1, full => 1,
            grown => up_to(1024), run => sub { huge_claim($_[0], {}) }, outcome => 'parse_error finish' },
        { name => 'the same, max_payload_size 0', unit => 'MiB sent', short => 16, full => 256,
            grown => up_to(2048, 2048), run => sub { huge_claim($_[0], { max_payload_size => 0 }) },
            outcome => 'finish' },
        { name => 'the same, many connections', unit => 'connections', short => 200, full => 1000,
            grown => up_to(2048, 32), run => \&claims_of_many, outcome => 'finish' },
        { name => 'one-octet fragments', unit => 'fragments', short => 10_000, full => 10_000,
            grown => up_to(1024), run => sub { fragments($_[0], {}) }, outcome => 'parse_error finish' },
        { name => 'the same, max_fragments raised', unit => 'fragments', short => 10_000, full => 1_000_000,
            grown => up_to(1024, 1 / 256),
            run => sub { fragments($_[0], { max_fragments => 10**9 }) }, outcome => 'message finish' },
        { name => 'pings, pongs never read', unit => 'pings', short => 50_000, full => 1_000_000,
            grown => up_to(2048), run => \&pings, outcome => 'finish' },
        { name => 'slow loris, 100 connections', unit => 'octets each', short => 40, full => 1000,
            grown => up_to(4096), run => \&slow_loris, outcome => 'finish' },
        { name => 'sending to one who never reads', unit => 'MiB', short => 20, full => 100,
            grown => up_to(2048, 2048), run => \&stalled, outcome => 'finish' },
        { name => 'closes never answered', unit => 'connections', short => 100, full => 1000,
            grown => up_to(2048, 600), run => \&unanswered_closes,
            outcome => 'finish, with a message, 0 files' },
        { name => 'connect and reset, at once', unit => 'connections', short => 1000, full => 10_000,
            grown => \&up_to_each_alive, cpu => up_to(0.5, 0.001), run => sub { resets($_[0]) },
            outcome => 'all accepted' },
        { name => 'connect and reset, 1000 a second', unit => 'connections', short => 1000, full => 10_000,
            grown => \&up_to_each_alive, cpu => up_to(0.5, 0.001), run => sub { resets($_[0], 1000) },
            outcome => 'all accepted' },
    );
}

1;
