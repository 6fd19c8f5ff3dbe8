# Tests Client and Server with other implementations: Node ws, Python websockets and Mojolicious in both roles, Chromium as a
# client, and nginx between the two.
#
#   prove -b xt/interop.t
#
# Node ws and Python websockets are looked for where bench/compare.pl has them, in BENCH_CACHE (default ~/.cache/ws-bench),
# then by NODE_PATH and python3. What is missing is skipped.
#
# The programs in interop/ get an object as JSON:
#
#   role          server or client
#   port          that a client connects to on 127.0.0.1
#   connections   how many it makes, one after the other
#   deflate       whether to compress; if so, no_takeover and bits say how, if the program has that choice
#
# and print for each connection "open SUBPROTOCOL compressed|plain" and "closed CODE REASON", a server also "listening PORT"
# before. They echo messages, and close the connection after a text "close CODE REASON".
use strict;
use warnings;
use FindBin;
use lib map {"$FindBin::Bin/$_"} qw(lib ../t/lib ../t/examples/lib);
use Test::More;
use WebSocketTest;

use AnyEvent::Socket qw(tcp_server);
use AnyEvent::WebSocket::Message;
use Browser;
use ExampleProgram;
use ExampleTest;
use File::Temp;
use JSON::PP ();
use Nginx;

plan skip_all => 'by design: the original has no compression' if is_original();
plan skip_all => missing(modules => ['AnyEvent::WebSocket::Server']) if missing(modules => ['AnyEvent::WebSocket::Server']);
require WebSocketTest::Deflate;
WebSocketTest::Deflate->import;
alarm 1200 * patience();

my $cache = $ENV{BENCH_CACHE} // "$ENV{HOME}/.cache/ws-bench";
my ($python) = grep { -x } "$cache/py/bin/python", map {"$_/python3"} split /:/, $ENV{PATH};
local $ENV{NODE_PATH} = join ':', "$cache/node/node_modules", $ENV{NODE_PATH} // ();
my $interop = "$FindBin::Bin/interop";
my $json = JSON::PP->new->canonical;

# command     gets the JSON as its last argument
# try         succeeds if what the program needs is installed
# hangs_up    the program closes the socket once it has sent a Close frame, or seen that we have ended our half after ours;
#             then the answer may be lost, or meet a reset (nginx is the same)
my %peers = (
    'Node ws' => { command => ['node', "$interop/ws.js"], try => ['node', '-e', 'require("ws")'], has_parameters => 1 },
    'Python websockets' => {
        command => [$python // 'python3', "$interop/websockets_peer.py"],
        try => [$python // 'python3', '-c', 'import websockets.asyncio.client'],
        has_parameters => 1,
    },
    Mojolicious => { command => [$^X, "$interop/mojo.pl"], try => [$^X, '-e', 'use Mojolicious 9'], hangs_up => 1 },
    Chromium => { command => \&chromium, try => ['chromium', '--version'], only_client => 1, always_offers => 1 },
);

# --- the peers' programs

my @profiles;

sub chromium {
    my ($plan) = @_;
    push @profiles, my $profile = File::Temp->newdir;
    my $fragment = $plan =~ s/([^\w,.:-])/sprintf '%%%02x', ord $1/ger;
    return ('chromium', Browser::flags(), "--user-data-dir=$profile", '--enable-logging=stderr',
        "file://$interop/page.html#$fragment");
}

sub start_peer {
    my ($peer, %plan) = @_;
    $plan{$_} = $plan{$_} ? JSON::PP::true : JSON::PP::false for qw(deflate no_takeover);
    $plan{bits} = 0 + ($plan{bits} || 15);
    my $plan = $json->encode(\%plan);
    my $command = $peer->{command};
    return ExampleProgram->run(ref $command eq 'CODE' ? $command->($plan) : (@$command, $plan));
}

sub is_there {
    my ($program, @arguments) = @_;
    return if $program !~ m{/} && missing(programs => [$program]);
    return ExampleProgram->run($program, @arguments)->wait == 0;
}

# --- our own ends

# Starts a Server. Returns its port, and a sub that waits for the next connection.
sub own_server {
    my (%options) = @_;
    my %common = (subprotocols => [qw(chat.v3 chat.v1 chat.v2)], max_payload_size => 0);
    my $server = AnyEvent::WebSocket::Server->new(%common, %options);
    my ($port, @connections);
    my $guard = tcp_server '127.0.0.1', 0, sub {
        $server->establish($_[0])->cb(sub {
            push @connections, eval { $_[0]->recv } // return diag "no connection: $@";
            poke();
        });
    }, sub { $port = $_[2]; 0 };
    return ($port, sub {
        my $listening = $guard;
        wait_until('a connection', sub { @connections }, 60);
        return shift @connections;
    });
}

sub own_client {
    my ($url, %options) = @_;
    return client_at($url, subprotocol => [qw(chat.v4 chat.v1)], max_payload_size => 0, %options);
}

# Does what the programs in interop/ do, with our own Server. Its `wait_for` is that of ExampleProgram.
{
    package OwnPeer;

    sub new {
        my ($class, %options) = @_;
        my $self = bless { log => '' }, $class;
        ($self->{port}, $self->{next}) = main::own_server(%options);
        return $self;
    }

    sub port { $_[0]{port} }

    # Waits for the next connection, and echoes what comes on it.
    sub serve {
        my ($self) = @_;
        my $connection = $self->{next}->();
        my $log = \$self->{log};
        $$log .= join ' ', 'open', $connection->subprotocol, $connection->deflate ? "compressed\n" : "plain\n";
        $connection->on(each_message => sub {
            my ($connection, $message) = @_;
            return $connection->close($1, $2) if $message->is_text && $message->body =~ /^close (\d+) (.*)/;
            $connection->send($message);
        });
        $connection->on(finish => sub {
            $$log .= join(' ', 'closed', map { $_ // '' } $_[0]->close_code, $_[0]->close_reason) . "\n";
            main::poke();
            undef $connection;
        });
    }

    sub wait_for {
        my ($self, $pattern) = @_;
        return main::wait_until("/$pattern/", sub { $self->{log} =~ $pattern });
    }
}

# --- the course of a connection

sub text_of { AnyEvent::WebSocket::Message->new(opcode => 1, body => $_[0]) }

# Small and large, alike and not, text and binary. The last does not get smaller by compression.
my $noise = join '', map { pack 'N', $_ * 2654435761 % 2**32 } 1 .. 500_000;
my @messages = (
    (map { text_of(json(300 * $_, $_ % 3)) } 1 .. 20),
    text_of(''), text_of("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"), text_of(json(100_000)),
    map { AnyEvent::WebSocket::Message->new(opcode => 2, body => $_) }
        '', "\0\xff", (map { 'x' x $_ } 125, 126, 65_535, 65_536), join('', map { chr $_ % 256 } 1 .. 100_000), $noise,
);

sub seen_as { [map { ($_->is_text ? 'text ' : 'binary ') . $_->body } @_] }

# Compares without printing megabytes.
sub same_messages_ok {
    my ($got, $expected, $name) = @_;
    my @wrong = grep { ($got->[$_] // '') ne $expected->[$_] } 0 .. $#$expected;
    ok @$got == @$expected && !@wrong, $name or diag scalar(@$got), ' of ', scalar(@$expected), " messages; wrong: @wrong";
}

sub echoes_ok {
    my ($connection, $seen) = @_;
    $connection->send($_) for @messages;
    $seen->wait_messages(scalar @messages, 60);
    same_messages_ok(seen_as($seen->messages), seen_as(@messages), 'every message comes back as it was');
}

# Tests a connection that we close in the end. $peer is what prints; %is has what must have been agreed on, and hangs_up.
sub we_close_ok {
    my ($connection, $peer, %is) = @_;
    my $seen = recorder($connection);
    is $connection->subprotocol, 'chat.v1', 'the subprotocol is agreed on';
    is !!$connection->deflate, !!$is{deflate}, $is{deflate} ? 'and compression' : 'compression is not';
    my $compressed = $is{deflate} ? 'compressed' : 'plain';
    ok $peer->wait_for(qr/\bopen chat\.v1 $compressed\b/), 'the peer sees the same';
    for my $part (qw(no_context_takeover peer_no_context_takeover)) {
        is $connection->deflate->{$part}, $is{no_takeover}, "$part, as the peer wants" if $is{deflate} && $is{no_takeover};
    }
    $connection->send($_) for @messages;
    $seen->wait_messages(scalar @messages, 60);
    same_messages_ok(seen_as($seen->messages), seen_as(@messages), 'every message comes back as it was');
    $connection->close(4001, 'we are done');
    $seen->wait_finish;
    is $connection->close_code, $is{hangs_up} && !$connection->close_code ? undef : 4001, 'the peer answers our Close frame';
    is $connection->close_error, undef, 'without an error';
    ok $peer->wait_for(qr/\bclosed 4001 we are done/), 'whose code and reason it has seen';
}

sub peer_closes_ok {
    my ($connection, $peer, %is) = @_;
    my $seen = recorder($connection);
    $connection->send('close 4002 peer is done');
    $seen->wait_finish;
    is $connection->close_code, 4002, 'the code of the peer arrives';
    is $connection->close_reason, 'peer is done', 'and its reason';
    return if $is{hangs_up};
    is $connection->close_error, undef, 'without an error';
    ok $peer->wait_for(qr/\bclosed 4002 /), 'and our answer arrives there';
}

# The options of our end: everything is compressed, so that each message is a test.
sub ours { $_[0] ? (deflate => { threshold => 0 }) : () }

sub peer_serves {
    my ($peer, %case) = @_;
    my $program = start_peer($peer, role => 'server', deflate => $case{theirs}, map { $_ => $case{$_} } qw(no_takeover bits));
    my ($port) = $program->wait_for(qr/^listening (\d+)/m);
    my $next = sub { own_client("ws://127.0.0.1:$port/", ours($case{ours})) };
    we_close_ok($next->(), $program, deflate => $case{ours} && $case{theirs}, no_takeover => $case{no_takeover},
        hangs_up => $peer->{hangs_up});
    peer_closes_ok($next->(), $program, hangs_up => $peer->{hangs_up});
    $program->stop;
}

sub peer_connects {
    my ($peer, %case) = @_;
    my ($port, $next) = own_server(ours($case{ours}));
    my $program = start_peer($peer, role => 'client', port => $port, connections => 2, deflate => $case{theirs},
        map { $_ => $case{$_} } qw(no_takeover bits));
    we_close_ok($next->(), $program, deflate => $case{ours} && $case{theirs}, no_takeover => $case{no_takeover},
        hangs_up => $peer->{hangs_up});
    peer_closes_ok($next->(), $program, hangs_up => $peer->{hangs_up});
    $program->stop;
}

my @cases = (
    ['compressed', ours => 1, theirs => 1],
    ['only we compress', ours => 1, theirs => 0],
    ['only the peer compresses', ours => 0, theirs => 1],
    ['windows of 2**10', ours => 1, theirs => 1, bits => 10],
    ['no context takeover', ours => 1, theirs => 1, no_takeover => 1],
    ['no context takeover, windows of 2**9', ours => 1, theirs => 1, no_takeover => 1, bits => 9],
);

# A subtest that goes on to the next if it dies.
sub course {
    my ($name, $tests) = @_;
    subtest $name => sub { eval { $tests->(); 1 } or fail "died: $@" };
}

for my $name (sort keys %peers) {
    my $peer = $peers{$name};
    SKIP: {
        is_there(@{ $peer->{try} }) or skip "$name is not installed", 1;
        for my $case (@cases) {
            my ($terms, %case) = @$case;
            next if $peer->{always_offers} && !$case{theirs} || !$peer->{has_parameters} && ($case{bits} || $case{no_takeover});
            course "$name as the client: $terms" => sub { peer_connects($peer, %case) };
            course "$name as the server: $terms" => sub { peer_serves($peer, %case) } unless $peer->{only_client};
        }
    }
}

SKIP: {
    skip Nginx::missing(), 1 if Nginx::missing();
    for my $case (['plain', tls => 0], ['with TLS', tls => 1], ['plain, compressed', tls => 0, deflate => 1],
        ['with TLS, compressed', tls => 1, deflate => 1]) {
        my ($terms, %case) = @$case;
        course "through nginx: $terms" => sub {
            my $peer = OwnPeer->new(ours($case{deflate}));
            my $nginx = Nginx->new($peer->port, tls => $case{tls});
            my $next = sub {
                my $client = own_client($nginx->url, to => $nginx->address, ours($case{deflate}),
                    ssl_ca_file => Nginx::certificate());
                $peer->serve;
                return $client;
            };
            we_close_ok($next->(), $peer, deflate => $case{deflate}, hangs_up => 1);
            peer_closes_ok($next->(), $peer, hangs_up => 1);
        };
    }
}

done_testing;
