package AnyEvent::WebSocket::Reconnecting::Options;

# The options of AnyEvent::WebSocket::Reconnecting, in one table.

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();
use AnyEvent::WebSocket::Native::ClientOptions ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Util ();
use AnyEvent::WebSocket::Reconnecting::Client ();
use Carp ();
use Scalar::Util ();

our $VERSION = '1.000';

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# The kinds of values: a description for error texts, and a sub that returns the value, or undef if it is invalid.
my %KIND = (
    count => ['a whole number', \&AnyEvent::WebSocket::Native::Number::whole],
    factor => ['a number of at least 1', sub { Scalar::Util::looks_like_number($_[0]) && $_[0] >= 1 ? 0 + $_[0] : undef }],
    flag => ['true or false', sub { $_[0] ? 1 : 0 }],
    seconds => ['a number of seconds', \&AnyEvent::WebSocket::Native::Number::seconds],
    sub => ['a reference to a sub', sub { ref $_[0] eq 'CODE' ? $_[0] : undef }],
    any => ['anything', sub { $_[0] }],
);

# name => [kind, default]. undef stands for the default.
my %OPTION = (
    autostart => [flag => 1],
    client => [any => {}],
    connect_timeout => [seconds => 30],
    delay_factor => [factor => 2],
    initial_delay => [seconds => 1],
    max_attempts => [count => 0],
    max_delay => [seconds => 60],
    max_queue => [count => 1000],
    max_queue_bytes => [count => 1_000_000],
    random => [sub => sub { rand }],
    retry_if => [sub => sub { !$_[1]->is_final }],
    stable_after => [seconds => 10],
    subscribe => [sub => undef],
    uri => [any => undef],
);

# The options that are set on each connection. The other options of a connection concern the handshake too, or the original takes
# them only when it makes a connection: they are for the client.
my %IS_FOR_CONNECTION = map { $_ => 1 }
    grep { !/\A(?:max_fragments|max_payload_size|strict)\z/ } AnyEvent::WebSocket::Native::Options::settable();

sub names { return sort keys %OPTION, keys %IS_FOR_CONNECTION }

# Returns the options, with defaults. Those for connections are a hash among them.
sub of_arguments {
    my (%given) = @_;
    my ($unknown) = grep { !$OPTION{$_} && !$IS_FOR_CONNECTION{$_} } sort keys %given;
    Carp::croak("new: $unknown is an argument of the client: client => { $unknown => ... }")
        if grep { defined $unknown && $_ eq $unknown } AnyEvent::WebSocket::Native::ClientOptions::names();
    Carp::croak("new: there is no option $unknown; the options are " . AnyEvent::WebSocket::Native::Util::list_of(names()))
        if defined $unknown;
    my %options = map { $_ => _value($_, $given{$_}) } keys %OPTION;
    Carp::croak('new: uri is missing') unless defined $options{uri} && length $options{uri};
    _check_client($options{client});
    $options{for_connection} = _for_connection(%given);
    return \%options;
}

sub _value {
    my ($name, $given) = @_;
    my ($kind, $default) = @{ $OPTION{$name} };
    return $default unless defined $given;
    my ($what, $read) = @{ $KIND{$kind} };
    my $value = $read->($given);
    Carp::croak("$name must be $what") unless defined $value;
    return $value;
}

sub _check_client {
    my ($client) = @_;
    return if ref $client eq 'CODE' || Scalar::Util::blessed $client && $client->can('connect');
    Carp::croak('client must be an AnyEvent::WebSocket::Client, a reference to a hash of its arguments, or a sub')
        unless ref $client eq 'HASH';
    client_of($client);
}

# Returns a client with the arguments in the hash, which a client on its own would partly ignore.
sub client_of {
    my ($arguments, @more) = @_;
    my $class = 'AnyEvent::WebSocket::Reconnecting::Client';
    my ($unknown) = grep { !$class->can($_) } sort keys %$arguments;
    _no_attribute($class, $unknown) if defined $unknown;
    my $client = eval { $class->new(%$arguments, @more) };
    Carp::croak('client: ' . $@ =~ s/ at (?:(?! at ).)+ line [0-9]+\.?\n\z//sr) unless $client;
    return $client;
}

sub _no_attribute {
    my ($class, $unknown) = @_;
    my @known = grep { $class->can($_) } AnyEvent::WebSocket::Native::ClientOptions::names();
    my $meant = AnyEvent::WebSocket::Native::Util::meant($unknown, @known);
    my $question = defined $meant ? "; did you mean $meant?" : '';
    Carp::croak("client: AnyEvent::WebSocket::Client has no attribute $unknown$question");
}

sub _for_connection {
    my (%given) = @_;
    my @names = sort grep { $IS_FOR_CONNECTION{$_} && defined $given{$_} } keys %given;
    AnyEvent::WebSocket::Native::Options::check_value($_, $given{$_}) for @names;
    Carp::carp("ignored, since connections are those of the original: @names")
        if @names && AnyEvent::WebSocket::Native->backend eq 'pp';
    return { map { $_ => $given{$_} } @names };
}

1;
