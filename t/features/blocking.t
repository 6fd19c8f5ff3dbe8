# Tests that AnyEvent::WebSocket::Blocking connects, sends and receives without an event loop, with and without TLS.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

use AnyEvent::WebSocket::Message;
use Time::HiRes qw(time);
use WebSocketTest::ForkedServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original has no blocking client' if is_original();
require AnyEvent::WebSocket::Blocking;

my $SECONDS = 60 * patience();

sub connect_to {
    my ($server, @options) = @_;
    return AnyEvent::WebSocket::Blocking->connect($server->url, timeout => $SECONDS, $server->options, @options);
}

{
    package Undecided;
    use overload '""' => sub { die "undecided\n" };
    sub new { return bless {}, shift }
}

sub echo_server { WebSocketTest::ForkedServer->start(sub { $_[0]->echo }, @_) }

my @kinds = (['plain', []]);
my $why_not = WebSocketTest::TLS::unavailable() || (eval { require IO::Socket::SSL; 1 } ? '' : 'IO::Socket::SSL is not installed');
push @kinds, ['TLS', [tls => 1]] if !$why_not;

for my $kind (@kinds) {
    my ($name, $server_options) = @$kind;
    subtest "$name: request and reply" => sub {
        my $server = echo_server(@$server_options);
        my $socket = connect_to($server);
        is $socket->send("\x{263a}"), $socket, 'send returns the connection';
        my $reply = $socket->receive($SECONDS);
        isa_ok $reply, 'AnyEvent::WebSocket::Message';
        is $reply->decoded_body, "\x{263a}", 'characters';
        ok $reply->is_text, 'as text';
        $socket->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => "\0\xff"));
        $reply = $socket->receive($SECONDS);
        is_deeply [$reply->is_binary, $reply->body], [1, "\0\xff"], 'binary';
        is_deeply $socket->send_json({ id => 1 })->receive($SECONDS)->decoded_json, { id => 1 }, 'JSON';
        ok $socket->send_binary('x')->receive($SECONDS)->is_binary, 'send_binary';
        is $socket->send_text('2')->receive($SECONDS)->body, '2', 'send_text';
        is $socket->send('')->receive($SECONDS)->body, '', 'an empty message';
        $socket->send($_) for 1 .. 3;
        is join(' ', map { $socket->receive->body } 1 .. 3), '1 2 3', 'in order, without a limit of time';
        ok $socket->is_open, 'open';
        is $socket->close, 1, 'close is answered';
        ok !$socket->is_open, 'closed';
        is_deeply [$socket->receive], [], 'nothing more';
    };

    subtest "$name: a large message" => sub {
        my $server = echo_server(@$server_options);
        my $socket = connect_to($server);
        my $large = join '', map { chr(97 + $_ % 26) } 1 .. 3_000_000;
        is $socket->send($large)->receive($SECONDS)->body eq $large, 1, 'is the same when it comes back';
    };

    subtest "$name: two peers that write at the same time" => sub {
        my $size = 8_000_000;
        my $server = WebSocketTest::ForkedServer->start(
            sub {
                my ($peer) = @_;
                $peer->write(binary('s' x $size));
                my $message = $peer->message;
                $peer->tell(length $message);
                $peer->echo;
            },
            @$server_options
        );
        my $socket = connect_to($server);
        $socket->send_binary('c' x $size);
        is $server->told, $size, 'the server has it all';
        is length $socket->receive($SECONDS)->body, $size, 'so has the client';
        is $socket->close, 1, 'and can close';
    };
}

subtest 'wss' => sub {
    plan skip_all => $why_not if $why_not;
    my $server = echo_server(tls => 1);
    my $refused = sub {
        my ($text, @options) = @_;
        ok !eval { AnyEvent::WebSocket::Blocking->connect($server->url, timeout => $SECONDS, @options); 1 }, 'refused';
        like $@, $text, 'says why';
    };
    my %trusted = $server->options;
    $refused->(qr/^connect: TLS: .*certificate verify failed.*, in the TLS handshake with 127\.0\.0\.1/);
    $refused->(qr/^connect: TLS: .*certificate verify failed/, SSL_verify_mode => undef);
    $refused->(qr/^connect: TLS: .*hostname verification failed/, SSL_ca_file => $trusted{SSL_ca_file});
    $refused->(qr/^connect: there is no option SSL_ca_fil; did you mean SSL_ca_file\?/, SSL_ca_fil => 1);
    $refused->(qr/^connect: TLS: /, SSL_ca_file => '/nonexistent');
    my $socket = AnyEvent::WebSocket::Blocking->connect($server->url, timeout => $SECONDS, SSL_verify_mode => 0);
    is $socket->send('a')->receive($SECONDS)->body, 'a', 'unless verification is off';
    isa_ok $socket->handle, 'IO::Socket::SSL';
};

subtest 'time' => sub {
    my $server = WebSocketTest::ForkedServer->start(sub {
        my ($peer) = @_;
        $peer->message;
        $peer->write(text('late'));
        $peer->wait_end;
    });
    my $socket = connect_to($server);
    my $since = time;
    croaks_here 'receive without a message', sub { $socket->receive(0.3) }, qr/^receive: timed out after 0\.3 seconds at/;
    cmp_ok time - $since, '>=', 0.29, 'waits that long';
    croaks_here 'receive(0)', sub { $socket->receive(0) }, qr/^receive: timed out after 0 seconds/;
    is $socket->can_receive, 0, 'can_receive looks';
    is $socket->can_receive(0.1), 0, 'can_receive waits';
    ok $socket->is_open, 'the connection goes on';
    $socket->send('go');
    is $socket->can_receive($SECONDS), 1, 'can_receive sees the message';
    is $socket->can_receive, 1, 'and leaves it';
    is $socket->receive(0)->body, 'late', 'which receive(0) returns';
    for my $seconds (-1, 'soon', '') {
        croaks_here "receive('$seconds')", sub { $socket->receive($seconds) }, qr/^receive: the time must be a number of seconds/;
    }
};

subtest 'ping' => sub {
    my $server = WebSocketTest::ForkedServer->start(sub {
        my ($peer) = @_;
        my $ping = $peer->next_frame;
        $peer->tell($ping->{opcode});
        $peer->write(pong('another'), text('between'), pong($ping->{payload}));
        $peer->wait_end;
    });
    my $socket = connect_to($server);
    my $seconds = $socket->ping($SECONDS);
    is $server->told, 9, 'a ping is sent';
    cmp_ok $seconds, '>', 0, 'and the time until its pong returned';
    is $socket->receive(0)->body, 'between', 'messages that come first are kept';
    croaks_here 'a ping without a pong', sub { $socket->ping(0.1) }, qr/^ping: timed out after 0\.1 seconds/;

    my $echo = echo_server();
    my $patient = connect_to($echo, timeout => 0);
    croaks_here 'a time that is none', sub { $patient->ping('soon') }, qr/^ping: the time must be a number of seconds/;
    is length $patient->{codec}->output(100), 0, 'sends nothing';
    cmp_ok $patient->ping, '>', 0, 'a connection without a timeout waits for the pong';
};

subtest 'times that select does not take' => sub {
    my $server = WebSocketTest::ForkedServer->start(sub { my ($peer) = @_; $peer->message; sleep 1; $peer->write(text('x')) });
    for my $seconds (1e19, 1e300) {
        my $socket = connect_to($server);
        my ($user, $system) = times;
        is $socket->send('go')->receive($seconds)->body, 'x', "receive($seconds)";
        my ($user_after, $system_after) = times;
        cmp_ok $user_after + $system_after - $user - $system, '<', 0.5, 'does not keep the processor busy';
    }
};

subtest 'a Close frame sent as a message' => sub {
    my $server = echo_server();
    my $socket = connect_to($server);
    is $socket->send(AnyEvent::WebSocket::Message->new(opcode => 8, body => pack 'n', 1000)), $socket, 'is sent';
    croaks_here 'another message', sub { $socket->send('x') }, qr/^send: the connection is closed/;
    is_deeply [$socket->receive($SECONDS)], [], 'and answered';
};

subtest 'the handshake' => sub {
    my $server = WebSocketTest::ForkedServer->start(sub {
        my ($peer) = @_;
        (my $head = $peer->request) =~ s/\r\n/|/g;
        $peer->tell($head);
        $peer->echo;
    }, headers => "Sec-WebSocket-Protocol: two\r\n");
    my $port = $server->port;
    my $socket = AnyEvent::WebSocket::Blocking->connect(
        "ws://127.0.0.1:$port/path?q=1#fragment", subprotocols => ['one', 'two'], headers => [Cookie => 'a=b', 'X-A' => 1]);
    my $head = $server->told;
    like $head, qr{^GET /path\?q=1 HTTP/1\.1\|}, 'target';
    like $head, qr/\|Host: 127\.0\.0\.1:$port\|/i, 'Host';
    like $head, qr/\|Sec-WebSocket-Protocol: one, ?two\|/i, 'subprotocols';
    like $head, qr/\|Cookie: a=b\|X-A: 1\|/, 'headers';
    is $socket->subprotocol, 'two', 'the subprotocol that the server chose';
    is fileno $socket->handle, $socket->fileno, 'handle and fileno';
    $socket->close;
    is_deeply [$socket->handle, $socket->fileno], [undef, undef], 'are gone after close';
};

subtest 'a file handle that is connected already' => sub {
    my $server = echo_server();
    my $fh = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $server->port) or die $@;
    my $socket = AnyEvent::WebSocket::Blocking->connect('ws://elsewhere.example/', fh => $fh, timeout => $SECONDS);
    is $socket->send('x')->receive($SECONDS)->body, 'x', 'is used';
};

subtest 'close' => sub {
    my $server = WebSocketTest::ForkedServer->start(sub {
        my ($peer) = @_;
        $peer->write(text('unread'));
        my $frame = $peer->next_frame;
        $peer->tell(join ' ', close_of($frame));
        $peer->write(text('late'), close_frame(4001, "gr\xc3\xbc\xc3\x9f"));
        $peer->wait_end;
    });
    my $socket = connect_to($server);
    is $socket->close(4000, "\x{263a}"), 1, 'is answered';
    is $server->told, "4000 \xe2\x98\xba", 'code and reason are sent';
    is_deeply [$socket->close_code, $socket->close_reason], [4001, "gr\xfc\xdf"], 'the peer\'s code and reason';
    is_deeply [$socket->receive(0)], [], 'messages are not received any more';
    is $socket->close, 1, 'again does nothing';
    for my $code (999, 5000, 'normal') {
        croaks_here "close($code)", sub { $socket->close($code) }, qr/^close: $code is not a close code/;
    }
    is $socket->can_receive, 1, 'can_receive says that receive does not wait';

    my $talker = WebSocketTest::ForkedServer->start(sub { my ($peer) = @_; $peer->write(text('kept')); $peer->wait_end });
    my $other = connect_to($talker);
    is $other->can_receive($SECONDS), 1, 'there is a message';
    ok !eval { $other->close(1000, Undecided->new); 1 }, 'a reason that dies';
    is $other->receive(0)->body, 'kept', 'leaves the messages';
    ok $other->is_open, 'and the connection';
};

subtest 'strict' => sub {
    my $server = WebSocketTest::ForkedServer->start(sub {
        my ($peer) = @_;
        $peer->write(text('x', mask => 'abcd'));
        $peer->wait_end;
    });
    local $ENV{ANYEVENT_WEBSOCKET_STRICT} = 1;
    croaks_here 'by the environment', sub { connect_to($server)->receive($SECONDS) }, qr/^receive: Protocol error: /;
    is connect_to($server, strict => 0)->receive($SECONDS)->body, 'x', 'the option comes first';
};

subtest 'compression' => sub {
    my $answer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    my $server = WebSocketTest::ForkedServer->start(sub {
        my ($peer) = @_;
        my $frame = $peer->next_frame or return;
        $peer->tell("$frame->{rsv} " . length $frame->{payload});
        $peer->write(frame(opcode => 1, rsv => 4, payload => "\xf2\x48\xcd\xc9\xc9\x07\x00"));
        $peer->wait_end;
    }, headers => $answer);
    my $socket = connect_to($server, deflate => { level => 6 });
    $socket->send('x' x 5000);
    like $server->told, qr/^4 \d\d$/, 'messages are compressed';
    is $socket->receive($SECONDS)->body, 'Hello', 'and inflated (RFC 7692, 7.2.3.1)';

    undef $socket;
    my $plain = echo_server();
    is connect_to($plain, deflate => 1)->send('y' x 500)->receive($SECONDS)->body, 'y' x 500, 'a server that declines';
    ok !eval { connect_to($server); 1 }, 'an extension that was not offered';
    like $@, qr/^connect: Not a valid response, in the WebSocket handshake/, 'is refused';
    my $odd = WebSocketTest::ForkedServer->start(sub { }, headers => $answer =~ s/deflate/deflate; odd/r);
    ok !eval { connect_to($odd, deflate => 1); 1 }, 'a parameter that was not offered';
    like $@, qr/^connect: the server's Sec-WebSocket-Extensions is no answer .*; odd, in the WebSocket handshake/, 'is refused';
};

subtest 'limits' => sub {
    my $server = WebSocketTest::ForkedServer->start(sub {
        my ($peer) = @_;
        $peer->write(text('x' x 2000));
        while (my $frame = $peer->next_frame) { $peer->tell(join ' ', close_of($frame)) if $frame->{opcode} == 8 }
    });
    my $socket = connect_to($server, max_message_size => 1000);
    croaks_here 'receive', sub { $socket->receive($SECONDS) }, qr/^receive: Message is too big/;
    is $server->told, '1009 ', 'the peer is told';
    croaks_here 'the next receive', sub { $socket->receive }, qr/^receive: Message is too big/;
    croaks_here 'send', sub { $socket->send('x') }, qr/^send: Message is too big/;
    is $socket->close, 0, 'close has nothing to wait for';
    is connect_to($server, max_message_size => 2000)->receive($SECONDS)->body, 'x' x 2000, 'within the limit';
};

subtest 'mistakes' => sub {
    my $class = 'AnyEvent::WebSocket::Blocking';
    croaks_here 'no URL', sub { $class->connect }, qr/^connect takes a URL/;
    for my $url ('http://localhost/', 'ws://', 'ws://a b/', 'ws://localhost:x/', 'ws://[::1/') {
        croaks_here $url, sub { $class->connect($url) }, qr/^connect: not a WebSocket URL: \Q$url/;
    }
    croaks_here 'a password', sub { $class->connect('ws://u:p@localhost/') }, qr/^connect: a name and password .* Authorization/;
    my $url = 'ws://127.0.0.1:1/';
    croaks_here 'an odd list', sub { $class->connect($url, 'timeout') }, qr/^connect: options must be pairs/;
    croaks_here 'an option', sub { $class->connect($url, timout => 1) }, qr/^connect: there is no option timout; the options are /;
    croaks_here 'a time', sub { $class->connect($url, timeout => -1) }, qr/^connect: timeout must be a number of seconds/;
    croaks_here 'a limit', sub { $class->connect($url, max_fragments => 'x') }, qr/^connect: max_fragments must be a whole number/;
    croaks_here 'headers', sub { $class->connect($url, headers => { a => 1 }) }, qr/^connect: headers must be/;
    croaks_here 'a line end', sub { $class->connect($url, headers => [a => "b\r\nc: d"]) }, qr/^connect: a header must not/;
    croaks_here 'a subprotocol', sub { $class->connect($url, subprotocols => ['a b']) }, qr/^connect: not the name of a subprotocol/;
    for my $fh (1000, 'none', {}, \my $scalar, bless [], 'Other') {
        croaks_here "fh $fh", sub { $class->connect($url, fh => $fh) }, qr/^connect: fh must be an open socket/;
    }
    croaks_here 'a port', sub { $class->connect('ws://127.0.0.1:65536/') }, qr/^connect: not a WebSocket URL/;
    croaks_here 'deflate', sub { $class->connect($url, deflate => []) }, qr/^connect: deflate must be a reference to a hash/;
    croaks_here 'a level', sub { $class->connect($url, deflate => { level => 10 }) }, qr/^connect: deflate: level must be/;

    my $server = echo_server();
    my $socket = connect_to($server);
    croaks_here 'a reference', sub { $socket->send({}) }, qr/^send takes a string or an object/;
    my $ping = AnyEvent::WebSocket::Message->new(opcode => 9, body => 'x' x 126);
    croaks_here 'a long ping', sub { $socket->send($ping) }, qr/^send: a control frame carries at most 125 bytes/;
    is $socket->send('still')->receive($SECONDS)->body, 'still', 'mistakes do no harm';
};

subtest 'the codec inside' => sub {
    my $codec = AnyEvent::WebSocket::Native::Codec->new;
    $codec->feed($_) for my ($undef, $number, $reference) = (undef, 1.5, []);
    is_deeply [$undef, $number, $reference], [undef, 1.5, []], 'leaves what is no string alone';
    is $codec->next_event, undef, 'and sees no bytes in it';
};

done_testing;
