# Tests that AnyEvent::WebSocket::Blocking works inside callbacks of any event loop, and leaves the loop alone.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

use WebSocketTest::ForkedServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original has no blocking client' if is_original();
require AnyEvent::WebSocket::Blocking;

my $SECONDS = 60 * patience();

sub echo_server { WebSocketTest::ForkedServer->start(sub { $_[0]->echo }, @_) }

# Returns the reply to one request.
sub ask {
    my ($server, $question) = @_;
    my $socket = AnyEvent::WebSocket::Blocking->connect($server->url, timeout => $SECONDS, $server->options);
    my $reply = $socket->send($question)->receive($SECONDS)->body;
    $socket->close;
    return $reply;
}

my $has_tls = !WebSocketTest::TLS::unavailable() && eval { require IO::Socket::SSL; 1 };
for my $kind ([plain => echo_server()], $has_tls ? [TLS => echo_server(tls => 1)] : ()) {
    my ($name, $server) = @$kind;
    subtest "$name: in callbacks of AnyEvent" => sub {
        my ($reply, $inner);
        my $others = 0;
        my $other = AE::timer 0, 0.001, sub { $others++; poke() };
        my $timer = AE::timer 0, 0, sub {
            my $before = $others;
            $reply = ask($server, 'timer');
            is $others, $before, 'no other callback runs meanwhile';
            poke();
        };
        wait_until('the reply', sub { $reply });
        is $reply, 'timer', 'a timer';
        wait_until('another callback', sub { $others > 1 });
        my ($connection, $peer) = connection_and_peer();
        $connection->on(each_message => sub { $inner = ask($server, $_[1]->body); poke() });
        $peer->write(text('message'));
        wait_until('the reply', sub { $inner });
        is $inner, 'message', 'a message callback';
        my $cv = AE::cv;
        my $idle = AE::timer 0, 0, sub { $cv->send(ask($server, 'waiting')) };
        is $cv->recv, 'waiting', 'while a condvar waits';
    };
}

my $server = echo_server();

# Tests that a program of its own prints this.
sub program_ok {
    my ($name, $program, $expected) = @_;
    my ($printed, $status) = run_perl({}, <<'END' . $program, $server->url, $SECONDS);
        use strict; use warnings; use AnyEvent::WebSocket::Blocking;
        sub ask {
            my $socket = AnyEvent::WebSocket::Blocking->connect($ARGV[0], timeout => $ARGV[1]);
            return $socket->send($_[0])->receive($ARGV[1])->body;
        }
END
    is $status, 0, "$name: the program ends";
    is $printed, $expected, "$name: what it prints";
}

subtest 'without any event loop' => sub {
    program_ok 'alone', <<'END', "alone\nno AnyEvent, no TLS\n";
        print ask('alone'), "\n";
        my @loaded = grep { $INC{$_} } 'AnyEvent.pm', 'AE.pm', 'EV.pm', 'IO/Socket/SSL.pm';
        print @loaded ? "@loaded\n" : "no AnyEvent, no TLS\n";
END
    program_ok 'AnyEvent later', <<'END', "first\nthen\n";
        print ask('first'), "\n";
        require AnyEvent::WebSocket::Connection;
        require AnyEvent::Handle;
        socketpair my $left, my $right, 1, 1, 0 or die;
        my $connection = AnyEvent::WebSocket::Connection->new(handle => AnyEvent::Handle->new(fh => $left));
        my $cv = AnyEvent->condvar;
        $connection->on(each_message => sub { $cv->send(ask($_[1]->body)) });
        syswrite $right, "\x81\x04then";
        print $cv->recv, "\n";
END
};

subtest 'IO::Async' => sub {
    plan skip_all => 'IO::Async is not installed' if !eval { require IO::Async::Loop; 1 };
    program_ok 'a timer', <<'END', "asked\nlater\n";
        require IO::Async::Loop;
        my $loop = IO::Async::Loop->new;
        $loop->watch_time(after => 0, code => sub {
            print ask('asked'), "\n";
            $loop->watch_time(after => 0, code => sub { print "later\n"; $loop->stop });
        });
        $loop->run;
END
};

subtest 'POE' => sub {
    plan skip_all => 'POE is not installed' if !grep { -f "$_/POE.pm" } @INC;
    program_ok 'an event', <<'END', "asked\nlater\n";
        require POE;
        POE->import;
        POE::Session->create(inline_states => {
            _start => sub { POE::Kernel->yield('ask') },
            ask => sub { print ask('asked'), "\n"; POE::Kernel->yield('later') },
            later => sub { print "later\n" },
        });
        POE::Kernel->run;
END
};

subtest 'with the original of the other classes' => sub {
    plan skip_all => 'the original is not installed' if !grep { -f "$_/AnyEvent/WebSocket/Client.pm" } grep { !/blib/ } @INC;
    my ($printed) = run_perl({ ANYEVENT_WEBSOCKET_PP => 1 }, <<'END', $server->url);
        use strict; use warnings; use AnyEvent::WebSocket::Blocking;
        my $socket = AnyEvent::WebSocket::Blocking->connect($ARGV[0], timeout => 60);
        my $reply = $socket->send(AnyEvent::WebSocket::Message->new(body => "\x{263a}"))->receive(60);
        print $reply->is_text && $reply->decoded_body eq "\x{263a}" ? "fine\n" : "wrong\n";
END
    is $printed, "fine\n", 'it works, with messages of the original';
};

done_testing;
