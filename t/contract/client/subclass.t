# Tests that a subclass can make the TCP connection, by overriding or wrapping _make_tcp_connection.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;

plan skip_all => 'by design: not yet in the original\'s 0.44: _make_tcp_connection' if is_044();

{
    package Own;    # makes the connection as its `make` says
    use Moo;
    extends 'AnyEvent::WebSocket::Client';
    has make => (is => 'ro');
    has calls => (is => 'ro', default => sub { [] });

    sub _make_tcp_connection {
        my ($self, @arguments) = @_;
        push @{ $self->calls }, { context => wantarray, arguments => \@arguments };
        my ($scheme, $host, $port, $connected, $prepare) = @arguments;
        return $self->make->($connected, $prepare);
    }
}
{
    package Wrapping;
    use Moo;
    extends 'AnyEvent::WebSocket::Client';
    has seen => (is => 'ro', default => sub { [] });
    around _make_tcp_connection => sub {
        my ($next, $self, $scheme, $host, $port, $connected, @rest) = @_;
        push @{ $self->seen }, [$scheme, $host, $port];
        return $self->$next($scheme, $host, $port, sub { push @{ $self->seen }, scalar @_; $connected->(@_) }, @rest);
    };
}
{
    package Elsewhere;    # goes to another place
    our @ISA = 'AnyEvent::WebSocket::Client';
    our @place;
    sub _make_tcp_connection {
        my ($self, $scheme, undef, undef, @rest) = @_;
        $self->SUPER::_make_tcp_connection($scheme, @place, @rest);
    }
}

sub own { Own->new(ssl_no_verify => 1, make => @_) }

# A client that gets this end of a socket pair, and the other end.
sub own_with_pair {
    my ($left, $right) = socket_pair();
    return (own(sub { $_[0]->($left) }), WebSocketTest::Peer->new($right));
}

subtest 'how it is called' => sub {
    my $client = own(sub { });
    $client->connect('ws://example.test:81/path');
    $client->connect('wss://[::1]/');
    $client->connect('ws://example.test/', 'other.test', 82);
    $client->connect('ws://example.test/', 'unix/', '/path');
    $client->connect('http://example.test/');
    my @calls = @{ $client->calls };
    is_deeply [map { [@{ $_->{arguments} }[0 .. 2]] } @calls], [
        ['ws', 'example.test', 81], ['wss', '::1', 443], ['ws', 'other.test', 82], ['ws', 'unix/', '/path'],
        ],
        'once for each connect, with the scheme and the place';
    is_deeply [map { [map { ref } @{ $_->{arguments} }[3 .. $#{ $_->{arguments} }]] } @calls], [(['CODE', 'CODE']) x 4],
        'and two subs';
    is_deeply [map { $_->{context} } @calls], [(undef) x 4], 'in void context, whatever that of connect';
};

subtest 'prepare returns timeout' => sub {
    my @seconds;
    Own->new(timeout => $_, make => sub { push @seconds, $_[1]->() })->connect('ws://127.0.0.1/') for 7, 0.5, 0, undef;
    is_deeply \@seconds, [7, 0.5, 0, undef];
};

subtest 'a handle at once' => sub {
    my ($client, $peer) = own_with_pair();
    my $cv = $client->connect('ws://example.test:81/path');
    my $request = next_request($peer);
    is $request->first, 'GET /path HTTP/1.1', 'the request goes there';
    is $request->value('Host'), 'example.test:81', 'with the Host of the URI';
    $peer->write(switching($request) . text('hello'));
    my $connection = connection_of($cv);
    is_deeply recorder($connection)->wait_messages(1)->bodies, ['hello'], 'the connection works';
    $connection->send('back');
    is $peer->next_frame->{payload}, 'back', 'in both directions';
};

subtest 'a handle later, and more arguments' => sub {
    my ($left, $right) = socket_pair();
    my $client = own(sub {
        my ($connected) = @_;
        my $timer;
        $timer = AE::timer 0.01, 0, sub {
            undef $timer;
            $connected->($left, 'host', 1, sub { });
        }
    });
    my $cv = $client->connect('ws://example.test/');
    ok !$cv->ready, 'connect does not wait';
    my $peer = WebSocketTest::Peer->new($right);
    $peer->write(switching(next_request($peer)));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

subtest 'no handle' => sub {
    for my $arguments ([], [undef], [0], ['']) {
        my $cv = own(sub { $_[0]->(@$arguments) })->connect('ws://example.test/');
        ok $cv->ready, 'the condvar is ready at once';
        is error_of($cv), 'unable to connect', 'with the usual error';
    }
};

subtest 'a handle whose peer has gone' => sub {
    my ($left, $right) = tcp_pair();
    WebSocketTest::Peer->new($right)->reset;
    is error_of(own(sub { $_[0]->($left) })->connect('ws://example.test/')), 'connect error: Connection reset by peer',
        'the first error is reported, not the one that follows it';
};

subtest 'a condvar whose callback dies while the handle is being taken' => sub {
    for my $uri ('ws://example.test/', 'wss://example.test/') {
        my ($left, $right) = tcp_pair();
        WebSocketTest::Peer->new($right)->reset;
        my $connected;
        my $cv = own(sub { $connected = $_[0]; return })->connect($uri);
        $cv->cb(sub { die "oops\n" });
        ok !eval { $connected->($left); 1 }, "$uri: the exception arrives";
        is $@, "oops\n", 'unchanged';
    }
};

subtest 'around' => sub {
    my $server = raw_server();
    my $client = Wrapping->new;
    my $cv = $client->connect($server->uri);
    my $peer = $server->next_peer;
    $peer->write(switching(next_request($peer)));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
    my ($call, $arguments) = @{ $client->seen };
    is_deeply $call, ['ws', '127.0.0.1', $server->port], 'it sees the place';
    cmp_ok $arguments, '>=', 1, 'and the handle';
    my ($port, $reserved) = closed_port();
    is error_of(Wrapping->new->connect("ws://127.0.0.1:$port/")), 'unable to connect', 'also if there is none';
};

subtest 'SUPER with another place' => sub {
    my $server = raw_server();
    local @Elsewhere::place = ('127.0.0.1', $server->port);
    my $cv = Elsewhere->new->connect('ws://example.test/');
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    is $request->value('Host'), 'example.test', 'the Host stays';
    $peer->write(switching($request));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

subtest 'a tunnel of one\'s own' => sub {
    my $server = raw_server();
    my $client = own(sub {
        my ($connected) = @_;
        AnyEvent::Socket::tcp_connect(
            '127.0.0.1',
            $server->port,
            sub {
                my $handle = AnyEvent::Handle->new(fh => $_[0]);
                $handle->push_write("hello, tunnel\n");
                $handle->push_read(line => sub { my $fh = $handle->fh; undef $handle; $connected->($fh) });
            });
        return;
    });
    my $cv = $client->connect('ws://example.test/');
    my $peer = $server->next_peer;
    is $peer->read_until("\n"), "hello, tunnel\n", 'it speaks first';
    $peer->write("ok\n");
    $peer->write(switching(next_request($peer)));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

done_testing;
