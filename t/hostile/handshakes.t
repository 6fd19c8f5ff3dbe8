# Tests that a thousand clients that never finish their requests get little memory, delay nobody, and are gone at the deadline.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Config ();
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;
use WebSocketTest::Usage;

plan skip_all => 'by design: the original waits for ever' if is_original();
needs_our_server();
plan skip_all => 'needs /proc, and no valgrind' unless resident();

my $COUNT = 1000;
# KiB, for all of them. A perl with assertions needs more for each value.
my $has_assertions = grep {/\bDEBUGGING\b/} Config::bincompat_options(), Config::non_bincompat_options();
my $MOST = ($has_assertions ? 10 : 8) * 1024;

# Both processes have this many descriptors.
my $program = <<'END';
    use AnyEvent::Socket ();
    use JSON::PP qw(encode_json);
    use Socket;
    use Time::HiRes qw(time sleep);
    use WebSocketTest;
    use WebSocketTest::Establish;
    use WebSocketTest::Siege;
    use WebSocketTest::Usage;

    my ($count, $seconds, $head) = @ARGV;
    require AnyEvent::WebSocket::Server;

    # The clients write a byte each, again and again, until they see EOF. Their sockets are in a process of their own.
    sub besiege {
        my ($port, $count) = @_;
        my @clients = map {
            socket my $socket, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
            connect $socket, pack_sockaddr_in($port, INADDR_LOOPBACK) or die "connect: $!";
            syswrite $socket, $head;
            $socket;
        } 1 .. $count;
        local $SIG{PIPE} = 'IGNORE';
        while (@clients) {
            sleep 0.1;
            @clients = grep { syswrite $_, 'x' } @clients;
        }
    }

    sub round {
        my ($count, $siege) = @_;
        my $server = AnyEvent::WebSocket::Server->new(handshake_timeout => $seconds);
        my ($accepted, $ended, $port, $start, $first, %error) = (0, 0);
        # One sub for all, so that it is the library's memory that is measured.
        my $on_end = sub {
            $first = time if !$ended++;
            $error{ eval { $_[0]->recv; 1 } ? 'none' : $@ =~ s/\n.*//sr }++;
            poke();
        };
        my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
            $start = time if !$accepted++;
            $server->establish($_[0])->cb($on_end);
            poke();
        }, sub { $port = $_[2]; 1024 });
        my $pid = fork_child(sub { besiege($port, $count) });
        wait_until('all clients', sub { $accepted == $count });
        my $alive = $accepted - $ended;
        $siege->sample if $siege;
        wait_until('the deadlines', sub { $ended == $count }, 120);
        reap($pid);
        return { alive => $alive, error => \%error, shortest => $first - $start };
    }

    round(5);
    my $siege = WebSocketTest::Siege->new;
    my $result = round($count, $siege);
    print encode_json({ %{ $siege->cost }, %$result });
END

# Runs the program with as many descriptors as it may have.
sub besieged {
    my (@arguments) = @_;
    my @command = ('sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$@"', 'sh', $^X, map { "-I$_" } @INC);
    open my $out, '-|', @command, '-e', $program, @arguments or die "cannot run sh: $!";
    my $printed = do { local $/; <$out> };
    close $out or die "wait status $?\n";
    require JSON::PP;
    return JSON::PP::decode_json($printed);
}

chomp(my $descriptors = `sh -c 'ulimit -Hn'`);
plan skip_all => "needs more than $descriptors descriptors" if $descriptors =~ /\A\d+\z/ && $descriptors < $COUNT + 100;

my %head = (silence => '', 'half a request' => substr(request(), 0, 120) . 'X-A: ');

for my $name (sort keys %head) {
    subtest "$COUNT clients: $name, then a byte from time to time" => sub {
        my $seconds = 2 * patience();
        my $cost = besieged($COUNT, $seconds, $head{$name});
        note sprintf '%d KiB, %.1f s of CPU time, latency %.0f and %.0f ms, first after %.2f s', @$cost{qw(grown cpu)},
            @{ $cost->{latency} }, $cost->{shortest};
        is $cost->{alive}, $COUNT, 'all are there at once';
        cmp_ok $cost->{grown}, '<=', $MOST, 'memory, KiB';
        is_deeply [values %{ $cost->{error} }], [$COUNT], 'all end with the same error';
        like +(keys %{ $cost->{error} })[0], qr/\Ahandshake error: /, 'which is of the handshake';
        # The loop's idea of now, from which a timer counts, may be as old as its iteration.
        cmp_ok $cost->{shortest}, '>=', 0.9 * $seconds, 'none before the deadline';
        is $cost->{files}, 0, 'no descriptor stays open';
        cmp_ok $cost->{latency}[1], '<', 2000 * patience(), 'the longest that another connection had to wait, ms';
    };
}

done_testing;
