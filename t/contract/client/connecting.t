# Tests that connect returns a condvar at once, where it connects to, what recv gives, and who keeps the attempt alive.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use File::Temp ();
use Scalar::Util qw(weaken);
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;

# Serves one client: awaits its request, and answers with 101 and the bytes. Returns the peer.
sub serve {
    my ($server, @bytes) = @_;
    my $peer = $server->next_peer;
    $peer->write(switching(next_request($peer)) . join '', @bytes);
    return $peer;
}

sub connection_to {
    my (@arguments) = @_;
    my $server = raw_server();
    my $cv = client()->connect($server->uri, @arguments);
    my $peer = serve($server);
    return (connection_of($cv), $peer);
}

{
    package OtherUri;    # not a URI, but like one

    sub new { my ($class, %parts) = @_; return bless {%parts}, $class }
    sub scheme { $_[0]{scheme} }
    sub host { $_[0]{host} }
    sub port { $_[0]{port} }
    sub secure { $_[0]{secure} }
    sub as_string { $_[0]{as_string} }
}

subtest 'the condvar' => sub {
    my $server = raw_server();
    my $cv = client()->connect($server->uri);
    isa_ok $cv, 'AnyEvent::CondVar';
    ok !$cv->ready, 'is not ready when connect returns';
    my ($port, $reserved) = closed_port();
    ok !client()->connect("ws://127.0.0.1:$port/")->ready, 'also if nobody listens';
    serve($server);
    my $connection = connection_of($cv);
    is ref $connection, 'AnyEvent::WebSocket::Connection', 'it gets a Connection of that very class';
    is $cv->recv, $connection, 'recv gives the same again';
    is_deeply [$cv->recv], [$connection], 'and nothing else';
};

subtest 'URIs' => sub {
    my $server = raw_server();
    for my $uri ($server->uri, '  ' . $server->uri . "\n", URI->new($server->uri), '<' . $server->uri . '>') {
        my $cv = client()->connect($uri);
        serve($server);
        isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', "from '$uri'";
    }
    my $uri = URI->new($server->uri('/a?b'));
    my $before = $uri->as_string;
    my $cv = client()->connect($uri);
    serve($server);
    connection_of($cv);
    is $uri->as_string, $before, 'an object is not modified';
};

subtest 'an object that is like a URI' => sub {
    my $server = raw_server();
    my $cv = client()->connect(OtherUri->new(
        scheme => 'ws', host => '127.0.0.1', port => $server->port,
        as_string => 'ws://other.test:81/path'));
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    is $request->first, 'GET /path HTTP/1.1', 'is asked for as_string';
    is $request->value('Host'), 'other.test:81', 'also for Host';
    $peer->write(switching($request));
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

differs 'WS:// in upper case' => 'dies in the event loop' => sub {
    my $server = raw_server();
    for my $scheme ('WS', 'Ws') {
        my $cv = client()->connect($server->uri =~ s/\Aws/$scheme/r);
        serve($server);
        isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', "for $scheme";
    }
};

after_044 'another host or port than the URI\'s' => sub {
    my $server = raw_server();
    my $port = $server->port;
    my ($closed, $reserved) = closed_port();
    for my $case (
        ["ws://bogus.test:$port/", '127.0.0.1'], ["ws://127.0.0.1:$closed/", undef, $port],
        ["ws://bogus.test:$closed/", '127.0.0.1', $port], ["ws://bogus.test/", '127.0.0.1', "any=$port"])
    {
        my $cv = client()->connect(@$case);
        my $peer = $server->next_peer;
        my $request = next_request($peer);
        is $request->value('Host'), $case->[0] =~ s{\Aws://|/\z}{}gr, "Host is that of $case->[0]";
        $peer->write(switching($request));
        isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
    }
};

after_044 'a UNIX socket' => sub {
    my $directory = File::Temp->newdir;
    my $server = raw_server(host => 'unix/', port => "$directory/socket");
    my $cv = client()->connect('ws://host.test/path', 'unix/', "$directory/socket");
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    is $request->value('Host'), 'host.test', 'Host is the URI\'s';
    $peer->write(switching($request) . text('hello'));
    is_deeply recorder(connection_of($cv))->wait_messages(1)->bodies, ['hello'], 'messages come';
};

after_044 'an unknown service name' => sub {
    ok !eval { client()->connect('ws://127.0.0.1/', undef, 'no-such-service'); 1 }, 'connect itself dies';
    like $@, qr{\Ano-such-service/tcp: service unknown}, 'and says so';
};

subtest 'what the Connection is made of' => sub {
    my @new;
    my $original = AnyEvent::WebSocket::Connection->can('new');
    no warnings 'redefine';
    local *AnyEvent::WebSocket::Connection::new = sub {
        my ($class, %arguments) = @_;
        push @new, { class => $class, rbuf => $arguments{handle}{rbuf}, %arguments };
        goto &$original;
    };
    my $frame = text('early');
    my ($cv, $peer) = shake_hands({}, sub { switching($_[0]) . $frame });
    my $connection = connection_of($cv);
    is scalar @new, 1, 'new is called once';
    is $new[0]{class}, 'AnyEvent::WebSocket::Connection', 'for that class';
    is $new[0]{rbuf}, $frame, 'what follows the 101 is in the handle\'s buffer then';
    is_deeply [sort keys %{ $new[0] }], [qw(class handle masked rbuf)], 'without options it gets these arguments';
    is $new[0]{masked}, 1, 'masked';
    is ref $connection->handle, 'AnyEvent::Handle', 'the handle is a plain one';
    is $connection->handle, $new[0]{handle}, 'the same that the connection has';
    is $connection->handle->{peername}, undef, 'without a peername';
    ($cv, $peer) = shake_hands(
        { max_payload_size => 10, is_044() ? () : (max_fragments => 5), subprotocol => 'chat' },
        sub { switching($_[0], 'Sec-WebSocket-Protocol: chat') });
    connection_of($cv);
    is_deeply [@{ $new[1] }{qw(max_payload_size max_fragments subprotocol)}], [10, is_044() ? undef : 5, 'chat'],
        'with options, too';
};

subtest 'bytes behind the 101' => sub {
    my ($cv, $peer) = shake_hands({}, sub { switching($_[0]) . text('one') . text('two') . substr text('three'), 0, 4 });
    my $connection = connection_of($cv);
    my $seen = recorder($connection)->wait_messages(2);
    $peer->write(substr text('three'), 4);
    is_deeply $seen->wait_messages(3)->bodies, [qw(one two three)], 'are frames, also an incomplete one';
};

subtest 'an end of file behind the 101' => sub {
    my ($cv, $peer) = shake_hands(
        {},
        sub {
            switching($_[0]) . join '', map { text($_) } 1 .. 20;
        });
    $peer->close;
    my $seen = recorder(connection_of($cv))->wait_finish;
    is_deeply $seen->bodies, [1 .. 20], 'loses none';
    is_deeply $seen->order, [('message') x 20, 'finish'], 'finish comes last';
};

subtest 'the client is not needed while it connects' => sub {
    my $server = raw_server();
    my $client = client();
    my $cv = $client->connect($server->uri);
    weaken $client;
    serve($server);
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
    is $client, undef, 'afterwards it is gone';
};

subtest 'nor is the condvar' => sub {
    my $server = raw_server();
    client()->connect($server->uri);
    my $peer = serve($server);
    $peer->wait_eof;
    ok 1, 'then the connection closes at once';
};

subtest 'the condvar holds the connection' => sub {
    my ($cv, $peer) = shake_hands({}, sub { switching($_[0]) });
    weaken(my $connection = connection_of($cv));
    isa_ok $connection, 'AnyEvent::WebSocket::Connection';
    $connection->send('hello');
    is $peer->next_frame->{payload}, 'hello', 'it works';
    undef $cv;
    is $connection, undef, 'it goes with the condvar';
    $peer->wait_eof;
};

subtest 'many connections of one client' => sub {
    my $server = raw_server();
    my $client = client(subprotocol => 'chat');
    my @cvs = map { $client->connect($server->uri("/$_")) } 1 .. 10;
    my %peer_of;
    for (1 .. 10) {
        my $peer = $server->next_peer;
        my $request = next_request($peer);
        my ($number) = $request->first =~ m{/(\d+) };
        $peer_of{$number} = $peer->write(switching($request, 'Sec-WebSocket-Protocol: chat'));
    }
    my @connections = map { connection_of($_) } @cvs;
    $connections[$_ - 1]->send("from $_") for 1 .. 10;
    is_deeply [map { $peer_of{$_}->next_frame->{payload} } 1 .. 10], [map { "from $_" } 1 .. 10], 'at the same time, one each';
};

subtest 'croak on the condvar by the program' => sub {
    my $server = raw_server();
    my $cv = client()->connect($server->uri);
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    $cv->croak('I have no time');
    $peer->write(switching($request));
    settle();
    is error_of($cv), 'I have no time', 'stays in force';
};

subtest 'send on the condvar by the program' => sub {
    my $server = raw_server();
    my $cv = client()->connect($server->uri);
    $cv->send('enough');
    my $peer = $server->next_peer;
    like next_request($peer)->first, qr/\AGET /, 'does not cancel: the request is sent';
};

subtest 'die in the condvar\'s callback' => sub {
    plan skip_all => 'by design: other loops do otherwise' if loop() !~ /\A(?:EV|Perl)\z/;
    my $server = raw_server();
    my $cv = client()->connect($server->uri);
    my $connection;
    $cv->cb(sub { $connection = $_[0]->recv; poke(); die "oops\n" });
    my $peer = serve($server, text('early'));
    my $death = '';
    my $warnings = warnings_of(sub {
        $death = $@ unless eval {
            wait_until('the callback', sub { $connection });
            1;
        }
    });
    like loop() eq 'EV' ? "@$warnings" : $death, qr/oops/, 'reaches the event loop';
    my $seen = recorder($connection);
    $peer->write(text('late'));
    is_deeply $seen->wait_messages(2)->bodies, [qw(early late)], 'the connection stays good';
    $connection->send('hello');
    is $peer->next_frame->{payload}, 'hello', 'in both directions';
};

subtest 'connect in a callback, and in the condvar\'s' => sub {
    my $server = raw_server();
    my $second;
    my $first = client()->connect($server->uri);
    $first->cb(sub { $_[0]->recv; $second = client()->connect($server->uri); poke() });
    serve($server);
    wait_until('the second', sub { $second });
    serve($server);
    isa_ok connection_of($second), 'AnyEvent::WebSocket::Connection';
};

done_testing;
