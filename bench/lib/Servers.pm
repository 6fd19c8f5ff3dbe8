package Servers;

# The servers and receivers that are measured: this build, the original, and other libraries. Says how each is started, and
# for which cells.

use strict;
use warnings;

# Names and titles, in the order in which they are measured and shown.
our @TITLES = (
    [original => 'original'],
    [mojolicious => 'Mojolicious'],
    [ws => 'Node ws'],
    [picows => 'picows'],
    [bun => 'Bun'],
    [fastwebsockets => 'fastwebsockets'],
    [sockudo => 'sockudo-ws'],
    [ours => 'this module'],
);

# Returns all of them, each a hash: name; kinds of cells; env; the command of the server, to which its mode is added;
# receiver, the command of the client; perl, the command of Perl programs for this one; is_close, if it is so near to this
# module that its user time must be exact.
sub all {
    my ($processes) = @_;
    my $bench = "$processes->{root}/bench";
    my $here = "$bench/servers";
    my $cache = $ENV{BENCH_CACHE} // "$ENV{HOME}/.cache/ws-bench";
    my $modules = "$cache/node/node_modules";
    my @perl = ($^X, "-I$processes->{blib}/lib", "-I$processes->{blib}/arch");
    my $bun = _first("$modules/.bin/bun", 'bun');
    my %anyevent = (
        perl => \@perl, command => [@perl, "$here/anyevent.pl"], receiver => [@perl, "$bench/receivers/feed/anyevent.pl"],
    );
    my $echo = 'ws wss connect idle';
    my $anyevent = "$echo perl cast wsscast feed wssfeed send accept dial new";
    my %how = (
        original => { kinds => $anyevent, %anyevent, env => { ANYEVENT_WEBSOCKET_PP => 1 } },
        mojolicious => { kinds => "$echo deflate", command => [$^X, "$here/mojolicious.pl"] },
        ws => {
            kinds => "$echo deflate deflate_each cast wsscast feed wssfeed", command => ['node', "$here/ws.js"],
            receiver => ['node', "$bench/receivers/feed/ws.js"],
            env => { NODE_PATH => join ':', $modules, $ENV{NODE_PATH} // () },
        },
        picows => { kinds => $echo, command => [_first("$cache/py/bin/python", 'python3'), "$here/echo_picows.py"] },
        bun => {
            kinds => "$echo deflate deflate_each cast wsscast feed wssfeed", is_close => 1, command => [$bun, "$here/bun.js"],
            receiver => [$bun, "$bench/receivers/feed/bun.js"],
        },
        fastwebsockets =>
            { kinds => 'ws connect idle', is_close => 1, crate => ['servers/fastwebsockets', 'fastwebsockets-echo'] },
        sockudo => { kinds => 'ws connect idle', is_close => 1, crate => ['servers/sockudo', 'sockudo-echo'] },
        ours => { kinds => "$anyevent deflate deflate_each", is_close => 1, %anyevent, env => { ANYEVENT_WEBSOCKET_PP => 0 } },
    );
    return map { { name => $_->[0], env => {}, %{ $how{ $_->[0] } } } } @TITLES;
}

# Returns those that a list names, or all, as far as they work, each with its version under "about". Prints which are
# skipped, and why.
sub installed {
    my ($processes, $list) = @_;
    my %unknown = my %wanted = map { $_ => 1 } split /,/, $list // '';
    my @servers = grep { delete $unknown{ $_->{name} } || !%wanted } all($processes);
    die "no such server: @{[sort keys %unknown]}\n" if %unknown;
    for my $server (@servers) {
        eval {
            $server->{command} = [$processes->crate(@{ $server->{crate} })] if $server->{crate};
            (undef, undef, $server->{about}) = start($processes, $server, {}, 'echo');
        };
        printf "%-15s %s\n", $server->{name}, $server->{about} // 'skipped: ' . $@ =~ s/\n.*//sr;
    }
    return grep { defined $_->{about} } @servers;
}

# Starts a server, with TLS if there is a certificate; returns the process, its port, and what it says that it is.
sub start {
    my ($processes, $server, $env, $mode, @certificate) = @_;
    my $process = $processes->start(0, { %{ $server->{env} }, %$env }, @{ $server->{command} }, $mode, @certificate);
    my $line = $process->first_line;
    return ($process, $line =~ /^(\d+) (.*)/) if $line =~ /^\d+ /;
    die "not understood: $line";
}

sub _first { my ($path, $program) = @_; -x $path ? $path : $program }

1;
