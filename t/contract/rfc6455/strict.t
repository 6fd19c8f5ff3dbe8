# Tests that strict connections, and no others, refuse text that is not UTF-8 and frames with wrong masking.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my @invalid = ("a\xff", "\x80", "\xe2\x98", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", 'x' x 1000 . "\xc3");
my @valid = ('', 'ascii', "\xc3\xa4", "\xe2\x98\xba", "\xf0\x9f\x90\xaa", "\xef\xbf\xbf", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf", "\0",
    "\xe2\x98\xba" x 20_000);

# Returns a sub that makes text frames as the peer of a connection in this role must send them.
sub proper {
    my ($masked) = @_;
    return sub { text($_[0], mask => $masked ? undef : 1, @_[1 .. $#_]) };
}

subtest 'without strict' => sub {
    for my $masked (0, 1) {
        my ($connection, $peer) = connection_and_peer(masked => $masked);
        my $seen = recorder($connection);
        $peer->write(map { text($_), text($_, mask => 1) } @invalid);
        is_deeply $seen->wait_messages(2 * @invalid)->bodies, [map { $_, $_ } @invalid],
            "masked $masked: invalid UTF-8 is delivered as it is, masked or not";
        is_deeply $seen->errors, [], 'and is no error';
    }
};

subtest 'strict => 0' => sub {
    my ($connection, $peer) = connection_and_peer(strict => 0);
    my $seen = recorder($connection);
    $peer->write(text($invalid[0]));
    is_deeply $seen->wait_messages(1)->bodies, [$invalid[0]], 'is as without';
};

differs 'invalid UTF-8 in a text message' => 'knows no strict' => sub {
    for my $masked (0, 1) {
        my $good = proper($masked);
        my @new = (new => { strict => 1, masked => $masked }, good => $good, code => 1007);
        refused_ok("masked $masked: " . unpack('H*', substr $_, -6), bytes => $good->($_), @new) for @invalid;
    }
};

differs 'invalid UTF-8 in fragments' => 'knows no strict' => sub {
    my @new = (new => { strict => 1 }, good => proper(0), code => 1007);
    refused_ok('in the first', bytes => text("\xff", fin => 0, mask => 1) . continuation('x', mask => 1), @new);
    refused_ok('in the last', bytes => text('x', fin => 0, mask => 1) . continuation("\xff", mask => 1), @new);
    refused_ok('a character that never ends', bytes => text("x\xe2", fin => 0, mask => 1) . continuation('y', mask => 1), @new);
    refused_ok('a character cut by the end', bytes => text("x\xe2", fin => 0, mask => 1) . continuation("\x98", mask => 1), @new);
};

subtest 'valid text, and anything in a binary message' => sub {
    for my $masked (0, 1) {
        my $mask = $masked ? undef : 1;
        my ($connection, $peer) = connection_and_peer(strict => 1, masked => $masked, max_payload_size => 0);
        my $seen = recorder($connection);
        $peer->write(map { text($_, mask => $mask) } @valid);
        is_deeply $seen->wait_messages(scalar @valid)->bodies, \@valid, "masked $masked: valid text is delivered";
        $peer->write(map { binary($_, mask => $mask) } @invalid);
        is_deeply [@{ $seen->wait_messages(@valid + @invalid)->bodies }[@valid .. $#valid + @invalid]], \@invalid, 'so is any binary';
        is_deeply [$peer->sync(mask => $mask)], [], 'no complaint';
    }
};

subtest 'characters cut by fragments' => sub {
    my ($connection, $peer) = connection_and_peer(strict => 1);
    my $seen = recorder($connection);
    my @octets = split //, "\xf0\x9f\x90\xaa";
    $peer->write(text(shift @octets, fin => 0, mask => 1), ping('p', mask => 1), map({ continuation($_, fin => 0, mask => 1) } @octets),
        continuation('', mask => 1));
    is_deeply $seen->wait_messages(1)->bodies, ["\xf0\x9f\x90\xaa"], 'are whole again';
};

differs 'a server refuses unmasked frames' => 'knows no strict' => sub {
    my @new = (new => { strict => 1 }, good => proper(0), code => 1002);
    my %frame = (text => text('x'), 'empty text' => text(''), binary => binary('x'), ping => ping('x'), pong => pong('x'),
        close => close_frame(1000), continuation => text('x', fin => 0, mask => 1) . continuation('y'));
    refused_ok($_, bytes => $frame{$_}, @new) for sort keys %frame;
};

differs 'a client refuses masked frames' => 'knows no strict' => sub {
    my @new = (new => { strict => 1, masked => 1 }, good => proper(1), code => 1002);
    my %frame = (text => text('x', mask => 1), 'empty text' => text('', mask => 1), ping => ping('x', mask => 1),
        close => close_frame(1000, '', mask => 1), 'a mask of zeros' => text('x', mask => "\0\0\0\0"));
    refused_ok($_, bytes => $frame{$_}, @new) for sort keys %frame;
};

my $program = <<'PROGRAM';
    use WebSocketTest;
    my ($strict, $bytes) = @ARGV;
    my ($connection, $peer) = connection_and_peer($strict ne '' ? (strict => $strict) : ());
    my $seen = recorder($connection);
    $peer->write(pack 'H*', $bytes);
    wait_until('a verdict', sub { @{ $seen->order } });
    print $seen->order->[0];
PROGRAM
# WebSocketTest clears the variable, to protect the tests from their environment; it is set again where it counts.
$program = 'BEGIN { $strict = $ENV{ANYEVENT_WEBSOCKET_STRICT} } use AnyEvent::WebSocket::Connection;' . $program;
$program =~ s/use WebSocketTest;/use WebSocketTest; \$ENV{ANYEVENT_WEBSOCKET_STRICT} = \$strict if defined \$strict;/;

differs 'ANYEVENT_WEBSOCKET_STRICT in the environment' => 'does not look at it' => sub {
    my $run = sub { my ($value, $strict, $bytes) = @_; (run_perl(defined $value ? { ANYEVENT_WEBSOCKET_STRICT => $value } : {}, $program, $strict, unpack 'H*', $bytes))[0] };
    is $run->(1, '', text('x')), 'parse_error', '1: an unmasked frame is refused';
    is $run->(1, '', text("\xff", mask => 1)), 'parse_error', '1: invalid UTF-8 is refused';
    is $run->(1, '', text('x', mask => 1)), 'message', '1: a proper message is not';
    is $run->(0, '', text('x')), 'message', '0: lenient';
    is $run->('', '', text('x')), 'message', 'empty: lenient';
    is $run->(undef, '', text('x')), 'message', 'not set: lenient';
    is $run->(undef, 1, text('x')), 'parse_error', 'not set, strict => 1: strict';
};

done_testing;
