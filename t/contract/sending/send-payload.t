# Tests that a string with the UTF8 flag goes out as UTF-8, one without as its bytes, and that the scalar is never modified.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use B ();

sub message { AnyEvent::WebSocket::Message->new(@_) }

sub payload_of {
    my ($connection, $peer) = connection_and_peer();
    $connection->send($_[0]);
    return $peer->next_frame->{payload};
}

sub flagged   { my ($string) = @_; utf8::upgrade($string); $string }
sub unflagged { my ($string) = @_; utf8::downgrade($string); $string }

my @cases = (
    # name, string, payload
    ['wide characters',               "\x{263a} \x{1f42a}", "\xe2\x98\xba \xf0\x9f\x90\xaa"],
    ['wide and Latin-1 characters',   "\x{263a}\xe4",       "\xe2\x98\xba\xc3\xa4"],
    ['Latin-1, with the flag',        flagged("\xe4\xf6"),  "\xc3\xa4\xc3\xb6"],
    ['Latin-1, without the flag',     unflagged("\xe4\xf6"), "\xe4\xf6"],
    ['UTF-8 octets, with the flag',   flagged("\xc3\xa4"),  "\xc3\x83\xc2\xa4"],
    ['UTF-8 octets, without',         unflagged("\xc3\xa4"), "\xc3\xa4"],
    ['ASCII, with the flag',          flagged('abc'),       'abc'],
    ['ASCII, without the flag',       unflagged('abc'),     'abc'],
    ['empty, with the flag',          flagged(''),          ''],
    ['all octets, without the flag',  join('', map { chr } 0 .. 255), join('', map { chr } 0 .. 255)],
);

for my $case (@cases) {
    my ($name, $string, $payload) = @$case;
    subtest $name => sub {
        is payload_of($string), $payload, 'as a string';
        is payload_of(message(body => $string)), $payload, 'as a body';
        is payload_of(message(opcode => 2, body => $string)), $payload, 'as a binary body: the flag decides, not the opcode';
        is payload_of(message(opcode => 9, body => $string)), $payload, 'as the body of a ping' if length $payload < 126;
    };
}

subtest 'an upgraded string that is downgraded again' => sub {
    my $string = "\xe4";
    utf8::upgrade($string);
    utf8::downgrade($string);
    is payload_of($string), "\xe4";
};

subtest 'a long string with the flag' => sub {
    my $string = "\x{263a}" x 100_000;
    ok payload_of($string) eq "\xe2\x98\xba" x 100_000, '300000 octets';
};

subtest 'a string that becomes longer than 125 and 65535 only when encoded' => sub {
    my ($connection, $peer) = connection_and_peer();
    for my $length (63, 125, 32768) {
        $connection->send(flagged("\xe4" x $length));
        my $frame = $peer->next_frame;
        is length $frame->{payload}, 2 * $length, "$length characters, the length of the octets is announced";
    }
};

subtest 'use utf8, use bytes and the like in the caller have no say' => sub {
    my $wide = "\x{263a}";
    use bytes;
    is payload_of($wide), "\342\230\272";
};

subtest 'the scalar is never modified' => sub {
    my %scalar = ('wide' => "\x{263a}", 'flagged' => flagged("\xe4"), 'unflagged' => unflagged("\xe4"), 'empty' => '',
        'large' => 'x' x 200_000, 'large wide' => "\x{263a}" x 50_000);
    for my $masked (0, 1) {
        my ($connection, $peer) = connection_and_peer(masked => $masked);
        for my $name (sort keys %scalar) {
            my $scalar = $scalar{$name};
            my ($value, $flag) = ("$scalar", utf8::is_utf8($scalar));
            $connection->send($scalar);
            $connection->send(my $message = message(opcode => 2, body => $scalar));
            $peer->next_frames(2);
            ok $scalar eq $value && utf8::is_utf8($scalar) eq $flag, "$name, masked $masked: value and flag are the same";
            ok $message->body eq $value && utf8::is_utf8($message->body) eq $flag, 'in a message, too';
        }
    }
};

subtest 'a copy-on-write sibling is not modified either' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 1);
    my $original = 'shared buffer ' x 100;
    my $copy = $original;
    $connection->send($copy);
    is $peer->next_frame->{payload}, $original, 'sent';
    is $original, 'shared buffer ' x 100, 'intact';
};

subtest 'a number stays a number' => sub {
    my ($connection, $peer) = connection_and_peer();
    for my $number (42, 1.25) {
        my $scalar = $number;
        my $before = B::svref_2object(\$scalar)->FLAGS & (B::SVf_IOK() | B::SVf_NOK() | B::SVf_POK());
        $connection->send($scalar);
        $peer->next_frame;
        is B::svref_2object(\$scalar)->FLAGS & (B::SVf_IOK() | B::SVf_NOK() | B::SVf_POK()), $before, "number $number";
    }
};

subtest 'undef stays undef' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $scalar;
    $connection->send($scalar);
    is $peer->next_frame->{payload}, '', 'sent';
    is $scalar, undef, 'intact';
};

subtest 'changing the scalar after send changes nothing that was sent' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    my $scalar = 'a' x 3_000_000;
    $connection->send($scalar);
    substr $scalar, 0, 10, 'changed';
    undef $scalar;
    ok $peer->resume->next_frame->{payload} eq 'a' x 3_000_000;
};

done_testing;
