# Tests what the client makes of each answer in answers.txt: over ws and wss, whole, in pieces, octet by octet, and with a frame
# behind it; and of an end of file or a reset behind a good one.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Answers;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

# The original parses what follows an error over TLS with a parser that it no longer has.
sub is_accident_of_original { is_original() && $_[0] =~ /Can't call method "parse" on an undefined value/ }

my @rows = answers();
my $verdict = is_original() ? 'original' : 'ours';
cmp_ok scalar @rows, '>=', 40, 'a table worth its name';
my $why_not = WebSocketTest::TLS::unavailable();
diag "without wss: $why_not" if $why_not;
for my $row (@rows) {
    my @problems;
    for my $tls (0, $why_not || $row->{ws} ? () : 1) {
        for my $way (ways_of($row)) {
            my @found;
            local $SIG{__WARN__} = sub { push @found, "warning: $_[0]" };
            eval { push @found, play_answer($row, way => $way, tls => $tls, verdict => $row->{$verdict}); 1 }
                or push @found, "died: $@";
            push @problems, map { ($tls ? 'wss' : 'ws') . ", $way: $_" } grep { !is_accident_of_original($_) } @found;
        }
    }
    is join("\n", @problems), '', $row->{name};
}

for my $tls (0, $why_not ? () : 1) {
    for my $end (qw(half_close close reset)) {
        my ($cv, $peer) = shake_hands({}, sub { switching($_[0]) . text('last words') }, tls => $tls);
        my $seen;
        $cv->cb(sub { $seen = recorder($_[0]->recv); poke() });
        $peer->$end;
        wait_until('the connection', sub { $seen });
        $seen->wait_finish;
        is "@{ $seen->bodies } @{ $seen->order }", 'last words message finish',
            "$end behind the 101 and a frame" . ($tls ? ', over wss' : '');
    }
}

done_testing;
