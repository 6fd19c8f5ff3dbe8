# Tests that a strict server refuses what clients in use do without harm, and that others do not.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;
use WebSocketTest::HostileRequests;

needs_our_server();
my @transports = transports();

for my $case (hostile_requests()) {
    my $verdict = defined $case->{strict} ? $case->{strict} : $case->{wanted};
    my @problems;
    for my $transport (@transports) {
        # A frame that comes with the request is Leftovers; one that comes later is not.
        my @ways = $case->{behind} eq '' || $verdict ne 'Leftovers' ? qw(whole pieces bytes) : 'whole';
        push @problems, map { play($case, $verdict, $_, $transport, strict => 1) } @ways;
    }
    is join("\n", @problems), '', "$case->{name}: $verdict";
}

subtest 'a frame behind the request' => sub {
    my ($attempt, $peer) = establishing(strict => 1);
    $peer->write(request() . text('early', mask => 1));
    failed_ok($attempt, $peer, "handshake error: Leftovers\n");
    ($attempt, $peer) = establishing(strict => 1);
    $peer->write(request());
    my $seen = recorder($attempt->connection);
    response_of($peer);
    $peer->write(text('in time', mask => 1));
    is_deeply $seen->wait_messages(1)->bodies, ['in time'], 'one behind the response is welcome';
};

subtest 'establish_psgi' => sub {
    my ($attempt, $peer) = establishing(ENV => psgi_env(REQUEST_METHOD => 'POST'), strict => 1);
    ok $attempt->cv->ready, 'POST: the condition variable is ready';
    like $attempt->error, qr/\Ahandshake error: /, 'with an error';
    intact_ok($attempt, $peer);
    isa_ok((establishing(ENV => psgi_env(), strict => 1))[0]->connection, 'AnyEvent::WebSocket::Connection', 'GET');
};

subtest 'strict is for the connection too' => sub {
    my ($attempt, $peer) = establishing(strict => 1);
    $peer->write(request());
    ok $attempt->connection->strict, 'it has the attribute';
    my $seen = recorder($attempt->connection);
    response_of($peer);
    $peer->write(text('not masked'));
    $seen->wait_parse_error;
    pass 'and refuses an unmasked frame';
};

subtest 'ANYEVENT_WEBSOCKET_STRICT' => sub {
    my $program = <<'END';
        use WebSocketTest::Establish;
        $ENV{ANYEVENT_WEBSOCKET_STRICT} = shift;
        require AnyEvent::WebSocket::Server;
        for my $new ([], [strict => 0]) {
            my ($attempt, $peer) = establishing(@$new);
            $peer->write(request([add => 'Host: other']));
            print $attempt->error eq '' ? 'ok ' : 'refused ';
        }
END
    is_deeply [run_perl({}, $program, 1)], ['refused ok ', 0], '1: is the default of strict';
    is_deeply [run_perl({}, $program, 0)], ['ok ok ', 0], '0: is not';
};

done_testing;
