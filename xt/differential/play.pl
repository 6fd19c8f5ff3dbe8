# Sends the streams of a file to a connection each, and prints a verdict on each: play.pl FILE strict|lenient|original
#
# A line of the file: number, role, kind, and the chunks in hex, separated by tabs. A line of output: number, the end of the
# connection ("open", "closed CODE REASON", "failed CODE TEXT"), the messages, and the pongs.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use Encode ();
use WebSocketTest;

my ($path, $mode) = @ARGV;
my @new = (max_payload_size => 0, max_fragments => 1000, $mode eq 'strict' ? (strict => 1) : ());
# The original gets everything at once, because it loses its way when a read cuts a header.
my $is_whole = $mode eq 'original';
push @new, handle => { read_size => 1 << 20, max_read_size => 1 << 20 } if $is_whole;
local $SIG{__WARN__} = sub { } if $is_whole;

open my $file, '<', $path or die "$path: $!";
while (<$file>) {
    chomp;
    my ($number, $role, undef, @chunks) = split /\t/;
    @chunks = map { pack 'H*', $_ } @chunks;
    @chunks = join '', @chunks if $is_whole;
    alarm 60;
    print join("\t", $number, play($role eq 'client', @chunks)), "\n";
}

sub play {
    my ($masked, @chunks) = @_;
    my ($connection, $peer) = connection_and_peer(@new, masked => $masked);
    my $seen = recorder($connection);
    for my $chunk (@chunks) { $peer->write($chunk); turn() }
    $peer->half_close;
    $seen->wait_finish;
    my @sent = $peer->frames_to_eof;
    my @pongs = map { $_->{payload} } grep { $_->{opcode} == 10 } @sent;
    my ($close) = grep { $_->{opcode} == 8 } @sent;
    return (end($connection, $seen, $close), list(map { $_->opcode . $_->body } $seen->messages), list(@pongs));
}

# Returns the end of the connection. The original's Close frames are not looked at.
sub end {
    my ($connection, $seen, $close) = @_;
    my ($error) = @{ $seen->errors };
    my $answer = $close && !is_original() ? (close_of($close))[0] // 1005 : 0;
    return "failed $answer " . $error =~ s/\s+/ /gr if defined $error;
    return 'open' if !$close;
    my ($code) = ($connection->close_code // '') =~ /\A([0-9]+)\z/ ? $1 : 'none';
    return "answered $answer to $code" if $answer && $answer ne $code;
    return "closed $code " . unpack 'H*', Encode::encode('UTF-8', $connection->close_reason // '');
}

sub list { return join '', map { (length > 32 ? md5_hex($_) : unpack 'H*', $_) . ',' } @_ }
