# Tests that exit inside a callback loses nothing that was sent, nor does a die or the end of the program.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# The program has a connection on its descriptor $ARGV[0], and leaves in the way that $ARGV[1] names.
my $program = <<'PROGRAM';
    use strict;
    use warnings;
    use AnyEvent;
    use AnyEvent::Handle;
    use AnyEvent::WebSocket::Connection;
    use POSIX ();
    open my $fh, '+<&=', shift @ARGV or die "cannot open: $!";
    my $way = shift @ARGV;
    my $connection = AnyEvent::WebSocket::Connection->new(handle => AnyEvent::Handle->new(fh => $fh));
    alarm 120 * ($ENV{WEBSOCKET_TEST_PATIENCE} || 1);
    our $cv = AE::cv;
    my $count = 0;
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        $self->send('re: ' . $message->body . " $_") for 1 .. 5;
        $self->close(4000) if $way eq 'close, exit' && $message->body == 3;
        exit if $way =~ /exit/ && $message->body == 3;
        $cv->send if $way eq 'return' && $message->body == 3;
        $self->handle->on_drain(sub { POSIX::_exit(0) }) if $way eq '_exit when drained' && $message->body == 3;
    });
    $connection->on(finish => sub { $cv->send });
    $connection->send('hello');
    $cv->recv;
PROGRAM

# Returns the frames that the peer gets, and the program's wait status.
sub course {
    my ($way, @bytes) = @_;
    my ($left, $right) = socket_pair();
    my $peer = WebSocketTest::Peer->new($right);
    my $pid = spawn_perl($left, $program, $way);
    close $left;
    $peer->write(@bytes);
    my @frames = $peer->frames_to_eof(30);
    return ([map { $_->{opcode} == 8 ? 'close' : $_->{payload} } @frames], reap($pid));
}

my @all = map { text($_) } 1 .. 6;      # three more than are handled
my @replies = map { my $n = $_; map { "re: $n $_" } 1 .. 5 } 1 .. 3;

subtest 'exit inside a callback' => sub {
    my ($got, $status) = course('exit', join '', @all);
    is_deeply $got, ['hello', @replies], 'with more messages behind: what was sent arrives';
    is $status, 0, 'clean exit';
};

subtest 'exit inside a callback, for the last message' => sub {
    my ($got) = course('exit', join '', @all[0 .. 2]);
    is_deeply $got, ['hello', @replies];
};

subtest 'close and exit inside a callback' => sub {
    my ($got) = course('close, exit', join '', @all);
    is_deeply $got, ['hello', @replies, 'close'];
};

subtest 'the program ends after the callback' => sub {
    my ($got, $status) = course('return', join '', @all);
    is_deeply [@$got[0 .. 15]], ['hello', @replies], 'what was sent arrives';
    is $status, 0, 'clean exit';
};

subtest '_exit in on_drain' => sub {
    my ($got) = course('_exit when drained', join '', @all);
    is_deeply [@$got[0 .. 15]], ['hello', @replies], 'what was sent before on_drain was set arrives';
};

done_testing;
