#!/usr/bin/env perl
# Runs examples/echo-server.pl on the original and on the build in blib, side by side, and prints a table of both.
# script/demo calls this when everything is installed and built.
use strict;
use warnings;
use utf8;

use File::Basename qw(dirname);
use FindBin;

my $root = dirname($FindBin::Bin);
my $seconds = 2;
my @cases = (
    # what, driver, bytes, in flight, connections
    ['small',     'raw',    128,       1,  50],
    ['pipelined', 'raw',    128,       32, 20],
    ['middling',  'raw',    1024,      8,  20],
    ['large',     'raw',    65_536,    1,  10],
    ['huge',      'raw',    1_048_576, 1,  4],
    ['AE client', 'client', 128,       1,  20],
    ['AE client', 'client', 16_384,    4,  10],
);

# The server has a core to itself if there are two.
my $cores = `getconf _NPROCESSORS_ONLN`;
my ($server_core, $driver_core) = map { $cores > 1 && -x '/usr/bin/taskset' ? ['taskset', '-c', $_] : [] } 0, 1;

binmode STDOUT, ':encoding(UTF-8)';
$| = 1;
$SIG{$_} = sub { exit 1 } for qw(INT TERM PIPE);
delete @ENV{qw(PERL_ANYEVENT_MODEL ANYEVENT_WEBSOCKET_STRICT)};

my @sides = (
    start_server('the original', { ANYEVENT_WEBSOCKET_PP => 1 }),
    start_server('this build', { ANYEVENT_WEBSOCKET_PP => 0 }, "-I$root/blib/lib", "-I$root/blib/arch"),
);
END { kill TERM => map { $_->{pid} } @sides }

print "$_->{name}: $_->{file}\n" for @sides;
die "the same Connection.pm twice: there is nothing to compare\n" if $sides[0]{file} eq $sides[1]{file};

my $row = "%-50s %21s %21s %10s\n";
print "\n";
printf $row, '', 'the original', 'this build', 'less CPU';
printf $row, 'echo', ('messages/s  CPU µs/msg') x 2, 'by factor';

my $checked = 0;
for my $case (@cases) {
    my ($old, $new) = map { load($_, $case) } @sides;
    printf $row, describe($case), (map { sprintf '%10.0f %10.2f', @$_{qw(rate cpu)} } $old, $new),
        sprintf('%.1f', $old->{cpu} / $new->{cpu});
    $checked += $_->{messages} for $old, $new;
}
print "\nCPU is the server's, user and system. $checked replies, each compared byte for byte: none wrong.\n";

sub start_server {
    my ($name, $env, @include) = @_;
    my @command = (@$server_core, $^X, @include, "$root/examples/echo-server.pl");
    local %ENV = (%ENV, %$env);
    my $pid = open my $output, '-|', @command or die "$name: $!";
    my ($port, $file) = (readline($output) // '') =~ /^listening on .*:(\d+) with (.*)/
        or die "$name: does not start\n";
    return {
        name => $name, env => $env, include => \@include,
        pid => $pid, port => $port, file => $file, output => $output,
    };
}

sub load {
    my ($side, $case) = @_;
    my (undef, $driver, @load) = @$case;
    my @arguments = ($driver, @$side{qw(port pid)}, @load, $seconds);
    my @command = (@$driver_core, $^X, @{ $side->{include} }, "$root/script/echo-load.pl", @arguments);
    local %ENV = (%ENV, %{ $side->{env} });
    open my $output, '-|', @command or die "echo-load: $!";
    my ($messages, $elapsed, $cpu) = split ' ', readline($output) // '';
    close $output and $messages or die "$side->{name}, " . describe($case) . ": failed\n";
    return { messages => $messages, rate => $messages / $elapsed, cpu => $cpu };
}

sub describe {
    my ($what, undef, $bytes, $depth, $connections) = @{ $_[0] };
    my $size = $bytes < 1024 ? "$bytes B" : $bytes < 1 << 20 ? ($bytes >> 10) . ' KiB' : ($bytes >> 20) . ' MiB';
    return sprintf '%-9s %7s x %2d in flight x %2d connections', $what, $size, $depth, $connections;
}
