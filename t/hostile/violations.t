# Tests every violation in violations.txt: the answer, the report, and that the connection is down; in both roles, over ws and
# wss, whole, octet by octet, and with all sorts of things behind it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(max);
use Test::More;
use WebSocketTest;
use WebSocketTest::SecurePeer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original knows few of these' if is_original();

# --- the table

my (%verdict, @rows);
open my $table, '<', "$FindBin::Bin/violations.txt" or die "violations.txt: $!";
while (<$table>) {
    chomp;
    if    (/\A! (\S+)\s+(\d+)\s+(.+)/) { $verdict{$1} = { code => $2, text => $3 eq '-' ? undef : $3 } }
    elsif (/\A\d/)                     { push @rows, row($_) }
    elsif (/\A[^#]/)                   { die "violations.txt:$.: not a row\n" }
}

sub row {
    my ($line) = @_;
    my ($section, $what, $with, $frames, $seen, $verdict, $received) = map { s/\A\s+|\s+\z//gr } split /\|/, $line, 7;
    my ($name, @parameters) = split ' ', $verdict;
    my $known = $verdict{$name} or die "violations.txt:$.: no verdict '$name'\n";
    my %new = map { /(.+)=(.+)/ ? ($1, $2) : ($_, 1) } split ' ', $with;
    my @role = grep { delete $new{$_} } qw(server client);
    my ($close_code, $close_reason) = split ' ', $received, 2;
    return {
        name => "$section $what", new => \%new, frames => $frames, seen => $seen, code => $known->{code},
        roles => @role ? \@role : [qw(server client)],
        errors => [defined $known->{text} ? sprintf $known->{text}, @parameters : ()],
        received => [$close_code, defined $close_code ? payload($close_reason) : undef],
    };
}

sub payload {
    my ($notation) = @_;
    my $octets = '';
    for my $part (split /\+/, defined $notation ? $notation : '') {
        my ($text, $times) = $part =~ /\A(.*?)(?:\*(\d+))?\z/;
        $text =~ s/\\x([0-9a-f]{2})/chr hex $1/ge;
        $octets .= $text x (defined $times ? $times : 1);
    }
    return $octets;
}

my %opcode = (cont => 0, text => 1, binary => 2, close => 8, ping => 9, pong => 10, map {; "op$_" => $_ } 0 .. 15);

# Returns the frames of a row as the peer of a connection in that role sends them, the violation last.
sub frames_of {
    my ($row, $role) = @_;
    return map { frame_of($_, $role) } split ' ', $row->{frames};
}

sub frame_of {
    my ($notation, $role) = @_;
    my ($head, $payload) = split /:/, $notation, 2;
    my ($kind, @keys) = split /,/, $head;
    return payload($payload) if $kind eq 'raw';
    my ($name, $close_code) = split /=/, $kind;
    my %key = map { /(.+)=(.+)/ ? ($1, $2) : ($_, 1) } @keys;
    return (frame(
        opcode  => $opcode{$name},
        payload => (defined $close_code ? pack 'n', $close_code : '') . payload($payload),
        fin     => !$key{more},
        rsv     => $key{rsv} || 0,
        form    => $key{form},
        length  => $key{len},
        mask    => $key{key} ? "\0" x 4 : ($role eq 'server' xor $key{mask}) ? 1 : undef,
    )) x ($key{times} || 1);
}

# Returns the number of octets of this frame with which the violation is certain.
sub certain_at {
    my ($seen, $frame) = @_;
    my ($short, $is_masked) = map { ($_ & 0x7f, $_ >> 7) } unpack 'x C', $frame;
    my $length = $short == 127 ? 10 : $short == 126 ? 4 : 2;
    my $header = $length + 4 * $is_masked;
    return $seen eq 'length' ? $length : $seen eq 'header' ? $header : $seen eq 'end' ? length $frame
        : $seen =~ /payload (\d+)/ ? $header + $1 : $seen;
}

# --- transports: a connection and the raw other end

my $why_not = WebSocketTest::TLS::unavailable();
my %transport = (ws => sub { connection_and_peer(@_) }, wss => \&secure_connection_and_peer);

sub secure_connection_and_peer {
    my (%new) = @_;
    my ($left, $right) = WebSocketTest::tcp_pair();
    my ($ours, $theirs) = $new{masked} ? qw(connect accept) : qw(accept connect);
    my $connection = connection_on($left, %new, handle => { shared_tls_options($ours), no_delay => 1 });
    my $handle = AnyEvent::Handle->new(fh => $right, shared_tls_options($theirs), no_delay => 1);
    return ($connection, WebSocketTest::SecurePeer->new($handle));
}

# Runs the event loop until the kernel has nothing left for the connection.
sub deliver {
    my ($connection) = @_;
    my $bits = '';
    vec($bits, fileno $connection->handle->fh, 1) = 1;
    for (1 .. 1000) {
        return unless select my $ready = $bits, undef, undef, 0;
        turn();
    }
    die "the connection does not read\n";
}

# --- how the violation arrives: each sub gets the situation, and has the peer write it

my $SINGLY = 80;    # octets of a long frame that come one by one, at its start and its end

my %arrival = (
    whole => sub { $_[0]{peer}->write($_[0]{octets}) },
    octet_by_octet => \&octet_by_octet,
    with_more => sub {
        my ($s) = @_;
        my $good = frame_of('text:after', $s->{role});
        $s->{peer}->write(join '', $s->{octets}, $good, frame_of('ping:after', $s->{role}), "\xff" x 200, $good);
    },
    with_eof => sub { $_[0]{peer}->write($_[0]{octets})->half_close },
    after_our_close => sub {
        my ($s) = @_;
        $s->{connection}->close(4000, 'ours');
        $s->{peer}->write($s->{octets});
        # The peer may see our Close, and EOF, before the connection has read the violation.
        $s->{seen}->wait_messages(1);
        $s->{seen}->wait_parse_error if @{ $s->{row}{errors} };
    },
);

# Sends the last frame octet by octet. The violation must be seen with the octet that makes it certain, and not before.
sub octet_by_octet {
    my ($s) = @_;
    my ($peer, $connection, $frame) = @$s{qw(peer connection last)};
    $peer->write(substr $s->{octets}, 0, length($s->{octets}) - length $frame);
    $s->{seen}->wait_messages(1);
    deliver($connection);
    my $certain_at = certain_at($s->{row}{seen}, $frame);
    my $bulk = $certain_at eq '-' ? 0 : max(0, $certain_at - $SINGLY);
    my @pieces = ((grep { length } substr $frame, 0, $bulk), (split //, substr $frame, $bulk, 2 * $SINGLY),
        grep { length } length $frame > $bulk + 2 * $SINGLY ? substr $frame, $bulk + 2 * $SINGLY : '');
    my ($written, $seen_at) = (0, '-');
    for my $piece (@pieces) {
        $peer->write($piece);
        $written += length $piece;
        deliver($connection);
        $seen_at = $written if $seen_at eq '-' && @{ $s->{seen}->errors };
    }
    $s->{problem}->('seen with octet', $seen_at, $certain_at);
}

# --- one violation

sub play {
    my ($row, $transport, $role, $arrival) = @_;
    my ($connection, $peer) = $transport{$transport}->(%{ $row->{new} }, masked => $role eq 'client' ? 1 : 0);
    my @frames = (frame_of('text:before', $role), frames_of($row, $role));
    my (@problems, @returned);
    my $s = {
        row => $row, role => $role, peer => $peer, connection => $connection, seen => recorder($connection),
        octets => join('', @frames), last => $frames[-1],
        problem => sub { push @problems, "$_[0] $_[1], not $_[2]" if $_[1] ne $_[2] },
    };
    $connection->on(parse_error => sub { @returned = ($_[0]->send('more'), $_[0]->close(4001, 'more')) });
    local $SIG{__WARN__} = sub { push @problems, "warning: $_[0]" };
    $arrival{$arrival}->($s);
    judge($s, $arrival, \@returned);
    return map { "$transport, $role, $arrival: $_" } @problems;
}

sub judge {
    my ($s, $arrival, $returned) = @_;
    my ($row, $peer, $connection, $seen, $problem) = @$s{qw(row peer connection seen problem)};
    my @frames = $peer->frames_to_eof;
    # After our own Close the EOF may come before the violation is read.
    $seen->wait_parse_error if @{ $row->{errors} };
    my @own = $arrival eq 'after_our_close' ? (4000, 'ours') : ($row->{code}, '');
    $problem->('frames', join(' ', map { show_frame($_) } @frames), show_close(@own, $s->{role} eq 'client' ? 1 : 0));
    $problem->('then', unpack('H*', $peer->bytes), '');
    my @errors = map { 'parse_error' } @{ $row->{errors} };
    $problem->('order', "@{ $seen->order }", join ' ', 'message', @errors) unless $arrival eq 'with_eof';
    $problem->('message', "@{ $seen->bodies }", 'before');
    $problem->('text', "@{ $seen->errors }", "@{ $row->{errors} }");
    $problem->('in parse_error send and close return', "@$returned", join ' ', ($connection) x (2 * @errors));
    $problem->('attributes', attributes($connection->close_code, $connection->close_reason), attributes(@{ $row->{received} }));
    $peer->close;
    $seen->wait_finish;
    $problem->('order', "@{ $seen->order }", join ' ', 'message', @errors, 'finish');
    $problem->('close_error', defined $connection->close_error ? $connection->close_error : '-', '-');
}

sub show_frame {
    my ($frame) = @_;
    return $frame->{opcode} == 8 ? show_close(close_of($frame), $frame->{masked}) : "opcode $frame->{opcode}";
}

sub show_close { 'Close ' . join ',', @_ }

# Joins attributes. Encode's version decides how many U+FFFD a wrong reason decodes to.
sub attributes { join ' ', map { defined $_ ? s/\x{fffd}+/?/gr : '-' } @_ }

my @wss = $why_not ? () : map { ['wss', $_] } qw(whole octet_by_octet with_more);
diag "without wss: $why_not" if $why_not;
cmp_ok scalar @rows, '>=', 40, 'a table worth its name';
for my $row (@rows) {
    my @problems;
    for my $way ((map { ['ws', $_] } sort keys %arrival), @wss) {
        my ($transport, $arrival) = @$way;
        for my $role (@{ $row->{roles} }) {
            eval { push @problems, play($row, $transport, $role, $arrival); 1 }
                or push @problems, "$transport, $role, $arrival: died: $@";
        }
    }
    is join("\n", @problems), '', $row->{name};
}

done_testing;
