package Table;

# Formats figures as a table in Markdown.

use strict;
use warnings;
use utf8;

use List::Util qw(max);

# Returns a table: a row for each cell, with the medians of the servers, each a name and its title, and ratios of them.
# Rows without figures are left out, as are columns in which no row has anything.
sub of_cells {
    my ($cells, $servers, $medians) = @_;
    my @rows = map { row($_, $servers, $medians->{ $_->{name} }) } grep { $medians->{ $_->{name} } } @$cells;
    return "Not measured in this run.\n" if !@rows;
    my @columns = grep {
        my $column = $_;
        grep { $_->[$column] ne '' } @rows
    } 0 .. $#{ $rows[0] };
    my @heading = ('', map({ $_->[1] } @$servers), 'original / ours', 'ours / best peer');
    return markdown(map { [@$_[@columns]] } \@heading, @rows);
}

# Formats rows, of which the first is the heading.
sub markdown {
    my ($heading, @rows) = @_;
    my @all = ($heading, ['---', ('---:') x $#$heading], @rows);
    my @widths = map {
        my $column = $_;
        max map { length $_->[$column] } @all
    } 0 .. $#$heading;
    return join '', map { line($_, \@widths) } @all;
}

sub line {
    my ($row, $widths) = @_;
    return '| ' . join(' | ', map { pad($row->[$_], $widths->[$_], $_) } 0 .. $#$row) . " |\n";
}

sub row {
    my ($cell, $servers, $median) = @_;
    my %title = map { @$_ } @$servers;
    my ($ours, $original) = @$median{qw(ours original)};
    # User time of less than a tick counts as none, which is no best.
    my ($best) = sort { $median->{$a} <=> $median->{$b} } grep { !/^(?:ours|original)$/ && $median->{$_} > 0 } keys %$median;
    return [
        $cell->{title} . ($cell->{unit} eq 'µs' ? '' : ", $cell->{unit}"),
        (map { defined $median->{ $_->[0] } ? figure($median->{ $_->[0] }) : '' } @$servers),
        ($ours && $original ? sprintf '%.1f', $original / $ours : ''),
        ($ours && $best ? sprintf '%.2f (%s)', $ours / $median->{$best}, $title{$best} : ''),
    ];
}

# Formats a figure with three significant digits.
sub figure {
    my ($value) = @_;
    return sprintf $value < 1 ? '%.3f' : $value < 10 ? '%.2f' : $value < 100 ? '%.1f' : '%.0f', $value;
}

# Aligns words to the left, figures to the right; the rule under the heading fills its column.
sub pad {
    my ($text, $width, $column) = @_;
    return $text =~ /^-+(:?)$/ ? '-' x ($width - length $1) . $1 : sprintf $column ? "%${width}s" : "%-${width}s", $text;
}

1;
