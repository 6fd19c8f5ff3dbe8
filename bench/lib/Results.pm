package Results;

# The file bench/results.csv: the figures of a run of bench/compare.pl, when and how it was made, and what was measured.
# Comments at its top, "# KEY: TEXT", hold everything but the figures; the key of a server is its name.

use strict;
use warnings;
use utf8;

use List::Util qw(max min);

use constant COLUMNS => 'cell,server,unit,median,lowest,highest,runs';

# Writes the file. The values, by cell and server, are those of all runs; "about" describes a server.
sub write_file {
    my ($path, $made, $cells, $servers, $values) = @_;
    open my $file, '>:encoding(UTF-8)', $path or die "$path: $!\n";
    print $file "# run: $made\n", map { "# $_->{name}: $_->{about}\n" } @$servers;
    print $file COLUMNS, "\n";
    for my $cell (@$cells) {
        for my $server (@$servers) {
            my @values = @{ $values->{ $cell->{name} }{ $server->{name} } // next };
            my @figures = map { sprintf '%.4g', $_ } median(@values), min(@values), max(@values);
            print $file join(',', $cell->{name}, $server->{name}, $cell->{unit}, @figures, scalar @values), "\n";
        }
    }
    close $file or die "$path: $!\n";
}

# Returns the comments, by key, and the medians, by cell and server.
sub read_file {
    my ($path) = @_;
    open my $file, '<:encoding(UTF-8)', $path or die "$path: $!\n";
    my (%about, %medians);
    my $header;
    while (my $line = <$file>) {
        chomp $line;
        if ($line =~ /^# (\w+): (.*)/) { $about{$1} = $2 }
        elsif (!defined $header) { $header = $line }
        else { my ($cell, $server, undef, $median) = split /,/, $line; $medians{$cell}{$server} = $median }
    }
    die "$path is not from bench/compare.pl\n" if ($header // '') ne COLUMNS;
    return (\%about, \%medians);
}

sub medians {
    my ($values) = @_;
    my %medians;
    for my $cell (keys %$values) {
        $medians{$cell}{$_} = median(@{ $values->{$cell}{$_} }) for keys %{ $values->{$cell} };
    }
    return \%medians;
}

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

1;
