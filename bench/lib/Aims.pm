package Aims;

# Upper limits that the figures should keep: ratios, which differ less between machines and runs than times do.

use strict;
use warnings;
use utf8;

use Table;

# Description, aim, and the figures whose quotient is compared with it: cell, server and a divisor if there is one.
my @aims = (
    [   '128 B, 1 in flight, 100 connections: this module / fastwebsockets', 1.15, ['ws:128x1x100', 'ours'],
        ['ws:128x1x100', 'fastwebsockets']
    ],
    ['the same: this module / the original', 0.17, ['ws:128x1x100', 'ours'], ['ws:128x1x100', 'original']],
    ['128 B, 32 in flight: this module / Bun', 1.6, ['ws:128x32x20', 'ours'], ['ws:128x32x20', 'bun']],
    ['8 B, 64 in flight: this module / Bun', 2, ['ws:8x64x20', 'ours'], ['ws:8x64x20', 'bun']],
    ['wss://, 128 B, 32 in flight: this module / Node ws', 1, ['wss:128x32x20', 'ours'], ['wss:128x32x20', 'ws']],
    ['this module, 10,000 connections / 10 connections', 1.3, ['ws:128x1x10000', 'ours'], ['ws:128x1x10', 'ours']],
    ['fastwebsockets, the same', undef, ['ws:128x1x10000', 'fastwebsockets'], ['ws:128x1x10', 'fastwebsockets']],
    [   'this module, a byte of 200,000 B / a byte of 64 KiB', 1, ['ws:200000x1x20', 'ours', 200_000],
        ['ws:65536x1x20', 'ours', 65_536]
    ],
    [   'fastwebsockets, the same', undef, ['ws:200000x1x20', 'fastwebsockets', 200_000],
        ['ws:65536x1x20', 'fastwebsockets', 65_536]
    ],
    ['memory of an idle connection, KiB', 6, ['idle', 'ours']],
);

sub table {
    my ($medians) = @_;
    my @rows;
    for my $aim (@aims) {
        my ($what, $most, @figures) = @$aim;
        my ($value, $by) =
            map { my ($cell, $server, $divisor) = @$_; ($medians->{$cell}{$server} // next) / ($divisor // 1) } @figures;
        $value /= $by if $by;
        push @rows, [$what, Table::figure($value), $most // '', defined $most ? $value <= $most ? 'reached' : 'missed' : ''];
    }
    return Table::markdown(['', 'measured', 'at most', ''], @rows);
}

1;
