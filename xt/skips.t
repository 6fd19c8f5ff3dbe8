use strict;
use warnings;

use Test::More;

# Tests the summary that script/test prints of what its steps skip, with made-up tests.
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);

my $lib     = dirname(dirname(abs_path(__FILE__))) . '/script/lib';
my $scratch = tempdir(CLEANUP => 1);

sub write_file {
    my ($name, $content) = @_;
    open my $file, '>', "$scratch/$name" or die "$name: $!";
    print {$file} $content;
    close $file or die "$name: $!";
}

# Runs prove on a test with this body. Returns whether it passed, the summary, and whether nothing is missing.
sub told_of {
    my ($body) = @_;
    write_file('made-up.t', "use Test::More;\n$body\ndone_testing;\n");
    write_file('log', '');
    local $ENV{SKIP_LOG} = "$scratch/log";
    my $status = system "$^X -I$lib -S prove --harness SkipLog -Q $scratch/made-up.t >$scratch/output 2>&1";
    my $text = `$^X -I$lib -MSkipLog -e 'exit !SkipLog::tell(shift)' $scratch/log`;
    return [$status == 0 ? 'passed' : 'failed', $text, $? == 0 ? 'whole' : 'missing'];
}

is_deeply told_of('pass;'), ['passed', '', 'whole'], 'nothing';
is_deeply told_of('fail;'), ['failed', '', 'whole'], 'a failure';
is_deeply told_of("plan skip_all => 'X is not installed';"), ['passed', '1 skipped: X is not installed (1)', 'missing'],
    'a file';
is_deeply told_of("SKIP: { skip 'no X', 2 } SKIP: { skip 'no Y', 1 }"),
    ['passed', '3 skipped: no X (2), no Y (1)', 'missing'], 'tests';
is_deeply told_of("subtest a => sub { subtest b => sub { plan skip_all => 'no X' }; SKIP: { skip 'no Y', 1 } pass '# skip' };"),
    ['passed', '2 skipped: no X (1), no Y (1)', 'missing'], 'in subtests';
is_deeply told_of("SKIP: { skip 'by design: it differs: how', 1 } SKIP: { skip 'by design: it differs: where', 1 }"),
    ['passed', '2 skipped by design: it differs (2)', 'whole'], 'by design';
is_deeply told_of("SKIP: { skip 'by design: this', 1 } SKIP: { skip 'no X', 1 } fail;"),
    ['failed', '1 skipped: no X (1); 1 skipped by design: this (1)', 'missing'], 'all of that';
is_deeply told_of("SKIP: { skip '', 1 }"), ['passed', '1 skipped: no reason given (1)', 'missing'], 'without a reason';
is_deeply told_of("TODO: { local \$TODO = 'not yet'; pass 'news'; fail 'none' }"),
    ['passed', '1 passed unexpectedly: news (1)', 'whole'], 'an unexpected pass';

isnt system("$^X -I$lib -S prove --harness SkipLog -Q $scratch/nothing >$scratch/output 2>&1"), 0, 'no such test fails';
mkdir "$scratch/empty" or die $!;
isnt system("$^X -I$lib -S prove --harness SkipLog -Q $scratch/empty >$scratch/output 2>&1"), 0, 'so does a folder without tests';

done_testing;
