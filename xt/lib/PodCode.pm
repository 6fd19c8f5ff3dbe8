package PodCode;

# Finds the examples in the documentation.
#
#   my @files = PodCode::files();              # every file below perl/ that has POD
#   my @blocks = PodCode::blocks($path);       # its verbatim blocks, in order
#
# A block is { file, line, kind, text, section, entry }: text without its indent, section and entry the last =head1 and
# =head2 before it. A block is Perl, and `kind` is 'perl', unless the paragraph before it says otherwise:
#
#   =for code shell
#
# The other kinds are those of %KINDS; blocks() dies at any other word, and where no block follows.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find qw(find);
use List::Util qw(min);

our %KINDS = (
    program => 'a complete program in Perl, which a test runs',
    shell   => 'commands for sh',
    nginx   => 'a part of a configuration of nginx',
    output  => 'what a program prints, or a table',
);

our $root = dirname(dirname(dirname(abs_path(__FILE__))));

sub files {
    my @found;
    find({ no_chdir => 1, wanted => sub { push @found, $_ if /\.(?:pm|pod)$/ && grep { /^=head1/ } lines($_) } }, "$root/perl");
    return sort map { s{^\Q$root\E/}{}r } @found;
}

sub lines {
    my ($path) = @_;
    open my $file, '<:encoding(UTF-8)', $path or die "$path: $!";
    return <$file>;
}

sub blocks {
    my ($file) = @_;
    my ($section, $entry, $kind, @blocks) = ('', '');
    for my $paragraph (paragraphs($file)) {
        my ($line, $text) = @$paragraph;
        if ($text =~ /^\s/) {
            push @blocks, { file => $file, line => $line, kind => $kind // 'perl', text => '', section => $section, entry => $entry }
                if !@blocks || defined $kind || !$blocks[-1]{is_open};
            my $block = $blocks[-1];
            $block->{text} .= "\n" x ($line - $block->{line} - ($block->{text} =~ tr/\n//)) . $text;
            $block->{is_open} = 1;
            undef $kind;
            next;
        }
        die "$file, line $line: no block follows '=for code $kind'\n" if defined $kind;
        $blocks[-1]{is_open} = 0 if @blocks;
        ($section, $entry) = ($1, '') if $text =~ /^=head1\s+(.+)/;
        $entry = $1 if $text =~ /^=head2\s+(.+)/;
        next if $text !~ /^=for\s+code\s+(\S+)/;
        $kind = $1;
        die "$file, line $line: there is no kind of block '$kind'\n" if !$KINDS{$kind};
    }
    die "$file: no block follows the last '=for code $kind'\n" if defined $kind;
    $_->{text} = without_indent($_->{text}) for @blocks;
    return @blocks;
}

# Returns the paragraphs, each as [line, text].
sub paragraphs {
    my ($file) = @_;
    my ($is_pod, $is_new) = (scalar($file =~ /\.pod$/), 1);
    my ($number, @paragraphs) = (0);
    for my $line (lines("$root/$file")) {
        $number++;
        $is_pod = 1 if $line =~ /^=[a-z]/;
        next if !$is_pod;
        if ($line =~ /^\s*$/) { $is_new = 1; next }
        push @paragraphs, [$number, ''] if $is_new;
        $paragraphs[-1][1] .= $line;
        $is_new = 0;
        $is_pod = 0 if $line =~ /^=cut/;
    }
    return @paragraphs;
}

sub without_indent {
    my ($text) = @_;
    my $least = min(map { length } $text =~ /^( +)\S/mg) // 0;
    return $text =~ s/^ {$least}//mgr;
}

1;
