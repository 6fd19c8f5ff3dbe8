# Every block of Perl in the documentation compiles under strict and warnings, and runs. (The complete programs of the
# manual are run by xt/manual.t.)
use strict;
use warnings;
use FindBin;
use lib map {"$FindBin::Bin/$_"} qw(lib ../t/lib);
use Test::More;
use PodCode;
use PodCode::Stage;
use WebSocketTest;

plan skip_all => 'by design: the original lacks what the documentation shows' if is_original();

for my $file (PodCode::files()) {
    subtest $file => sub {
        for my $block (PodCode::blocks($file)) {
            next if $block->{kind} ne 'perl';
            my @problems = PodCode::Stage::problems($block);
            my $where = join ', ', grep { length } $block->{section}, $block->{entry};
            is "@problems", '', "line $block->{line}: $where" or diag map {"$_\n"} @problems;
        }
        pass 'no more blocks';
    };
}

done_testing;
