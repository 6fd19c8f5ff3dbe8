package SkipLog;

# A harness for prove that also records which tests were skipped, and a summary of that record:
#
#   SKIP_LOG=FILE perl -Iscript/lib -S prove --harness SkipLog t     # appends to FILE a reason for each test that is skipped
#   perl -Iscript/lib -MSkipLog -e 'exit !SkipLog::tell(shift)' FILE  # prints how many, and why; fails if something is missing
#
# A reason that begins with "by design: " belongs to the backend, the loop or the perl that the tests run on. Any other names
# something that the machine lacks. The record also has the tests that were expected to fail, but passed.

use strict;
use warnings;
use parent 'TAP::Harness';

use TAP::Parser;

my $UNEXPECTED = 'passed unexpectedly: ';

# Dies if there is nothing to run: prove would pass.
sub runtests {
    my ($self, @tests) = @_;
    die "there are no tests to run\n" if !@tests;
    return $self->SUPER::runtests(@tests);
}

sub make_parser {
    my ($self, $job) = @_;
    my ($parser, $session) = $self->SUPER::make_parser($job);
    $parser->callback(ALL => sub { note($_) for _reasons($_[0]) });
    return ($parser, $session);
}

# Adds a reason to the record; also called by programs that script/test runs beside prove.
sub note {
    my ($reason) = @_;
    my $path = $ENV{SKIP_LOG} // return;
    open my $file, '>>', $path or die "$path: $!\n";
    print {$file} "$reason\n";
    close $file or die "$path: $!\n";
}

# Returns what this line of TAP adds to the record. The parser does not know the lines of a subtest.
sub _reasons {
    my ($result) = @_;
    return $UNEXPECTED . $result->description =~ s/^- //r if $result->is_test && $result->todo_passed;
    return map { _reasons_in_subtest($_) } $result->raw =~ /^\s+(.*skip.*)/i if $result->is_unknown;
    return unless ($result->is_test || $result->is_plan) && $result->has_skip;
    return length $result->explanation ? $result->explanation : 'no reason given';
}

# A subtest's plan that skips all of it is repeated in its own line, one level further out.
sub _reasons_in_subtest {
    my ($line) = @_;
    my $result = TAP::Parser->new({ tap => "$line\n" })->next;
    return $result && $result->is_test ? _reasons($result) : ();
}

# Prints a summary of the file on one line, or nothing if it is empty. Returns `true` if the machine lacked nothing.
sub tell {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!\n";
    chomp(my @reasons = <$file>);
    # After "by design: " comes what several have in common, and perhaps, after another colon, a detail.
    my @by_design = map { /^by design: (.*?)(?:: .*)?$/ ? $1 : () } @reasons;
    my @unexpected = map { /^$UNEXPECTED(.*)/ ? $1 : () } @reasons;
    my @missing = grep { !/^by design: |^$UNEXPECTED/ } @reasons;
    print join '; ', _counted('skipped', @missing), _counted('skipped by design', @by_design),
        _counted('passed unexpectedly', @unexpected);
    return !@missing;
}

sub _counted {
    my ($what, @reasons) = @_;
    return if !@reasons;
    my %count;
    $count{$_}++ for @reasons;
    my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
    return @reasons . " $what: " . join ', ', map { "$_ ($count{$_})" } @sorted;
}

1;
