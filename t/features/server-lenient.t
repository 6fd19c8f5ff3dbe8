# Tests that a lenient server judges requests as the original does.
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

for my $case (grep { defined $_->{lenient} || !defined $_->{original} } hostile_requests()) {
    my $verdict = defined $case->{lenient} ? $case->{lenient} : $case->{wanted};
    my @problems;
    for my $transport (@transports) {
        push @problems, map { play($case, $verdict, $_, $transport, lenient => 1) } qw(whole pieces bytes);
        # It is Protocol::WebSocket that reads the request, with its warnings.
        @problems = grep { !m{warning: .*/Protocol/WebSocket/} } @problems;
    }
    is join("\n", @problems), '', "$case->{name}: $verdict";
}

subtest 'the last line of a list wins' => sub {
    my $request;
    my ($attempt, $peer) = establishing(lenient => 1, handshake => sub { ($request) = @_; $_[1] });
    $peer->write(request([add => 'Sec-WebSocket-Protocol: a'], [add => 'Sec-WebSocket-Protocol: b']));
    is $attempt->error, '', 'it is accepted';
    is $request->subprotocol, 'b', 'subprotocol';
};

subtest 'any number of fields in many reads' => sub {
    my ($attempt, $peer) = establishing(lenient => 1);
    for my $piece (unpack '(a10000)*', request(map { [add => "X-$_: a"] } 1 .. 10_000)) {
        $peer->write($piece)->wait_written;
        $attempt->wait_read;
    }
    is $attempt->error, '', 'is accepted';
};

done_testing;
