package Cells;

# The cells: the cases that are measured.

use strict;
use warnings;
use utf8;

# The server echoes messages, unless the kind of the cell says otherwise.
my %sets = (
    echoes => [qw(ws:128x1x100 ws:128x32x20 ws:8x64x20 ws:1024x8x50 ws:65536x1x20 ws:1048576x1x4 perl:128x1x100)],
    tls => [qw(wss:128x1x100 wss:128x32x20 wss:65536x1x20)],
    # Sizes that nobody has tuned for: the cost must not jump between neighbours.
    sizes => [qw(ws:300x1x20 ws:4096x1x20 ws:16384x1x20 ws:200000x1x20)],
    # Cost must not grow with the number of connections.
    connections => [qw(ws:128x1x1 ws:128x1x7 ws:128x1x10 ws:128x1x1000 ws:128x1x10000)],
    client => [qw(feed:200 feed:2000 send:128 send:65536)],
    lifetime => [qw(connect new idle)],
    quick => [qw(ws:128x1x100 ws:128x32x20 ws:65536x1x20 wss:128x1x100 feed:200 send:128 new)],
);
$sets{all} = [map { @{ $sets{$_} } } qw(echoes tls sizes connections client lifetime)];

my %titles = (
    ws => 'echo',
    wss => 'echo, wss://',
    perl => "echo, AnyEvent's pure-Perl loop",
    feed => 'client receives',
    send => 'client sends',
    connect => 'connect, echo one message, close',
    new => 'construct a Connection',
    idle => 'memory of an idle connection',
);

# Returns the cells that a list selects, by name, by kind or by set.
sub selected {
    my ($list) = @_;
    return map { parse($_) } map { expand($_) } split /,/, $list;
}

sub expand {
    my ($word) = @_;
    return @{ $sets{$word} } if $sets{$word};
    my @of_kind = grep { /^\Q$word\E(?::|$)/ } @{ $sets{all} };
    return @of_kind ? @of_kind : $word;
}

sub parse {
    my ($name) = @_;
    my ($kind, $size, $in_flight, $connections) = $name =~ /^(\w+)(?::(\d+)(?:x(\d+)x(\d+))?)?$/;
    die "$name is no cell\n" if !$titles{ $kind // '' };
    my $is_complete = $kind =~ /^(?:ws|wss|perl)$/ ? $connections : $kind =~ /^(?:feed|send)$/ ? $size : 1;
    die "$name is no cell: $kind needs numbers\n" if !$is_complete;
    return {
        name => $name, kind => $kind, title => title($kind, $size, $in_flight, $connections),
        size => $size // 128, in_flight => $in_flight // 1, connections => $connections // 2000,
        unit => $kind eq 'idle' ? 'KiB' : 'µs',
    };
}

sub title {
    my ($kind, $size, $in_flight, $connections) = @_;
    return join ', ', $titles{$kind}, (defined $size ? bytes($size) : ()),
        (defined $in_flight ? ("$in_flight in flight", "$connections connection" . ($connections == 1 ? '' : 's')) : ());
}

sub bytes {
    my ($bytes) = @_;
    my ($unit, $factor) = $bytes % 1024 ? ('B', 1) : $bytes % (1 << 20) ? ('KiB', 1 << 10) : ('MiB', 1 << 20);
    return $bytes / $factor . " $unit";
}

1;
