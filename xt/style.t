# Tests that the Perl files have one style.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;

chdir dirname(dirname(abs_path(__FILE__))) or die $!;
chomp(my @files = `git ls-files`);
plan skip_all => 'git does not list the files' if !@files;

# The version that the files were tidied with: other versions write some things differently.
my $VERSION = '20220613';

sub content {
    my ($name) = @_;
    open my $file, '<', $name or die "$name: $!";
    return <$file>;
}

my @perl = grep { /\.(?:pm|pl|PL|t)\z/ || !/\./ && -f && (content($_))[0] =~ /^#!.*\bperl\b/ } @files;

subtest 'what holds everywhere' => sub {
    my %mistake = (
        'a tab' => qr/\t/,
        'spaces at the end' => qr/ $/,
        'no space after my' => qr/\b(?:my|our|local)\(/,
        'a brace below a sub' => qr/^\s*(?:sub \w+|else|BEGIN)$/,
        'an indentation of 2' => qr/^  \S/,
    );
    for my $name (@perl) {
        my ($number, $is_code) = (0, 1);
        my (@ends_of_texts, @mistakes);
        for my $line (content($name)) {
            $number++;
            last if $line =~ /^__(?:END|DATA)__$/;
            $is_code = $line =~ /^=cut\b/ if $line =~ /^=\w/;
            next if !$is_code || $line =~ /^=cut\b/;
            # The content of a here-document is not Perl.
            if (@ends_of_texts) { shift @ends_of_texts if $line =~ /^\s*\Q$ends_of_texts[0]\E$/; next }
            push @mistakes, map { "line $number: $_" } grep { $line =~ $mistake{$_} } sort keys %mistake;
            @ends_of_texts = $line =~ /<<~?["']?([A-Z]+)\b/g;
        }
        is_deeply \@mistakes, [], $name;
    }
};

subtest 'what perltidy writes' => sub {
    my ($version) = (`perltidy --version 2>&1` || '') =~ /v(\d+)/ or plan skip_all => 'perltidy is not installed';
    plan skip_all => 'by design: another perltidy than the files were tidied with' if $version ne $VERSION;
    for my $name (grep { m{^(?:perl|bench)/} } @perl) {
        is join('', `perltidy -pro=.perltidyrc -st -se \Q$name\E`), join('', content($name)), $name;
    }
};

done_testing;
