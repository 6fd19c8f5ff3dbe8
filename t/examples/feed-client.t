# Tests examples/feed-client.pl against a server that misbehaves in all ways that a client of a feed must survive.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use AnyEvent::Socket qw(tcp_server);
use ExampleProgram;
use ExampleTest;
use Protocol::WebSocket::Handshake::Server;

plan skip_all => missing() if missing();
plan skip_all => 'by design: the original has neither pings nor JSON' if is_original();

my ($server, $port, $sockets);

# Gives each client its own port, so that one that has not quite ended cannot connect in place of the next.
sub listen_anew {
    my $queue = $sockets = [];
    $server = tcp_server '127.0.0.1', 0, sub { push @$queue, $_[0]; poke() }, sub { $port = $_[2]; 0 };
}

# Starts a client, by default with delays far below and timeouts far above what a busy machine takes.
sub start_client {
    listen_anew();
    my (%option) = (delay => 0.01, 'max-delay' => 0.04, timeout => 60, ping => 60, silence => 60, port => $port, @_);
    my $to_port = delete $option{port};
    return ExampleProgram->start('feed-client.pl', (map { ("--$_", $option{$_}) } sort keys %option),
        "ws://127.0.0.1:$to_port/feed", qw(trades.BTC book.ETH));
}

sub next_socket {
    wait_until('the client to connect', sub { @$sockets }, 60);
    return shift @$sockets;
}

# Returns the feed's side of the next connection, after handshake and subscription.
sub next_subscriber {
    my $handle = AnyEvent::Handle->new(fh => next_socket());
    my (undef, $header) = next_event('a handshake', sub { $handle->push_read(line => "\r\n\r\n", $_[0]) });
    my $handshake = Protocol::WebSocket::Handshake::Server->new;
    $handshake->parse("$header\r\n\r\n") or die $handshake->error;
    $handle->push_write($handshake->to_string);
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle);
    my (undef, $message) = next_event('the subscription', sub { $connection->on(next_message => $_[0]) });
    is_deeply $message->decoded_json, { op => 'subscribe', channels => ['trades.BTC', 'book.ETH'] }, 'it subscribes';
    return $connection;
}

subtest 'events' => sub {
    my $client = start_client();
    my $feed = next_subscriber();
    $feed->send_json({ channel => 'trades.BTC', price => 42.5 })->send_json({ channel => 'book.ETH', note => "\x{20ac}" });
    $client->wait_for(qr/^channel=trades\.BTC price=42\.5\nchannel=book\.ETH note=\xe2\x82\xac\n/m);
    pass 'are printed, in order';
    $feed->send($_) for '{"channel":', '["channel"]', '{}', '{"channel":"book.ETH","n":2}';
    $client->wait_for(qr/^channel=book\.ETH n=2$/m);
    is scalar(() = $client->output =~ /^not understood: /mg), 3, 'what is none is passed over, with a warning';
    is recorder($feed)->finished, 0, 'and the connection goes on';
};

subtest 'it connects and subscribes again' => sub {
    my $client = start_client();
    close next_socket();
    $client->wait_for(qr/^connect error: .*; next try in/m);
    pass 'when the server hangs up before the handshake';

    my $feed = next_subscriber();
    $feed->close(1012, 'restart');
    $client->wait_for(qr/^closed: 1012 restart; next try in/m);
    pass 'when the server closes in order';

    $feed = next_subscriber();
    undef $feed;
    $client->wait_for(qr/^closed without a word; next try in/m);
    pass 'when the connection ends without a Close frame';

    $feed = next_subscriber();
    $feed->send_json({ channel => 'book.ETH', last => 1 });
    $client->wait_for(qr/^channel=book\.ETH last=1$/m);
    pass 'and goes on to print';
};

subtest 'while nobody listens' => sub {
    my $gone_port;
    my $guard = tcp_server '127.0.0.1', 0, sub { }, sub { $gone_port = $_[2]; 0 };
    undef $guard;
    my $client = start_client(port => $gone_port);
    $client->wait_for(qr/^(?:unable to connect; next try in .*\n){3}/m);
    pass 'it goes on to try';
};

# Waits for this many delays, and returns all there are; the client prints each a moment after it has connected.
sub delays {
    my ($client, $count) = @_;
    my @delays;
    wait_until("$count delays", sub { (@delays = $client->output =~ /next try in ([\d.]+) s/g) >= $count }, 60);
    return @delays;
}

subtest 'the delay' => sub {
    my $client = start_client();
    close next_socket() for 1 .. 6;
    my @delays = delays($client, 6);
    my @longest = (0.01, 0.02, 0.04, 0.04, 0.04, 0.04);
    is_deeply [grep { $delays[$_] < $longest[$_] / 2 - 0.001 || $delays[$_] > $longest[$_] + 0.001 } 0 .. 5], [],
        'doubles up to its maximum, less a random part of up to half' or diag "@delays";

    my $feed = next_subscriber();
    $feed->send_json({ channel => 'book.ETH' });
    $client->wait_for(qr/^channel=/m);
    undef $feed;
    cmp_ok((delays($client, 7))[6], '<=', 0.011, 'starts again once there was a message');
};

subtest 'a server that accepts, and does not answer the handshake' => sub {
    my $client = start_client(timeout => 0.2);
    my $silent = next_socket();
    $client->wait_for(qr/^no answer to the handshake; next try in/m);
    ok next_socket(), 'is given up after --timeout';
};

subtest 'a connection on which nothing comes any more' => sub {
    my $client = start_client(silence => 1);
    my $feed = next_subscriber();
    $feed->pause;    # stops sending pongs
    $client->wait_for(qr/the peer sent nothing within 1 seconds; next try in/m);
    pass 'is given up after --silence';
    next_subscriber();
};

subtest 'a connection on which only pongs come' => sub {
    my $client = start_client(silence => 2, ping => 0.1);
    my $feed = next_subscriber();
    my $pings = 0;
    $feed->on(ping => sub { $pings++; poke() });
    after(3);
    cmp_ok $pings, '>', 1, 'is pinged';
    is $feed->state, 'open', 'and kept';
};

subtest 'SIGTERM' => sub {
    my $client = start_client();
    my $feed = next_subscriber();
    my $seen = recorder($feed);
    is $client->stop, 0, 'ends it, with status 0';
    $seen->wait_finish;
    is $feed->close_code, 1000, 'after it has closed in order';
    unlike $client->output, qr/next try/, 'and does not try again';

    my $waiting = start_client(delay => 600, 'max-delay' => 600);
    close next_socket();
    $waiting->wait_for(qr/next try in [345]\d\d/);
    is $waiting->stop, 0, 'ends one that waits for its next try, too';
};

done_testing;
