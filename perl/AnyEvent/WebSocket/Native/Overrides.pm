package AnyEvent::WebSocket::Native::Overrides;

# Finds out whether a program has changed how the class of connections makes its objects.

use strict;
use warnings;
use Sub::Defer ();
use mro ();

my ($class, %own, @names);

# Takes the class, when all its subs are there, and the names of subs that are called when an object is made.
sub watch {
    ($class, my @called) = @_;
    %own = map { $_ => $class->can($_) } @called;
    @names = _names_of_subs();
}

sub _names_of_subs {
    no strict 'refs';
    return grep { defined &{"${class}::$_"} } sort keys %{"${class}::"};
}

my ($generation, $is_changed) = (0);

# Returns true if the constructor is not the one that Moo made, if a sub was added or removed, or if one of those that `watch` was
# given was replaced. Perl counts the changes of a package's subs.
sub has_any {
    my $now = mro::get_pkg_gen($class);
    return $is_changed if $now == $generation;
    $is_changed =
           "@{[_names_of_subs()]}" ne "@names"
        || grep({ $class->can($_) != $own{$_} } keys %own)
        || !_is_constructor_of_moo();
    $generation = $now;
    return $is_changed;
}

# Moo makes a constructor when it is called for the first time.
sub _is_constructor_of_moo {
    my ($name) = @{ Sub::Defer::defer_info($class->can('new')) || [] };
    return defined $name && $name eq "${class}::new";
}

1;
