# Tests that establish_psgi takes the request from a PSGI environment, reads nothing, and is done when it returns.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;

needs_server();
require Protocol::WebSocket::Handshake::Server;

subtest 'all is done when it returns' => sub {
    my @calls;
    my ($attempt, $peer) = establishing(ENV => psgi_env(), handshake => sub {
        push @calls, [wantarray, map { ref } @_];
        return ($_[1], 'other', 2);
    });
    is_deeply \@calls, [[1, 'Protocol::WebSocket::Request', 'Protocol::WebSocket::Response']], 'the callback has run';
    ok $attempt->cv->ready, 'the condition variable is ready';
    is sysread($peer->fh, my $bytes, 65536), length $RESPONSE, 'the response is out';
    is $bytes, $RESPONSE, 'the same as from establish';
    my ($connection, @other) = $attempt->results;
    is ref $connection, 'AnyEvent::WebSocket::Connection', 'the connection';
    is_deeply \@other, ['other', 2], 'the other results';
    is scalar $attempt->cv->recv, $connection, 'in scalar context, the connection';
};

subtest 'a callback that is set afterwards' => sub {
    my ($attempt, $peer) = establishing(ENV => psgi_env());
    my $connection;
    $attempt->cv->cb(sub { $connection = $_[0]->recv });
    isa_ok $connection, 'AnyEvent::WebSocket::Connection', 'is called at once, and gets it:';
};

subtest 'psgix.io' => sub {
    my ($ours, $theirs) = socket_pair();
    my $peer = WebSocketTest::Peer->new($theirs);
    my $connection = AnyEvent::WebSocket::Server->new->establish_psgi(psgi_env('psgix.io' => $ours))->recv;
    isa_ok $connection, 'AnyEvent::WebSocket::Connection';
    is response_of($peer), $RESPONSE, 'is the socket';
    my ($other, $other_end) = socket_pair();
    my $used = WebSocketTest::Peer->new($other_end);
    my $cv = AnyEvent::WebSocket::Server->new->establish_psgi(psgi_env('psgix.io' => $ours), $other);
    is response_of($used), $RESPONSE, 'unless another one is given';
};

subtest 'the bytes of the socket are frames' => sub {
    my ($ours, $theirs) = socket_pair();
    my $peer = WebSocketTest::Peer->new($theirs)->write(text('early', mask => 1))->wait_written;
    my $connection = establishing_on($ours, ENV => psgi_env())->connection;
    is_deeply recorder($connection)->wait_messages(1)->bodies, ['early'], 'also those that were there before';
};

subtest 'frames in both directions' => sub {
    my ($attempt, $peer) = establishing(ENV => psgi_env(), max_payload_size => 10);
    my $connection = $attempt->connection;
    is $connection->max_payload_size, 10, 'the limit';
    response_of($peer);
    my $seen = recorder($connection);
    $peer->write(text('in', mask => 1));
    is_deeply $seen->wait_messages(1)->bodies, ['in'], 'in';
    $connection->send('out');
    is $peer->next_frame->{payload}, 'out', 'out';
};

# --- the request

sub request_of {
    my ($env) = @_;
    my @got;
    my ($attempt, $peer) = establishing(ENV => $env, handshake => sub { @got = @_; $_[1] });
    is $attempt->error, '', 'it is accepted';
    return @got;
}

my %env = (
    plain => psgi_env(),
    everything => psgi_env(
        SCRIPT_NAME => '/app', PATH_INFO => '/a b/c', QUERY_STRING => 'd=e&f=%41', HTTP_ORIGIN => 'http://o.example',
        HTTP_SEC_WEBSOCKET_PROTOCOL => 'one, two', HTTP_COOKIE => 'a=b; c="d e"', HTTP_X_A => 'b',
        HTTP_SEC_WEBSOCKET_EXTENSIONS => 'permessage-deflate', HTTP_USER_AGENT => 'test',
        HTTP_CONNECTION => 'keep-alive, upgrade',
    ),
    'an https Origin' => psgi_env(HTTP_ORIGIN => 'https://o.example'),
    'an old name of the protocol' => psgi_env(HTTP_WEBSOCKET_PROTOCOL => 'one'),
    'no path' => psgi_env(PATH_INFO => ''),
    'a query of zero' => psgi_env(QUERY_STRING => '0'),
    'X-Forwarded-Proto: https' => psgi_env(HTTP_X_FORWARDED_PROTO => 'https'),
    'X-Forwarded-Proto: http' => psgi_env(HTTP_X_FORWARDED_PROTO => 'http'),
    'POST' => psgi_env(REQUEST_METHOD => 'POST'),
);
my @METHODS = qw(resource_name fields host origin subprotocol cookies key version upgrade connection secure to_string);

for my $name (sort keys %env) {
    subtest "as Protocol::WebSocket has it: $name" => sub {
        my $expected = Protocol::WebSocket::Handshake::Server->new_from_psgi($env{$name});
        ok $expected->parse(my $nothing = ''), 'Protocol::WebSocket takes it';
        my ($request, $response) = request_of($env{$name});
        is ref $request, 'Protocol::WebSocket::Request', 'the class';
        for my $method (@METHODS) { is_deeply [$request->$method], [$expected->req->$method], $method }
        for my $method (qw(version host secure resource_name origin key)) {
            is $response->$method, $expected->res->$method, "of the response: $method";
        }
    };
}

subtest 'what is taken' => sub {
    my ($request) = request_of($env{everything});
    is_deeply [grep { defined $request->field($_) } sort keys %{ $request->fields }],
        [qw(connection host origin sec-websocket-key sec-websocket-protocol sec-websocket-version upgrade)], 'the fields';
    is $request->resource_name, '/app/a b/c?d=e&f=%41', 'the target';
    is_deeply $request->cookies->pairs, [['a', 'b'], ['c', 'd e']], 'the cookies';
    my %secure = map { $_ => [request_of($env{"X-Forwarded-Proto: $_"})]->[0]->secure } qw(http https);
    is_deeply \%secure, { http => undef, https => 1 }, 'of X-Forwarded-Proto, only https';
};

subtest 'the environment' => sub {
    my $env = psgi_env(HTTP_COOKIE => 'a=b');
    my %before = %$env;
    request_of($env);
    is_deeply $env, \%before, 'is not changed';
};

# --- failures

subtest 'arguments that are missing' => sub {
    my $server = AnyEvent::WebSocket::Server->new;
    my ($ours) = socket_pair();
    my $cv = $server->establish_psgi(undef, $ours);
    ok $cv->ready, 'the condition variable is ready' or return;
    croaks_here('no environment', sub { $cv->recv }, qr/\Apsgi_env parameter is mandatory at /);
    $cv = $server->establish_psgi(psgi_env());
    ok $cv->ready, 'the condition variable is ready' or return;
    my $text = 'No connection file handle provided. Maybe the PSGI server does not support psgix.io extension.';
    croaks_here('no socket', sub { $cv->recv }, qr/\A\Q$text\E at /);
};

subtest 'an empty environment' => sub {
    my ($ours, $theirs) = socket_pair();
    my $peer = WebSocketTest::Peer->new($theirs);
    ok !eval { AnyEvent::WebSocket::Server->new->establish_psgi({}, $ours); 1 }, 'dies';
    like $@, qr/\Aenv is required at /, 'and says why';
    settle();
    ok !$peer->eof, 'the socket stays open';
};

my $UNSUPPORTED = 'unsupported WebSocket protocol version';
my @refused = (
    ['no key', { HTTP_SEC_WEBSOCKET_KEY => undef, HTTP_SEC_WEBSOCKET_VERSION => undef }, "$UNSUPPORTED draft-hixie-75"],
    ['no key, version 13', { HTTP_SEC_WEBSOCKET_KEY => undef }, "$UNSUPPORTED draft-hixie-75"],
    ['version 8', { HTTP_SEC_WEBSOCKET_VERSION => 8 }, "$UNSUPPORTED draft-ietf-hybi-10"],
    ['version 013', { HTTP_SEC_WEBSOCKET_VERSION => '013' }, "$UNSUPPORTED draft-ietf-hybi-10"],
    ['no Upgrade', { HTTP_UPGRADE => undef }, 'Not a valid request'],
    ['another Upgrade', { HTTP_UPGRADE => 'h2c' }, 'Not a valid request'],
    ['no Connection', { HTTP_CONNECTION => undef }, 'Not a valid request'],
    ['another Connection', { HTTP_CONNECTION => 'keep-alive' }, 'Not a valid request'],
    ['no Host', { HTTP_HOST => undef }, 'Not a valid request'],
    ['an empty Host', { HTTP_HOST => '' }, 'Not a valid request'],
);

for my $row (@refused) {
    my ($name, $changes, $error) = @$row;
    subtest $name => sub {
        my ($ours, $theirs) = socket_pair();
        my $peer = WebSocketTest::Peer->new($theirs)->write('left alone')->wait_written;
        my $called = 0;
        my $attempt = establishing_on($ours, ENV => psgi_env(%$changes), handshake => sub { $called++; $_[1] });
        ok $attempt->cv->ready, 'the condition variable is ready';
        is $attempt->error, "handshake error: $error\n", 'the error';
        is $called, 0, 'the callback is not called';
        settle();
        is sysread($ours, my $bytes, 100), 10, 'nothing is read';
        undef $ours;
        intact_ok($attempt, $peer);
    };
}

subtest 'a character that is no byte' => sub {
    my ($attempt, $peer) = establishing(ENV => psgi_env(HTTP_SEC_WEBSOCKET_KEY => "\x{263a}"));
    like $attempt->error, qr/wide character/i, 'is an error of the condition variable';
    intact_ok($attempt, $peer);
};

subtest 'the callback dies' => sub {
    my ($attempt, $peer) = establishing(ENV => psgi_env(), handshake => sub { die "no\n" });
    ok $attempt->cv->ready, 'the condition variable is ready';
    failed_ok($attempt, $peer, "no\n");
};

subtest 'the peer has gone' => sub {
    my ($ours, $theirs) = socket_pair();
    close $theirs;
    is establishing_on($ours, ENV => psgi_env())->error, 'connection error: Broken pipe', 'the error';
};

differs 'lists' => 'takes one value alone' => sub {
    for my $upgrade ('h2c, websocket', 'websocket ', 'websocket, h2c') {
        my ($request) = request_of(psgi_env(HTTP_UPGRADE => $upgrade));
        is $request->upgrade, $upgrade =~ s/ \z//r, "Upgrade: $upgrade";
    }
};

done_testing;
