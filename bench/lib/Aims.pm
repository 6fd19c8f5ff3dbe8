package Aims;

# Upper limits that the figures should keep: ratios, which differ less between machines and runs than times do.

use strict;
use warnings;
use utf8;

use List::Util qw(pairs);
use Servers;
use Table;

my %TITLE = map { @$_ } @Servers::TITLES;

# Description, aim, and the figures whose quotient is compared with it: figure, server and
# a divisor if there is one.
my @aims = (
    between('128 B, 1 in flight, 100 connections', 'ws:128x1x100', fastwebsockets => 1.15, original => 0.17),
    between('128 B, 1 in flight, 100 connections, user time', 'ws:128x1x100/user', bun => 1.5),
    between('128 B, 32 in flight', 'ws:128x32x20', bun => 1.35),
    between('8 B, 64 in flight', 'ws:8x64x20', bun => 1.7),
    between('1 KiB, 8 in flight', 'ws:1024x8x50', bun => 1.1),
    between('wss://, 128 B, 1 in flight, user time', 'wss:128x1x100/user', bun => 1.8),
    between('wss://, 128 B, 32 in flight', 'wss:128x32x20', bun => 2, ws => 1),
    between('wss://, 64 KiB', 'wss:65536x1x20', bun => 1.1),
    between('compressed echo, with context takeover', 'deflate:1024x1x20', ws => 0.8),
    between('compressed echo, without', 'deflate_each:1024x1x20', ws => 0.8),
    between('broadcast', 'cast:128x1x1000', bun => 1.05),
    between('client receives, wss://, 200 B', 'wssfeed:200', bun => 0.95),
    between('client receives, wss://, 2000 B', 'wssfeed:2000', bun => 0.95),
    growth('user time, 1000 connections / 10 connections', 1.6, ['ws:128x1x1000/user'], ['ws:128x1x10/user']),
    growth('10,000 connections / 10 connections', 1.3, ['ws:128x1x10000'], ['ws:128x1x10']),
    growth('a byte of 200,000 B / a byte of 64 KiB', 1, ['ws:200000x1x20', 200_000], ['ws:65536x1x20', 65_536]),
    between('connect, echo one message, close, with AnyEvent::WebSocket::Server', 'accept', original => 0.5),
    ['the same: this module / fastwebsockets', 1.8, ['accept', 'ours'], ['connect', 'fastwebsockets']],
    between('client connects, gets one message back, closes', 'dial', original => 0.5),
    ['memory of an idle connection after one message, KiB', 4.5, ['idle', 'ours']],
    ['construct a Connection, µs', 6, ['new', 'ours']],
);

# Returns the aims for a figure of this module as a multiple of other servers'.
sub between {
    my ($what, $figure, @servers) = @_;
    return map { ["$what: this module / $TITLE{ $_->[0] }", $_->[1], [$figure, 'ours'], [$figure, $_->[0]]] } pairs @servers;
}

# Returns the aim for one figure of this module as a multiple of another of its figures, and what fastwebsockets does there.
sub growth {
    my ($what, $most, @figures) = @_;
    my %most = (ours => $most);
    return map {
        my $server = $_;
        ["$TITLE{$server}, $what", $most{$server}, map { my ($figure, $divisor) = @$_; [$figure, $server, $divisor] } @figures]
    } qw(ours fastwebsockets);
}

sub table {
    my ($medians) = @_;
    my @rows;
    for my $aim (@aims) {
        my ($what, $most, @figures) = @$aim;
        my ($value, $by) =
            map { my ($figure, $server, $divisor) = @$_; ($medians->{$figure}{$server} // 0) / ($divisor // 1) } @figures;
        next if !$value || @figures == 2 && !$by;
        $value /= $by if $by;
        push @rows, [$what, Table::figure($value), $most // '', defined $most ? $value <= $most ? 'reached' : 'missed' : ''];
    }
    return Table::markdown(['', 'measured', 'at most', ''], @rows);
}

1;
