package    # the class of AnyEvent/WebSocket/Server.pm, where its documentation stands
    AnyEvent::WebSocket::Server;

# This package contains only what programs may call or override.

use strict;
use warnings;
use AnyEvent ();
use AnyEvent::Handle ();
use AnyEvent::WebSocket::Connection ();
use AnyEvent::WebSocket::Native::Handshake::Accepting ();
use AnyEvent::WebSocket::Native::ServerOptions ();
use Carp ();
use Protocol::WebSocket::Handshake::Server ();

our @CARP_NOT =
    map { "AnyEvent::WebSocket::Native::$_" }
    qw( Handshake::Compression Handshake::Deadline Handshake::Origins Options ServerOptions Util );

sub new {
    my ($class, %args) = @_;
    my $validator = $args{validator};
    Carp::croak('validator parameter must be a code-ref') if defined $validator && ref $validator ne 'CODE';
    my $handshake = $args{handshake};
    $handshake = sub { my ($request, $response) = @_; return ($response, $validator->($request)) }
        if !defined $handshake && defined $validator;
    Carp::croak('handshake parameter must be a code-ref') if defined $handshake && ref $handshake ne 'CODE';
    my $self = bless { map { $_ => $args{$_} } qw( ssl_key_file ssl_cert_file max_payload_size ) }, $class;
    $self->{handshake} = $handshake || \&AnyEvent::WebSocket::Native::Handshake::Accepting::accept_as_it_is;
    $self->{_ws_options} = AnyEvent::WebSocket::Native::ServerOptions::of($class, \%args);
    return $self;
}

sub _handle_args_tls {
    my ($self) = @_;
    my ($key, $certificate) = @$self{qw( ssl_key_file ssl_cert_file )};
    return () if !defined $key && !defined $certificate;
    Carp::croak('Only ssl_key_file is specified. You need to specify ssl_cert_file, too.') if !defined $certificate;
    return (tls => 'accept', tls_ctx => { cert_file => $certificate, defined $key ? (key_file => $key) : () });
}

# Programs override or replace this, and then `handshake` is a Protocol::WebSocket::Handshake::Server, with the request if that
# came through PSGI.
sub _do_handshake {
    my ($self, $done, $fh, $handshake) = @_;
    AnyEvent::WebSocket::Native::Handshake::Accepting::start($self, $done, $fh, $handshake);
    return;
}

my $own_do_handshake = \&_do_handshake;

sub establish {
    my ($self, $fh) = @_;
    my $done = AnyEvent->condvar;
    if (!defined $fh) {
        $done->croak('fh parameter is mandatory for establish() method');
        return $done;
    }
    if ($self->can('_do_handshake') == $own_do_handshake) {
        AnyEvent::WebSocket::Native::Handshake::Accepting::start($self, $done, $fh);
    } else {
        $self->_do_handshake($done, $fh, Protocol::WebSocket::Handshake::Server->new);
    }
    return $done;
}

sub establish_psgi {
    my ($self, $env, $fh) = @_;
    my $done = AnyEvent->condvar;
    if (!defined $env) {
        $done->croak('psgi_env parameter is mandatory');
        return $done;
    }
    $fh = $env->{'psgix.io'} if !defined $fh;
    if (!defined $fh) {
        $done->croak('No connection file handle provided. Maybe the PSGI server does not support psgix.io extension.');
        return $done;
    }
    my $handshake = Protocol::WebSocket::Handshake::Server->new_from_psgi($env);
    if ($self->{_ws_options}{deflate} && defined(my $offers = $env->{HTTP_SEC_WEBSOCKET_EXTENSIONS})) {
        $handshake->req->fields->{'sec-websocket-extensions'} = $offers;
    }
    if (AnyEvent::WebSocket::Native::ServerOptions::strict($self->{_ws_options}) && ($env->{REQUEST_METHOD} // '') ne 'GET') {
        AnyEvent::WebSocket::Native::Handshake::Accepting::refuse_method($self, $done, $fh);
        return $done;
    }
    $self->_do_handshake($done, $fh, $handshake);
    return $done;
}

1;
