package Chart;

# The chart of bench/chart.svg: a panel for each cell, a bar from zero for each server. Colours follow the reader's
# preference for a light or a dark page; the chart has its own background, so it can be read on either.

use strict;
use warnings;
use utf8;

use List::Util qw(max);
use Table;

use constant { WIDTH => 860, MARGIN => 24, COLUMNS => 2, GAP => 28, HEADING => 92, TITLE => 26, ROW => 23, BAR => 15 };
# Maximum average width of a letter in a line, for the fonts named below, relative to the font's size.
use constant { SIZE => 13, LETTER => 0.6 };

use constant STYLE => <<'CSS';
  text { font: 13px -apple-system, "Segoe UI", "Liberation Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .heading { font-size: 19px; font-weight: 600 }
  .title { font-size: 14px; font-weight: 600 }
  .minor { fill: #59636e }
  .label { text-anchor: end }
  .ours { font-weight: 700 }
  .ground { fill: #ffffff; stroke: #d1d9e0 }
  .axis { stroke: #818b98 }
  .bar { fill: #b6c2cf }
  .bar.original { fill: #57606a }
  .bar.ours { fill: #c2410c }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .minor { fill: #9198a1 }
    .ground { fill: #0d1117; stroke: #3d444d }
    .axis { stroke: #656c76 }
    .bar { fill: #59636e }
    .bar.original { fill: #b1bac4 }
    .bar.ours { fill: #fb8f44 }
  }
CSS

# Returns the chart. Each panel is [title, [server, label, value], ...].
sub svg {
    my ($heading, $lines, @panels) = @_;
    my $label_width = LETTER * SIZE * max map { length $_->[1] } map { @$_[1 .. $#$_] } @panels;
    my $panel_width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;
    my $y = HEADING;
    my @elements;
    while (my @row = splice @panels, 0, COLUMNS) {
        push @elements, panel(MARGIN + $_ * ($panel_width + GAP), $y, $panel_width, $label_width, $row[$_]) for 0 .. $#row;
        $y += TITLE + GAP + ROW * max map { $#$_ } @row;
    }
    my @heading =
        (text(MARGIN, 38, 'heading', $heading), map { text(MARGIN, 60 + 18 * $_, 'minor', $lines->[$_]) } 0 .. $#$lines);
    my ($width, $height, $style) = (WIDTH, $y, STYLE);
    my $ground = sprintf '<rect class="ground" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>', $width - 1, $height - 1;
    return join "\n",
        qq(<svg xmlns="http://www.w3.org/2000/svg" width="$width" height="$height" viewBox="0 0 $width $height" role="img">),
        '<title>' . escape($heading) . '</title>', "<style>\n$style</style>", $ground, @heading, @elements, "</svg>\n";
}

sub panel {
    my ($x, $y, $width, $label_width, $panel) = @_;
    my ($title, @bars) = @$panel;
    my @figures = map { Table::figure($_->[2]) } @bars;
    my $figure_width = LETTER * SIZE * max map { length } @figures;
    my $zero = $x + $label_width + 8;
    my $scale = ($width - $label_width - $figure_width - 16) / max map { $_->[2] } @bars;
    my @elements = text($x, $y + 14, 'title', $title);
    for my $i (0 .. $#bars) {
        my ($server, $label, $value) = @{ $bars[$i] };
        my $top = $y + TITLE + $i * ROW;
        my ($middle, $length) = ($top + ROW / 2, $value * $scale);
        push @elements, text($zero - 8, $middle + 4.5, "label $server", $label),
            sprintf(
            '<rect class="bar %s" x="%.1f" y="%.1f" width="%.1f" height="%d"/>', $server, $zero, $middle - BAR / 2,
            $length, BAR
            ),
            text($zero + $length + 6, $middle + 4.5, $server, $figures[$i]);
    }
    my $bottom = $y + TITLE + @bars * ROW;
    return @elements, sprintf '<path class="axis" d="M%.1f %dV%d"/>', $zero, $y + TITLE, $bottom;
}

sub text {
    my ($x, $y, $class, $text) = @_;
    return sprintf '<text class="%s" x="%.1f" y="%.1f">%s</text>', $class, $x, $y, escape($text);
}

sub escape {
    my ($text) = @_;
    return $text =~ s/&/&amp;/gr =~ s/</&lt;/gr;
}

1;
