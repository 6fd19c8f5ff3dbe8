package WebSocketTest::HostileRequests;

# The cases of t/contract/server/hostile.txt, and ways to play them.
#
#   for my $case (hostile_requests()) {
#       $case->{name}; $case->{bytes}; $case->{wanted}; ...      # as described there
#       my @problems = play($case, $verdict, $way, $transport, %new);
#   }
#
# Ways: whole, pieces, bytes, trailing (a text frame follows at once).

use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use WebSocketTest;
use WebSocketTest::Establish;

our @EXPORT = qw(hostile_requests play verdict_of);

my $table = dirname(__FILE__) . '/../../contract/server/hostile.txt';

sub hostile_requests {
    open my $in, '<', $table or die "$table: $!";
    local $/ = '';
    return map { _case($_) } grep { /\S/ } map { s/^#.*\n//gmr } <$in>;
}

my $EDIT = qr/\A(?:line|set|add|drop|first|before|behind|ending|raw)\z/;

sub _case {
    my ($paragraph) = @_;
    my ($name, @lines) = split /\n\s*/, $paragraph =~ s/\A\s+|\s+\z//gr;
    my (%case, @edits);
    for my $line (@lines) {
        my ($key, $value) = $line =~ /\A(\S+)(?: (.*))?\z/ or die "hostile.txt: '$line'\n";
        $value = _bytes(defined $value ? $value : '');
        if    ($key =~ $EDIT)       { push @edits, [$key => $value] }
        elsif ($key eq 'replace')   { push @edits, [$key => split / /, $value, 2] }
        elsif ($key eq 'field')     { push @{ $case{fields} }, $value }
        elsif (exists $case{$key})  { die "hostile.txt: $name: $key twice\n" }
        else                        { $case{$key} = $value }
    }
    defined $case{wanted} or die "hostile.txt: $name: nothing is wanted\n";
    my ($behind) = map { $_->[1] } grep { $_->[0] eq 'behind' } @edits;
    return { %case, name => $name, bytes => request(@edits), behind => defined $behind ? $behind : '' };
}

my %ESCAPE = (r => "\r", n => "\n", t => "\t", s => ' ', 0 => "\0");

sub _bytes {
    my ($text) = @_;
    $text =~ s/\\(?:x([0-9a-f]{2})|([rnts0]))/defined $1 ? chr hex $1 : $ESCAPE{$2}/ge;
    $text =~ s/\{([^{}]+)\*(\d+)\}/$1 x $2/ge;
    return $text;
}

# Returns the error that the verdict stands for, as a pattern; nothing for ok.
sub _error {
    my ($verdict) = @_;
    return if $verdict eq 'ok';
    return $verdict eq '?' ? qr/\Ahandshake error: [^\n]+\n\z/ : qr/\Ahandshake error: \Q$verdict\E\n\z/;
}

# Returns what was decided, for messages: ok, or the error.
sub verdict_of {
    my ($attempt) = @_;
    my $error = $attempt->error;
    return $error eq '' ? 'ok' : $error;
}

my $TRAILING = text('trailing', mask => 1);

my %way = (
    whole => sub { my ($peer, $attempt, $bytes) = @_; $peer->write($bytes) },
    trailing => sub { my ($peer, $attempt, $bytes) = @_; $peer->write($bytes . $TRAILING) },
    pieces => sub { _in_pieces(@_, 7) },
    bytes => sub { _in_pieces(@_, 1) },
);

# Writes pieces, each when the one before has been read. Long runs of one byte go as one piece.
sub _in_pieces {
    my ($peer, $attempt, $bytes, $size) = @_;
    while ($bytes =~ /\G((.)\2{99,}|.{1,$size})/gs) {
        $peer->write($1);
        $attempt->wait_read;
        return if $attempt->cv->ready && $attempt->error ne '';
    }
}

# Plays a case, and returns what is not as it should be. `check` among the arguments is called with the attempt and its peer
# instead of testing that a failure leaves the socket alone.
sub play {
    my ($case, $verdict, $way, $transport, %new) = @_;
    my $check = delete $new{CHECK} || \&_left_alone;
    my (@problems, $request);
    local $SIG{__WARN__} = sub { push @problems, "warning: $_[0]" };
    my ($attempt, $peer) = establishing(TRANSPORT => $transport, handshake => sub { $request = $_[0]; $_[1] }, %new);
    $peer->wait_secure if $transport eq 'wss';
    $attempt->record;
    $way{$way}->($peer, $attempt, $case->{bytes});
    my $problem = sub { my ($what, $is, $wanted) = @_; push @problems, "$what: '$is', not '$wanted'" if $is ne $wanted };
    my $error = _error($verdict);
    my $got = verdict_of($attempt);
    if    ($error && $got !~ $error) { push @problems, "verdict: '$got', not '$verdict'" }
    elsif (!$error && $got ne 'ok')  { push @problems, "verdict: '$got', not ok" }
    elsif ($error)                   { $check->($case, $attempt, $peer, $problem) }
    else                             { _works($case, $attempt, $peer, $way, $request, $problem) }
    @problems = grep { !/\Awarning/ } @problems if is_original();
    return map { "$transport, $way: $_" } @problems;
}

sub _left_alone {
    my ($case, $attempt, $peer, $problem) = @_;
    turn();
    $problem->('written', $peer->bytes, '');
    return if $peer->isa('WebSocketTest::SecureClient');
    $problem->('EOF', $peer->eof, 0);
    my $answer = "HTTP/1.1 404 Not Found\r\n\r\n";
    syswrite $attempt->fh, $answer;
    $problem->('the program\'s answer', response_of($peer), $answer);
}

sub _works {
    my ($case, $attempt, $peer, $way, $request, $problem) = @_;
    my $accept = accept_of(defined $case->{accept} ? $case->{accept} : $KEY);
    $problem->('response', response_of($peer), $RESPONSE =~ s/(?<=Accept: )\S+/$accept/r);
    $problem->('target', $request->resource_name, $case->{target}) if defined $case->{target};
    return if $case->{behind} ne '' && !defined $case->{frames};
    my $seen = $attempt->seen;
    my @bodies = grep { !/\A\d{4}\z/ } split / /, defined $case->{frames} ? $case->{frames} : '';
    my ($close_code) = ($case->{frames} || '') =~ /\b(\d{4})\b/;
    push @bodies, 'trailing' if $way eq 'trailing' && !defined $close_code;
    $seen->wait_messages(scalar @bodies) if @bodies;
    $problem->('messages', "@{ $seen->bodies }", "@bodies");
    return $problem->('frames', scalar(my @before = $peer->sync(mask => 1)), 0) if !defined $close_code;
    my $frame = $peer->next_frame;
    $problem->('closes with', $frame ? join(',', close_of($frame)) : 'EOF', "$close_code,");
}

1;
