# Tests that the default close code is 1005, which is an empty Close frame on the wire, and how to change it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub closed_with {
    my ($connection, $peer) = connection_and_peer();
    $connection->close(@_);
    my @frames = $peer->frames_to_eof;
    return @frames == 1 ? unpack 'H*', $frames[0]{payload} : scalar(@frames) . ' frames';
}

# Returns (code, reason) as another connection understands them.
sub understood {
    my ($left, $right) = connection_pair();
    my $seen = recorder($right);
    $left->close(@_);
    $seen->wait_finish;
    return [$right->close_code, $right->close_reason];
}

my $literal = unpack 'H*', pack 'n', 1005;
my $boo = unpack 'H*', 'boo';

SKIP: {
    skip 'by design: the default close code of the original is 1000 since 0.55', 2 if is_original() && closed_with() eq '03e8';

    subtest 'to another connection it is 1005' => sub {
        is_deeply understood(), [1005, ''], 'no arguments';
        is_deeply understood(undef), [1005, ''], 'undef';
        is_deeply understood(undef, undef), [1005, ''], 'undef, undef';
        is_deeply understood(0), [1005, ''], '0, which is no code';
        is_deeply understood(''), [1005, ''], 'the empty string';
        is_deeply understood(undef, 'error'), [1005, 'error'], 'undef with a reason';
        is_deeply understood(undef, "\x{263a}"), [1005, "\x{263a}"], 'undef with a wide reason';
        is_deeply understood(1005), [1005, ''], 'a literal 1005';
        is_deeply understood(1005, 'error'), [1005, 'error'], 'a literal 1005 with a reason';
    };

    subtest 'a reason and no code: 1005 and the reason are on the wire' => sub {
        is closed_with(undef, 'boo'), $literal . $boo, 'undef';
        is closed_with(1005, 'boo'), $literal . $boo, 'a literal 1005';
    };
}

differs 'by default, the Close frame is empty' => 'sends a literal 1005' => sub {
    is closed_with(), '', 'no arguments';
    is closed_with(undef), '', 'undef';
    is closed_with(undef, undef), '', 'undef, undef';
};

differs '$DEFAULT_CLOSE_CODE' => 'has no such variable' => sub {
    no warnings 'once';
    is $AnyEvent::WebSocket::Connection::DEFAULT_CLOSE_CODE, 1005, 'is 1005';
    for my $code (1000, 4321) {
        local $AnyEvent::WebSocket::Connection::DEFAULT_CLOSE_CODE = $code;
        my $on_wire = unpack 'H*', pack 'n', $code;
        is closed_with(), $on_wire, "set to $code: sent by default";
        is closed_with(undef, 'boo'), $on_wire . $boo, 'and with a reason';
        is closed_with(4000), unpack('H*', pack 'n', 4000), 'but not when a code is given';
        is_deeply understood(), [$code, ''], 'and understood';
    }
    is closed_with(), '', 'back to 1005: an empty Close frame';
};

my $program = <<'PROGRAM';
    use WebSocketTest;
    my ($connection, $peer) = connection_and_peer();
    $connection->close(undef, @ARGV);
    print join ' ', map { unpack 'H*', $_->{payload} } $peer->frames_to_eof;
PROGRAM
# WebSocketTest clears the variable, to protect the tests from their environment; so this loads the class first.
$program = "use AnyEvent::WebSocket::Connection; $program";

differs 'another connection that is closed while one answers an empty Close frame' => 'has no such variable' => sub {
    {
        package ClosesAnother;
        our @ISA = 'AnyEvent::WebSocket::Connection';
        our $other;
        sub close { my ($self, @rest) = @_; $other->close; $self->SUPER::close(@rest) }
    }
    no warnings 'once';
    local $AnyEvent::WebSocket::Connection::DEFAULT_CLOSE_CODE = 1001;
    ($ClosesAnother::other, my $other_peer) = connection_and_peer();
    my ($connection, $peer) = connection_and_peer(class => 'ClosesAnother');
    $peer->write(close_frame());
    is_deeply [map { $_->{payload} } $peer->frames_to_eof], [''], 'the answer is empty';
    is_deeply [map { (close_of($_))[0] } $other_peer->frames_to_eof], [1001], 'the other gets the default';
};

differs 'ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE' => 'does not look at it' => sub {
    my $run = sub { my $value = shift; (run_perl({ ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE => $value }, $program, @_))[0] };
    is $run->('1000'), '03e8', 'set to 1000';
    is $run->('1000', 'boo'), "03e8$boo", '1000 with a reason';
    is $run->('4000'), '0fa0', 'set to 4000';
    is $run->('1005'), '', 'set to 1005: empty';
    is $run->(''), '', 'the empty string is as good as nothing';
};

done_testing;
