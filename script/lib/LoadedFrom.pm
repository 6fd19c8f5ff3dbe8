package LoadedFrom;

# Loaded by every perl of a test run of script/upstream-suite: when the process ends, writes down which of our classes it used,
# and on which loop.

use strict;
use warnings;

# The suite loads EV if it can, and Mojolicious, the peer of some of its tests, then serves on EV: on any other loop the two
# would wait for each other. So EV must seem not to be installed, and those tests skip themselves.
unshift @INC, sub {
    my (undef, $file) = @_;
    return if $file !~ m{^EV(?:/|\.pm$)};
    die "Can't locate $file in \@INC (hidden by ", __PACKAGE__, ")\n";
} if ($ENV{PERL_ANYEVENT_MODEL} // 'EV') ne 'EV';

END {
    local $?;
    for my $name (qw( Connection Client Server )) {
        my $from = $INC{"AnyEvent/WebSocket/$name.pm"} or next;
        my $backend = eval { "AnyEvent::WebSocket::$name"->backend } // 'none';
        if (open my $log, '>>', $ENV{LOADED_FROM_LOG}) {
            no warnings 'once';
            print {$log} join("\t", $0, $name, $backend, $AnyEvent::MODEL || 'no loop', $from), "\n";
        }
    }
}

1;
