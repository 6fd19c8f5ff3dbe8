package ApiFuzz::Draw;

# What plans are drawn with, from perl's random numbers.

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(begin chance one_of number size sizes);

my $numbers;

sub begin {
    my ($seed) = @_;
    srand $seed;
    $numbers = 0;
}

sub chance { rand() < $_[0] }
sub one_of { $_[rand @_] }
sub number { ++$numbers }

# Payload lengths, most of them small, with the borders of the length forms and of what is read and written at once.
sub size {
    my @border = (125, 126, 127, 4095, 4096, 16_384, 65_535, 65_536, 131_072, 300_000);
    my $size = chance(0.75) ? int rand 40 : chance(0.6) ? int rand 5000 : one_of(@border);
    return $size;
}

sub sizes { my ($count) = @_; return [map { size() } 1 .. $count] }

1;
