# Tests exit and die inside every kind of callback: the status is the program's, and only the exception is printed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

needs_plain_loop();

# $ARGV[0] is how to leave, $ARGV[1] where. Standard error goes to standard output.
my $program = <<'PROGRAM';
    use strict;
    use warnings;
    use WebSocketTest;
    BEGIN { open STDERR, '>&', \*STDOUT or die "STDERR: $!"; $| = 1 }
    my ($how, $where, $masked) = @ARGV;

    package Leaves {
        sub now { print "leaving\n"; $how eq 'exit' ? exit 3 : die "the program's own\n" }
        sub new { bless {}, shift }
        sub opcode { 1 }
        sub body { Leaves::now() }
    }
    package Leaves::Tied { sub TIESCALAR { bless {}, shift } sub FETCH { Leaves::now() } }
    package Leaves::Sub { our @ISA = 'AnyEvent::WebSocket::Connection'; sub send { Leaves::now() } }
    package Leaves::Text { use overload '""' => sub { Leaves::now() }; sub new { bless {}, shift } }
    package main;

    my ($left, $right) = socket_pair();
    my $handle = AnyEvent::Handle->new(fh => $left);
    $handle->{rbuf} = text('early') if $where eq 'early';
    my $class = $where eq 'send of a subclass' ? 'Leaves::Sub' : 'AnyEvent::WebSocket::Connection';
    our $connection = $class->new(handle => $handle, masked => $masked);
    our $peer = WebSocketTest::Peer->new($right);
    my $leave = sub { Leaves::now() };
    my $say = sub { my ($octets) = @_; $peer->write($octets) };
    my %where = (
        next_message => sub { $connection->on(next_message => $leave); $say->(text('x')) },
        each_message => sub { $connection->on(each_message => $leave); $say->(text('x')) },
        'each_message, with more behind' => sub { $connection->on(each_message => $leave); $say->(join '', map { text("x$_") } 1 .. 5) },
        'the second each_message, with more behind' => sub {
            my $count = 0;
            $connection->on(each_message => sub { $leave->() if ++$count == 2 });
            $say->(join '', map { text("x$_") } 1 .. 5);
        },
        early => sub { },
        'a large message' => sub { $connection->on(each_message => $leave); $say->(binary('x' x 60_000)) },
        finish => sub { $connection->on(finish => $leave); $peer->half_close },
        'finish, after an error' => sub { $connection->on(finish => $leave); $peer->close; $connection->handle->push_write('x') },
        'finish, after a message' => sub { $connection->on(finish => $leave); $say->(text('x')); $peer->half_close },
        parse_error => sub { $connection->on(parse_error => $leave); $say->(frame(length => 2**20)) },
        'parse_error, after a die' => sub {
            $connection->on(each_message => sub { die "in a callback\n" });
            $connection->on(parse_error => $leave);
            $say->(text('x'));
        },
        on_drain => sub { $connection->handle->on_drain($leave) },
        'on_drain, from send' => sub { my $armed; $connection->handle->on_drain(sub { $leave->() if $armed }); $armed = 1; $connection->send('x') },
        'a message that is sent' => sub { $connection->send(Leaves->new) },
        'a tied value that is sent' => sub { tie my $tied, 'Leaves::Tied'; $connection->send($tied) },
        'a message that is sent, in a callback' => sub { $connection->on(each_message => sub { $_[0]->send(Leaves->new) }); $say->(text('x')) },
        'a close reason' => sub { $connection->close(4000, Leaves::Text->new) },
        'send of a subclass' => sub { $say->(ping('x')) },
        'a callback inside the event loop inside a callback' => sub {
            $connection->on(each_message => sub { $_[1]->body eq 'x' ? settle() : $leave->() });
            $say->(join '', text('x'), text('y'));
        },
        'a timer, inside a callback' => sub {
            $connection->on(each_message => sub { our $timer = AE::timer 0, 0, $leave; settle() });
            $say->(text('x'));
        },
    );
    if ($where eq 'list') { print join "\n", sort keys %where; exit }
    $connection->on(each_message => $leave) if $where eq 'early';
    $connection->send('sent before') unless $class eq 'Leaves::Sub';
    $peer->next_frame unless $class eq 'Leaves::Sub' || $where eq 'early';
    $where{$where}->();
    settle() for 1 .. 3;
    print "goes on\n";
PROGRAM

my ($list, $status) = run_perl({}, $program, 'exit', 'list', 0);
is $status, 0, 'the list of places';
my @where = split /\n/, $list;
cmp_ok scalar @where, '>=', 15, 'there are many';

# On EV the loop is freed before perl frees the watchers, with the original too.
@where = grep { $_ ne 'finish, after an error' } @where if loop() eq 'EV';

# The original passes no exception to parse_error, and may lose a message in such a loop.
@where = grep { !/after a die|inside the event loop/ } @where if is_original();

for my $where (@where) {
    subtest "exit in $where" => sub {
        for my $masked (0, 1) {
            my ($printed, $status) = run_perl({}, $program, 'exit', $where, $masked);
            is $printed, "leaving\n", "masked $masked: nothing is called after it, and nothing said";
            is $status >> 8, 3, 'the exit status';
            is $status & 127, 0, 'no signal';
        }
    };
}

# --- die: goes to parse_error from message callbacks, to the program from what it calls itself, else to the loop

my $own = "the program's own\n";
my %is_caught = map { $_ => 1 } (grep { /message|early/ && !/finish|\Aa message that is sent\z/ } @where), 'a callback inside the event loop inside a callback';
my %is_direct = map { $_ => 1 } 'on_drain', 'on_drain, from send', 'a message that is sent', 'a tied value that is sent', 'a close reason', 'finish, after an error';

sub expected {
    my ($where) = @_;
    return ("leaving\ngoes on\n", 1) if $is_caught{$where};
    return ("leaving\n$own", 0) if $is_direct{$where} || loop() eq 'Perl';
    return ("leaving\nEV: error in callback (ignoring): ${own}goes on\n", 1);
}

for my $where (grep { !/inside a callback/ && $_ ne 'send of a subclass' } @where) {
    next if loop() !~ /\A(?:EV|Perl)\z/;
    subtest "die in $where" => sub {
        for my $masked (0, 1) {
            my ($printed, $status) = run_perl({ PERL_ANYEVENT_VERBOSE => 1 }, $program, 'die', $where, $masked);
            my ($expected, $is_well) = expected($where);
            is $printed, $expected, "masked $masked: what is said";
            is $status == 0 || 0, $is_well, 'the exit status';
            is $status & 127, 0, 'no signal';
        }
    };
}

done_testing;
