package AnyEvent::WebSocket::Native::Overrides;

# Finds out whether a program has changed how the class of connections makes its objects.

use strict;
use warnings;
use Moo ();
use Sub::Defer ();
use mro ();

my ($class, $buildargs, $generation_of, %own, $state);

# Takes the class, when all its attributes and subs are there; a sub that returns a number for it, which changes whenever one of its
# methods may have changed; and the names of subs that are called when an object is made.
sub watch {
    ($class, $generation_of, my @called) = @_;
    $buildargs = Moo::Object->can('BUILDARGS');
    %own = map { $_ => $class->can($_) } @called;
    $state = _state();
}

# Returns a text that differs if the class has other subs, other attributes or other parents.
sub _state {
    no strict 'refs';
    my @subs = grep { defined &{"${class}::$_"} } sort keys %{"${class}::"};
    my $maker = eval { Moo->_constructor_maker_for($class) } or return '';
    my $attributes = $maker->all_attribute_specs;
    return "@subs; @{[map { ($_, 0 + $attributes->{$_}) } sort keys %$attributes]}; @{ mro::get_linear_isa($class) }";
}

my ($generation, $is_changed) = (0);

# Returns true if the constructor is not the one that Moo made, if a sub, an attribute or a parent was added or replaced, or one
# of the subs that `watch` was given.
sub has_any {
    return $is_changed if $generation == $generation_of->($class);
    $is_changed =
           _state() ne $state
        || $state eq ''
        || $class->can('DEMOLISH')
        || ($class->can('BUILDARGS') || 0) != $buildargs
        || grep({ ($class->can($_) || 0) != $own{$_} } keys %own)
        || !_is_constructor_of_moo();
    # Looking up methods may have changed it.
    $generation = $generation_of->($class);
    return $is_changed;
}

# Moo makes a constructor when it is called for the first time.
sub _is_constructor_of_moo {
    my ($name) = @{ Sub::Defer::defer_info($class->can('new')) || [] };
    return defined $name && $name eq "${class}::new";
}

1;
