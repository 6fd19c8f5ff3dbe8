use strict;
use warnings;

use Test::More;

# Tests that the documents agree with the rest of the distribution: files and headings that they link to, commands that they
# name, and the figures, which are those of bench/results.csv.
use Cwd qw(abs_path);
use File::Basename qw(dirname);

my $root = dirname(dirname(abs_path(__FILE__)));
my @documents = qw(
    README.md INSTALL.md ARCHITECTURE.md CONTRIBUTING.md SECURITY.md bench/RESULTS.md bench/COMPARISON.md
);

sub slurp {
    my ($path) = @_;
    open my $file, '<', "$root/$path" or die "$path: $!";
    local $/;
    return scalar <$file>;
}

# Returns the anchor that GitHub gives a heading.
sub anchor_of {
    my ($heading) = @_;
    return lc($heading) =~ s/[^\w\- ]//gr =~ tr/ /-/r;
}

sub anchors {
    my ($path) = @_;
    my $heading = $path =~ /\.md$/ ? qr/^#+ +(.*)$/m : qr/^=head\d +(.*)$/m;
    return map { anchor_of($_) => 1 } slurp($path) =~ /$heading/g;
}

sub check_link {
    my ($document, $target) = @_;
    my ($path, $anchor) = $target =~ /^([^#]*)(?:#(.*))?$/;
    $path = $path eq '' ? $document : dirname($document) . "/$path" =~ s{^\./}{}r;
    ok(-e "$root/$path", "$document: $target") or return;
    my %anchors = $anchor ? anchors($path) : return;
    ok($anchors{$anchor}, "$document: $target has that heading");
}

for my $document (@documents) {
    my $text = slurp($document);
    check_link($document, $_) for grep { !/^https?:/ } $text =~ /\]\(([^)\s]+)\)/g;
    # These directories exist in an unpacked distribution; those that a build makes do not exist yet.
    my $directories = qr{(?:bench|benches|examples|fuzz|inc|perl|script|src|t|tests|xt)/};
    my %named = map { $_ => 1 } $text =~ m{(?:^ {4}|[`\s])($directories[\w./-]*\w)(?=[\s`])}mg;
    my @absent = grep { !-e "$root/$_" && !-e "$root/" . dirname($document) . "/$_" } sort keys %named;
    is("@absent", '', "$document: the files that it names are there");
}

my $lines = () = slurp('README.md') =~ /\n/g;
cmp_ok($lines, '<=', 100, 'README.md has at most 100 lines');
like(slurp('README.md'), qr/^## $_$/m, "README.md has '$_'") for 'See it work', 'Test it', 'Install', 'Go back';

my $stale = `$^X $root/bench/chart.pl --check 2>&1`;
is("$?: $stale", '0: ', 'bench/chart.pl has put the figures of bench/results.csv into the documents');

done_testing;
