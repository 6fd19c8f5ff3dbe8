# Tests that every block of Perl in the documentation compiles under strict and warnings, and runs, and that commands for a
# shell can be parsed. (xt/manual.t runs the complete programs of the manual.)
use strict;
use warnings;
use FindBin;
use lib map {"$FindBin::Bin/$_"} qw(lib ../t/lib);
use File::Temp;
use Test::More;
use PodCode;
use PodCode::Stage;
use WebSocketTest;

plan skip_all => 'by design: the original lacks what the documentation shows' if is_original();

# Subs that return the problem of a block, by its kind.
my %check = (
    perl    => \&PodCode::Stage::problems,
    shell   => sub { problems_of_shell($_[0]{text}) },
    program => sub { $_[0]{file} =~ m{/Native/Manual\.pod$} ? () : 'only those of the manual are run' },
);

sub problems_of_shell {
    my ($commands) = @_;
    my $file = File::Temp->new;
    print {$file} $commands;
    close $file or die $!;
    my $complaints = `sh -n $file 2>&1`;
    return split /\n/, $complaints;
}

for my $file (PodCode::files()) {
    subtest $file => sub {
        for my $block (PodCode::blocks($file)) {
            my $check = $check{ $block->{kind} } or next;
            my @problems = $check->($block);
            my $where = join ', ', grep { length } $block->{section}, $block->{entry};
            is "@problems", '', "line $block->{line}: $where" or diag map {"$_\n"} @problems;
        }
        pass 'no more blocks';
    };
}

done_testing;
