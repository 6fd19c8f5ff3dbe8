package ApiFuzz::Draw;

# Random choices for plans, from perl's generator.

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

# Returns a payload length. Most are small; some lie at the boundaries of the length encodings and of read and write sizes.
sub size {
    my @border = (125, 126, 127, 4095, 4096, 16_384, 65_535, 65_536, 131_072, 300_000);
    my $size = chance(0.75) ? int rand 40 : chance(0.6) ? int rand 5000 : one_of(@border);
    return $size;
}

sub sizes { my ($count) = @_; return [map { size() } 1 .. $count] }

1;
