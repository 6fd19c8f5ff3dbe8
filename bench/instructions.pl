#!/usr/bin/env perl
# Counts the instructions that a message or a connection costs, in user space, with callgrind: a guard against getting slower that does
# not depend on the load of the machine. The cost of starting cancels out in the difference between a short run and a
# long one. Compares with instructions.txt beside this file and fails if over 5 % above it. The numbers are those of one
# perl, EV and AnyEvent; with others there is nothing to compare, and it says so.
#
#   bench/instructions.pl [--update] [--blib DIR]
use strict;
use warnings;

use Config;
use FindBin;
use Getopt::Long;

use constant { SHORT => 2_000, LONG => 12_000, SLACK => 0.05 };

# A connection takes longer than a message: the counts are divided by this.
use constant FEWER => 20;

my @cases = (
    # name, script, arguments; COUNT stands for the number of messages, FEW for that of connections
    ['echo 128 B, 1 in flight', 'replay.pl', 'COUNT', 128, 1],
    ['echo 128 B, 32 in flight', 'replay.pl', 'COUNT', 128, 32],
    ['echo 1 KiB, 8 in flight', 'replay.pl', 'COUNT', 1024, 8],
    ['wss echo 128 B, 1 in flight', 'replay.pl', 'COUNT', 128, 1, 'tls'],
    ['wss echo 128 B, 32 in flight', 'replay.pl', 'COUNT', 128, 32, 'tls'],
    ['client receives 200 B', 'client.pl', 'feed', 200, 'COUNT'],
    ['wss client receives 200 B', 'client.pl', 'feed', 200, 'COUNT', 'tls'],
    ['client sends 128 B', 'client.pl', 'send', 128, 'COUNT'],
    ['a connection to a server', 'connections.pl', 'FEW'],
);

my %option = (blib => "$FindBin::Bin/../blib");
GetOptions(\%option, qw(update blib=s)) && !@ARGV or die "usage: see the first lines of $0\n";
my $numbers = "$FindBin::Bin/instructions.txt";

skip('valgrind is not installed') if !grep { -x "$_/valgrind" } split /:/, $ENV{PATH};
my $platform = platform();
my ($recorded_platform, %recorded) = recorded();
skip("by design: the numbers are of $recorded_platform; this is $platform")
    if !$option{update} && $platform ne $recorded_platform;
die "no build in $option{blib}: perl Makefile.PL && make\n" if !-d "$option{blib}/arch";
%ENV = (%ENV{qw(PATH HOME)}, deterministic());

$| = 1;
my %counted = map { $_->[0] => report($_) } @cases;
update(\%counted) if $option{update};
my $failed = grep { is_worse($_) } keys %counted;
printf "%d passed, %d failed\n", @cases - $failed, $failed;
exit($failed ? 1 : 0);

sub skip {
    my ($reason) = @_;
    print "skipped: $reason\n";
    require "$FindBin::Bin/../script/lib/SkipLog.pm";
    SkipLog::note($reason);
    exit 0;
}

# Returns an environment with a fixed hash order, which would otherwise differ in each process, and so the instructions.
sub deterministic { (PERL_HASH_SEED => 0, PERL_PERTURB_KEYS => 0, PERL_ANYEVENT_MODEL => 'EV') }

sub platform {
    my @modules = map { eval "require $_; $_->VERSION" // skip("$_ is not installed") } qw(EV AnyEvent);
    return sprintf 'perl %s %s, EV %s, AnyEvent %s', $Config{version}, $Config{archname}, @modules;
}

sub recorded {
    open my $file, '<', $numbers or $option{update} ? return '' : die "$numbers: $!\n";
    chomp(my ($platform, @lines) = grep { !/^#/ } <$file>);
    return ($platform, map { /^(\d+) (.*)/ ? ($2, $1) : die "$numbers: not understood: $_\n" } @lines);
}

sub report {
    my ($case) = @_;
    my ($name, $script, @arguments) = @$case;
    my ($short, $long) = map { collected($_, $script, @arguments) } SHORT, LONG;
    my $fewer = grep({ $_ eq 'FEW' } @arguments) ? FEWER : 1;
    my $count = sprintf '%.0f', ($long - $short) / (LONG - SHORT) * $fewer;
    printf "%-28s %6d instructions%s\n", $name, $count, verdict($name, $count);
    return $count;
}

sub collected {
    my ($count, $script, @arguments) = @_;
    my @command = (
        qw(valgrind --tool=callgrind --callgrind-out-file=/dev/null),
        $^X, "-I$option{blib}/lib", "-I$option{blib}/arch", "$FindBin::Bin/$script",
        map { s/^COUNT$/$count/r =~ s{^FEW$}{$count / FEWER}er } @arguments,
    );
    open my $output, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @command or die "valgrind: $!\n";
    my $text = join '', <$output>;
    my ($collected) = $text =~ /^==\d+== Collected : (\d+)$/m;
    die "@command:\n$text\n" if !close $output || !$collected;
    return $collected;
}

sub verdict {
    my ($name, $count) = @_;
    return '' if $option{update};
    my $before = $recorded{$name} or return ', not recorded yet: run with --update';
    my $change = sprintf '%+.1f %% from %d', 100 * ($count / $before - 1), $before;
    return ", $change: too many" if $count > $before * (1 + SLACK);
    return ", $change: fewer; keep that with --update" if $count < $before * (1 - SLACK);
    return ", $change";
}

sub is_worse {
    my ($name) = @_;
    return !$option{update} && $counted{$name} > ($recorded{$name} // 0) * (1 + SLACK);
}

sub update {
    my ($counted) = @_;
    open my $file, '>', $numbers or die "$numbers: $!\n";
    print $file "# Instructions a message or a connection, by bench/instructions.pl --update, with:\n$platform\n";
    print $file "$counted->{$_->[0]} $_->[0]\n" for @cases;
    close $file or die "$numbers: $!\n";
    print "written to $numbers\n";
}
