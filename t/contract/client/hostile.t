# Tests what the client makes of each answer in answers.txt: over ws and wss, whole, in pieces, octet by octet, and with a frame
# behind it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

my $OK = 'OK';
my $OCTETS_SINGLY = 1000;    # longer answers do not come octet by octet

# --- the table

my @rows;
open my $table, '<', "$FindBin::Bin/answers.txt" or die "answers.txt: $!";
while (<$table>) {
    next if /\A(?:#|\s*\z)/;
    chomp;
    my ($name, $options, $answer, $original, $ours) = map { s/\A\s+|\s+\z//gr } split /\s\|(?=\s)/, $_, 5;
    die "answers.txt:$.: not a row\n" unless defined $ours;
    my %option = map { /(.+?)=(.+)/ ? ($1, $2) : ($_, 1) } split ' ', $options;
    my $verdict = is_original() || $ours eq '=' ? $original : $ours;
    push @rows, { name => $name, %option, answer => $answer, verdict => verdict($verdict) };
}

sub verdict {
    my ($verdict) = @_;
    my %text = (FIELD => 'Invalid field', LONG => 'Message is too long', INVALID => 'Not a valid response');
    my ($kind, $line) = $verdict =~ /\A(\w+) ?(.*)/;
    $text{LINE} = 'Wrong response line. Got [[' . octets($line) . ']], expected [[HTTP/1.1 101 ]]';
    return $text{$kind} ? "handshake error: $text{$kind}" : $verdict;
}

# Returns the octets for the notation, without a request: its Accept is filled in later.
sub octets {
    my ($notation) = @_;
    my %short = (
        101 => 'HTTP/1.1 101 Switching Protocols', up => 'Upgrade: websocket', conn => 'Connection: Upgrade',
        good => 'HTTP/1.1 101 Switching Protocols~Upgrade: websocket~Connection: Upgrade~{accept}',
        accept => 'Sec-WebSocket-Accept: {key}', crlf => "\x0d\x0a", lf => "\x0a", cr => "\x0d", nul => "\0", sp => ' ', tab => "\t",
        none => '',
    );
    1 while $notation =~ s/\{(\w+)\}/exists $short{$1} ? $short{$1} : "<$1>"/ge;
    $notation =~ s/~/\x0d\x0a/g;
    $notation =~ s/\\x([0-9a-f]{2})/chr hex $1/ge;
    1 while $notation =~ s/\((((?!\().)*?)\)\*([0-9]+)/$1 x $3/se;
    return $notation;
}

sub answer_to {
    my ($row, $request) = @_;
    my $key = accept_for($request->key);
    return octets($row->{answer}) =~ s/<key>/$key/gr;
}

# --- ways of arriving: each sub gets the peer and the octets, and returns when it has written them

sub write_in_pieces {
    my ($peer, $octets, $length) = @_;
    for (my $at = 0; $at < length $octets; $at += $length) {
        last if $peer->eof;
        $peer->write(substr $octets, $at, $length);
        turn();
    }
}

my %way = (
    whole => sub { $_[0]->write($_[1]) },
    in_two => sub { write_in_pieces(@_, 1 + int length($_[1]) / 2) },
    line_by_line => sub {
        my ($peer, $octets) = @_;
        for my $line ($octets =~ /[^\n]*\n|[^\n]+\z/g) { last if $peer->eof; $peer->write($line); turn() }
    },
    octet_by_octet => sub { write_in_pieces(@_, 1) },
    with_a_frame => sub { $_[0]->write($_[1] . text('after')) },
);

# Returns the ways for a row: `ways` in the table are the only ones.
sub ways_of {
    my ($row) = @_;
    my %is_wanted = map { $_ => 1 } split /,/, $row->{ways} || join ',', keys %way;
    delete $is_wanted{octet_by_octet} if length octets($row->{answer}) > $OCTETS_SINGLY;
    delete $is_wanted{with_a_frame} if $row->{unfinished};
    return sort keys %is_wanted;
}

# --- one answer

# Returns what is wrong.
sub play {
    my ($row, $way, $tls) = @_;
    my ($cv, $peer, $request) = shake_hands({ $row->{asks} ? (subprotocol => [split /,/, $row->{asks}]) : () }, undef, tls => $tls);
    $way{$way}->($peer, answer_to($row, $request));
    my $outcome = outcome($cv);
    my @problems = $outcome eq $row->{verdict} ? () : "it ends with '$outcome', not '$row->{verdict}'";
    return (@problems, frames_problem($cv, $peer, $row, $way)) if $outcome =~ /\A$OK\b/;
    # The original's condvar keeps the connection with a wrong subprotocol; subprotocol.t tests ours.
    undef $cv;
    return (@problems, closing_problem($peer));
}

sub outcome {
    my ($cv) = @_;
    wait_outcome($cv);
    my $connection = eval { $cv->recv } or return error_of($cv);
    return defined $connection->subprotocol ? "$OK " . $connection->subprotocol : $OK;
}

# The connection must work, from the first byte behind the answer.
sub frames_problem {
    my ($cv, $peer, $row, $way) = @_;
    return if $row->{body};
    my $seen = recorder($cv->recv);
    $peer->write(text('after')) unless $way eq 'with_a_frame';
    $peer->write(text('later'));
    $seen->wait_messages(2);
    my $bodies = join ',', @{ $seen->bodies };
    return $bodies eq 'after,later' ? () : "messages $bodies";
}

sub closing_problem {
    my ($peer) = @_;
    $peer->wait_eof;
    return length $peer->bytes ? 'it sends more: ' . $peer->bytes : ();
}

# The original parses what follows an error over TLS with a parser that it no longer has.
sub is_accident_of_original { is_original() && $_[0] =~ /Can't call method "parse" on an undefined value/ }

cmp_ok scalar @rows, '>=', 40, 'a table worth its name';
my $why_not = WebSocketTest::TLS::unavailable();
diag "without wss: $why_not" if $why_not;
for my $row (@rows) {
    my @problems;
    for my $tls (0, $why_not || $row->{ws} ? () : 1) {
        for my $way (ways_of($row)) {
            my @found;
            local $SIG{__WARN__} = sub { push @found, "warning: $_[0]" };
            eval { push @found, play($row, $way, $tls); 1 } or push @found, "died: $@";
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
        is "@{ $seen->bodies } @{ $seen->order }", 'last words message finish', "$end behind the 101 and a frame" . ($tls ? ', over wss' : '');
    }
}

done_testing;
