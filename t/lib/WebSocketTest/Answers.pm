package WebSocketTest::Answers;

# The table of odd and hostile answers in contract/client/answers.txt, and how a client is put to them.
#
#   for my $row (answers()) {
#       for my $way (ways_of($row)) {
#           my @problems = play_answer($row, way => $way, tls => 1, verdict => $row->{ours}, new => \%for_client);
#       }
#   }

use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use WebSocketTest;
use WebSocketTest::RawServer;

our @EXPORT = qw(answers ways_of play_answer);

my $OK = 'OK';
my $OCTETS_SINGLY = 1000;    # longer answers do not come octet by octet

# --- the table

# Returns the rows: each has a name, the options, the answer, and the verdicts `original` and `ours`.
sub answers {
    my @rows;
    open my $table, '<', dirname(__FILE__) . '/../../contract/client/answers.txt' or die "answers.txt: $!";
    while (my $line = <$table>) {
        next if $line =~ /\A(?:#|\s*\z)/;
        my ($name, $options, $answer, $original, $ours) = map { s/\A\s+|\s+\z//gr } split /\s\|(?=\s)/, $line, 5;
        die "answers.txt:$.: not a row\n" unless defined $ours;
        my %option = map { /(.+?)=(.+)/ ? ($1, $2) : ($_, 1) } split ' ', $options;
        push @rows, {
            name => $name, %option, answer => $answer,
            original => _verdict($original), ours => _verdict($ours eq '=' ? $original : $ours),
        };
    }
    return @rows;
}

sub _verdict {
    my ($verdict) = @_;
    my %text = (FIELD => 'Invalid field', LONG => 'Message is too long', INVALID => 'Not a valid response');
    my ($kind, $line) = $verdict =~ /\A(\w+) ?(.*)/;
    $text{LINE} = 'Wrong response line. Got [[' . _octets($line) . ']], expected [[HTTP/1.1 101 ]]';
    return $text{$kind} ? "handshake error: $text{$kind}" : $verdict;
}

# Returns the octets for the notation, without a request: its Accept is filled in later.
sub _octets {
    my ($notation) = @_;
    my %short = (
        101 => 'HTTP/1.1 101 Switching Protocols', up => 'Upgrade: websocket', conn => 'Connection: Upgrade',
        good => 'HTTP/1.1 101 Switching Protocols~Upgrade: websocket~Connection: Upgrade~{accept}',
        accept => 'Sec-WebSocket-Accept: {key}', crlf => "\x0d\x0a", lf => "\x0a", cr => "\x0d", nul => "\0", sp => ' ',
        tab => "\t",
        none => '',
    );
    1 while $notation =~ s/\{(\w+)\}/exists $short{$1} ? $short{$1} : "<$1>"/ge;
    $notation =~ s/~/\x0d\x0a/g;
    $notation =~ s/\\x([0-9a-f]{2})/chr hex $1/ge;
    1 while $notation =~ s/\((((?!\().)*?)\)\*([0-9]+)/$1 x $3/se;
    return $notation;
}

sub _answer_to {
    my ($row, $request) = @_;
    my $key = accept_for($request->key);
    return _octets($row->{answer}) =~ s/<key>/$key/gr;
}

# --- ways of arriving: each sub gets the peer and the octets, and returns when it has written them

sub _write_in_pieces {
    my ($peer, $octets, $length) = @_;
    for (my $at = 0; $at < length $octets; $at += $length) {
        last if $peer->eof;
        $peer->write(substr $octets, $at, $length);
        turn();
    }
}

my %way = (
    whole => sub { $_[0]->write($_[1]) },
    in_two => sub { _write_in_pieces(@_, 1 + int length($_[1]) / 2) },
    line_by_line => sub {
        my ($peer, $octets) = @_;
        for my $line ($octets =~ /[^\n]*\n|[^\n]+\z/g) { last if $peer->eof; $peer->write($line); turn() }
    },
    octet_by_octet => sub { _write_in_pieces(@_, 1) },
    with_a_frame => sub { $_[0]->write($_[1] . text('after')) },
);

# Returns the ways for a row: `ways` in the table are the only ones.
sub ways_of {
    my ($row) = @_;
    my %is_wanted = map { $_ => 1 } split /,/, $row->{ways} || join ',', keys %way;
    delete $is_wanted{octet_by_octet} if length _octets($row->{answer}) > $OCTETS_SINGLY;
    delete $is_wanted{with_a_frame} if $row->{unfinished};
    return sort keys %is_wanted;
}

# --- one answer

# Returns what is wrong.
sub play_answer {
    my ($row, %play) = @_;
    my %new = (%{ $play{new} || {} }, $row->{asks} ? (subprotocol => [split /,/, $row->{asks}]) : ());
    my ($cv, $peer, $request) = shake_hands(\%new, undef, tls => $play{tls});
    $way{ $play{way} }->($peer, _answer_to($row, $request));
    my $outcome = _outcome($cv);
    my @problems = $outcome eq $play{verdict} ? () : "it ends with '$outcome', not '$play{verdict}'";
    return (@problems, _frames_problem($cv, $peer, $row, $play{way})) if $outcome =~ /\A$OK\b/;
    # The original's condvar keeps the connection with a wrong subprotocol; subprotocol.t tests ours.
    undef $cv;
    return (@problems, _closing_problem($peer));
}

sub _outcome {
    my ($cv) = @_;
    wait_outcome($cv);
    my $connection = eval { $cv->recv } or return error_of($cv);
    return defined $connection->subprotocol ? "$OK " . $connection->subprotocol : $OK;
}

# The connection must work, from the first byte behind the answer.
sub _frames_problem {
    my ($cv, $peer, $row, $way) = @_;
    return if $row->{body};
    my $seen = recorder($cv->recv);
    $peer->write(text('after')) unless $way eq 'with_a_frame';
    $peer->write(text('later'));
    $seen->wait_messages(2);
    my $bodies = join ',', @{ $seen->bodies };
    return $bodies eq 'after,later' ? () : "messages $bodies";
}

sub _closing_problem {
    my ($peer) = @_;
    $peer->wait_eof;
    return length $peer->bytes ? 'it sends more: ' . $peer->bytes : ();
}

1;
