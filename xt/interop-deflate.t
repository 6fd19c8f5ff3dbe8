# Tests compression with Node ws and Python websockets, in both roles, with context takeover and without.
#
#   prove -b -It/lib xt/interop-deflate.t
#
# They are looked for where bench/compare.pl has them, in BENCH_CACHE (default ~/.cache/ws-bench), then by NODE_PATH and
# python3; what is missing is skipped.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../t/lib";
use Test::More;
use WebSocketTest;

use AnyEvent::Socket ();
use AnyEvent::Util ();

plan skip_all => 'by design: the original has no compression' if is_original();
for my $class (qw(AnyEvent::WebSocket::Deflate::Client Protocol::WebSocket::Handshake::Server)) {
    plan skip_all => "$class does not load: $@" unless eval "require $class";
}
require WebSocketTest::Deflate;
WebSocketTest::Deflate->import;

my $cache = $ENV{BENCH_CACHE} // "$ENV{HOME}/.cache/ws-bench";
my ($python) = grep { -x } "$cache/py/bin/python", split /:/, join ':', map { "$_/python3" } split /:/, $ENV{PATH};
local $ENV{NODE_PATH} = join ':', "$cache/node/node_modules", $ENV{NODE_PATH} // ();

my %peers = (
    'Node ws'           => { command => ['node', "$FindBin::Bin/interop/ws.js"], try => ['node', '-e', 'require("ws")'] },
    'Python websockets' => {
        command => [$python // 'python3', "$FindBin::Bin/interop/websockets_peer.py"],
        try     => [$python // 'python3', '-c', 'import websockets.asyncio.client'],
    },
);

# The payloads are small and large, alike and not; one does not get smaller.
my @payloads = ((map { json(300 * $_, $_ % 3) } 1 .. 20), '', join('', map { chr 32 + $_ * $_ * 7919 % 95 } 1 .. 5000), json(60_000));

sub is_there {
    my ($command) = @_;
    open my $null, '>', '/dev/null' or die "/dev/null: $!";
    my $status = AnyEvent::Util::run_cmd($command, '>' => $null, '2>' => $null);
    return (next_event('a trial', sub { my $done = shift; $status->cb(sub { $done->($_[0]->recv) }) }))[0] == 0;
}

# Starts the peer; returns the first line that it prints, if asked for, and a sub that ends it.
sub start {
    my ($command, $prints) = @_;
    my ($line, $pid) = ('');
    my $done = AnyEvent::Util::run_cmd($command, '$$' => \$pid, '>' => sub { $line .= $_[0] // ''; poke() });
    wait_until('its port', sub { $line =~ /\n/ || $done->ready }, 30) if $prints;
    return ($line, sub { kill TERM => $pid; next_event('its end', sub { my $ended = shift; $done->cb(sub { $ended->() }) }) });
}

sub echoes_ok {
    my ($connection) = @_;
    ok $connection->deflate, 'compression is agreed on' or return;
    my $seen = recorder($connection);
    $connection->send($_) for @payloads;
    $seen->wait_messages(scalar @payloads, 30);
    is_deeply $seen->bodies, \@payloads, 'every message comes back as it was';
    $connection->close(1000);
    $seen->wait_finish;
    is $connection->close_code, 1000, 'and the peer closes in order';
}

sub play_client {
    my ($command, $no_takeover, $bits) = @_;
    my ($port, $end) = start([@$command, 'server', 0, $no_takeover, $bits], 1);
    my $client = AnyEvent::WebSocket::Deflate::Client->new(deflate => { threshold => 0 });
    my $cv = $client->connect('ws://127.0.0.1:' . ($port + 0) . '/');
    next_event('the handshake', sub { my $done = shift; $cv->cb(sub { $done->() }) });
    my $connection = $cv->recv;
    is_deeply [@{ $connection->deflate || {} }{qw(no_context_takeover peer_no_context_takeover)}], [$no_takeover, $no_takeover], 'as it wants';
    echoes_ok($connection);
    $end->();
}

sub play_server {
    my ($command, $no_takeover, $bits) = @_;
    my ($connection, $port);
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        my $handle = AnyEvent::Handle->new(fh => $_[0]);
        my $handshake = Protocol::WebSocket::Handshake::Server->new;
        $handle->on_read(sub {
            $handshake->parse(my $bytes = delete $_[0]{rbuf});
            return unless $handshake->is_done;
            my ($header, $deflate) = AnyEvent::WebSocket::Deflate::accept(
                $handshake->req->fields->{'sec-websocket-extensions'}, threshold => 0,
            );
            my $response = $handshake->to_string;
            $response =~ s/\x0d\x0a\z/Sec-WebSocket-Extensions: $header\x0d\x0a\x0d\x0a/ if $deflate;
            $handle->push_write($response);
            $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, deflate => $deflate);
            poke();
        });
    }, sub { $port = $_[2]; 0 });
    my (undef, $end) = start([@$command, 'client', $port, $no_takeover, $bits]);
    wait_until('its connection', sub { $connection }, 30);
    echoes_ok($connection);
    $end->();
}

for my $name (sort keys %peers) {
    my ($command, $try) = @{ $peers{$name} }{qw(command try)};
    SKIP: {
        is_there($try) or skip "$name is not installed", 1;
        for my $case ([0, 15], [0, 10], [1, 15], [1, 9]) {
            my ($no_takeover, $bits) = @$case;
            my $terms = ($no_takeover ? 'no context takeover' : 'context takeover') . ", windows of 2**$bits";
            subtest "$name as the server, $terms" => sub { play_client($command, @$case) };
            subtest "$name as the client, $terms" => sub { play_server($command, @$case) };
        }
    }
}

done_testing;
