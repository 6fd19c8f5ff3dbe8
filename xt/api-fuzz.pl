#!/usr/bin/env perl
# Plays random plans, each from a seed, against connections: what programs may do, and what peers may send, in any order.
# See xt/lib/ApiFuzz/Plan.pm for what there is, and ApiFuzz/Link.pm for what must hold meanwhile.
#
#   xt/api-fuzz.pl --runs 1000               # seeds 1 to 1000
#   xt/api-fuzz.pl --seconds 600 --first 5000
#   xt/api-fuzz.pl --seed 42 --show          # one again, with its plan
#   xt/api-fuzz.pl --seed 42 --shrink        # the shortest plan found that still fails
#
#   --loop Perl      AnyEvent's pure-Perl loop; the default takes turns between that and EV
#   --taint          under perl -T
#   --debugperl      a perl with assertions (Debian: perl-debug), on the usual build; for the assertions of its macros in
#                    src/xs/glue, too, see xt/asan --debugperl
#   --blib DIR       where the build is (default blib)
#   --valgrind       under valgrind, with PERL_DESTRUCT_LEVEL=2
#   --leaks N        every Nth seed is run some times, and what it leaves behind is counted (default 5; 0: never)
#
# A seed that fails is named. Test::LeakTrace (Debian: libtest-leaktrace-perl) is used if it is there.
use strict;
use warnings;
use FindBin;
use Getopt::Long;
use List::Util qw(min);

# Under perl -T, nothing that comes from outside may say what is loaded and run.
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
my $BATCH = 250;                               # seeds a process plays
my $PATIENCE = $option{valgrind} ? 300 : 60;    # seconds a seed may take
my $MAX_PROBLEMS = 5;                          # of one seed that are told
my $MAX_LINES = 100;                           # of what perl, valgrind and the like have to say of it

$| = 1;
exit work($option{worker}) if $option{worker};
@option{qw(first runs leaks)} = ($option{seed}, 1, 1) if $option{seed};
show() if $option{show};
exit shrink() if $option{shrink};
exit supervise();

# --- the worker: plays seeds, and says so

sub load {
    require lib;
    lib->import("$bin/../t/lib", map { "$blib/$_" } qw(lib arch));
    require ApiFuzz::Leaks;
    alarm 0;    # that of the tests' library
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
        last;    # the loop may be in a bad state
    }
    print "done\n";
    return 0;
}

# --- the supervisor: a worker that dies is replaced by one that goes on behind the seed it died of

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

# Has one worker play seeds; returns the last that it has begun.
sub play {
    my ($first, $count, $loop, $failed) = @_;
    local $ENV{PERL_ANYEVENT_MODEL} = $loop;
    local $ENV{PERL_DESTRUCT_LEVEL} = $option{valgrind} ? 2 : 0;
    local $ENV{WEBSOCKET_TEST_TIMEOUT} = $option{valgrind} ? $PATIENCE / 2 : 10;
    open my $out, '-|', command($first, $count) or die "cannot run a worker: $!\n";
    my ($seed, $is_done) = ($first, 0);
    my $told = 0;
    my $tell = sub { $failed->{$seed} = 1; print "seed $seed, $loop: $_[0]\n" if ++$told <= ($_[1] || $MAX_LINES) };
    while (my $line = <$out>) {
        chomp $line;
        if    ($line =~ /\Aseed (\d+)\z/) { $seed = $1 }
        elsif ($line eq 'done')           { $is_done = 1 }
        elsif ($line =~ /\Aproblem:/)     { $tell->($line, $MAX_PROBLEMS) }
        elsif (length $line)              { $tell->($line) }
    }
    close $out;
    $tell->('the worker ends with wait status ' . $? . (($? & 127) == 14 ? ', it hangs' : '')) if $? || !$is_done;
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

# Steps are left out, also those of callbacks, for as long as the plan fails without them.
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
