package    # hide from PAUSE: the name is another author's
    AnyEvent::WebSocket::Client;

use strict;
use warnings;
use AnyEvent::WebSocket::Native ();
use AnyEvent::WebSocket::Native::Loader ();

our $VERSION = '1.000';

my $backend = AnyEvent::WebSocket::Native::Loader::load_class('Client', __FILE__);

sub backend { $backend }

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Client - opens WebSocket connections on AnyEvent's loop, with a native handshake

=head1 SYNOPSIS

  use AnyEvent;
  use AnyEvent::WebSocket::Client;

  my $client = AnyEvent::WebSocket::Client->new(handshake_timeout => 10);
  my $finished = AE::cv;
  my $connection;

  $client->connect('ws://localhost:5000/feed')->cb(sub {
    $connection = eval { $_[0]->recv } or return $finished->croak("no connection: $@");
    $connection->on(each_message => sub {
      my($connection, $message) = @_;
      print $message->decoded_body, "\n";
    });
    $connection->on(finish => sub { $finished->send });
  });

  $finished->recv;

=head1 DESCRIPTION

An object of this class holds settings, and opens any number of connections with them. This class stands in for one of the
same name in the distribution AnyEvent-WebSocket-Client, which is called the original here. Its interface, its error texts
and what it sends are the original's, to the byte; what it accepts is checked as RFC 6455 demands. It can be subclassed with
L<Moo>.

The connections are objects of L<AnyEvent::WebSocket::Connection>. One that the program does not keep is closed at once.

Entries say I<Not in the original> where they add to it. With C<ANYEVENT_WEBSOCKET_PP=1> the original is loaded, which
ignores such attributes.

=head1 CONSTRUCTOR

=head2 new

  my $client = AnyEvent::WebSocket::Client->new(%options);

Takes L</ATTRIBUTES> by name. An invalid value of an attribute that the original does not have raises an exception at the
caller's line. Unknown names are ignored, as in the original, with a warning if another attribute was probably meant.

  my $client = AnyEvent::WebSocket::Client->new(subprotocol => 'chat', max_payload_size => 1_000_000);

=head1 ATTRIBUTES

All are read-only. They are read when a connection is made, those of the original through their accessors, so a subclass may
compute them. A subclass's own method that has the name of another attribute is taken for something else, and not called. Of
those that are not in the original, one that is not set returns undef, not its default.

Besides those listed here, it takes the options of a connection, and passes them on: C<close_timeout>, C<idle_timeout>,
C<max_buffered_amount>, C<max_control_rate>, C<max_message_size>, C<ping_interval> and C<ping_timeout>; see
L<AnyEvent::WebSocket::Connection/ATTRIBUTES>. I<Not in the original.>

=head2 deflate

  my $client = AnyEvent::WebSocket::Client->new(deflate => { level => 6 });

Offers compression to the server: a reference to a hash of L<AnyEvent::WebSocket::Deflate/OPTIONS>, or 1 for the usual ones.
The server may decline. Default: none is offered. I<Not in the original.>

=head2 env_proxy

  my $client = AnyEvent::WebSocket::Client->new(env_proxy => 1);

If true, connects through the HTTP proxy that the environment names: for ws C<ws_proxy>, then C<http_proxy>; for wss
C<wss_proxy>, then C<https_proxy>. C<no_proxy> lists suffixes of host names that need none. Names in capitals are looked at
if those in small letters are not set. It needs L<AnyEvent::Connector>. Default 0.

=head2 handshake_timeout

  my $client = AnyEvent::WebSocket::Client->new(handshake_timeout => 10);

The number of seconds that TLS and the opening handshake may take once there is a TCP connection. 0 waits forever. Default
60. I<Not in the original>, which waits forever.

=head2 http_headers

  my $client = AnyEvent::WebSocket::Client->new(http_headers => [ Cookie => 'session=1', 'X-Trace' => 'abc' ]);

Headers to add to the request: a reference to an array of names and values, or to a hash, whose values may be references to
arrays. Headers of an array are sent in its order, those of a hash sorted by name. They come after the client's own headers
and do not replace them; see L</http_headers_replace>. Line ends in them are left out. Default: none.

The client's own headers include C<Host> and C<Origin>, which it takes from the URL: a request to C<wss://example.com/feed> has
the origin C<https://example.com>, as if a page of that server had made it.

=head2 http_headers_replace

  my $client = AnyEvent::WebSocket::Client->new(http_headers => { Origin => 'https://example.com' }, http_headers_replace => 1);

If true, a header in L</http_headers> replaces the client's own of the same name, for instance C<Origin> or C<Host>. Otherwise
both are sent, and a server that checks the origin may refuse the request. A header cannot be left out: an empty value is sent
as such. Default 0. I<Not in the original.>

=head2 lenient

  my $client = AnyEvent::WebSocket::Client->new(lenient => 1);

If true, accepts every response that the original accepts, though the server has not proved that it speaks WebSocket. Default
0. I<Not in the original.>

=head2 max_fragments

  my $count = $client->max_fragments;

L<AnyEvent::WebSocket::Connection/max_fragments> of the connections.

=head2 max_payload_size

  my $bytes = $client->max_payload_size;

L<AnyEvent::WebSocket::Connection/max_payload_size> of the connections.

=head2 max_redirects

  my $client = AnyEvent::WebSocket::Client->new(max_redirects => 3);

How many redirects (301, 302, 303, 307, 308) to follow. One that leads from wss to ws is not followed. The headers
C<Authorization>, C<Cookie> and C<Proxy-Authorization> in L</http_headers> are not sent to another host. L</on_refused> is not
called for a redirect that is followed, but for one too many. Default 0. I<Not in the original.>

=head2 on_refused

  my $client = AnyEvent::WebSocket::Client->new(on_refused => sub {
    my($refusal) = @_;
    warn $refusal->status, ': ', $refusal->body, "\n";
  });

Is called with the response of a server that refuses, with any status but 101, before the condvar gets its error. It does not
say which URL was refused; a program with several gives each a client of its own. An exception in it is a warning. The object
has these methods; as a string, it is the error text. I<Not in the original.>

=over

=item status

The status code: 404.

=item reason

The text behind the status code.

=item headers

A reference to an array of names, in small letters, and values.

=item header($name)

The first value of the header, or undef; in list context all values.

=item body

The body as octets: up to 64 KiB if the server has announced its length and sends it within five seconds, otherwise what has
come together with the headers.

=back

=head2 protocol_version

  my $client = AnyEvent::WebSocket::Client->new(protocol_version => 'draft-ietf-hybi-10');

The version of the protocol, as named by L<Protocol::WebSocket>. Default C<draft-ietf-hybi-17>, which is RFC 6455.

=head2 ssl_ca_file

  my $client = AnyEvent::WebSocket::Client->new(ssl_ca_file => '/etc/ssl/own-ca.pem');

A file with the certificates of the authorities that are trusted, instead of the system's. If it does not exist, no certificate
can be verified, and connecting fails with an error that says only that.

=head2 ssl_cert_file

  my $client = AnyEvent::WebSocket::Client->new(ssl_cert_file => 'client.pem', ssl_key_file => 'client.key');

A file with the certificate that the client shows to the server; see
L<AnyEvent::WebSocket::Native::Manual/Certificates of clients>. I<Not in the original.>

=head2 ssl_key_file

  my $client = AnyEvent::WebSocket::Client->new(ssl_cert_file => 'client.pem', ssl_key_file => 'client.key');

A file with the key of L</ssl_cert_file>. Default: it is in the same file. I<Not in the original.>

=head2 ssl_no_verify

  my $client = AnyEvent::WebSocket::Client->new(ssl_no_verify => 1);

If true, the server's certificate is not verified. Anybody between client and server can then read and change everything.
Default 0.

=head2 ssl_sni

  my $client = AnyEvent::WebSocket::Client->new(ssl_no_verify => 1, ssl_sni => 0);

With L</ssl_no_verify>, whether to send the host's name in the TLS handshake, which servers with several certificates need.
With verification it is always sent. Default 1. I<Not in the original>, which sends it only with verification.

=head2 strict

  my $client = AnyEvent::WebSocket::Client->new(strict => 1);

If true, the response must also follow rules that servers in use break: each line ends in CR LF, headers that may come once come
once, and no subprotocol comes that was not asked for. It also is L<AnyEvent::WebSocket::Connection/strict> of the connections.
Default 0, or 1 if the environment variable C<ANYEVENT_WEBSOCKET_STRICT> is true. I<Not in the original.>

=head2 subprotocol

  my $client = AnyEvent::WebSocket::Client->new(subprotocol => ['chat.v2', 'chat.v1']);

The subprotocols to ask for, a string or a reference to an array. If the server chooses none of them, connecting fails; an
empty array always fails, as in the original.
L<AnyEvent::WebSocket::Connection/subprotocol> is the server's choice.

=head2 timeout

  my $client = AnyEvent::WebSocket::Client->new(timeout => 5);

The number of seconds that connecting to one address may take, without looking up the name, TLS and the handshake. 0 and undef
leave it to the system. Default 30.

=head2 tls_ctx

  my $client = AnyEvent::WebSocket::Client->new(tls_ctx => { verify => 1, verify_peername => 'https', cipher_list => 'HIGH' });

The TLS context: an L<AnyEvent::TLS>, or a reference to a hash of its arguments. It decides by itself whether the certificate is
verified, and cannot be combined with C<ssl_ca_file>, C<ssl_cert_file> and C<ssl_key_file>. I<Not in the original.>

=head1 METHODS

=head2 backend

  my $name = AnyEvent::WebSocket::Client->backend;

Returns C<rust> for this class, or C<pp> if C<ANYEVENT_WEBSOCKET_PP> has made this class load the original. I<Not in the
original.>

=head2 connect

  my $condvar = $client->connect($url);
  $condvar = $client->connect($url, 'localhost', 5000);    # or $url, $host, $port

Starts to connect, and returns a condvar (see L<AnyEvent>). Its C<recv> returns an L<AnyEvent::WebSocket::Connection>, or dies
with one of L</ERRORS>. C<$url> is a string, or an object with the methods of L<URI::ws>.

C<connect> does not wait for the network. The condvar becomes ready in the event loop, except for a URL that does not begin with
ws or wss: then it is ready at once, and calls its C<cb> as soon as that is set.

A host and a port say where to connect to instead of what the URL says; the request and the verification of the certificate
go by the URL. They may be what L<AnyEvent::Socket/tcp_connect> takes: C<unix/> and a path connect to a UNIX domain socket.

A user name and a password in the URL are not sent; put the header C<Authorization> into L</http_headers>.

An attempt goes on if the program drops the client or the condvar. Do not call C<recv> inside a callback; use C<cb> there, or
L<AnyEvent::WebSocket::Blocking>.

  my $connection = $client->connect('ws://localhost/feed', 'unix/', '/run/feed.sock')->recv;

=head1 ERRORS

The condvar dies with a string, which ends in C<at FILE line NUMBER.> These are its beginnings:

=over

=item URI is not a websocket

The URL begins with something else than ws or wss.

=item unable to connect

There is no TCP connection: no such host, refused, too late, or a proxy refuses. As in the original, the text does not have the
reason; L<AnyEvent::WebSocket::Blocking/connect> with the same URL tells it.

=item connect error:

The connection ended during the handshake. What follows comes from the system, or from TLS, for instance if the certificate
cannot be verified. A server that misses our certificate may just hang up, which is C<Unexpected end-of-file>.

=item handshake error: Wrong response line. Got [[HTTP/1.1 404 Not Found]], expected [[HTTP/1.1 101 ]]

The server refuses; see L</on_refused>.

=item handshake error: no complete response within 60 s

=item handshake error: the TLS handshake was not complete within 60 s

The server was silent for L</handshake_timeout>, or speaks no TLS.

=item handshake error:

The response is malformed, larger than 64 KiB, or does not prove that the server speaks WebSocket; or L</ssl_cert_file> or
L</ssl_key_file> cannot be read.

=item subprotocol mismatch, or no subprotocol in response

The server has chosen another subprotocol, or none.

=back

C<$Protocol::WebSocket::Message::MAX_MESSAGE_SIZE> limits a line of the response, by default to 20480 bytes. If a program sets
it to something else, that also is the limit of the whole response.

=head1 SUBCLASSES

C<< $client->_make_tcp_connection($scheme, $host, $port, $connected, $prepare) >> makes the TCP connection, and may be
overridden, for instance to go through a SOCKS proxy. It calls C<$connected> with a file handle, or with nothing if there is no
connection. C<$prepare>, if called, returns L</timeout>.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Connection>, L<AnyEvent::WebSocket::Server>, L<AnyEvent::WebSocket::Native::Manual>, RFC 6455

=cut
