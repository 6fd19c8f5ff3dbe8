package AnyEvent::WebSocket::Deflate;

use strict;
use warnings;
use AnyEvent::WebSocket::Connection ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();

our $VERSION = '1.000';

# The options on which both ends have to agree, in the order in which the library takes and returns them.
my @TAKEOVERS = qw( server_no_context_takeover client_no_context_takeover );
my @WINDOWS = qw( server_max_window_bits client_max_window_bits );
my @TERMS = (@TAKEOVERS, @WINDOWS);

my %DEFAULT = (
    server_no_context_takeover => 0,
    client_no_context_takeover => 0,
    server_max_window_bits => 12,
    client_max_window_bits => 12,
    level => 1,
    mem_level => 5,
    threshold => 128,
    idle_timeout => 30,
);

my %RANGE = (level => [1, 9], mem_level => [1, 9], map { $_ => [9, 15] } @WINDOWS);

sub available { AnyEvent::WebSocket::Connection->can('backend') && AnyEvent::WebSocket::Connection->backend eq 'rust' ? 1 : 0 }

sub offer {
    my $options = _options(offer => @_);
    _must_be_available();
    return AnyEvent::WebSocket::Native::Engine::deflate_offer(@$options{@TERMS});
}

sub accept {
    my $offers = shift;
    my $options = _options(accept => @_);
    return if !available() || !defined $offers;
    my $octets = _octets($offers);
    my $result = AnyEvent::WebSocket::Native::Engine::deflate_accept($octets, @$options{@TERMS}) or return;
    my ($response, @agreed) = @$result;
    return ($response, _parameters(\@agreed, $options, 'server'));
}

sub confirm {
    my $response = shift;
    my $options = _options(confirm => @_);
    _must_be_available();
    return if !defined $response;
    my $octets = _octets($response);
    my $result = AnyEvent::WebSocket::Native::Engine::deflate_confirm($octets, @$options{@TERMS}) or return;
    Carp::croak("$result: $response") if !ref $result;
    return _parameters($result, $options, 'client');
}

sub check { _options(check => @_); return }

sub _must_be_available {
    Carp::croak('compression takes the native AnyEvent::WebSocket::Connection, and ANYEVENT_WEBSOCKET_PP is set')
        unless available();
}

# Returns the options by name, with plain numbers.
sub _options {
    my ($function, @options) = @_;
    Carp::croak("$function: options must be pairs of a name and a value") if @options % 2;
    my %given = @options;
    for my $name (sort keys %given) {
        Carp::croak(
            "$function: there is no option $name; the options are " . AnyEvent::WebSocket::Native::Util::list_of(keys %DEFAULT))
            unless exists $DEFAULT{$name};
        $given{$name} = _checked($name, $given{$name});
    }
    return { %DEFAULT, %given };
}

sub _checked {
    my ($name, $value) = @_;
    return $value ? 1 : 0 if grep { $name eq $_ } @TAKEOVERS;
    my ($least, $most) = @{ $RANGE{$name} || [0] };
    my $number =
        $name eq 'idle_timeout'
        ? AnyEvent::WebSocket::Native::Number::seconds($value)
        : AnyEvent::WebSocket::Native::Number::whole($value);
    return $number if defined $number && $number >= $least && (!defined $most || $number <= $most && $number == $value);
    my $kind =
          defined $most ? "whole number from $least to $most"
        : $name eq 'threshold' ? 'number of bytes'
        : 'number of seconds';
    Carp::croak("$name must be a $kind");
}

# Returns a header as bytes. Characters above 127 can only be in values that are ignored, so their encoding does not matter.
sub _octets {
    my ($value) = @_;
    utf8::encode(my $octets = "$value");
    return $octets;
}

sub _parameters {
    my ($terms, $options, $own) = @_;
    my $peer = $own eq 'server' ? 'client' : 'server';
    my %agreed;
    @agreed{@TERMS} = @$terms;
    return bless {
        window_bits => $agreed{"${own}_max_window_bits"},
        no_context_takeover => $agreed{"${own}_no_context_takeover"},
        peer_window_bits => $agreed{"${peer}_max_window_bits"},
        peer_no_context_takeover => $agreed{"${peer}_no_context_takeover"},
        map { $_ => $options->{$_} } qw( idle_timeout level mem_level threshold ),
        },
        'AnyEvent::WebSocket::Deflate::Parameters';
}

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Deflate - compressed WebSocket messages (permessage-deflate, RFC 7692)

=head1 SYNOPSIS

A server that answers the handshake itself, and got C<$offers> in the request's header C<Sec-WebSocket-Extensions>:

  use AnyEvent::WebSocket::Connection;
  use AnyEvent::WebSocket::Deflate;

  my($header, $parameters) = AnyEvent::WebSocket::Deflate::accept($offers);
  my @headers = defined $header ? "Sec-WebSocket-Extensions: $header" : ();
  # ... sends the response with @headers, and then:
  my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, deflate => $parameters);

A client:

  use AnyEvent::WebSocket::Deflate::Client;

  my $connection = AnyEvent::WebSocket::Deflate::Client->new->connect('ws://localhost:5000/feed')->recv;

=head1 DESCRIPTION

JSON of a kilobyte is compressed to about a quarter, for less than ten microseconds of CPU time at either end. Both ends have
to agree on it in the opening handshake, through the header C<Sec-WebSocket-Extensions>. The functions here write and read
the values of that header, and return parameters for the connection. Messages of at least L</threshold> bytes then go out
compressed, if that makes them smaller, and compressed messages are accepted. Callbacks see no difference.

Nothing here is in the original, which cannot compress. Nothing is exported. This module loads
L<AnyEvent::WebSocket::Connection>. L<AnyEvent::WebSocket::Native::Manual/Compression> has complete programs.

=head2 AnyEvent::WebSocket::Server and AnyEvent::WebSocket::Client

They take L</OPTIONS> as their attribute C<deflate>, and do the rest:

  use AnyEvent::WebSocket::Client;
  use AnyEvent::WebSocket::Server;

  my $server = AnyEvent::WebSocket::Server->new(deflate => { threshold => 1024 });
  my $client = AnyEvent::WebSocket::Client->new(deflate => 1);

The rest of this section is for programs that must also run with C<ANYEVENT_WEBSOCKET_PP=1>, where these classes have no such
attribute, and for programs with a handshake of their own.

=head2 A server that also runs on the original

Its handshake callback returns the response, and whatever else the program wants C<recv> to return after the connection. The
text of the response ends with an empty line; the header goes before that:

  use AnyEvent::WebSocket::Deflate;
  use AnyEvent::WebSocket::Server;

  my $server = AnyEvent::WebSocket::Server->new(handshake => sub {
    my($request, $response) = @_;
    my($header, $parameters) = AnyEvent::WebSocket::Deflate::accept(
      $request->fields->{'sec-websocket-extensions'}
    );
    return $response unless $parameters;
    my $text = $response->to_string;
    $text =~ s/\x0d\x0a\z/Sec-WebSocket-Extensions: $header\x0d\x0a\x0d\x0a/;
    return ($text, $parameters);
  });

  $server->establish($socket)->cb(sub {
    my($connection, $parameters) = eval { $_[0]->recv } or return;
    $connection->enable_deflate($parameters) if $parameters;
    ...
  });

=head2 A server with a handshake of its own

Use C<< $handshake->req >> and C<< $handshake->res >> of a L<Protocol::WebSocket::Handshake::Server> in the same way, and
give C<deflate> to the constructor of the connection. If a request has the header more than once, join the values with a
comma. With PSGI, the header is in C<< $env->{HTTP_SEC_WEBSOCKET_EXTENSIONS} >>.

=head2 A client that also runs on the original

L<AnyEvent::WebSocket::Deflate::Client> is a subclass of L<AnyEvent::WebSocket::Client> that has the attribute C<deflate> there,
too, and then offers nothing. A client with a handshake of its own sends what L</offer> returns, and gives the answer to
L</confirm>.

=head1 FUNCTIONS

All but L</available> take L</OPTIONS>, by name. An unknown option, and a value that makes no sense, are exceptions at the
caller's line.

=head2 accept

  my($header, $parameters) = AnyEvent::WebSocket::Deflate::accept($offers, %options);

For a server: takes the value of the request's header, or undef if there is none. Returns the value of the response's header
and the parameters for the connection, or the empty list if nothing can be agreed on. It takes the first acceptable offer,
and skips offers with unknown or invalid parameters.

  my($header, $parameters) = AnyEvent::WebSocket::Deflate::accept('permessage-deflate; client_max_window_bits');
  print "$header\n" if defined $header;

=head2 available

  if(AnyEvent::WebSocket::Deflate::available()) { ... }

Returns false if C<ANYEVENT_WEBSOCKET_PP> has loaded the original, which cannot compress. Then L</accept> accepts nothing,
and L</offer>, L</confirm> and C<< $connection->enable_deflate >> are exceptions.

=head2 check

  AnyEvent::WebSocket::Deflate::check(%options);

Raises an exception if the options are wrong, and does nothing else.

=head2 confirm

  my $parameters = AnyEvent::WebSocket::Deflate::confirm($answer, %options);

For a client: takes the value of the response's header, and the same options as L</offer>. Returns the parameters for the
connection, or nothing if the server declined. An answer that was not offered is an exception; the connection has to be given
up (RFC 7692, 5.1).

=head2 offer

  my $header = AnyEvent::WebSocket::Deflate::offer(%options);

For a client: returns the value of the request's header. It holds two offers: one with the windows of the options, and for
servers that do not know window sizes, one without. So the server may use a larger window than C<server_max_window_bits>.

  print AnyEvent::WebSocket::Deflate::offer(server_no_context_takeover => 1), "\n";

=head1 OPTIONS

The defaults suit thousands of connections: the window is small, and compression is fast rather than thorough.

=head2 client_max_window_bits

  AnyEvent::WebSocket::Deflate::check(client_max_window_bits => 15);

The window for messages from the client, as the base-2 logarithm of its size in bytes: 9 to 15, default 12. The other end may
ask for less.

=head2 client_no_context_takeover

  AnyEvent::WebSocket::Deflate::check(client_no_context_takeover => 1);

If true, the client compresses each message by itself. It then needs no memory between messages, but text that is common to
small messages is sent each time. Default 0.

=head2 idle_timeout

  AnyEvent::WebSocket::Deflate::check(idle_timeout => 10);

Seconds without a sent message after which the memory for sending is freed; it may take up to twice as long. The next message
is compressed as the first one was. 0 keeps the memory. Default 30. This is not the C<idle_timeout> of the connection, which
ends it.

=head2 level

  AnyEvent::WebSocket::Deflate::check(level => 6);

How hard to compress: 1 to 9, default 1. Level 1 takes half of the time of level 2, and a third of the time of level 9. JSON
becomes about one and a half times as large as with level 6.

=head2 mem_level

  AnyEvent::WebSocket::Deflate::check(mem_level => 8);

How much memory zlib uses for compressing, besides the window: 1 to 9, default 5.

=head2 server_max_window_bits

  AnyEvent::WebSocket::Deflate::check(server_max_window_bits => 15);

The window for messages from the server: as L</client_max_window_bits>.

=head2 server_no_context_takeover

  AnyEvent::WebSocket::Deflate::check(server_no_context_takeover => 1);

If true, the server compresses each message by itself: as L</client_no_context_takeover>. A broadcast is then compressed once
for all connections.

=head2 threshold

  AnyEvent::WebSocket::Deflate::check(threshold => 1024);

Messages of fewer bytes are sent uncompressed. Default 128.

=head1 MEMORY

With the defaults, a connection that compresses uses 160 KiB for sending, of which 128 KiB do not depend on any option, and
up to 48 KiB for receiving, whatever the peer's window. The memory for sending is allocated by the first message that is
compressed, and freed as L</idle_timeout> says. The memory for receiving is allocated by the first compressed message that
arrives, and kept as long as the connection. With no_context_takeover for an end, all connections share one piece of memory
for that direction. A connection without compression uses none of this.

=head1 LIMITS

C<max_payload_size> of L<AnyEvent::WebSocket::Connection> applies to frames as they arrive, and again to the inflated data:
a message may inflate to C<max_payload_size> times the number of its frames. So whether a message is accepted does not
depend on how well it was compressed. Inflating stops at the limit, and the peer gets Close 1009. In a message that is
received in parts, each frame may inflate to C<max_payload_size>. C<max_message_size> limits the inflated message too. With
a C<max_payload_size> of 0 and no C<max_message_size>, there is no limit, and a kilobyte from the peer may become a megabyte.

Data that cannot be inflated is answered with Close 1007, and RSV1 where it must not be set with Close 1002. After a block
that is marked as the last (BFINAL), the peer's window is taken to be empty, as in zlib.

Compressing a secret together with attacker-chosen data leaks, through the length, how similar they are (CRIME, BREACH).
Where that matters, do not compress, or set a L</threshold> above the size of the messages in question.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Connection>, L<AnyEvent::WebSocket::Deflate::Client>, L<AnyEvent::WebSocket::Native::Manual>, RFC 7692

=cut
