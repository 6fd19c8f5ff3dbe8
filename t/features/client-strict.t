# Tests that strict, or the environment, has the client refuse answers that harm nobody but break rules; and that lenient has it
# take what the original takes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Answers;
use WebSocketTest::RawServer;

plan skip_all => 'by design: the original has neither' if is_original();

my %answer = (
    'a subprotocol that was not asked for' => [undef, sub { switching($_[0], 'Sec-WebSocket-Protocol: foo') }],
    'two subprotocols' =>
        [['foo', 'bar'], sub { switching($_[0], 'Sec-WebSocket-Protocol: foo', 'Sec-WebSocket-Protocol: bar') }],
    'two Accepts' => [undef, sub { switching($_[0]) =~ s/^(Sec-WebSocket-Accept: )/${1}x\x0d\x0a$1/mr }],
    'LF only' => [undef, sub { switching($_[0]) =~ s/\x0d//gr }],
);

sub outcome {
    my ($name, %new) = @_;
    my ($subprotocol, $answer) = @{ $answer{$name} };
    return error_for({ defined $subprotocol ? (subprotocol => $subprotocol) : (), %new }, $answer);
}

for my $name (sort keys %answer) {
    subtest $name => sub {
        is outcome($name), 'it connected', 'is taken';
        like outcome($name, strict => 1), qr/\Ahandshake error: (?:Not a valid response|Invalid field)\z/, 'strict refuses it';
        local $ENV{ANYEVENT_WEBSOCKET_STRICT} = 1;
        like outcome($name), qr/\Ahandshake error: /, 'so does ANYEVENT_WEBSOCKET_STRICT';
        is outcome($name, strict => 0), 'it connected', 'unless strict is 0';
    };
}

subtest 'a subprotocol that http_headers asks for' => sub {
    my ($cv) = shake_hands(
        { strict => 1, http_headers => { 'Sec-WebSocket-Protocol' => 'foo' } },
        sub { switching($_[0], 'Sec-WebSocket-Protocol: foo') });
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', 'strict takes it:';
};

subtest 'a good answer' => sub {
    my ($cv, $peer) =
        shake_hands({ strict => 1, subprotocol => 'foo' }, sub { switching($_[0], 'Sec-WebSocket-Protocol: foo', 'X-A: b') });
    my $connection = connection_of($cv);
    isa_ok $connection, 'AnyEvent::WebSocket::Connection', 'strict takes it:';
    ok $connection->strict, 'the connection is strict, too';
};

subtest 'lenient' => sub {
    for my $row (answers()) {
        next if $row->{name} =~ /few reads/;    # how many these are is our own affair
        my @ways = $row->{ways} ? ways_of($row) : 'whole';
        is join("\n", map { play_answer($row, way => $_, verdict => $row->{original}, new => { lenient => 1 }) } @ways), '',
            $row->{name};
    }
};

done_testing;
