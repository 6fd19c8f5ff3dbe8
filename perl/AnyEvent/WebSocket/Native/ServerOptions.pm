package AnyEvent::WebSocket::Native::ServerOptions;

# The arguments of AnyEvent::WebSocket::Server that the original does not have.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Handshake::Compression ();
use AnyEvent::WebSocket::Native::Handshake::Deadline ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Handshake::Origins ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

my @OF_THE_ORIGINAL = qw( handshake max_payload_size ssl_cert_file ssl_key_file validator );
my @OF_THE_HANDSHAKE = qw( deflate handshake_timeout lenient origins reject strict subprotocols );

# The options of a connection that a server passes on.
my %IS_OWN = map { $_ => 1 } @OF_THE_HANDSHAKE;
my @OF_CONNECTIONS = grep { !$IS_OWN{$_} } AnyEvent::WebSocket::Native::Options::settable();

# Returns the names of all arguments of a server.
sub names {
    my %all = map { $_ => 1 } @OF_THE_ORIGINAL, @OF_THE_HANDSHAKE, @OF_CONNECTIONS;
    return sort keys %all;
}

# Returns the options of the handshake by name; `connection` are those of each connection, and `is_usual` is true if no option
# has to do with the response. Croaks if one is invalid, and warns of names that are probably misspelt.
sub of {
    my ($class, $args) = @_;
    AnyEvent::WebSocket::Native::Util::warn_of_slips($class, $args, names());
    my %options = map { $_ => $args->{$_} } grep { defined $args->{$_} } @OF_THE_HANDSHAKE;
    AnyEvent::WebSocket::Native::Handshake::Deadline::check($options{handshake_timeout});
    $options{handshake_timeout} = AnyEvent::WebSocket::Native::Handshake::Deadline::seconds($options{handshake_timeout});
    $options{deflate} = AnyEvent::WebSocket::Native::Handshake::Compression::options_of($options{deflate}) if $options{deflate};
    $options{origins} = AnyEvent::WebSocket::Native::Handshake::Origins::matcher($options{origins}) if exists $options{origins};
    Carp::croak('subprotocols must be a reference to an array')
        if exists $options{subprotocols} && ref $options{subprotocols} ne 'ARRAY';
    my %connection = map { $_ => $args->{$_} } grep { defined $args->{$_} } @OF_CONNECTIONS;
    AnyEvent::WebSocket::Native::Options::check_value($_, $connection{$_}) for sort keys %connection;
    delete $connection{max_payload_size};    # the server has it
    $connection{strict} = $args->{strict} if defined $args->{strict};
    $options{connection} = \%connection;
    $options{is_usual} = !grep { $options{$_} } qw( deflate lenient origins subprotocols );
    return \%options;
}

# Returns the value of `strict` among a server's options, which the environment may switch on.
sub strict {
    my ($options) = @_;
    return $options->{strict} // $ENV{ANYEVENT_WEBSOCKET_STRICT};
}

1;
