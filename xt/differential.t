# Tests that this build, the original and two Python libraries get the same messages from the same random streams of frames,
# give the same pongs, and come to the same end, except for the differences that xt/differential/reasons.txt explains.
#
#   DIFFERENTIAL_STREAMS=20000 DIFFERENTIAL_SEED=1 prove -bv xt/differential.t
#
# Stream N is made from the seed plus N: a seed of that sum and one stream replays it. PYTHON names a python that has
# the modules wsproto and websockets (Debian packages python3-wsproto, python3-websockets).
use strict;
use warnings;

use Test::More;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp;

my ($xt, $t);
BEGIN { $xt = dirname(abs_path(__FILE__)); $t = "$xt/../t/lib" }
use lib "$xt/differential", $t;
use Streams;

my $count = $ENV{DIFFERENTIAL_STREAMS} || 400;
my $seed  = $ENV{DIFFERENTIAL_SEED} // time % 1_000_000_000;
my $file  = File::Temp->new;
my @perl  = ($^X, map { "-I$_" } @INC);

diag "DIFFERENTIAL_SEED=$seed DIFFERENTIAL_STREAMS=$count";

# --- the table: who differs, our end, its end, how the lists of messages and pongs compare, and why

my @reasons = map { reason($_) } grep { !/^\s*(?:#|$)/ } lines_of("$xt/differential/reasons.txt");

sub lines_of {
    my ($path) = @_;
    open my $table, '<', $path or die "$path: $!";
    chomp(my @lines = <$table>);
    return @lines;
}

sub reason {
    my ($who, $ours, $theirs, $lists, $why) = split /\s+\|\s+/, $_[0], 5;
    die "not a row: $_[0]\n" if !$why;
    return { who => $who, ours => qr/\A$ours/, theirs => qr/\A$theirs/, lists => qr/\A(?:$lists)\z/, why => $why };
}

sub reason_for {
    my ($who, $ours, $theirs) = @_;
    my $lists = compared($ours, $theirs);
    my ($row) = grep {
        $who eq $_->{who} && $ours->{end} =~ $_->{ours} && $theirs->{end} =~ $_->{theirs} && $lists =~ $_->{lists}
    } @reasons;
    return $row ? $row->{why} : undef;
}

# Returns "same", "fewer" (theirs begin with ours), "more" (the other way round) or "other".
sub compared {
    my ($ours, $theirs) = @_;
    my %relation = map { relation(@$_) => 1 } map { [$ours->{$_}, $theirs->{$_}] } qw(messages pongs);
    delete $relation{same} if keys %relation > 1;
    return keys %relation == 1 ? (keys %relation)[0] : 'other';
}

sub relation {
    my ($ours, $theirs) = @_;
    return $ours eq $theirs ? 'same' : !index($theirs, $ours) ? 'fewer' : !index($ours, $theirs) ? 'more' : 'other';
}

# Returns the end without its text, such as "failed 1002": each library has its own words.
sub outcome { return $_[0]{end} =~ s/\A(?:failed \d+\K.*|closed \w+\K +\z)//r }

sub agree {
    my ($ours, $theirs) = @_;
    my ($our_end, $their_end) = map { outcome($_) } $ours, $theirs;
    return $our_end eq $their_end && compared($ours, $theirs) eq 'same';
}

# --- the players

my $judge = "$xt/differential/judge.py";
my ($python) = grep { defined && `$_ $judge 2>/dev/null` } $ENV{PYTHON}, 'python3', '/usr/bin/python3';

my %command = (
    (map { $_ => [@perl, "$xt/differential/play.pl", "$file", $_] } qw(strict lenient original)),
    (map { $_ => [$python, $judge, "$file", $_] } qw(wsproto websockets)),
);


# Returns the verdicts, by the number of the stream.
sub verdicts {
    my ($player) = @_;
    local %ENV = (%ENV, WEBSOCKET_TEST_BACKEND => 'rust');
    @ENV{qw(WEBSOCKET_TEST_BACKEND ANYEVENT_WEBSOCKET_PP)} = ('pp', 1) if $player eq 'original';
    open my $from, '-|', @{ $command{$player} } or die "cannot run $command{$player}[0]: $!";
    my %verdicts;
    while (<$from>) {
        chomp;
        my ($number, @verdict) = split /\t/, $_, -1;
        @{ $verdicts{$number} }{qw(end messages pongs)} = @verdict;
    }
    close $from;
    is $?, 0, "$player plays to the end";
    is scalar keys %verdicts, $count, 'all streams';
    return \%verdicts;
}

sub write_streams {
    for my $number ($seed + 1 .. $seed + $count) {
        my $stream = Streams::stream($number);
        print {$file} join("\t", @$stream{qw(number role kind)}, map { unpack 'H*', $_ } @{ $stream->{chunks} }), "\n";
    }
    close $file or die $!;
}

sub is_valid { return Streams::stream($_[0])->{kind} eq 'valid' }

# --- the comparison

sub compare {
    my ($who, $ours, $theirs) = @_;
    my (%explained, @unexplained);
    for my $number (sort { $a <=> $b } keys %$ours) {
        next if agree($ours->{$number}, $theirs->{$number});
        my $why = reason_for($who, $ours->{$number}, $theirs->{$number});
        $explained{$why}++ if $why;
        push @unexplained, $number if !$why;
    }
    is scalar @unexplained, 0, 'no difference without a reason';
    show($who, $_, $ours->{$_}, $theirs->{$_}) for splice @unexplained, 0, 5;
    note sprintf '%6d  %s', $explained{$_}, $_ for sort keys %explained;
    return;
}

sub show {
    my ($who, $number, $ours, $theirs) = @_;
    my $stream = Streams::stream($number);
    diag "stream $number, for a $stream->{role}: $stream->{kind}",
        ' (DIFFERENTIAL_SEED=', $number - 1, ' DIFFERENTIAL_STREAMS=1)';
    diag '  octets:   ', substr join(' ', map { unpack 'H*', $_ } @{ $stream->{chunks} }), 0, 600;
    diag "  ours:     $ours->{end} | $ours->{messages} | $ours->{pongs}";
    diag "  $who: $theirs->{end} | $theirs->{messages} | $theirs->{pongs}";
    return;
}

write_streams();
my (%ours, %ends);
for my $mode (qw(strict lenient)) {
    subtest "this build, $mode" => sub {
        $ours{$mode} = verdicts($mode);
        is_deeply [grep { is_valid($_) && $ours{$mode}{$_}{end} =~ /\Afailed/ } keys %{ $ours{$mode} }], [], 'no valid one fails';
    };
}
$ends{ outcome($_) =~ s/\Aclosed\K.*//r }++ for values %{ $ours{strict} };
note "ends, strict: ", join ', ', map { "$_ $ends{$_}" } sort keys %ends;
is_deeply [sort keys %ends], ['closed', 'failed 1002', 'failed 1007', 'open'], 'streams of every kind' if $count >= 200;

SKIP: {
    skip 'no python with wsproto and websockets (Debian packages python3-wsproto, python3-websockets)', 2 if !$python;
    note `$python $judge`;
    for my $who (qw(wsproto websockets)) {
        subtest "strict, and $who" => sub { compare($who, $ours{strict}, verdicts($who)) };
    }
}

SKIP: {
    local $ENV{ANYEVENT_WEBSOCKET_PP} = 1;
    skip 'the original is not installed', 1 if system "$^X -MAnyEvent::WebSocket::Connection -e 1 2>/dev/null";
    subtest 'lenient, and the original' => sub { compare('original', $ours{lenient}, verdicts('original')) };
}

done_testing;
