#!/usr/bin/env perl
# Fuzzes the Perl interface. Each seed gives a random plan: calls that a program may make and bytes that its peer may send,
# in any order. In xt/lib, ApiFuzz/Plan.pm draws the plans, and ApiFuzz/Callbacks.pm and ApiFuzz/Wire.pm check what the
# connection promises.
#
#   xt/api-fuzz.pl --runs 1000               # seeds 1 to 1000
#   xt/api-fuzz.pl --seconds 600 --first 5000
#   xt/api-fuzz.pl --seed 42 --show          # prints the plan of seed 42 and runs it
#   xt/api-fuzz.pl --seed 42 --shrink        # prints the shortest plan found that fails in the same way
#
#   --loop LOOP      the AnyEvent backend (default: EV and Perl in turn)
#   --taint          runs under perl -T
#   --debugperl      uses Debian's perl with assertions (package perl-debug) and the usual build; xt/asan --debugperl also
#                    compiles the assertions of perl's macros into src/xs/glue
#   --blib DIR       the build to load (default: blib)
#   --valgrind       runs under valgrind, with PERL_DESTRUCT_LEVEL=2
#   --leaks N        runs every Nth seed several times and checks that nothing accumulates (default: 5; 0: never)
#
# The last line counts the seeds and names those that failed. Leaked Perl values are counted if Test::LeakTrace is installed
# (Debian: libtest-leaktrace-perl).
use strict;
use warnings;
use FindBin;
use Getopt::Long;
use List::Util qw(min);

# perl -T loads and runs nothing whose path is tainted, so these paths are untainted.
my $bin;

BEGIN {
    ($bin) = $FindBin::Bin =~ /(.*)/s;
    $ENV{PATH} = '/usr/bin:/bin' if ${^TAINT};
    delete @ENV{qw(ENV BASH_ENV CDPATH IFS)};
}
use lib "$bin/lib";

my %option = (first => 1, leaks => 5, runs => 0, blib => "$bin/../blib");
GetOptions(\%option, qw(runs=i seconds=i first=i seed=i show shrink loop=s blib=s debugperl taint valgrind leaks=i worker=i))
    && !@ARGV or die "usage: see the head of $0\n";

my ($blib) = $option{blib} =~ /(.*)/s;
my $BATCH = 250;                                # seeds for one worker process
my $PATIENCE = $option{valgrind} ? 300 : 60;    # seconds that a seed may take
my $MAX_PROBLEMS = 5;                           # problems printed per seed
my $MAX_LINES = 100;                            # lines printed per worker of other output: warnings, valgrind's reports

$| = 1;
exit work($option{worker}) if $option{worker};
@option{qw(first runs leaks)} = ($option{seed}, 1, 1) if $option{seed};
show() if $option{show};
exit shrink() if $option{shrink};
exit supervise();

# --- the worker: runs seeds and prints their numbers and problems

sub load {
    require lib;
    lib->import("$bin/../t/lib", map { "$blib/$_" } qw(lib arch));
    require ApiFuzz::Leaks;
    alarm 0;    # cancels the alarm that WebSocketTest sets
}

sub work {
    my ($count) = @_;
    load();
    for my $seed ($option{first} .. $option{first} + $count - 1) {
        print "seed $seed\n";
        alarm $PATIENCE;
        my $is_for_leaks = $option{leaks} && $seed % $option{leaks} == 0;
        my @problems = $is_for_leaks ? ApiFuzz::Leaks::of_seed($seed) : ApiFuzz->run_seed($seed);
        alarm 0;
        next unless @problems;
        print "problem: $_\n" for map { s/\n/ /gr } @problems;
        last;    # the event loop may be in a bad state
    }
    print "done\n";
    return 0;
}

# --- the supervisor: replaces a worker that died by one that starts after the fatal seed

sub supervise {
    my ($next, $begun, %failed) = ($option{first}, time);
    my $last = $option{runs} ? $next + $option{runs} - 1 : 9**9;
    my $batches = 0;
    while ($next <= $last && !(defined $option{seconds} && time - $begun >= $option{seconds})) {
        my $loop = $option{loop} || ($batches++ % 2 ? 'Perl' : 'EV');
        $next = 1 + play($next, min($BATCH, $last - $next + 1), $loop, \%failed);
    }
    printf "%d seeds in %d s, %d failed%s\n", $next - $option{first}, time - $begun, scalar keys %failed,
        %failed ? ': ' . join ' ', sort { $a <=> $b } keys %failed : '';
    return %failed ? 1 : 0;
}

# Runs one worker. Returns the last seed that it started.
sub play {
    my ($first, $count, $loop, $failed) = @_;
    local $ENV{PERL_ANYEVENT_MODEL} = $loop;
    local $ENV{PERL_DESTRUCT_LEVEL} = $option{valgrind} ? 2 : 0;
    local $ENV{WEBSOCKET_TEST_TIMEOUT} = $option{valgrind} ? $PATIENCE / 2 : 10;
    open my $out, '-|', command($first, $count) or die "cannot run a worker: $!\n";
    my ($seed, $is_done) = ($first, 0);
    my $printed = 0;
    my $report = sub { $failed->{$seed} = 1; print "seed $seed, $loop: $_[0]\n" if ++$printed <= ($_[1] || $MAX_LINES) };
    while (my $line = <$out>) {
        chomp $line;
        if    ($line =~ /\Aseed (\d+)\z/) { $seed = $1 }
        elsif ($line eq 'done')           { $is_done = 1 }
        elsif ($line =~ /\Aproblem:/)     { $report->($line, $MAX_PROBLEMS) }
        elsif (length $line)              { $report->($line) }
    }
    close $out;
    $report->("the worker ended with wait status $?" . (($? & 127) == 14 ? ': it hung' : '')) if $? || !$is_done;
    return $seed;
}

sub command {
    my ($first, $count) = @_;
    my @valgrind = !$option{valgrind} ? () : (qw(valgrind -q --child-silent-after-fork=yes --error-exitcode=99),
        "--suppressions=$bin/lib/ApiFuzz/valgrind.supp");
    my @flags = map { "--$_" } grep { $option{$_} } qw(valgrind);
    my @switches = $option{taint} ? '-T' : ();
    my $perl = $option{debugperl} ? 'debugperl' : $^X;
    my @worker = ('--blib', $blib, '--worker', $count, '--first', $first, '--leaks', $option{leaks});
    return ('sh', '-c', 'exec "$@" 2>&1', 'sh', @valgrind, $perl, @switches, $0, @flags, @worker);
}

# --- one seed

sub dumped {
    require Data::Dumper;
    no warnings 'once';
    local ($Data::Dumper::Indent, $Data::Dumper::Terse, $Data::Dumper::Useqq, $Data::Dumper::Sortkeys) = (0, 1, 1, 1);
    return Data::Dumper::Dumper($_[0]);
}

sub print_plan {
    my ($plan) = @_;
    print "$plan->{mood}\n", map { dumped($_) . "\n" } @{ $plan->{connections} }, @{ $plan->{steps} };
}

sub show {
    require ApiFuzz::Plan;
    print_plan(ApiFuzz::Plan::of_seed($option{first}));
}

# Removes steps, including those inside callbacks, as long as the plan still fails without them.
sub shrink {
    $ENV{PERL_ANYEVENT_MODEL} = $option{loop} if $option{loop};
    $ENV{WEBSOCKET_TEST_TIMEOUT} = 1;
    load();
    require ApiFuzz::Shrink;
    my ($plan, @problems) = ApiFuzz::Shrink::of_seed($option{first});
    print_plan($plan);
    print "problem: $_\n" for @problems;
    return @problems ? 1 : 0;
}
