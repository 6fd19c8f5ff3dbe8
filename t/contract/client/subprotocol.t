# Tests that the client asks for subprotocols, takes only one of these, and says to the letter why it does not.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;

# Returns the subprotocol of the connection, or the error text. The answers are values of Sec-WebSocket-Protocol.
sub outcome {
    my ($asked, @answers) = @_;
    my ($cv, $peer) = shake_hands(
        { subprotocol => $asked },
        sub {
            switching($_[0], map { "Sec-WebSocket-Protocol: $_" } @answers);
        });
    wait_outcome($cv);
    my $connection = eval { $cv->recv } or return error_of($cv);
    return $connection->subprotocol;
}

sub asked_with {
    my ($asked) = @_;
    my (undef, undef, $request) = shake_hands({ subprotocol => $asked });
    return [$request->values('Sec-WebSocket-Protocol')];
}

subtest 'the question' => sub {
    is_deeply asked_with('a'), ['a'], 'one';
    is_deeply asked_with(['a', 'b', 'c']), ['a,b,c'], 'several, in order';
    is_deeply asked_with([]), [''], 'an empty array: an empty header';
    local $SIG{__WARN__} = sub { };    # the original joins undef
    is_deeply asked_with(undef), [''], 'undef, too';
};

subtest 'the answer' => sub {
    is outcome('foo', 'foo'), 'foo', 'the one that was asked for';
    is outcome(['foo', 'bar'], 'bar'), 'bar', 'one of several';
    is outcome(['foo', 'bar'], 'foo', 'bar'), 'bar', 'of two lines, the last';
};

subtest 'another answer' => sub {
    is outcome('foo', 'bar'), 'subprotocol mismatch, requested: foo, got: bar', 'to one';
    is outcome(['foo', 'baz'], 'bar'), 'subprotocol mismatch, requested: foo, baz, got: bar', 'to several';
    is outcome('foo', 'FOO'), 'subprotocol mismatch, requested: foo, got: FOO', 'case matters';
    is outcome('foo', 'foo, bar'), 'subprotocol mismatch, requested: foo, got: foo, bar', 'it is one value, not a list';
    is outcome(['foo', 'bar'], 'foo,bar'), 'subprotocol mismatch, requested: foo, bar, got: foo,bar',
        'also if the list was asked for';
    is outcome('foo', ''), 'subprotocol mismatch, requested: foo, got: ', 'an empty one';
    is outcome(['foo', 'bar'], 'foo', 'baz'), 'subprotocol mismatch, requested: foo, bar, got: baz', 'of two lines, the last';
    is outcome([], 'foo'), 'subprotocol mismatch, requested: , got: foo', 'none can match an empty list';
};

subtest 'no answer' => sub {
    is outcome($_), 'no subprotocol in response', @$_ . ' asked for' for ['foo'], ['foo', 'bar'], [];
};

differs 'a space behind the answer' => 'finds a mismatch' => sub {
    is outcome('foo', $_), 'foo', "'$_' is the same" for 'foo ', "foo\t", " \tfoo";
};

# The original sends the Connection into the condvar that it has croaked on: it stays open as long as that.
differs 'after a wrong answer' => 'leaves the connection open' => sub {
    for my $answer ('bar', undef) {
        my ($cv, $peer) = shake_hands(
            { subprotocol => 'foo' },
            sub { switching($_[0], defined $answer ? "Sec-WebSocket-Protocol: $answer" : ()) });
        like error_of($cv), qr/subprotocol/, 'there is an error';
        $peer->wait_eof;
        ok 1, 'the socket is closed, while the condvar is there';
    }
};

done_testing;
