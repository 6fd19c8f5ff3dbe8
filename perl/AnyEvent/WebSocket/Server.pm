package    # hide from PAUSE: the name is another author's
    AnyEvent::WebSocket::Server;

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();
use AnyEvent::WebSocket::Native::Loader ();

our $VERSION = '1.000';

my $backend = AnyEvent::WebSocket::Native::Loader::load_class('Server', __FILE__);

sub backend { $backend }

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Server - accepts WebSocket connections on AnyEvent's loop, with a native handshake

=head1 SYNOPSIS

  use AnyEvent;
  use AnyEvent::Socket;
  use AnyEvent::WebSocket::Server;

  my $server = AnyEvent::WebSocket::Server->new(handshake_timeout => 10);
  my %connections;

  my $guard = tcp_server undef, 8080, sub {
    my($fh) = @_;
    $server->establish($fh)->cb(sub {
      my($connection) = eval { $_[0]->recv } or return warn "no connection: $@";
      $connections{0 + $connection} = $connection;
      $connection->on(each_message => sub { $_[0]->send($_[1]) });
      $connection->on(finish => sub { delete $connections{0 + $_[0]} });
    });
  };

  AE::cv->recv;

=head1 DESCRIPTION

An object of this class does the server's half of the opening handshake on file handles that the program has accepted, or got
from a PSGI server. This class stands in for the one of the distribution AnyEvent-WebSocket-Server, which is called the
original here. Its interface, its error texts and what it sends are the original's, to the byte; requests are checked as
RFC 6455 demands.

The connections are objects of L<AnyEvent::WebSocket::Connection>. One that the program does not keep is closed at once.

Entries say I<Not in the original> where they add to it. With C<ANYEVENT_WEBSOCKET_PP=1> the original is loaded, which
ignores such arguments.

=head1 CONSTRUCTOR

=head2 new

  my $server = AnyEvent::WebSocket::Server->new(%options);

Takes L</ARGUMENTS> by name. An invalid value of an argument that the original does not have raises an exception at the
caller's line. Unknown names are ignored, as in the original, with a warning if another argument was probably meant.

=head1 ARGUMENTS

Besides those listed here, it takes the options of a connection, and passes them on: C<close_timeout>, C<idle_timeout>,
C<max_buffered_amount>, C<max_control_rate>, C<max_fragments>, C<max_message_size>, C<ping_interval> and C<ping_timeout>; see
L<AnyEvent::WebSocket::Connection/ATTRIBUTES>. I<Not in the original.>

=head2 deflate

  my $server = AnyEvent::WebSocket::Server->new(deflate => { threshold => 1024 });

Accepts compression if the client offers it: a reference to a hash of L<AnyEvent::WebSocket::Deflate/OPTIONS>, or 1 for the
usual ones. Default: none is accepted. I<Not in the original.>

=head2 handshake

  my $server = AnyEvent::WebSocket::Server->new(handshake => sub {
    my($request, $response) = @_;
    die "no such room\n" unless $request->resource_name =~ m{^/room/};
    return ($response, $request->fields->{cookie});
  });

Is called with each valid request whose origin is allowed: a L<Protocol::WebSocket::Request>, and the
L<Protocol::WebSocket::Response> that accepts it. Returns the response to send, which may be a string, and any other values,
which C<recv> returns behind the connection. If it dies, the handshake has failed, and C<recv> dies with the same exception; a
string then gets C<at FILE line NUMBER.> at its end.

Of the request, C<resource_name> is the path with the query, and C<fields> a reference to a hash of the headers, their names in
small letters. Its C<cookies> is an object of Protocol::WebSocket::Cookie, whose C<pairs> is a reference to an array of pairs.

To set a cookie, call C<< $response->cookie(name => 'id', value => 42) >>. For any other header, return the response as a string:

  my $server = AnyEvent::WebSocket::Server->new(handshake => sub {
    my($request, $response) = @_;
    return $response->to_string =~ s/(?=\r\n\z)/X-Served-By: here\r\n/r;
  });

A string is sent as it is (but if it is a 101, L</deflate> adds its header), even if it refuses: there is a connection all the
same. So to refuse with a status of your own, also
return a value that says so, and drop the connection:

  my $server = AnyEvent::WebSocket::Server->new(handshake => sub {
    my($request, $response) = @_;
    return $response if $request->resource_name =~ m{^/room/};
    return ("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n", 'no such room');
  });

  $server->establish($socket)->cb(sub {
    my($connection, $problem) = eval { $_[0]->recv } or return;
    return warn "refused: $problem\n" if defined $problem;
    ...
  });

=head2 handshake_timeout

  my $server = AnyEvent::WebSocket::Server->new(handshake_timeout => 10);

The number of seconds that TLS and the request may take. 0 waits forever. Default 60. I<Not in the original>, which waits
forever.

=head2 lenient

  my $server = AnyEvent::WebSocket::Server->new(lenient => 1);

If true, accepts every request that the original accepts, even if it is malformed, and refuses what that refuses. Default 0.
I<Not in the original.>

=head2 max_payload_size

  my $server = AnyEvent::WebSocket::Server->new(max_payload_size => 1_000_000);

L<AnyEvent::WebSocket::Connection/max_payload_size> of the connections.

=head2 origins

  my $server = AnyEvent::WebSocket::Server->new(origins => ['https://example.com', qr{^https://[a-z]+\.example\.com\z}, undef]);

The origins from which browsers may connect: a reference to an array of strings, whose case does not matter, regular
expressions, and undef for requests without the header C<Origin>. An origin is a scheme, a host and perhaps a port, as in the
header, without a path or a slash at the end; another string raises an exception. Any page that a user visits can connect to a server that
does not check this. Default: all are allowed. I<Not in the original.>

Browsers always send the header, and some other programs do too. L<AnyEvent::WebSocket::Client> and
L<AnyEvent::WebSocket::Blocking> send the server's own origin, such as C<http://localhost:8080>, unless the program replaces it.
So list that origin, too, if they are to connect; undef does not stand for them.

=head2 reject

  my $server = AnyEvent::WebSocket::Server->new(reject => 1);

If true, a client whose handshake fails gets an HTTP response, and the connection is closed. Otherwise nothing is sent, and the
file handle is left to the program. Default 0. I<Not in the original.>

The status is 403 if the origin is not allowed or the callback died, and 500 if the callback returned nothing. It is 426 for a
request that does not ask for a WebSocket, 408 if none came in time, and otherwise 400, 405, 431 or 505. The body names the
problem, but not with 403 and 500: a stranger does not learn what the callback has said.

=head2 ssl_cert_file

  my $server = AnyEvent::WebSocket::Server->new(ssl_cert_file => 'server.pem', ssl_key_file => 'server.key');

A file with the server's certificate, which makes it a server for wss. The file is read for each connection, so a certificate
can be renewed at any time. For other settings of TLS, such as certificates of clients, see L</SUBCLASSES>.

=head2 ssl_key_file

  my $server = AnyEvent::WebSocket::Server->new(ssl_cert_file => 'server.pem', ssl_key_file => 'server.key');

A file with the key of L</ssl_cert_file>. Default: it is in the same file.

=head2 strict

  my $server = AnyEvent::WebSocket::Server->new(strict => 1);

If true, a request must also follow rules that clients in use break without harm: the key is 16 bytes in base64, headers that may
come once come once, each line ends in CR LF, the target is a path or a URL, and nothing follows the request before it is
answered. It also is L<AnyEvent::WebSocket::Connection/strict> of the connections. Default 0, or 1 if the environment variable
C<ANYEVENT_WEBSOCKET_STRICT> is true. I<Not in the original.>

=head2 subprotocols

  my $server = AnyEvent::WebSocket::Server->new(subprotocols => ['chat.v2', 'chat.v1']);

The subprotocols that the server speaks, best first. The first in this list that the client asks for is chosen, whatever the
client prefers, before L</handshake> is called. It is L<AnyEvent::WebSocket::Connection/subprotocol>. If the client asks for none of them, none is chosen. Default: none is chosen. I<Not
in the original.>

=head2 validator

  my $server = AnyEvent::WebSocket::Server->new(validator => sub {
    my($request) = @_;
    die "no such room\n" unless $request->resource_name =~ m{^/room/};
    return $request->fields->{cookie};
  });

As L</handshake>, for a program that does not change the response: it gets only the request, and returns only the other values.
It is ignored if there is a C<handshake>.

=head1 METHODS

=head2 backend

  my $name = AnyEvent::WebSocket::Server->backend;

Returns C<rust> for this class, or C<pp> if C<ANYEVENT_WEBSOCKET_PP> has made this class load the original. I<Not in the
original.>

=head2 establish

  my $condvar = $server->establish($fh);

Starts the handshake on a connected socket, and returns a condvar (see L<AnyEvent>). Its C<recv> returns an
L<AnyEvent::WebSocket::Connection>, and in list context also the other values of L</handshake>; or it dies with one of
L</ERRORS>. The file handle belongs to the connection then. If the handshake fails, it stays open, and is non-blocking.

The handshake goes on if the program drops the server or the condvar.

=head2 establish_psgi

  my $condvar = $server->establish_psgi($env);
  $condvar = $server->establish_psgi($env, $socket);

As L</establish>, for a request that a PSGI server has read. C<$env> is the PSGI environment; its C<psgix.io> is the file handle
unless there is another. The handshake is done when it returns. The PSGI server must support C<psgi.streaming>, and run on
AnyEvent's loop, as L<Twiggy> does.

  my %connections;

  my $app = sub {
    my($env) = @_;
    return sub {
      my($respond) = @_;
      $server->establish_psgi($env)->cb(sub {
        my($connection) = eval { $_[0]->recv } or return $respond->([400, [], []]);
        $connections{0 + $connection} = $connection;
        $connection->on(finish => sub { delete $connections{0 + $_[0]} });
      });
    };
  };

C<$respond> is not called for a connection. With L</reject>, it need not be called at all: the client has got its response.

F<examples/chat/chat.psgi> is a whole application. F<examples/http-and-websocket.pl> serves a page on the same port without
PSGI: it reads the requests itself, and makes the environment with L<HTTP::Parser::XS>.

=head1 ERRORS

The condvar dies with a string, which ends in C<at FILE line NUMBER.>, or with the exception of the callback. These are the
strings' beginnings:

=over

=item fh parameter is mandatory for establish() method

=item psgi_env parameter is mandatory

=item No connection file handle provided. Maybe the PSGI server does not support psgix.io extension.

An argument is missing.

=item connection error:

The connection ended during the handshake. What follows comes from the system, or from TLS.

=item handshake error: no complete request within 60 s

=item handshake error: the TLS handshake was not complete within 60 s

The client was silent for L</handshake_timeout>.

=item handshake error: the origin is not allowed:

See L</origins>.

=item handshake error:

The request is malformed, larger than 64 KiB, or none for a WebSocket.

=item handshake response was undef

The callback returned nothing.

=back

C<$Protocol::WebSocket::Message::MAX_MESSAGE_SIZE> limits a line of the request, by default to 20480 bytes. If a program sets it
to something else, that also is the limit of the whole request.

If only L</ssl_key_file> is given, or a file cannot be read, C<establish> itself dies.

=head1 SUBCLASSES

C<_handle_args_tls>, which returns arguments for L<AnyEvent::Handle>, and C<_do_handshake($condvar, $fh, $handshake)>, with a
L<Protocol::WebSocket::Handshake::Server>, may be overridden. For example, this server demands of each client a certificate that
its own authority has issued; the whole program is in L<AnyEvent::WebSocket::Native::Manual/Certificates of clients>:

  {
    package My::Server;
    use Moo;
    extends 'AnyEvent::WebSocket::Server';

    sub _handle_args_tls {
      my %context = (cert_file => 'server.pem', ca_file => 'ca.pem', verify => 1, verify_require_client_cert => 1);
      return (tls => 'accept', tls_ctx => \%context);
    }
  }

=head1 SEE ALSO

L<AnyEvent::WebSocket::Connection>, L<AnyEvent::WebSocket::Client>, L<AnyEvent::WebSocket::Native::Manual>, RFC 6455

=cut
