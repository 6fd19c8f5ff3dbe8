# Tests that a program that ends with live connections keeps its exit status and prints nothing, whatever is freed first.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

needs_plain_loop();

# $ARGV[0] is the state, $ARGV[1] how the program ends. Standard error goes to standard output.
my $program = <<'PROGRAM';
    use strict;
    use warnings;
    use WebSocketTest;
    BEGIN { open STDERR, '>&', \*STDOUT or die "STDERR: $!"; $| = 1 }
    my ($state, $how, $masked) = @ARGV;
    our ($connection, $peer, @more) = connection_and_peer(masked => $masked);
    $peer->sync;
    POSIX::dup(fileno $peer->fh);    # perl does not close it: otherwise SIGPIPE would end the program

    package Late {      # freed in global destruction, by chance before or after the connection
        sub new { my ($class, $code) = @_; bless { code => $code, self => undef }, $class }
        sub DESTROY { my ($self) = @_; eval { $self->{code}->() } }
    }
    package main;

    my %state = (
        'nothing'              => sub { },
        'callbacks'            => sub { $connection->on($_ => sub { print "called\n" }) for qw(next_message each_message finish parse_error) },
        'a cycle'              => sub { my $own = $connection; $connection->on($_ => sub { $own->send('x') }) for qw(each_message finish) },
        'a cycle through the handle' => sub { my $own = $connection; $connection->handle->on_drain(sub { $own }); $connection->handle->{own} = $own },
        'half a frame'         => sub { $peer->write(substr text('x' x 50), 0, 20); settle() },
        'half a large message' => sub { $peer->write(substr binary('x' x 60_000), 0, 40_000); settle() },
        'half a fragmented message' => sub { $peer->write(text('x' x 5000, fin => 0)); settle() },
        'input that waits'     => sub { $peer->write(text('x')) },
        'output that waits'    => sub { $peer->stall; $connection->send('x' x 3_000_000) },
        'our Close'            => sub { $connection->close(4000) },
        'their Close'          => sub { $peer->write(close_frame(4000)); settle() },
        'a violation'          => sub { $peer->write(text('x', rsv => 4)); settle() },
        'finish'               => sub { $peer->close; settle() },
        'destroy'              => sub { $connection->handle->destroy },
        'timeouts'             => sub { $connection->handle->timeout(100); $connection->handle->wtimeout(100); $connection->close },
        'early bytes'          => sub {
            my ($left, $right) = socket_pair();
            my $handle = AnyEvent::Handle->new(fh => $left);
            $handle->{rbuf} = text('early') x 10;
            push @more, AnyEvent::WebSocket::Connection->new(handle => $handle), $right;
        },
        'many connections'     => sub { push @more, connection_and_peer(masked => $_ % 2) for 1 .. 100 },
        'pings that wait'      => sub { $peer->stall; $connection->send('x' x 1_000_000); $peer->write(map { ping("p$_") } 1 .. 100); settle() },
        'a message that is kept' => sub { $connection->on(each_message => sub { push @more, $_[1], $_[2] }); $peer->write(text('x')); settle() },
        'an object that sends when it is freed'   => sub { my $own = $connection; our $late = Late->new(sub { $own->send('late') }) },
        'an object that closes when it is freed'  => sub { my $own = $connection; our $late = Late->new(sub { $own->close(4000) }) },
        'an object that lets go when it is freed' => sub { our $late = Late->new(sub { undef $connection }) },
        'objects in the connection that use it'   => sub { my $own = $connection; $own->{late} = Late->new(sub { $own->send('late'); $own->handle->destroy }) },
        'an END block that sends' => sub { eval 'END { $connection->send("at the end") } 1' or die $@ },
        'a subclass'           => sub { @Late::Connection::ISA = ref $connection; no strict 'refs'; no warnings 'once'; *Late::Connection::DESTROY = sub { $_[0]->send('x') }; bless $connection, 'Late::Connection' },
        'a weak reference'     => sub { Scalar::Util::weaken(our $weak = $connection); push @more, $connection },
    );
    if ($state eq 'list') { print join "\n", sort keys %state; exit }
    $state{$state}->();
    exit 3 if $how eq 'exit';
    die "the program's own\n" if $how eq 'die';
PROGRAM

my ($list, $status) = run_perl({}, $program, 'list', '', 0);
my @states = split /\n/, $list;
cmp_ok scalar @states, '>=', 20, 'there are many states';

my %says = (die => "the program's own\n");

# With PERL_DESTRUCT_LEVEL=2 perl frees everything; debugperl always does.
my $number = 0;

# AnyEvent::Handle lingers in these states, for which EV has no loop any more.
@states = grep { !/output that waits|pings that wait/ } @states if loop() eq 'EV';
# A connection of the original may outlive its handle.
@states = grep { $_ ne 'a subclass' } @states if is_original();
for my $state (@states) {
    subtest "the end with $state" => sub {
        for my $how ('at the end', 'exit', 'die') {
            my $masked = $number++ % 2;
            my ($printed, $status) = run_perl({ PERL_DESTRUCT_LEVEL => 2 * ($number % 2) }, $program, $state, $how, $masked);
            is $printed, $says{$how} || '', "$how, masked $masked: nothing else is said";
            is $status & 127, 0, 'no signal';
            is $status >> 8, 3, 'the exit status' if $how eq 'exit';
            is $status, 0, 'the exit status' if $how eq 'at the end';
        }
    };
}

done_testing;
