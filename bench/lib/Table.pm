package Table;

# Results as CSV and as a table in Markdown.

use strict;
use warnings;
use utf8;

use List::Util qw(max min);

sub write_csv
{
  my($path, $cells, $servers, $results) = @_;
  open my $file, '>:encoding(UTF-8)', $path or die "$path: $!\n";
  print $file "cell,server,unit,median,lowest,highest,runs\n";
  for my $cell (@$cells)
  {
    for my $server (@$servers)
    {
      my @values = @{$results->{$cell->{name}}{$server->{name}} // next};
      my @figures = map { sprintf '%.4g', $_ } median(@values), min(@values), max(@values);
      print $file join(',', @$cell{qw(name)}, $server->{name}, $cell->{unit}, @figures, scalar @values), "\n";
    }
  }
  close $file or die "$path: $!\n";
}

sub markdown
{
  my($cells, $servers, $results) = @_;
  my @rows = ([ 'server CPU a message, µs', map({ $_->{title} } @$servers), 'original / ours', 'ours / best peer' ]);
  push @rows, [ ('---', ('---:') x (@$servers + 2)) ];
  push @rows, row($_, $servers, $results->{$_->{name}}) for @$cells;
  my @widths = map { my $column = $_; max map { length $_->[$column] } @rows } 0 .. $#{$rows[0]};
  return map { line($_, \@widths) } @rows;
}

sub line
{
  my($row, $widths) = @_;
  return '| ' . join(' | ', map { pad($row->[$_], $widths->[$_], $_) } 0 .. $#$row) . " |\n";
}

sub row
{
  my($cell, $servers, $values) = @_;
  my %median = map { $_ => median(@{$values->{$_}}) } keys %$values;
  my($ours, $original) = @median{qw(ours original)};
  my($best) = sort { $median{$a} <=> $median{$b} } grep { !/^(?:ours|original)$/ } keys %median;
  my $title = $cell->{title} . ($cell->{unit} eq 'µs' ? '' : ", $cell->{unit}");
  return [
    $title,
    (map { defined $median{$_->{name}} ? figure($median{$_->{name}}) : '' } @$servers),
    ($ours && $original ? sprintf '%.1f', $original / $ours : ''),
    ($ours && $best ? sprintf '%.2f (%s)', $ours / $median{$best}, $best : ''),
  ];
}

# Three digits that count.
sub figure
{
  my($value) = @_;
  return sprintf $value < 1 ? '%.3f' : $value < 10 ? '%.2f' : $value < 100 ? '%.1f' : '%.0f', $value;
}

sub median
{
  my @sorted = sort { $a <=> $b } @_;
  return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# Words to the left, figures to the right; the rule under the heading fills its column.
sub pad
{
  my($text, $width, $column) = @_;
  return $text =~ /^-+(:?)$/ ? '-' x ($width - length $1) . $1 : sprintf $column ? "%${width}s" : "%-${width}s", $text;
}

1;
