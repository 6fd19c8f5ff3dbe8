# Tests every verdict of the Autobahn test suite against xt/autobahn-verdicts.txt, as a peer of both roles, strict and
# lenient.
#
#   AUTOBAHN_DIR=DIR AUTOBAHN_VENV=VENV prove -b xt/autobahn.t
#
# DIR is a folder with run-against-server.sh, run-fuzzing-server.sh and setup.sh; VENV is what its setup.sh made (default
# DIR/venv). AUTOBAHN_ONLY='server strict' runs one of the four. AUTOBAHN_OUT keeps the suite's reports in that folder.
use strict;
use warnings;

use Test::More;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp;
use IO::Socket::INET;
use IPC::Open2;
use JSON::PP qw(decode_json);

my $harness = $ENV{AUTOBAHN_DIR} or plan skip_all => 'set AUTOBAHN_DIR to the folder of the Autobahn harness';
my $venv = $ENV{AUTOBAHN_VENV} ||= "$harness/venv";
-e "$venv/ported" or plan skip_all => "no suite in $venv: make it with setup.sh, and set AUTOBAHN_VENV";

my $xt      = dirname(abs_path(__FILE__));
my $scratch = File::Temp->newdir;
my $reports = $ENV{AUTOBAHN_OUT} || "$scratch";
my @perl    = ($^X, map { "-I$_" } @INC);
my $agent   = 'ours';
make_path($reports);

my @runs = ('server strict', 'client strict', 'server lenient', 'client lenient');
my %play = (server => \&play_server, client => \&play_client);

alarm 7200;

# --- the table: lines of a pattern, its number of cases, and a verdict for each run

my @table = read_table("$xt/autobahn-verdicts.txt");

sub read_table {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    my @rows;
    while (<$file>) {
        s/#.*//;
        my ($pattern, $count, @verdicts) = split or next;
        die "$path:$.: not a row\n" if @verdicts != @runs;
        my $regex = join '.*', map { quotemeta } split /\*/, $pattern, -1;
        my %verdicts;
        @verdicts{@runs} = @verdicts;
        push @rows, { pattern => $pattern, regex => qr/\A$regex\z/, count => $count, verdicts => \%verdicts };
    }
    return @rows;
}

# Returns the last row that fits, so that exceptions stand after the rule.
sub row_of {
    my ($case) = @_;
    my ($row) = reverse grep { $case =~ $_->{regex} } @table;
    return $row;
}

sub compare {
    my ($run, $results) = @_;
    my (%seen, @wrong);
    for my $case (sort { version_key($a) cmp version_key($b) } keys %$results) {
        my $verdict = "$results->{$case}{behavior}/$results->{$case}{behaviorClose}";
        my $row = row_of($case);
        $seen{ $row->{pattern} }++ if $row;
        my $expected = $row ? $row->{verdicts}{$run} : 'not in the table';
        next if grep { $_ eq $verdict } split /\|/, $expected;
        push @wrong, "$case: $verdict, not $expected (close code " . ($results->{$case}{remoteCloseCode} // 'none') . ')';
    }
    is_deeply \@wrong, [], 'verdicts' or diag map { "$_\n" } @wrong;
    is_deeply \%seen, { map { $_->{pattern} => $_->{count} } @table }, 'every case of the table was played';
    note "$run: " . summary($results);
    return;
}

sub version_key { join '.', map { sprintf '%04d', $_ } split /\./, $_[0] }

sub summary {
    my ($results) = @_;
    my %count;
    $count{"$_->{behavior}/$_->{behaviorClose}"}++ for values %$results;
    return join ', ', map { "$count{$_} $_" } sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
}

# --- the two roles; each leaves the suite's reports in a folder, and returns the backend that was tested

sub play_server {
    my ($strict, $out) = @_;
    my $pid = open2(my $from, my $to, @perl, "$xt/autobahn-server.pl", $strict);
    my ($port, $backend) = split ' ', scalar readline($from) // '';
    # The suite's exit status reports a case that failed, but the table decides about that.
    waitpid spawn("$out.log", "$harness/run-against-server.sh", "ws://127.0.0.1:$port/", $agent, $out, '*'), 0 if $port;
    close $to;
    waitpid $pid, 0;
    is $?, 0, 'the server ends as it should';
    return $backend;
}

sub play_client {
    my ($strict, $out) = @_;
    my $port = free_port();
    my $suite = spawn("$out.log", "$harness/run-fuzzing-server.sh", $port, $out, '*');
    my @command = (@perl, "$xt/autobahn-client.pl", $strict, $port, $agent);
    open my $from, '-|', @command or die "cannot run $^X: $!";
    my (undef, $backend) = split ' ', join '', readline $from;
    close $from;
    is $?, 0, 'the client ends as it should';
    kill TERM => $suite;
    waitpid $suite, 0;
    return $backend;
}

# Starts a program with its output in a file; returns its process id.
sub spawn {
    my ($log, @command) = @_;
    defined(my $pid = fork) or die "fork: $!";
    return $pid if $pid;
    open STDOUT, '>', $log or die "$log: $!";
    open STDERR, '>&', \*STDOUT;
    exec @command;
}

# Returns a port that, with luck, nobody else takes: the suite's server has to be told its port.
sub free_port { IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport }

for my $run (grep { !$ENV{AUTOBAHN_ONLY} || $ENV{AUTOBAHN_ONLY} eq $_ } @runs) {
    subtest $run => sub {
        my ($role, $mode) = split ' ', $run;
        my $out = "$reports/$role-$mode";
        my $backend = $play{$role}->($mode eq 'strict' ? 1 : 0, $out);
        is $backend, $ENV{ANYEVENT_WEBSOCKET_PP} ? 'pp' : 'rust', 'the implementation that was to be tested';
        ok -s "$out/index.json", 'the suite has written its report' or return diag content("$out.log");
        compare($run, decode_json(content("$out/index.json"))->{$agent});
    };
}

sub content {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar readline $file;
}

done_testing;
