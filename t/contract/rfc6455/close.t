# Tests that a Close frame with a 1-byte body, wrong code or wrong reason sets attributes as received and is refused: 1002,
# 1007.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub close_with { frame(opcode => 8, payload => $_[0]) }

# Runs refused_ok, and then tests the attributes of the connection.
sub refused_close_ok {
    my ($name, $bytes, $code, $close_code, $close_reason) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    refused_ok($name, bytes => $bytes, code => $code, then => sub {
        my ($connection) = @_;
        is $connection->close_code, $close_code, 'close_code as received' if defined $close_code;
        is $connection->close_reason, $close_reason, 'close_reason as received' if defined $close_reason;
    });
}

differs 'a body of one byte' => 'accepts it' => sub {
    refused_close_ok('byte 3', close_with("\3"), 1002);
    refused_close_ok('byte 0', close_with('0'), 1002);
};

differs 'an unassigned or reserved code' => 'accepts it' => sub {
    for my $code (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535) {
        refused_close_ok("code $code", close_frame($code), 1002, $code, '');
        refused_close_ok("code $code with a reason", close_frame($code, 'a reason'), 1002, $code, 'a reason');
    }
    refused_close_ok('masked', close_frame(1005, 'bb', mask => 1), 1002, 1005, 'bb');
};

differs 'an invalid UTF-8 reason' => 'accepts it' => sub {
    my %reason = (
        'a lone continuation octet' => "a\x80b",
        'an octet that never is'    => "a\xffb",
        'cut'                       => "a\xe2\x98",
        'overlong'                  => "a\xc0\xafb",
        'a surrogate'               => "a\xed\xa0\x80b",
        'beyond U+10FFFF'           => "a\xf4\x90\x80\x80b",
    );
    for my $name (sort keys %reason) {
        refused_ok("$name", bytes => close_frame(1000, $reason{$name}), code => 1007, then => sub {
            my ($connection) = @_;
            is $connection->close_code, 1000, 'close_code as received';
            like $connection->close_reason, qr/\Aa\x{fffd}+b?\z/, 'close_reason decoded leniently';
        });
    }
};

subtest 'what is received sets the attributes' => sub {
    for my $code (1005, 1006, 999, 5000) {
        my ($connection, $peer) = connection_and_peer();
        is scalar(my @frames = $peer->write(close_frame($code, 'bb'))->frames_to_eof), 1, 'there is one answer';
        is $connection->close_code, $code, "code $code";
        is $connection->close_reason, 'bb', 'reason';
    }
};

subtest 'valid reasons' => sub {
    for my $reason ("\xf0\x9f\x90\xaa", "\xed\x9f\xbf\xee\x80\x80", "\xf4\x8f\xbf\xbf", "\xef\xbf\xbe", "\0") {
        my ($connection, $peer) = connection_and_peer();
        my $seen = recorder($connection);
        $peer->write(close_frame(1000, $reason))->frames_to_eof;
        is_deeply $seen->errors, [], unpack('H*', $reason) . ' is no error';
    }
};

done_testing;
