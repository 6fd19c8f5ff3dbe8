#!/usr/bin/env perl
# Puts the figures of bench/compare.pl into the documents: the chart, bench/chart.svg; the tables in bench/RESULTS.md,
# each between two comments; and the figures in README.md, each before certain words.
#
#   bench/chart.pl [RESULTS.csv]
#   bench/chart.pl --check        # changes nothing; fails if it would
use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Aims;
use Cells;
use Chart;
use Encode qw(decode encode);
use Getopt::Long;
use Results;
use Servers;
use Table;

my $checks;
GetOptions(check => \$checks) && @ARGV < 2 or die "usage: see the first lines of $0\n";

my @drawn = qw(ws:128x1x100 ws:128x32x20 ws:1024x8x50 ws:65536x1x20 ws:1048576x1x4 wss:128x32x20);
my %label = (
    original => 'the original', mojolicious => 'Mojolicious', ws => 'ws (Node.js)', picows => 'picows (Python)', bun => 'Bun',
    fastwebsockets => 'fastwebsockets (Rust)', sockudo => 'sockudo-ws (Rust)', ours => 'this module',
);
my ($about, $medians) = Results::read_file($ARGV[0] // "$FindBin::Bin/results.csv");

my %files = ("$FindBin::Bin/chart.svg" => sub { chart() });
$files{"$FindBin::Bin/RESULTS.md"} = \&with_tables;
$files{"$FindBin::Bin/../README.md"} = \&with_figures;
my $is_stale;
for my $path (sort keys %files) {
    my $before = slurp($path);
    my $after = $files{$path}->($before);
    next if $before eq $after;
    print "$path\n";
    $is_stale = 1;
    spurt($path, $after) if !$checks;
}
exit($checks && $is_stale ? 1 : 0);

sub chart {
    my @panels;
    for my $cell (@drawn) {
        my @bars =
            map { [$_, $label{$_}, $medians->{$cell}{$_}] } grep { $medians->{$cell}{$_} } map { $_->[0] } @Servers::TITLES;
        push @panels, [Cells::parse($cell)->{title} =~ s/^echo, //r, @bars] if @bars;
    }
    return Chart::svg(
        'Server CPU time per echoed message, in µs: shorter is better',
        ['User and system time on one core, medians. In flight: messages that a client sends before it waits for an answer.'],
        @panels,
    );
}

sub with_tables {
    my ($text) = @_;
    $text =~ s/^(<!-- table (\w+),[^\n]*-->\n).*?^(?=<!-- end -->$)/$1 . table($2)/egms;
    return $text;
}

sub table {
    my ($name) = @_;
    return "\n" . ($name eq 'run' ? run() : $name eq 'aims' ? Aims::table($medians) : figures($name)) . "\n";
}

sub run {
    my ($date, $command) = split /, /, $about->{run};
    my @rows = map { [$_->[1], $about->{ $_->[0] } // 'version not recorded in this run'] } @Servers::TITLES;
    return "Date: $date. Command: `$command`.\n\n" . join '', map { "- $_->[0]: $_->[1]\n" } @rows;
}

sub figures {
    my ($name) = @_;
    return Table::of_cells([Cells::selected($name)], \@Servers::TITLES, $medians);
}

# Fills in how many times more the original costs than this module.
sub with_figures {
    my ($text) = @_;
    my %words = ('ws:128x1x100' => 'times less CPU time', 'ws:128x32x20' => 'times less when');
    for my $cell (sort keys %words) {
        my $figure = sprintf '%.0f', $medians->{$cell}{original} / $medians->{$cell}{ours};
        my $words = join '\s+', split / /, $words{$cell};
        $text =~ s/[\d.]+(?=\s+$words)/$figure/ or die "README.md has no figure before '$words{$cell}'\n";
    }
    return $text;
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return decode('UTF-8', scalar <$file>);
}

sub spurt {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!\n";
    print $file encode('UTF-8', $text);
    close $file or die "$path: $!\n";
}
