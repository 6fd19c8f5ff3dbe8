#!/usr/bin/env perl
# Draws the README's chart from the figures of bench/compare.pl, with gnuplot (Debian package gnuplot-nox).
#
#   bench/chart.pl [RESULTS.csv [CHART.svg]]
use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Cells;
use List::Util qw(max min);

use constant { COLUMNS => 2, WIDTH => 860, ROW => 25, SPARE => 78, HEADING => 58 };

my($csv, $svg) = (@ARGV, ("$FindBin::Bin/results.csv", "$FindBin::Bin/chart.svg")[@ARGV .. 1]);
my @cells = qw(ws:128x1x100 ws:128x32x20 ws:1024x8x50 ws:65536x1x20 ws:1048576x1x4 wss:128x32x20);
my @servers = (
  [original       => 'the original'],
  [mojolicious    => 'Mojolicious'],
  [ws             => 'ws (Node.js)'],
  [picows         => 'picows (Python)'],
  [bun            => 'Bun'],
  [fastwebsockets => 'fastwebsockets (Rust)'],
  [ours           => '{/:Bold this build}'],
);
# Dark enough for white paper, which the chart brings along: so it looks the same on a dark page.
my($our_colour, $original_colour, $peer_colour) = ('#c2410c', '#475569', '#a3b3c7');
my($text_colour, $rule_colour) = ('#1f2937', '#d9dee5');

my $results = read_csv($csv);
my @drawn = grep { $results->{$_} } @cells;
die "$csv has none of the cells @cells\n" if !@drawn;
my $rows = int((@drawn + COLUMNS - 1) / COLUMNS);
my $height = HEADING + $rows * (SPARE + ROW * @servers);

open my $gnuplot, '|-:encoding(UTF-8)', 'gnuplot' or die "gnuplot, of Debian package gnuplot-nox: $!\n";
print $gnuplot heading();
print $gnuplot panel($_, $drawn[$_]) for 0 .. $#drawn;
print $gnuplot "unset multiplot\n";
close $gnuplot or die "gnuplot failed\n";
print "$svg\n";

# The medians, by cell and server.
sub read_csv
{
  my($path) = @_;
  open my $file, '<:encoding(UTF-8)', $path or die "$path: $!\n";
  chomp(my($header, @lines) = <$file>);
  die "$path is not from bench/compare.pl\n" if $header !~ /^cell,server,unit,median,/;
  my %medians;
  for(@lines) { my($cell, $server, undef, $median) = split /,/; $medians{$cell}{$server} = $median }
  return \%medians;
}

sub heading
{
  return <<"GNUPLOT";
set terminal svg size @{[WIDTH]},$height font 'Helvetica,Arial,sans-serif,13' background '#ffffff' linewidth 1
set output '$svg'
set encoding utf8
set label 1 at screen 0.5, screen @{[1 - 20 / $height]} center font ',17' textcolor '$text_colour' \\
  'Server CPU time per echoed message, in µs: less is better'
set label 2 at screen 0.5, screen @{[1 - 42 / $height]} center textcolor '$text_colour' \\
  'one core, user and system time, medians, logarithmic scale'
set multiplot
set border 0
set key off
set style fill solid noborder
set logscale x
set format x '%g'
set xtics scale 0 offset 0,0.5 font ',11' textcolor '$text_colour'
set ytics scale 0 textcolor '$text_colour'
set grid xtics linetype 1 linecolor '$rule_colour'
set yrange [@{[0.4 - @servers]}:0.6]
GNUPLOT
}

sub panel
{
  my($index, $cell) = @_;
  my %median = %{$results->{$cell}};
  my($lowest, $highest) = (min(values %median), max(values %median));
  # Room for the figure beside the longest bar; the shortest one still shows.
  my($left, $right) = ($lowest / 2, $highest * ($highest / $lowest * 2) ** 0.2);
  my @present = grep { defined $median{$_->[0]} } @servers;
  my $data = join '', map { bar(-$_, $present[$_][0], $median{$present[$_][0]}) } 0 .. $#present;
  my $ticks = join ', ', map { "'$present[$_][1]' -$_" } 0 .. $#present;
  my($column, $row) = ($index % COLUMNS, int $index / COLUMNS);
  my $top = $height - HEADING - $row * (SPARE + ROW * @servers) - 30;
  my $x = $column / COLUMNS;
  my $reset = $index ? "unset label 1\nunset label 2\n" : '';
  return <<"GNUPLOT";
$reset\$bars << END
${data}END
set lmargin at screen @{[$x + 150 / WIDTH]}
set rmargin at screen @{[$x + 1 / COLUMNS - 14 / WIDTH]}
set tmargin at screen @{[$top / $height]}
set bmargin at screen @{[($top - ROW * @servers) / $height]}
set title "@{[Cells::parse($cell)->{title} =~ s/^echo, //r]}" offset 0,-0.6 font ',14' textcolor '$text_colour'
set ytics ($ticks)
set xrange [$left:$right]
plot \$bars using 2:1:($left):2:(\$1-0.36):(\$1+0.36):3 with boxxyerror linecolor rgb variable, \\
  '' using 2:1:4 with labels left offset 0.4,0 textcolor '$text_colour'
GNUPLOT
}

sub bar
{
  my($position, $name, $value) = @_;
  my $colour = $name eq 'ours' ? $our_colour : $name eq 'original' ? $original_colour : $peer_colour;
  my $figure = sprintf $value < 10 ? '%.2f' : $value < 100 ? '%.1f' : '%.0f', $value;
  return join(' ', $position, $value, hex substr($colour, 1), qq("$figure")) . "\n";
}
