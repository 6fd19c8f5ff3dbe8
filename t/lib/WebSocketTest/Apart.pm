package WebSocketTest::Apart;

=head1 NAME

WebSocketTest::Apart - runs a subtest in a process of its own

=head1 SYNOPSIS

    use WebSocketTest::Apart qw(passes_apart);

    my $passes = passes_apart(\&tests, $seconds);

=head1 DESCRIPTION

The original cannot pass a test of what we do differently: it may never return, or end the program. So such a test runs in
a child process, which is killed if it takes too long.

=cut

use strict;
use warnings;

use Exporter 'import';
use POSIX ();
use Test::More ();
use Time::HiRes ();

our @EXPORT_OK = qw(passes_apart);

# Returns `true` if the tests pass as a subtest within this many seconds. Prints nothing.
sub passes_apart {
    my ($tests, $seconds) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    _run_and_exit($tests, $writer) if !$pid;
    close $writer;
    my $verdict = _read_within($reader, $seconds);
    # The group includes the child's own children.
    kill KILL => -$pid, $pid;
    waitpid $pid, 0;
    return $verdict eq 'passed';
}

sub _run_and_exit {
    my ($tests, $writer) = @_;
    setpgrp;
    alarm 0;
    open my $null, '>', '/dev/null' or POSIX::_exit(1);
    open STDERR, '>&', $null;
    my $builder = Test::More->builder;
    $builder->$_($null) for qw(output failure_output todo_output);
    syswrite $writer, Test::More::subtest(apart => $tests) ? 'passed' : 'failed';
    POSIX::_exit(0);
}

sub _read_within {
    my ($reader, $seconds) = @_;
    my $deadline = Time::HiRes::time() + $seconds;
    my $verdict = '';
    while ((my $rest = $deadline - Time::HiRes::time()) > 0) {
        vec(my $ready = '', fileno $reader, 1) = 1;
        next if select($ready, undef, undef, $rest) < 1;
        sysread $reader, $verdict, 16;
        last;
    }
    return $verdict;
}

1;
