package WebSocketTest;

=head1 NAME

WebSocketTest - what the contract tests share

=head1 SYNOPSIS

    use FindBin;
    use lib "$FindBin::Bin/../lib";
    use WebSocketTest;

    my ($connection, $peer) = connection_and_peer(max_fragments => 3);
    my $seen = recorder($connection);
    $peer->write(text('hello'));
    $seen->wait_messages(1);

    differs 'reserved opcode' => 'ignores it' => sub { ... };

=head1 DESCRIPTION

The files of F<t/contract> run against this project and against the original (C<ANYEVENT_WEBSOCKET_PP=1>, or without
C<-b> where the original is installed). C<differs> marks what we do otherwise than the original, where it is a TODO test;
C<after_044> marks what version 0.44 of the original cannot do.

A reason to skip that begins with C<by design: > belongs to the backend, the loop or the perl that the tests run on.
F<script/test> counts any other as something that the machine lacks, which fails where C<CI> is set.

With C<WEBSOCKET_TEST_BACKEND=rust> (or C<pp>) a file dies when it has got the other one by accident.

All waiting is for an event, under a watchdog (60 seconds, or C<WEBSOCKET_TEST_TIMEOUT>), and dies at the caller's line.
C<WEBSOCKET_TEST_PATIENCE=20> makes all watchdogs wait twenty times as long, for a perl that is that much slower; without it,
a machine that has more to do than it has processors for is given that many times as long. C<patience> is the number, for
tests with times of their own.
Frames: see L<WebSocketTest::Frame>; the raw end: L<WebSocketTest::Peer>; callbacks' log: L<WebSocketTest::Recorder>.

=cut

use strict;
use warnings;

BEGIN { delete @ENV{qw(ANYEVENT_WEBSOCKET_STRICT ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE)} }

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::WebSocket::Connection;
use Carp;
use Exporter 'import';
use Fcntl qw(F_SETFD);
use List::Util qw(max);
use POSIX ();
use Scalar::Util qw(refaddr);
use Socket;
use Test::More ();
use WebSocketTest::Apart qw(passes_apart);
use WebSocketTest::Frame;
use WebSocketTest::Peer;
use WebSocketTest::Recorder;

our @EXPORT = (
    qw(backend is_original is_044 differs after_044 loop needs_plain_loop),
    qw(socket_pair tcp_pair connection_on connection_and_peer connection_pair recorder),
    qw(patience wait_until poke turn settle after next_event),
    qw(refused_ok croaks_here run_perl spawn_perl fork_child reap left_ok warnings_of),
    @WebSocketTest::Frame::EXPORT,
);
our @CARP_NOT = qw(WebSocketTest::Peer WebSocketTest::Recorder);

# Returns the factor for all timeouts; programs that a test runs inherit it.
sub patience { $ENV{WEBSOCKET_TEST_PATIENCE} ||= _load() }

# Returns how many processes want each processor, now or in the last minute, but at least 1; and 1 if there is no /proc.
sub _load {
    my ($average, $running) = _of_proc('loadavg') =~ m{^([\d.]+) \S+ \S+ (\d+)/} or return 1;
    my $processors = () = _of_proc('stat') =~ /^cpu\d/mg;
    return max(1, POSIX::ceil(max($average, $running) / ($processors || 1)));
}

sub _of_proc {
    my ($name) = @_;
    open my $file, '<', "/proc/$name" or return '';
    return join '', <$file>;
}

# Ends the run if a callback or a loop never returns.
alarm 600 * patience();

sub backend {
    my $can = AnyEvent::WebSocket::Connection->can('backend');
    return $can ? AnyEvent::WebSocket::Connection->$can : 'pp';
}

my $wanted = $ENV{WEBSOCKET_TEST_BACKEND};
die "the backend is '@{[ backend() ]}', not '$wanted'\n" if $wanted && $wanted ne backend();

sub is_original { backend() eq 'pp' }

# Returns the event loop: EV, Perl, Event, Glib, ...
sub loop { AnyEvent::detect() =~ /(\w+)\z/ ? $1 : '' }

# Skips tests that fork, take descriptors away or end perl on other loops, which have troubles of their own with that.
sub needs_plain_loop {
    Test::More::plan(skip_all => 'by design: only for EV and AnyEvent\'s own loop') if loop() !~ /\A(?:EV|Perl)\z/;
}

# The seconds that the original has for a test that it is expected to fail, and often to hang in.
our $ORIGINALS_SECONDS = 1;

# differs 'row of the contract' => 'what the original does' => sub { tests }
# On the original, the tests are expected to fail. prove names those that pass: the contract is out of date there.
sub differs {
    my ($row, $original, $tests) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $caught = sub { eval { $tests->(); 1 } or Test::More::fail("died: $@") };    # and go on with the next
    return Test::More::subtest($row => $caught) unless is_original();
    my $passes = passes_apart($caught, $ORIGINALS_SECONDS);
    my $builder = Test::More->builder;
    $builder->todo_start("the original $original");
    Test::More::ok($passes, $row);
    $builder->todo_end;
    return;
}

# after_044 $name => sub { tests }: skips what the original of 0.44 cannot do: max_fragments, next_message in next_message
sub is_044 { is_original() && !AnyEvent::WebSocket::Connection->can('max_fragments') }

sub after_044 {
    my ($name, $tests) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::subtest($name => $tests) unless is_044();
    SKIP: { Test::More::skip("by design: not yet in the original's 0.44: $name", 1) }
}

# --- sockets and connections

sub socket_pair {
    socketpair my $left, my $right, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    return ($left, $right);
}

sub tcp_pair {
    socket my $listener, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    bind $listener, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
    listen $listener, 1 or die "listen: $!";
    socket my $left, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    connect $left, getsockname $listener or die "connect: $!";
    accept my $right, $listener or die "accept: $!";
    return ($left, $right);
}

# Returns a connection on the file handle; `class` and `handle` (a hash for AnyEvent::Handle->new) may be among the arguments.
sub connection_on {
    my ($fh, %args) = @_;
    my $class = delete $args{class} || 'AnyEvent::WebSocket::Connection';
    my $handle = AnyEvent::Handle->new(fh => $fh, %{ delete $args{handle} || {} });
    return $class->new(handle => $handle, %args);
}

# connection_and_peer(%new): `tcp => 1` uses TCP instead of a UNIX socket pair
sub connection_and_peer {
    my (%args) = @_;
    my ($left, $right) = delete $args{tcp} ? tcp_pair() : socket_pair();
    return (connection_on($left, %args), WebSocketTest::Peer->new($right));
}

sub connection_pair {
    my ($left_args, $right_args) = @_;
    my ($left, $right) = socket_pair();
    return (connection_on($left, %{ $left_args || {} }), connection_on($right, %{ $right_args || {} }));
}

sub recorder { WebSocketTest::Recorder->new(@_) }

# --- waiting

my %waiting;

# Has each wait_until look again, because its condition may have become true.
sub poke { $_->send for values %waiting }

# Runs the event loop until the condition holds, and returns its value. It works inside callbacks too: it lifts AnyEvent's own
# guard against recursion, as if the outer loop were EV::run or another program's loop.
sub wait_until {
    my ($what, $condition, $seconds) = @_;
    $seconds = patience() * ($seconds || $ENV{WEBSOCKET_TEST_TIMEOUT} || 60);
    my $late;
    AnyEvent->now_update;
    my $watchdog = AE::timer $seconds, 0, sub { $late = 1; poke() };
    local $AnyEvent::CondVar::Base::WAITING;
    while (1) {
        my $cv = AE::cv;
        local $waiting{ refaddr $cv } = $cv;
        if (my $value = $condition->()) { return $value }
        croak "timed out after $seconds s waiting for $what" if $late;
        $cv->recv;
    }
}

# next_event($what, sub { my ($done) = @_; ... register $done ... }): returns the arguments of the first call of $done. Wrap
# $done in a sub before you give it to a watcher, which is among its arguments and would hold itself. Do not keep that watcher
# in a variable from outside of $register: perl 5.40 never frees an anonymous sub that the anonymous sub around it stores in a
# variable which it captured.
sub next_event {
    my ($what, $register) = @_;
    my $arguments;
    $register->(sub { $arguments ||= [@_]; poke() });
    wait_until($what, sub { $arguments });
    return @$arguments;
}

# Waits for time that has to pass: for an attribute that is a time, or a check that nothing happens.
sub after {
    my ($seconds) = @_;
    my $over;
    AnyEvent->now_update;
    my $timer = AE::timer $seconds, 0, sub { $over = 1; poke() };
    wait_until("a timer of $seconds s", sub { $over });
    return;
}

# Runs a turn of the event loop in which it polls for I/O.
sub turn {
    my ($left, $right) = socket_pair();
    syswrite $left, '.';
    my $readable;
    my $watcher = AE::io $right, 0, sub { $readable = 1; poke() };
    wait_until('own bytes', sub { $readable });
    return;
}

# Runs some turns and waits a little: afterwards, everything that was going to happen has happened.
sub settle {
    for (1 .. 3) { turn(); after(0.001) }
    return;
}

# --- assertions

# Tests the whole course of a violation. bytes: what breaks the rules; code: the close code that the peer must see; new: for
# the connection; good: a sub that makes a valid text frame; text: a pattern for the error text.
sub refused_ok {
    my ($name, %case) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::subtest($name => sub { _refused(%case) });
}

sub _refused {
    my (%case) = @_;
    my $good = $case{good} || \&text;
    my ($connection, $peer) = connection_and_peer(%{ $case{new} || {} });
    my $seen = recorder($connection);
    $peer->write($good->('before') . $case{bytes} . $good->('after'));
    my @frames = $peer->frames_to_eof;
    Test::More::is_deeply([map { $_->{opcode} } @frames], [8], 'the peer sees a Close frame, then EOF');
    Test::More::is((@frames ? close_of($frames[0]) : ())[0], $case{code}, "with the code $case{code}");
    Test::More::is($peer->bytes, '', 'and no stray bytes');
    _down_ok($connection, $peer, $seen, $case{text} || qr/\S/);
    $case{then}->($connection) if $case{then};
}

sub _down_ok {
    my ($connection, $peer, $seen, $text) = @_;
    my @errors = $seen->arguments('parse_error');
    Test::More::is_deeply($seen->order, ['message', 'parse_error'], 'parse_error once, after the message before');
    Test::More::is($errors[0] && $errors[0][0], refaddr $connection, 'parse_error gets the connection');
    Test::More::like($errors[0] && $errors[0][1], $text, 'and a text');
    Test::More::is(eval { $connection->send('more') }, $connection, 'send does nothing and returns the connection');
    Test::More::is(eval { $connection->close(1000) }, $connection, 'so does close');
    $peer->close;
    $seen->wait_finish;
    settle();
    Test::More::is_deeply($seen->order, ['message', 'parse_error', 'finish'], 'finish once, when the peer has closed');
}

# Tests that the code dies at the line of its `sub`: write it on one line.
sub croaks_here {
    my ($name, $code, $text) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($file, $line) = (caller)[1, 2];
    my $lived = eval { $code->(); 1 };
    Test::More::ok(!$lived, "$name croaks") or return;
    Test::More::like($@, qr/ at \Q$file\E line $line\.?$/, 'at the line of the caller');
    Test::More::like($@, $text, 'and says why') if $text;
}

# Returns the warnings that the code gives.
sub warnings_of {
    my ($code) = @_;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    $code->();
    return \@warnings;
}

# --- other processes

# run_perl(\%env, $program, @arguments): returns its output and its wait status. It has this process's @INC.
sub run_perl {
    my ($env, $program, @arguments) = @_;
    local %ENV = (%ENV, %$env);
    open my $out, '-|', $^X, (map { "-I$_" } @INC), '-e', $program, @arguments or die "cannot run $^X: $!";
    my $printed = do { local $/; <$out> };
    close $out;
    return ($printed, $?);
}

# spawn_perl($fh, $program, @arguments): starts the program, with the socket as the file descriptor $ARGV[0].
sub spawn_perl {
    my ($fh, $program, @arguments) = @_;
    return fork_child(sub {
        fcntl $fh, F_SETFD, 0;
        exec $^X, (map { "-I$_" } @INC), '-e', $program, fileno $fh, @arguments;
    });
}

my (%status, %child);

# Runs the sub in a child process, which then leaves by _exit. Returns its process id, for reap.
sub fork_child {
    my ($code) = @_;
    AnyEvent::detect();
    defined(my $pid = fork) or die "fork: $!";
    $pid or do { $code->(); POSIX::_exit(0) };
    $child{$pid} = AE::child $pid, sub { $status{ $_[0] } = $_[1]; poke() };
    return $pid;
}

# Awaits the end of that child process; returns its wait status.
sub reap {
    my ($pid) = @_;
    wait_until("the end of process $pid", sub { exists $status{$pid} });
    delete $child{$pid};
    return delete $status{$pid};
}

# Tests that the child process leaves in order. With EV an exit may crash in the end, even without us: perl may free a watcher
# after its loop.
sub left_ok {
    my ($pid) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $status = reap($pid);
    $status = 0 if loop() eq 'EV' && ($status & 127) == POSIX::SIGSEGV();
    return Test::More::is($status, 0, 'the child leaves');
}

1;
