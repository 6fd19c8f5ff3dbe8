package AnyEvent::WebSocket::Native::Options;

# The attributes of a connection, in one table. To add one, add it here, to the documentation in Connection.pm, and to a
# test. If it is native, the library must know its name too.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Overrides ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Scalar::Util ();

our @CARP_NOT = qw( AnyEvent::WebSocket::Native::Util Class::Method::Modifiers Moo::Object );

# The kinds of numbers: a description for error texts, and a sub that returns a plain number.
my %NUMBER = (
    count => ['a whole number, or undef', \&AnyEvent::WebSocket::Native::Number::whole],
    seconds => ['a number of seconds', \&AnyEvent::WebSocket::Native::Number::seconds],
);

my $ONLY_FOR_NEW = 'it can only be given to new';

# name => {
#   kind        count or seconds, where undef and '' mean the default; or flag; otherwise anything
#   default     the default value, or a sub that returns it
#   environment a variable that switches a flag on for connections that are made while it is set
#   is_shown    true if the accessor returns the default, not undef, for an attribute that was not set
#   read_only   the reason why it cannot be set, for the error text
#   native      true if it is a setting of the library, which knows it by the same name
#   on_change   the sub in AnyEvent::WebSocket::Native that applies a new value; it is called with the connection
#   since       our version that added it; missing if it is the original's
#   required    true if new requires it
# }
# An attribute without kind and read_only is only stored.
my %OPTION = (
    handle => { required => 1, read_only => $ONLY_FOR_NEW },
    masked => { kind => 'flag', default => 0, is_shown => 1, read_only => $ONLY_FOR_NEW, native => 1 },
    subprotocol => { read_only => $ONLY_FOR_NEW },
    max_payload_size => { kind => 'count', default => \&_max_payload_size, native => 1 },
    max_fragments => { kind => 'count', default => \&_max_fragments, native => 1 },
    close_code => {},
    close_reason => {},
    close_error => {},
    close_timeout => { since => '1.000', kind => 'seconds', default => 30, is_shown => 1 },
    deflate => {
        since => '1.000', read_only => 'it can be given to new, or to enable_deflate', on_change => 'Compression::enable_given',
    },
    idle_timeout => { since => '1.000', kind => 'seconds', on_change => 'Keepalive::start_idle_timer' },
    max_buffered_amount => { since => '1.000', kind => 'count', on_change => 'Backpressure::backlogged' },
    max_control_rate => { since => '1.000', kind => 'count', default => 0, native => 1 },
    max_message_size => { since => '1.000', kind => 'count', default => 0, native => 1 },
    ping_interval => { since => '1.000', kind => 'seconds', on_change => 'Keepalive::start_keepalive' },
    ping_timeout => { since => '1.000', kind => 'seconds', default => 20, on_change => 'Keepalive::start_keepalive' },
    strict => {
        since => '1.000', kind => 'flag', default => 0, environment => 'ANYEVENT_WEBSOCKET_STRICT', is_shown => 1, native => 1,
    },
);

my @NATIVE = grep { $OPTION{$_}{native} } names();
my @ENVIRONMENT = grep { $OPTION{$_}{environment} } names();
my @VARIABLES = map { $OPTION{$_}{environment} } @ENVIRONMENT;
AnyEvent::WebSocket::Native::Util::switched_on($_) for @VARIABLES;
my %IS_NUMBER = map { $_ => 1 } grep { $NUMBER{ $OPTION{$_}{kind} || '' } } names();

sub names { return sort keys %OPTION }

# Returns the names of the options that Client and Server pass on; the others belong to one connection.
sub settable {
    return grep { $OPTION{$_}{kind} && !$OPTION{$_}{read_only} } names();
}

# Warns of arguments of `new` that the original does not know.
sub warn_of_additions {
    my ($arguments) = @_;
    my @ignored = grep { $OPTION{$_}{since} && defined $arguments->{$_} } names();
    Carp::carp("ignored, since ANYEVENT_WEBSOCKET_PP is set: @ignored") if @ignored;
}

# --- defaults

sub _default {
    my ($name) = @_;
    my $default = $OPTION{$name}{default};
    return ref $default ? $default->() : $default;
}

# Programs set these package variables without loading that distribution.
sub _max_payload_size {
    no warnings 'once';
    return _limit_of_variable(MAX_PAYLOAD_SIZE => $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE, 65536);
}

sub _max_fragments {
    no warnings 'once';
    return _limit_of_variable(MAX_FRAGMENTS_AMOUNT => $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT, 128);
}

# The limits that these variables have had lately.
my %WHOLE;

sub _limit_of_variable {
    my ($variable, $value, $default) = @_;
    return $default unless defined $value && length $value;
    my $limit = AnyEvent::WebSocket::Native::Number::whole($value);
    $WHOLE{$value} = $limit if !ref $value && keys %WHOLE < 100;
    Carp::croak("\$Protocol::WebSocket::Frame::$variable must be a whole number, or undef") unless defined $limit;
    return $limit;
}

# --- the class

my ($class, %accessor, %on_change);

# Adds these attributes to a class with its `has`. The modules whose subs are named above must be loaded.
sub install {
    (my $has, $class) = @_;
    for my $name (names()) {
        my $option = $OPTION{$name};
        $has->($name => (is => $option->{read_only} ? 'ro' : 'rw', $option->{required} ? (required => 1) : ()));
        next if !$option->{kind} && !$option->{read_only};
        $on_change{$name} = _sub_named($option->{on_change}) if $option->{on_change};
        $on_change{$name} = \&_configure if $option->{native};
        $accessor{$name} = $option->{is_shown} ? _showing_accessor($name) : _accessor($name);
        no strict 'refs';
        no warnings 'redefine';
        *{"${class}::$name"} = $accessor{$name};
    }
}

sub _sub_named {
    my ($name) = @_;
    no strict 'refs';
    return \&{"AnyEvent::WebSocket::Native::$name"};
}

sub _configure {
    _sub_named('Engine::configure')->($_[0], native($_[0]));
}

sub _accessor {
    my ($name) = @_;
    return sub { @_ == 1 ? $_[0]{$name} : _set($name, @_) };
}

# The default is not stored in each connection, which saves memory.
sub _showing_accessor {
    my ($name) = @_;
    return sub { @_ != 1 ? _set($name, @_) : exists $_[0]{$name} ? $_[0]{$name} : _default($name) };
}

sub _set {
    my ($name, $self, $value) = @_;
    my $why_not = $OPTION{$name}{read_only};
    Carp::croak("$name is read-only: $why_not") if defined $why_not;
    check_value($name, $value);
    $self->{$name} = $value;
    $on_change{$name}->($self) if $on_change{$name};
    return $value;
}

# Croaks if the value is invalid.
sub check_value {
    my ($name, $value) = @_;
    my ($what, $number) = @{ $NUMBER{ $OPTION{$name}{kind} || '' } || return };
    Carp::croak("$name must be $what") if AnyEvent::WebSocket::Native::Number::is_given($value) && !defined $number->($value);
}

# --- a connection

# Takes the arguments of `new`. Croaks if an attribute is invalid. Returns the library's settings, as a reference to an array, and
# the names of the attributes that are set; a name may come twice. Returns no names if only the handle is given, as for most
# connections.
sub settings_of {
    my ($self, $arguments) = @_;
    return [_limits_of_variables($self)] if _has_only_handle($self, $arguments);
    _read_environment($self);
    my @set = _names_given($self, $arguments);
    _check($self, @set);
    return ([native($self)], @set);
}

sub _has_only_handle {
    my ($self, $arguments) = @_;
    return
           ref $self eq $class
        && ref $arguments->{handle} eq 'AnyEvent::Handle'
        && !grep({ $_ ne 'handle' && (defined $arguments->{$_} || !$OPTION{$_}) } keys %$arguments)
        && !grep({ $ENV{$_} } @VARIABLES)
        && !AnyEvent::WebSocket::Native::Overrides::has_any();
}

# Warns of names that are probably misspelt. Returns the names of the attributes that are set.
sub _names_given {
    my ($self, $arguments) = @_;
    my @names = keys %$arguments;
    AnyEvent::WebSocket::Native::Util::warn_of_slips(ref $self, $arguments, names()) if grep { !$OPTION{$_} } @names;
    # A program's subclass may set attributes by itself. Iterating over the hash of the connection takes memory for as long as
    # that exists.
    return ref $self eq $class ? grep { defined $self->{$_} } @names, @ENVIRONMENT : keys %$self;
}

# Croaks if one of the attributes that are set is invalid.
sub _check {
    my ($self, @set) = @_;
    my $handle = $self->handle;
    _check_handle($handle) if ref $handle ne 'AnyEvent::Handle';
    for my $name (@set) {
        check_value($name, $self->$name) if $IS_NUMBER{$name} && _is_ours($self, $name);
    }
    return;
}

sub _check_handle {
    my ($handle) = @_;
    Carp::croak('handle must be an AnyEvent::Handle'
            . (Scalar::Util::openhandle($handle) ? ': make one of this file handle with AnyEvent::Handle->new(fh => ...)' : ''))
        unless Scalar::Util::blessed $handle && ($handle->can('on_read') || $handle->can('AUTOLOAD'));
    return;
}

# Returns true if an attribute is ours. A program's subclass may use a name that the original does not have for something of
# its own.
sub _is_ours {
    my ($self, $name) = @_;
    return 1 if !$OPTION{$name}{since} || ref $self eq $class;
    return $self->can($name) == $accessor{$name};
}

# Returns the value in effect, as a plain number if it is one.
sub value {
    my ($self, $name) = @_;
    my $option = $OPTION{$name};
    # This is quick for most connections: they are of this class, and set few attributes. The original calls its accessors.
    return $option->{default} if $option->{since} && ref $self eq $class && !exists $self->{$name};
    return _of_environment($name) || _default($name) unless _is_ours($self, $name);
    my $value = $self->$name;
    my $kind = $option->{kind} or return $value;
    return $value ? 1 : 0 if $kind eq 'flag';
    return _default($name) if !defined $value;
    return AnyEvent::WebSocket::Native::Number::is_given($value) ? $NUMBER{$kind}[1]->($value) : _default($name);
}

sub _of_environment {
    my ($name) = @_;
    my $variable = $OPTION{$name}{environment};
    return defined $variable && $ENV{$variable} ? 1 : 0;
}

# Sets the flags that the environment switches on, unless they were passed to `new`.
sub _read_environment {
    my ($self) = @_;
    for my $name (@ENVIRONMENT) {
        next unless $ENV{ $OPTION{$name}{environment} };
        $self->{$name} = 1 if !defined $self->{$name} && _is_ours($self, $name);
    }
    return;
}

# Returns the names and values of the library's settings. The value that comes last counts. Those that have a constant default
# and are not set are left out: the library has the same defaults.
sub native {
    my ($self) = @_;
    return map { $_ => value($self, $_) } @NATIVE if ref $self ne $class || AnyEvent::WebSocket::Native::Overrides::has_any();
    return (_limits_of_variables($self), map { $_ => value($self, $_) } grep { defined $self->{$_} } @NATIVE);
}

# The result of usual_settings, and the limits for which it is right.
my ($usual, $usual_limits) = (undef, '');

# Returns the library's settings for a connection that has only a handle, by name, as a reference to an array that must not be
# changed; nothing if a program has changed what the constructor does.
sub usual_settings {
    return if AnyEvent::WebSocket::Native::Overrides::has_any() || grep { $ENV{$_} } @VARIABLES;
    no warnings 'once';
    my ($size, $amount) = ($Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE, $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT);
    return [_limits_of_variables({})] if ref $size || ref $amount;
    my $limits = ($size // '') . ',' . ($amount // '');
    ($usual, $usual_limits) = ([_limits_of_variables({})], $limits) if $limits ne $usual_limits;
    return $usual;
}

# Returns the limits that package variables set, unless the connection has its own. Connections are made by the thousand, with
# the same few limits.
sub _limits_of_variables {
    my ($self) = @_;
    no warnings 'once';
    my ($size, $amount) = ($Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE, $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT);
    return (
        defined $self->{max_payload_size} ? () : (max_payload_size => $WHOLE{ $size // '' } // _max_payload_size()),
        defined $self->{max_fragments} ? () : (max_fragments => $WHOLE{ $amount // '' } // _max_fragments()),
    );
}

# Applies the attributes that were passed to `new` and are not settings of the library.
sub take_effect {
    my ($self, @set) = @_;
    for my $name (@set) {
        my $apply = $on_change{$name} or next;
        $apply->($self) if !$OPTION{$name}{native} && value($self, $name);
    }
    return;
}

1;
