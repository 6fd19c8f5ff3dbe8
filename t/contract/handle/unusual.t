# Tests that descriptors that are not sockets, objects for fh, and subclasses of AnyEvent::Handle work.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Scalar::Util ();
use Test::More;
use WebSocketTest;

use IO::Handle;
use IO::Socket;

{
    package Watching;       # a subclass that sees everything that is written, and more
    our @ISA = 'AnyEvent::Handle';
    our %seen;
    sub push_write    { my $self = shift; $seen{write} .= $_[0] if @_ == 1; $self->SUPER::push_write(@_) }
    sub push_shutdown { my $self = shift; $seen{shutdown}++; $self->SUPER::push_shutdown(@_) }
    sub destroy       { my $self = shift; $seen{destroy}++; $self->SUPER::destroy(@_) }
}
{
    package Scrambling;     # a subclass that changes the bytes
    our @ISA = 'AnyEvent::Handle';
    sub push_write { my ($self, $bytes) = @_; $self->SUPER::push_write($bytes ^ "\x55" x length $bytes) }
}
{
    package Hasty;          # a subclass that does not wait until everything is written
    our @ISA = 'AnyEvent::Handle';
    sub push_shutdown { shutdown $_[0]{fh}, 1 }
}
{
    package Plain;          # a subclass that adds nothing
    our @ISA = 'AnyEvent::Handle';
}

{
    package Delegating;     # not a subclass: it passes every call to a handle of its own
    our $AUTOLOAD;
    sub new { my ($class, $handle) = @_; return bless { inner => $handle }, $class }
    sub DESTROY { }
    sub AUTOLOAD { my $self = shift; my ($name) = $AUTOLOAD =~ /(\w+)\z/; return $self->{inner}->$name(@_) }
}

subtest 'an object that passes everything on to a handle' => sub {
    my ($ours, $theirs) = socket_pair();
    my $connection = AnyEvent::WebSocket::Connection->new(handle => Delegating->new(AnyEvent::Handle->new(fh => $ours)));
    my $peer = WebSocketTest::Peer->new($theirs);
    my $seen = recorder($connection);
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
    $peer->write(text('1') . text('2'), ping('p'));
    is_deeply [map { $_->{payload} } $peer->next_frames(3)], ['re: 1', 're: 2', 'p'], 'messages arrive, and answers';
    $peer->write(text('last'))->half_close;
    $seen->wait_finish;
    is_deeply $seen->order, [('message') x 3, 'finish'], 'and the end';
};

{
    package TiedHandle;     # like the one that IO::Socket::SSL->start_SSL makes of a socket
    sub TIEHANDLE { my ($class, $descriptor) = @_; open my $fh, '+<&', $descriptor or die "dup: $!"; return bless [$fh], $class }
    sub READ      { return sysread $_[0][0], $_[1], $_[2], $_[3] || 0 }
    sub WRITE     { return syswrite $_[0][0], $_[1], $_[2], $_[3] || 0 }
    sub FILENO    { return fileno $_[0][0] }
}

subtest 'a file handle that is tied later' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text('before'));
    $seen->wait_messages(1);
    my $fh = $connection->handle->fh;
    tie *$fh, 'TiedHandle', fileno $fh;
    $connection->send('out');
    is $peer->next_frame->{payload}, 'out', 'is written to';
    $peer->write(text('after'));
    is_deeply $seen->wait_messages(2)->bodies, ['before', 'after'], 'and read from';
};

subtest 'a subclass in a file whose path ends like that of AnyEvent::Handle' => sub {
    my $calls = 0;
    my $code = '#line 1 "lib/MyApp/AnyEvent/Handle.pm"' . "\n" . <<'CODE';
        package MyApp::AnyEvent::Handle;
        our @ISA = 'AnyEvent::Handle';
        our $on_write;
        sub push_write { my $self = shift; $on_write->(); $self->SUPER::push_write(@_) }
        1;
CODE
    eval $code or die $@;
    no warnings 'once';
    local $MyApp::AnyEvent::Handle::on_write = sub { $calls++ };
    my ($ours, $theirs) = socket_pair();
    my $connection = AnyEvent::WebSocket::Connection->new(handle => MyApp::AnyEvent::Handle->new(fh => $ours));
    $connection->send('hello');
    is(WebSocketTest::Peer->new($theirs)->next_frame->{payload}, 'hello', 'a frame goes out');
    is $calls, 1, 'through its push_write';
};

subtest 'the reading end of a pipe' => sub {
    pipe my $out, my $in or die "pipe: $!";
    my $connection = connection_on($out);
    my $seen = recorder($connection);
    my $peer = WebSocketTest::Peer->new($in)->stall;
    $peer->write(text('through') . binary("\0pipe", mask => 1));
    is_deeply $seen->wait_messages(2)->bodies, ['through', "\0pipe"], 'messages arrive';
    $peer->close;
    $seen->wait_finish;
    is $seen->finished, 1, 'finish at EOF';
};

subtest 'the writing end of a pipe' => sub {
    pipe my $out, my $in or die "pipe: $!";
    my $connection = connection_on($in);
    my $peer = WebSocketTest::Peer->new($out);
    $! = 0;
    $connection->send('through');
    is 0 + $!, 0, 'no error is left behind';
    $connection->send('x' x 1_000_000)->send('a pipe');
    is_deeply [map { length $_->{payload} } $peer->next_frames(3)], [7, 1_000_000, 6], 'frames arrive';
    undef $connection;
    close $in;
    $peer->wait_eof;
    pass 'EOF when the connection has gone';
};

subtest 'the peer of a pipe goes' => sub {
    pipe my $out, my $in or die "pipe: $!";
    my $connection = connection_on($in);
    my $seen = recorder($connection);
    close $out;
    $connection->send('into the void');
    $seen->wait_finish;
    is $seen->finished, 1, 'finish, once';
};

subtest 'IO::Socket objects' => sub {
    my ($left, $right) = IO::Socket->socketpair(AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
    my $connection = connection_on($left);
    my $peer = WebSocketTest::Peer->new($right);
    is $connection->handle->fh, $left, 'fh is that object';
    is_deeply [$peer->sync], [], 'works';
    $connection->close;
    is scalar(my @frames = $peer->frames_to_eof), 1, 'and closes';
};

subtest 'globs' => sub {
    no warnings 'once';
    socketpair LEFT, RIGHT, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my $connection = connection_on(\*LEFT);
    my $peer = WebSocketTest::Peer->new(\*RIGHT);
    is_deeply [$peer->sync], [], 'work';
    undef $connection;
    ok defined fileno LEFT, 'the caller who has his own glob keeps it open';
    close LEFT;
    $peer->wait_eof;
};

subtest 'descriptor 0' => sub {
    my ($left, $right) = socket_pair();
    my $pid = spawn_perl($left, <<'PROGRAM');
        use AnyEvent;
        use AnyEvent::Handle;
        use AnyEvent::WebSocket::Connection;
        open STDIN, '+<&=', shift or die "cannot open: $!";
        require POSIX;
        POSIX::dup2(fileno STDIN, 0);
        open my $zero, '+<&=', 0 or die "cannot open: $!";
        my $connection = AnyEvent::WebSocket::Connection->new(handle => AnyEvent::Handle->new(fh => $zero));
        my $cv = AE::cv;
        $connection->on(each_message => sub { $_[0]->send(fileno($_[0]->handle->fh) . ' ' . $_[1]->body) });
        $connection->on(finish => sub { $cv->send });
        alarm 120 * ($ENV{WEBSOCKET_TEST_PATIENCE} || 1);
        $cv->recv;
PROGRAM
    close $left;
    my $peer = WebSocketTest::Peer->new($right);
    is $peer->write(text('hello'))->next_frame->{payload}, '0 hello', 'works, as under inetd';
    $peer->close;
    is reap($pid), 0, 'and finishes';
};

for my $class (qw(Plain Watching)) {
    subtest "a subclass of AnyEvent::Handle: $class" => sub {
        %Watching::seen = (write => '');
        my ($left, $right) = socket_pair();
        my $connection = AnyEvent::WebSocket::Connection->new(handle => $class->new(fh => $left));
        my $peer = WebSocketTest::Peer->new($right);
        my $seen = recorder($connection);
        is ref $connection->handle, $class, 'is kept';
        $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
        $peer->write(map { text($_) . ping("p$_") } 1 .. 10);
        is_deeply [map { $_->{payload} } $peer->next_frames(20)], [map {; "re: $_", "p$_" } 1 .. 10], 'both directions';
        $connection->close(4000);
        is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'close';
        $peer->close;
        $seen->wait_finish;
        is $seen->finished, 1, 'finish';
    };
}

subtest 'an overridden push_shutdown that leaves on_drain to the program' => sub {
    my ($left, $right) = socket_pair();
    my $weak;
    {
        my $connection = AnyEvent::WebSocket::Connection->new(handle => Hasty->new(fh => $left));
        Scalar::Util::weaken($weak = $connection);
        $connection->handle->on_drain(sub { $connection->isa('UNIVERSAL') });
        my $seen = recorder($connection);
        my $peer = WebSocketTest::Peer->new($right)->write(close_frame(4000));
        $peer->wait_eof;
        $peer->close;
        $seen->wait_finish;
        $connection->handle->destroy;
    }
    settle();
    is $weak, undef, 'no on_drain keeps the connection of a destroyed handle';
};

subtest 'an overridden push_write sees every byte, an overridden push_shutdown the end' => sub {
    %Watching::seen = (write => '');
    my ($left, $right) = socket_pair();
    my $connection = AnyEvent::WebSocket::Connection->new(handle => Watching->new(fh => $left));
    my $peer = WebSocketTest::Peer->new($right);
    $connection->send('one')->send('two');
    $connection->on(each_message => sub { $_[0]->send($_) for 1 .. 5 });
    $peer->write(text('go') . ping('p'));
    $peer->sync;
    $connection->close(4000);
    my $wire = join '', map({ text($_) } 'one', 'two', 1 .. 5), pong('p'), pong('s1'), close_frame(4000);
    is $Watching::seen{write}, $wire, 'push_write';
    ok $Watching::seen{shutdown}, 'push_shutdown';
};

{
    package Ending;         # a subclass that sees only the end
    our @ISA = 'AnyEvent::Handle';
    our @seen;
    sub push_shutdown { my $self = shift; push @seen, 'push_shutdown'; $self->SUPER::push_shutdown(@_) }
    sub on_drain      { my $self = shift; push @seen, 'on_drain'; $self->SUPER::on_drain(@_) }
}

subtest 'overridden push_shutdown and on_drain see the end' => sub {
    for my $closes_first (0, 1) {
        @Ending::seen = ();
        my ($left, $right) = socket_pair();
        my $connection = AnyEvent::WebSocket::Connection->new(handle => Ending->new(fh => $left));
        my $seen = recorder($connection);
        my $peer = WebSocketTest::Peer->new($right);
        $closes_first ? $connection->close(4000) : $peer->write(close_frame(4000));
        $peer->wait_eof;
        is_deeply [@Ending::seen[0, 1]], [qw(push_shutdown on_drain)], $closes_first ? 'after close' : q(after the peer's Close);
        $peer->close;
        $seen->wait_finish;
    }
};

for my $method (qw(push_shutdown on_drain)) {
    subtest "a program that replaces AnyEvent::Handle's $method" => sub {
        my $called = 0;
        my $own = AnyEvent::Handle->can($method);
        no strict 'refs';
        no warnings 'redefine';
        local *{"AnyEvent::Handle::$method"} = sub { $called++; &$own };
        my ($connection, $peer) = connection_and_peer();
        my $seen = recorder($connection);
        $peer->write(close_frame(4000))->wait_eof;
        ok $called, 'sees the end';
        $peer->close;
        $seen->wait_finish;
    };
}

for my $case (map { my $class = $_; map { [$class, $_] } qw(destroy push_shutdown) } qw(Plain Watching)) {
    my ($class, $end) = @$case;
    subtest "a subclass, $class: $end in a callback, after sends and a push_write there" => sub {
        my ($left, $right) = socket_pair();
        my $connection = AnyEvent::WebSocket::Connection->new(handle => $class->new(fh => $left));
        undef $left;
        my $peer = WebSocketTest::Peer->new($right);
        $peer->sync;
        $connection->on(next_message => sub {
            $_[0]->send('one');
            $_[0]->handle->push_write(text('two'));
            $_[0]->send('three');
            $_[0]->handle->$end;
        });
        $peer->write(map { text($_) } 1 .. 3);
        is_deeply [map { $_->{payload} } $peer->frames_to_eof], [qw(one two three)], 'all go out, in order';
    };
}

subtest 'an overridden push_write may change the bytes' => sub {
    my ($left, $right) = socket_pair();
    my $connection = AnyEvent::WebSocket::Connection->new(handle => Scrambling->new(fh => $left));
    my $peer = WebSocketTest::Peer->new($right);
    $connection->send('secret');
    my $bytes = $peer->wait_bytes(8)->bytes;
    is $bytes ^ "\x55" x length $bytes, text('secret');
};

subtest 'a handle still connecting' => sub {
    require AnyEvent::Socket;
    my ($port, $server_side);
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub { ($server_side) = @_; poke() }, sub { $port = $_[2]; 0 });
    my $handle = AnyEvent::Handle->new(connect => ['127.0.0.1', $port], on_error => sub { });
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
    my $seen = recorder($connection);
    $connection->send('sent before there was a socket');
    wait_until('the other end', sub { $server_side });
    my $peer = WebSocketTest::Peer->new($server_side);
    is $peer->next_frame->{payload}, 'sent before there was a socket', 'keeps what is sent';
    $peer->write(text('welcome'));
    is_deeply $seen->wait_messages(1)->bodies, ['welcome'], 'and receives';
};

done_testing;
