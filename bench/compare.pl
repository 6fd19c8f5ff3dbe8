#!/usr/bin/env perl
# Measures this build beside the original and beside other libraries, and prints a table: the CPU time that a server or a
# client spends on a message, user and system, which doesn't depend on how fast the load comes. Compare within one run.
#
#   bench/compare.pl [--quick] [--servers NAME,...] [--cells CELL,...] [--runs N] [--seconds N] [--csv FILE] [--blib DIR]
#
# --quick measures ten cells once, for half a second each. The first run builds the load generator and the Rust servers.
#
# A cell is a kind with its numbers, or a kind alone, such as wss, for all its cells; bench/lib/Cells.pm lists them.
#   ws:BYTESxIN_FLIGHTxCONNECTIONS    echo; also wss:, perl: for AnyEvent's own loop, deflate: and deflate_each: for
#                                     compressed JSON, with and without context takeover, and cast: and wsscast: for a
#                                     broadcast, of which a message is one that has arrived
#   feed:BYTES, wssfeed:BYTES         a client receives
#   send:BYTES                        a client sends
#   connect, accept, dial, new, idle  connecting to a server, a client's connecting, constructing, memory
# The name followed by /user means user time alone, which is measured for all kinds with a server, and shown on request.
#
# A full run writes its figures to bench/results.csv, from which bench/chart.pl updates the documents; any other run
# writes them only to the file that --csv names.
#
# Each measurement has its own server process, on core 0; the load comes from core 1. A run covers all cells and
# servers, so that a drift of the machine affects all of them; the table has the medians of the runs.
#
# Programs and packages in $BENCH_CACHE (default ~/.cache/ws-bench) come before those in PATH and NODE_PATH:
# node/node_modules with the packages ws and bun, py/bin/python with picows. bench/RESULTS.md says how to install them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Cells;
use Getopt::Long;
use Measurement;
use POSIX qw(strftime);
use Processes;
use Results;
use Servers;
use Table;
use Time::HiRes qw(time);

my $root = "$FindBin::Bin/..";
my %option;
GetOptions(\%option, qw(quick servers=s cells=s runs=i seconds=f csv=s blib=s)) && !@ARGV
    or die "usage: see the first lines of $0\n";
my $is_full = !grep { $option{$_} } qw(quick servers cells);
%option = (
    blib => "$root/blib",
    $option{quick} ? (runs => 1, seconds => 0.5, cells => 'quick') : (runs => 5, seconds => 1, cells => 'all'),
    # A partial run does not replace the figures in the documents.
    csv => $is_full ? "$root/bench/results.csv" : undef,
    %option,
);
my $made = strftime('%Y-%m-%d', gmtime) . ", bench/compare.pl --runs $option{runs} --seconds $option{seconds}";
die "no build in $option{blib}: perl Makefile.PL && make\n" if !-d "$option{blib}/arch";

$| = 1;
binmode $_, ':encoding(UTF-8)' for *STDOUT, *STDERR;
$SIG{$_} = sub { exit 1 }
    for qw(INT TERM);

my @cells = Cells::to_measure($option{cells});
my @figures = Cells::figures(@cells);
my $processes = Processes->new(root => $root, blib => $option{blib});
my $measurement = Measurement->new($processes);
my @servers = Servers::installed($processes, $option{servers});
my @plan = map {
    my $cell = $_;
    map { [$cell, $_] } grep { $_->{kinds} =~ /\b$cell->{kind}\b/ } @servers
} @cells;
die "nothing to measure\n" if !@plan;

my %results;
my ($done, $start) = (0, time);
for my $run (1 .. $option{runs}) {
    measure($run, @$_) for @plan;
    # The figures are written after each run, so that a measurement of an hour may be interrupted.
    Results::write_file($option{csv}, $made, \@figures, \@servers, \%results) if $option{csv};
}
my %is_measured = map { $_->{name} => 1 } @servers;
my @titles = grep { $is_measured{ $_->[0] } } @Servers::TITLES;
print "\n", Table::of_cells([Cells::selected($option{cells})], \@titles, Results::medians(\%results));
print "\nfigures in $option{csv}\n" if $option{csv};

sub measure {
    my ($run, $cell, $server) = @_;
    my $figures = eval { $measurement->figures($server, $cell, $option{seconds}) };
    push @{ $results{"$cell->{name}$_"}{ $server->{name} } }, $figures->{$_} for keys %{ $figures // {} };
    my $outcome = $figures ? sprintf "%9.2f $cell->{unit}", $figures->{''} : 'failed: ' . $@ =~ s/\n.*//sr;
    $outcome .= sprintf ', user %.2f', $figures->{'/user'} if defined $figures->{'/user'};
    my $left = (time - $start) / ++$done * (@plan * $option{runs} - $done);
    printf STDERR "[%d/%d, %d:%02d left] %-22s %-14s %s\n",
        $done, @plan * $option{runs}, $left / 60, $left % 60, $cell->{name}, $server->{name}, $outcome;
}
