# Tests that a frame whose header or payload is split at any byte is parsed like a whole one.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Delivers the pieces in separate reads: each is read before the next is written. Returns bodies, warnings and errors.
sub received {
    my ($new, @pieces) = @_;
    my ($connection, $peer) = connection_and_peer(%$new);
    my $seen = recorder($connection);
    $peer->sync;
    my $warnings = warnings_of(sub {
        for my $piece (@pieces) {
            $peer->write($piece);
            _read($connection);
        }
        $peer->sync;
    });
    return ($seen->bodies, $warnings, $seen->errors);
}

# Runs the event loop until the kernel has nothing left for the connection.
sub _read {
    my ($connection) = @_;
    my $bits = '';
    vec($bits, fileno $connection->handle->fh, 1) = 1;
    for (1 .. 1000) {
        return unless select my $ready = $bits, undef, undef, 0;
        turn();
    }
    die "the connection does not read\n";
}

my %frame = (
    '7 bits'          => text('a short one'),
    '7 bits, masked'  => text('a short one', mask => 1),
    '16 bits'         => binary('m' x 130),
    '16 bits, masked' => binary('m' x 130, mask => 1),
    'empty, masked'   => text('', mask => 1),
);
my %long = (
    '64 bits'         => binary('l' x 65536),
    '64 bits, masked' => binary('l' x 65536, mask => 1),
);

# Returns the payloads of whole, unfragmented frames.
sub bodies {
    my ($bytes) = @_;
    my @bodies;
    while (my $frame = decode_frame(\$bytes)) { push @bodies, $frame->{payload} }
    return \@bodies;
}

for my $name (sort keys %frame) {
    subtest "a frame of its own, split anywhere: $name" => sub {
        my $bytes = $frame{$name};
        my @wrong;
        for my $cut (1 .. length($bytes) - 1) {
            my ($bodies, $warnings) = received({}, substr($bytes, 0, $cut), substr $bytes, $cut);
            push @wrong, $cut if "@$bodies" ne "@{ bodies($bytes) }" || @$warnings;
        }
        is_deeply \@wrong, [], 'it is one message, and nothing is warned of';
    };
}

my $short_header = 'warns, and takes a wrong length, when a header is split in some places';

for my $name (sort keys %long) {
    differs "a frame of its own, header split anywhere: $name" => $short_header => sub {
        my $bytes = $long{$name};
        my @wrong;
        for my $cut (1 .. 20, length($bytes) - 1) {
            my ($bodies, $warnings) = received({}, substr($bytes, 0, $cut), substr $bytes, $cut);
            push @wrong, $cut if "@$bodies" ne "@{ bodies($bytes) }" || @$warnings;
        }
        is_deeply \@wrong, [], 'it is one message, and nothing is warned of';
    };
}

differs 'several frames, split anywhere' => $short_header => sub {
    my @frames = (text('one'), text('two', mask => 1), binary('x' x 126), text('', mask => 1), text('thr', fin => 0), continuation('ee'));
    my $bytes = join '', @frames;
    my $expected = ['one', 'two', 'x' x 126, '', 'three'];
    my @wrong;
    for my $cut (1 .. length($bytes) - 1) {
        my ($bodies, $warnings) = received({}, substr($bytes, 0, $cut), substr $bytes, $cut);
        push @wrong, $cut if "@$bodies" ne "@$expected" || @$warnings;
    }
    is_deeply \@wrong, [], 'are the same messages';
};

subtest 'byte by byte' => sub {
    my $bytes = join '', text('one'), text('two', mask => 1), ping('p'), binary('x' x 126, mask => 1), binary('y' x 126, fin => 0), continuation('z');
    my ($bodies, $warnings) = received({}, split //, $bytes);
    is_deeply $bodies, ['one', 'two', 'x' x 126, 'y' x 126 . 'z'], 'four messages';
    is_deeply $warnings, [], 'no warnings';
};

differs 'a 64-bit header byte by byte' => $short_header => sub {
    my $bytes = binary('x' x 65536, mask => 1);
    my ($bodies, $warnings) = received({}, split(//, substr $bytes, 0, 20), substr $bytes, 20);
    is length $bodies->[0], 65536, 'one message';
    is_deeply $warnings, [], 'no warnings';
};

subtest 'pieces of all sizes' => sub {
    for my $size (2, 3, 1009, 4093) {
        my $count = $size < 10 ? 15 : 60;
        my $bytes = join '', map { my $body = chr(64 + $_) x ($_ * 7); (binary($body), binary($body, mask => 1)) } 1 .. $count;
        my ($bodies) = received({}, unpack "(a$size)*", $bytes);
        is "@$bodies", "@{ bodies($bytes) }", "of $size bytes";
    }
};

differs 'a violation, split anywhere' => 'knows no such violation' => sub {
    my %violation = (frame(opcode => 3, payload => 'x', mask => 1) => 'opcode', text('x' x 10, form => 64, mask => 1) => 'length',
        close_frame(1005, 'why') => 'code');
    for my $bytes (sort keys %violation) {
        my @wrong;
        for my $cut (1 .. length($bytes) - 1) {
            my ($connection, $peer) = connection_and_peer();
            my $seen = recorder($connection);
            $peer->write(text('before') . substr $bytes, 0, $cut);
            _read($connection);
            my ($close) = $peer->write(substr($bytes, $cut) . text('after'))->frames_to_eof;
            push @wrong, $cut unless $close && (close_of($close))[0] == 1002 && "@{ $seen->order }" eq 'message parse_error';
        }
        is_deeply \@wrong, [], "$violation{$bytes}: refused";
    }
};

done_testing;
