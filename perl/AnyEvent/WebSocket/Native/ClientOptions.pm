package AnyEvent::WebSocket::Native::ClientOptions;

# The attributes of AnyEvent::WebSocket::Client that the original does not have.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Handshake::Compression ();
use AnyEvent::WebSocket::Native::Handshake::Deadline ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();

our @CARP_NOT = qw( AnyEvent::WebSocket::Native::Util Class::Method::Modifiers Moo::Object );

my @OF_THE_ORIGINAL =
    qw( env_proxy http_headers max_fragments max_payload_size protocol_version ssl_ca_file ssl_no_verify subprotocol timeout );
my @OWN = qw(
    deflate handshake_timeout http_headers_replace lenient max_redirects on_refused ssl_cert_file ssl_key_file ssl_sni strict tls_ctx
);
my %IS_KNOWN = map { $_ => 1 } @OF_THE_ORIGINAL, @OWN;
my @OF_CONNECTIONS = grep { !$IS_KNOWN{$_} } AnyEvent::WebSocket::Native::Options::settable();
my %IS_OF_CONNECTION = map { $_ => 1 } @OF_CONNECTIONS, 'strict';

# Returns the names of all attributes of a client.
sub names { return sort @OF_THE_ORIGINAL, @OWN, @OF_CONNECTIONS }

my ($class, %accessor);

# Adds these attributes to the class with its `has`.
sub install {
    (my $has, $class) = @_;
    for my $name (@OWN, @OF_CONNECTIONS) {
        $has->($name => (is => 'ro'));
        $accessor{$name} = $class->can($name);
    }
    return;
}

# Converts http_headers to a reference to an array of names and values.
sub headers {
    my ($headers) = @_;
    return $headers if ref $headers eq 'ARRAY';
    my @pairs;
    for my $name (sort keys %$headers) {
        my $value = $headers->{$name};
        push @pairs, map { $name => $_ } ref $value ? @$value : $value;
    }
    return \@pairs;
}

# Croaks if an argument of `new` is invalid, and warns of names that are probably misspelt.
sub check {
    my ($self, $arguments) = @_;
    AnyEvent::WebSocket::Native::Util::warn_of_slips(ref $self, $arguments, names())
        if grep { !$IS_KNOWN{$_} } keys %$arguments;
    my %value = map { $_ => value($self, $_) } grep { exists $self->{$_} } @OWN, @OF_CONNECTIONS;
    AnyEvent::WebSocket::Native::Handshake::Deadline::check($value{handshake_timeout});
    AnyEvent::WebSocket::Native::Handshake::Compression::options_of($value{deflate}) if $value{deflate};
    Carp::croak('on_refused must be a code reference') if defined $value{on_refused} && ref $value{on_refused} ne 'CODE';
    Carp::croak('max_redirects must be a whole number')
        if defined $value{max_redirects} && !defined AnyEvent::WebSocket::Native::Number::whole($value{max_redirects});
    Carp::croak('ssl_key_file needs ssl_cert_file') if defined $value{ssl_key_file} && !defined $value{ssl_cert_file};
    Carp::croak('tls_ctx cannot be combined with ' . join ' and ', @{ _beside_tls_ctx($self) })
        if defined $value{tls_ctx} && @{ _beside_tls_ctx($self) };
    AnyEvent::WebSocket::Native::Options::check_value($_, $value{$_}) for grep { exists $value{$_} } @OF_CONNECTIONS;
    return;
}

sub _beside_tls_ctx {
    my ($self) = @_;
    return [grep { defined $self->{$_} } qw( ssl_ca_file ssl_cert_file ssl_key_file )];
}

# Returns the value of an attribute; undef if a program's subclass has something of its own with that name.
sub value {
    my ($self, $name) = @_;
    return $self->{$name} if ref $self eq $class;
    my $accessor = $self->can($name);
    return $accessor && $accessor == $accessor{$name} ? $self->$name : undef;
}

# Returns the values of several attributes.
sub values {
    my ($self, @names) = @_;
    return @$self{@names} if ref $self eq $class;
    return map { scalar value($self, $_) } @names;
}

# Returns the attributes that are passed on to a connection.
sub of_connection {
    my ($self) = @_;
    my ($size, $amount) = ($self->max_payload_size, $self->max_fragments);
    my @own = grep { $IS_OF_CONNECTION{$_} } keys %$self;
    return if !@own && !defined $size && !defined $amount;    # most clients
    my %value = (max_payload_size => $size, max_fragments => $amount);
    $value{$_} = value($self, $_) for @own;
    return map { defined $value{$_} ? ($_ => $value{$_}) : () } sort keys %value;
}

1;
