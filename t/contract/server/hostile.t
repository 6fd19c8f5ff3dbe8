# Tests the verdict on each request in hostile.txt: over ws and wss, whole, in pieces, byte by byte, and with a frame behind it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;
use WebSocketTest::HostileRequests;

needs_server();
my @transports = transports();
my @cases = hostile_requests();
cmp_ok scalar @cases, '>=', 50, 'a table worth its name';

sub played_ok {
    my ($case, @ways) = @_;
    my @problems;
    for my $transport (@transports) {
        for my $way (@ways) {
            eval { push @problems, play($case, $case->{wanted}, $way, $transport); 1 }
                or push @problems, "$transport, $way: died: $@";
        }
    }
    return is join("\n", @problems), '', $case->{name};
}

# A frame behind the request cannot be told from what is there already.
sub ways {
    my ($case) = @_;
    return (qw(whole pieces bytes), $case->{behind} eq '' ? 'trailing' : ());
}

# The original finds fault with a frame behind any request of which all lines are in order.
my $of_a_line = qr/\A(?:Wrong|Invalid|Message)/;

for my $case (@cases) {
    if (defined $case->{original}) {
        differs $case->{name} => "has '$case->{original}'" => sub { played_ok($case, ways($case)) };
    }
    else {
        played_ok($case, grep { !is_original() || $_ ne 'trailing' || $case->{wanted} =~ $of_a_line } ways($case));
    }
}

# That the table is right about the original.
if (is_original()) {
    for my $case (grep { ($_->{original} // 'hangs') ne 'hangs' } @cases) {
        my @problems = play($case, $case->{original}, $case->{'original-way'} || 'whole', 'ws');
        is_deeply \@problems, [], "$case->{name}: what the original does";
    }
}

differs 'a frame behind any valid request' => 'has \'Leftovers\', if they come together' => sub {
    played_ok($_, 'trailing') for grep { $_->{wanted} eq 'ok' && $_->{behind} eq '' } @cases;
};

# Finds out with which byte the error comes.
sub seen_at {
    my ($case) = @_;
    my ($attempt, $peer) = establishing();
    for my $number (1 .. length $case->{bytes}) {
        $peer->write(substr $case->{bytes}, $number - 1, 1);
        $attempt->wait_read;
        return $number if $attempt->cv->ready;
    }
    return 'never';
}

for my $case (grep { defined $_->{seen} } @cases) {
    differs "$case->{name}: it is seen early" => 'waits for a line' => sub {
        is seen_at($case), $case->{seen}, 'with that byte';
    };
}

subtest 'when an error is seen' => sub {
    my $line = "GET /chat HTTP/1.1\r\n";
    my %at = (
        "nonsense\r\n" => 10,
        "POST / HTTP/1.1\r\n" => 17,
        "${line}nonsense\r\n" => 10 + length $line,
        request([drop => 'Upgrade']) => length request([drop => 'Upgrade']),
    );
    for my $bytes (sort keys %at) {
        is seen_at({ bytes => $bytes . 'x' x 100 }), $at{$bytes}, 'with the end of the line, or of the header';
    }
};

# --- sizes

sub many_fields {
    my ($count) = @_;
    return request(map { [add => "X-$_: a"] } 1 .. $count);
}

# Writes so much at a time, and returns the verdict.
sub verdict_in_reads {
    my ($bytes, $size, $transport, %new) = @_;
    my ($attempt, $peer) = establishing(TRANSPORT => $transport, %new);
    for my $piece (unpack "(a$size)*", $bytes) {
        last if $attempt->cv->ready;
        $peer->write($piece);
        $peer->wait_written if $transport eq 'ws';
        $attempt->wait_read;
    }
    return verdict_of($attempt);
}

my $TOO_LONG = "handshake error: Message is too long\n";

for my $transport (@transports) {
    is verdict_in_reads(many_fields(2_000), 1000, $transport), 'ok', "$transport: 2,000 fields in many reads";
    is verdict_in_reads(many_fields(10_000), 1_000_000, $transport), $TOO_LONG, "$transport: 10,000 fields in few reads"
        if $transport eq 'ws';
    is verdict_in_reads(request([add => 'X-A: ' . 'x' x 21_000]), 1000, $transport), $TOO_LONG,
        "$transport: a line of 21 kB in many reads";
    differs "$transport: 10,000 fields in many reads" => 'takes any number of them' => sub {
        is verdict_in_reads(many_fields(10_000), 10_000, $transport), $TOO_LONG, 'too many';
    };
}

subtest '$MAX_MESSAGE_SIZE' => sub {
    require Protocol::WebSocket::Message;
    my $server = AnyEvent::WebSocket::Server->new;
    my $long_line = request([add => 'X-A: ' . 'x' x 2000]);
    {
        local $Protocol::WebSocket::Message::MAX_MESSAGE_SIZE = 1000;
        is verdict_in_reads($long_line, 1_000_000, 'ws', SERVER => $server), $TOO_LONG, 'is read at each handshake';
        is verdict_in_reads(request(), 1_000_000, 'ws', SERVER => $server), 'ok', 'it is a limit alone';
    }
    is verdict_in_reads($long_line, 1_000_000, 'ws', SERVER => $server), 'ok', 'and not kept';
    local $Protocol::WebSocket::Message::MAX_MESSAGE_SIZE = 500_000;
    is verdict_in_reads(many_fields(20_000), 10_000, 'ws'), 'ok', 'it can be larger';
    is verdict_in_reads(request([add => 'X-A: ' . 'x' x 100_000]), 10_000, 'ws'), 'ok', 'also for a line';
};

done_testing;
