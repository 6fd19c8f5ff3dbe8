package Cells;

# The cells: the cases that are measured.

use strict;
use warnings;
use utf8;

use List::Util qw(uniq);

# The kinds of cells. "load" is the mode of the load generator; "server" is the mode of the server, if that is another;
# "form" says which numbers the name has. Figures are CPU time unless there is another unit.
my %kinds = (
    ws => { title => 'echo', load => 'echo' },
    wss => { title => 'echo, wss://', load => 'echo', tls => 1 },
    perl => { title => "echo, AnyEvent's pure-Perl loop", load => 'echo', loop => 'Perl' },
    deflate => { title => 'compressed echo, with context takeover', load => 'deflate' },
    deflate_each => { title => 'compressed echo, without', load => 'deflate_each' },
    cast => { title => 'broadcast', load => 'broadcast' },
    wsscast => { title => 'broadcast, wss://', load => 'broadcast', tls => 1 },
    feed => { title => 'client receives', form => 'size', feed => 'ws' },
    wssfeed => { title => 'client receives, wss://', form => 'size', feed => 'wss', tls => 1 },
    send => { title => 'client sends', form => 'size' },
    connect => { title => 'connect, echo one message, close', form => 'none', load => 'connect', server => 'echo' },
    accept => {
        title => 'the same, with AnyEvent::WebSocket::Server', form => 'none', load => 'connect', server => 'accept',
    },
    dial => { title => 'client connects, gets one message back, closes', form => 'none' },
    new => { title => 'construct a Connection', form => 'none' },
    idle => { title => 'memory of an idle connection', form => 'none', load => 'idle', server => 'echo', unit => 'KiB' },
);
my %forms = (
    all => qr/^(\w+):(\d+)x(\d+)x(\d+)$/,
    size => qr/^(\w+):(\d+)$/,
    none => qr/^(\w+)$/,
);

my %sets = (
    echoes => [qw(ws:128x1x100 ws:128x32x20 ws:8x64x20 ws:1024x8x50 ws:65536x1x20 ws:1048576x1x4 perl:128x1x100)],
    tls => [qw(wss:128x1x100 wss:128x32x20 wss:65536x1x20)],
    # Sizes that nobody has tuned for: the cost must not jump between neighbours.
    sizes => [qw(ws:300x1x20 ws:4096x1x20 ws:16384x1x20 ws:200000x1x20)],
    # Cost must not grow with the number of connections.
    connections => [qw(ws:128x1x1 ws:128x1x7 ws:128x1x10 ws:128x1x1000 ws:128x1x10000)],
    compression => [qw(deflate:1024x1x20 deflate_each:1024x1x20)],
    broadcast => [qw(cast:128x1x1000 wsscast:128x1x1000)],
    client => [qw(feed:200 feed:2000 wssfeed:200 wssfeed:2000 send:128 send:65536)],
    lifetime => [qw(connect accept dial new idle)],
    quick => [
        qw(ws:128x1x100 ws:128x32x20 ws:65536x1x20 wss:128x1x100 deflate:1024x1x20 cast:128x1x1000 feed:200 wssfeed:200),
        qw(send:128 new),
    ],
);
$sets{all} = [map { @{ $sets{$_} } } qw(echoes tls sizes connections compression broadcast client lifetime)];
# Figures of user time that are shown. The kernel only samples it, so their cells take longer.
$sets{user} = [map { "$_/user" } qw(ws:128x1x100 wss:128x1x100 ws:128x1x10 ws:128x1x1000 ws:128x1x10000)];
use constant LONGER => 5;

# Returns the cells that a list selects, by name, by kind or by set.
sub selected {
    my ($list) = @_;
    return map { parse($_) } map { expand($_) } split /,/, $list;
}

# As selected, but the cells from which the figures come.
sub to_measure {
    my ($list) = @_;
    return map { parse($_) } uniq map { s{/user$}{}r } map { expand($_) } split /,/, $list;
}

# Returns all figures that cells have, each as a cell.
sub figures {
    return map { ($_, $_->{load} && $_->{unit} eq 'µs' ? parse("$_->{name}/user") : ()) } @_;
}

sub expand {
    my ($word) = @_;
    return @{ $sets{$word} } if $sets{$word};
    my @of_kind = grep { /^\Q$word\E(?::|$)/ } @{ $sets{all} };
    return @of_kind ? @of_kind : $word;
}

sub parse {
    my ($name) = @_;
    my ($case, $is_user) = $name =~ m{^([^/]*)(/user)?$} or die "$name is no cell\n";
    my $kind = $kinds{ $case =~ s/:.*//r } or die "$name is no cell\n";
    my (undef, $size, $in_flight, $connections) = $case =~ $forms{ $kind->{form} // 'all' }
        or die "$name is no cell: its kind has other numbers\n";
    return {
        unit => 'µs', server => $kind->{load}, %$kind,
        name => $name, kind => $case =~ s/:.*//r,
        title => title($kind->{title}, $size, $in_flight, $connections) . ($is_user ? ', user time' : ''),
        size => $size // 128, in_flight => $in_flight // 1, connections => $connections // 2000,
        longer => (grep { $_ eq "$case/user" } @{ $sets{user} }) ? LONGER : 1,
    };
}

sub title {
    my ($what, $size, $in_flight, $connections) = @_;
    return join ', ', $what, (defined $size ? bytes($size) : ()),
        (defined $in_flight ? ("$in_flight in flight", "$connections connection" . ($connections == 1 ? '' : 's')) : ());
}

sub bytes {
    my ($bytes) = @_;
    my ($unit, $factor) = $bytes % 1024 ? ('B', 1) : $bytes % (1 << 20) ? ('KiB', 1 << 10) : ('MiB', 1 << 20);
    return $bytes / $factor . " $unit";
}

1;
