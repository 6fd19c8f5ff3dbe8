# Tests that close sends a Close frame with code and reason, and half-closes once everything queued is written.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Returns what the peer gets from close(@_), as (code, reason octets), after checking that it is one Close frame and EOF.
sub closed_with {
    my ($connection, $peer) = connection_and_peer();
    is $connection->close(@_), $connection, 'close returns the connection';
    my @frames = $peer->frames_to_eof;
    is_deeply [map { $_->{opcode} } @frames], [8], 'a Close frame, then EOF';
    return close_of($frames[0]);
}

differs 'sending fails' => 'waits for ever' => sub {
    for my $closes_first (0, 1) {
        my ($connection, $peer) = connection_and_peer(close_timeout => 0.05);
        my $seen = recorder($connection);
        $connection->on(next_message => sub { eval { $_[0]->close(4000) } }) if $closes_first;
        $connection->handle->push_write('');
        Internals::SvREADONLY($connection->handle->{wbuf}, 1);
        my $end = $connection->closed;
        $peer->write($closes_first ? text('x') : close_frame(4000));
        local $SIG{__WARN__} = sub { };
        wait_until('the end', sub { eval { turn() }; $seen->finished });
        is $seen->finished, 1, $closes_first ? 'close' : 'the answer';
        ok $end->ready, 'closed';
    }
};

subtest 'close keeps $@' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $timer = AE->can('timer');
    no warnings 'redefine';
    local *AE::timer = sub { eval { 1 }; $timer->(@_) };    # as with POE
    local $@ = 'an error';
    $connection->close(1000);
    is $@, 'an error', 'whatever the loop does';
};

subtest 'a code' => sub {
    is_deeply [closed_with($_)], [$_, ''], "code $_" for 1000 .. 1003, 1007 .. 1011, 3000, 3999, 4000, 4999;
};

subtest 'a code and a reason' => sub {
    is_deeply [closed_with(4000, 'because')], [4000, 'because'];
    is_deeply [closed_with('4000', 'a code which is a string')], [4000, 'a code which is a string'];
};

subtest 'an undefined or empty reason' => sub {
    is_deeply [closed_with(1000, undef)], [1000, ''], 'undef';
    is_deeply [closed_with(1000, '')], [1000, ''], 'empty';
    is_deeply [closed_with(1000, 0)], [1000, '0'], '0 is a reason';
};

subtest 'the reason is a character string' => sub {
    is_deeply [closed_with(1000, "\x{263a}")], [1000, "\xe2\x98\xba"], 'wide';
    my $upgraded = my $latin = "gr\xfcn";
    utf8::upgrade($upgraded);
    is_deeply [closed_with(1000, $latin)], [1000, "gr\xc3\xbcn"], 'Latin-1 without the UTF8 flag';
    is_deeply [closed_with(1000, $upgraded)], [1000, "gr\xc3\xbcn"], 'Latin-1 with the flag';
    is $latin, "gr\xfcn", 'the scalar is not modified';
    ok !utf8::is_utf8($latin) && utf8::is_utf8($upgraded), 'nor are the flags';
};

subtest 'the longest reason' => sub {
    is_deeply [closed_with(1000, 'x' x 123)], [1000, 'x' x 123], '123 bytes';
    is_deeply [closed_with(1000, "\xe4" x 61 . 'x')], [1000, "\xc3\xa4" x 61 . 'x'], '123 bytes of UTF-8';
};

differs 'a reason that does not fit' => 'sends a control frame that is too long' => sub {
    my @cases = (
        ['x' x 124,                    'x' x 123],
        ['x' x 100_000,                'x' x 123],
        ["\xe4" x 62,                  "\xc3\xa4" x 61],
        ['x' . "\xe4" x 62,            'x' . "\xc3\xa4" x 61],
        ["\x{263a}" x 42,              "\xe2\x98\xba" x 41],
        ['x' . "\x{263a}" x 42,        'x' . "\xe2\x98\xba" x 40],
        ['xx' . "\x{263a}" x 42,       'xx' . "\xe2\x98\xba" x 40],
        ["\x{1f42a}" x 31,             "\xf0\x9f\x90\xaa" x 30],
        ['x' x 122 . "\x{1f42a}",      'x' x 122],
        ['x' x 119 . "\x{1f42a}",      'x' x 119 . "\xf0\x9f\x90\xaa"],
    );
    is_deeply [closed_with(1000, $_->[0])], [1000, $_->[1]], 'is cut at a character boundary' for @cases;
};

subtest 'reasons which are tied, magical, objects' => sub {
    'some words' =~ /(words)/;
    is_deeply [closed_with(1000, $1)], [1000, 'words'], 'a capture';
    is_deeply [closed_with(1000, 42)], [1000, '42'], 'a number';
};

subtest 'our end knows no code of its own' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->close(4000, 'ours');
    $peer->wait_eof->close;
    $seen->wait_finish;
    is $connection->close_code, undef, 'close_code is for what was received';
    is $connection->close_reason, undef, 'as is close_reason';
    is_deeply [$seen->arguments('finish')]->[0][1], undef, 'finish has no message';
};

subtest 'everything queued is written first' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send(chr(64 + $_) x 1_000_000) for 1 .. 6;
    $connection->close(4000, 'end');
    settle();
    my @frames = $peer->resume->frames_to_eof;
    is scalar @frames, 7, 'six messages and a Close frame, then EOF';
    is_deeply [map { length $_->{payload} } @frames[0 .. 5]], [(1_000_000) x 6], 'whole';
    is_deeply [close_of($frames[6])], [4000, 'end'], 'the Close is last';
};

subtest 'the peer still can send' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $connection->close;
    $peer->wait_eof->write(text('while closing'));
    is_deeply $seen->wait_messages(1)->bodies, ['while closing'], 'and is heard until it closes';
    is $seen->finished, 0, 'finish has not come';
    $peer->write(close_frame(1000))->half_close;
    $seen->wait_finish;
    is $seen->finished, 1, 'it comes with its EOF';
};

subtest 'close again does nothing' => sub {
    my ($connection, $peer) = connection_and_peer();
    is $connection->close(4001)->close(4002, 'x')->close, $connection, 'and returns the connection';
    my @frames = $peer->frames_to_eof;
    is_deeply [map { [close_of($_)] } @frames], [[4001, '']], 'there is one Close frame';
};

subtest 'close and forget' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->close(4000);
    undef $connection;
    is_deeply [map { [close_of($_)] } $peer->frames_to_eof], [[4000, '']], 'the Close frame goes out all the same';
};

subtest 'close and forget with a queue' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->stall;
    $connection->send('x' x 4_000_000)->close(4000);
    undef $connection;
    settle();
    is_deeply [map { $_->{opcode} } $peer->resume->frames_to_eof], [1, 8], 'all of it goes out';
};

subtest 'both ends are connections' => sub {
    my ($left, $right) = connection_pair();
    my @seen = map { recorder($_) } $left, $right;
    $left->close(4000, "\x{263a}");
    $_->wait_finish for @seen;
    is_deeply [$right->close_code, $right->close_reason], [4000, "\x{263a}"], 'the reason arrives';
    is_deeply [map { $_->errors } @seen], [[], []], 'no errors';
    is_deeply [map { ($_->arguments('finish'))[0][1] } @seen], [undef, undef], 'both finish cleanly';
};

done_testing;
