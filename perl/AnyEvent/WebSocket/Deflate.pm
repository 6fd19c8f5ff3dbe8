package AnyEvent::WebSocket::Deflate;

use strict;
use warnings;
use AnyEvent::WebSocket::Connection ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();

our $VERSION = '1.000';

use constant { NAME => 'permessage-deflate', LARGEST_WINDOW => 15, SMALLEST_WINDOW => 9 };

my @WINDOWS = qw( server_max_window_bits client_max_window_bits );
my @TAKEOVERS = qw( server_no_context_takeover client_no_context_takeover );

my %DEFAULT = (
  server_no_context_takeover => 0,
  client_no_context_takeover => 0,
  server_max_window_bits     => 12,
  client_max_window_bits     => 12,
  level                      => 1,
  mem_level                  => 5,
  threshold                  => 128,
  idle_timeout               => 30,
);

my %RANGE = (level => [1, 9], mem_level => [1, 9], map { $_ => [SMALLEST_WINDOW, LARGEST_WINDOW] } @WINDOWS);

# RFC 7230, 3.2.6
my $TOKEN = qr/[!#\$%&'*+.^_`|~0-9A-Za-z-]+/;
my $QUOTED = qr/"(?:[^"\\]++|\\.)*+"/;

sub available { AnyEvent::WebSocket::Connection->can('backend') && AnyEvent::WebSocket::Connection->backend eq 'rust' ? 1 : 0 }

sub offer
{
  my $options = _options(offer => @_);
  _must_be_available();
  my @flags = grep { $options->{$_} } @TAKEOVERS;
  my @windows = map { "$_=$options->{$_}" } grep { $options->{$_} < LARGEST_WINDOW } @WINDOWS;
  my $least = join '; ', NAME, @flags, 'client_max_window_bits';
  # Servers that know nothing of window sizes take the second.
  return @windows ? join('; ', NAME, @flags, @windows) . ", $least" : $least;
}

sub accept
{
  my $offers = shift;
  my $options = _options(accept => @_);
  return if !available() || !defined $offers;
  for my $offer (_parse($offers))
  {
    my $wanted = lc $offer->{name} eq NAME && _valid($offer->{pairs}) or next;
    my $agreed = _agree($wanted, $options) or next;
    return (_response($agreed), _parameters($agreed, $options, 'server'));
  }
  return;
}

sub confirm
{
  my $response = shift;
  my $options = _options(confirm => @_);
  _must_be_available();
  return if !defined $response || $response !~ /\S/;
  my @extensions = _parse($response);
  my $is_one = @extensions == 1 && lc $extensions[0]{name} eq NAME;
  my $agreed = $is_one && _valid($extensions[0]{pairs}, 'as response')
    or Carp::croak("the server's Sec-WebSocket-Extensions is no answer to what was offered: $response");
  Carp::croak("the server did not agree to server_no_context_takeover: $response")
    if $options->{server_no_context_takeover} && !$agreed->{server_no_context_takeover};
  $agreed->{client_no_context_takeover} ||= $options->{client_no_context_takeover};
  $agreed->{client_max_window_bits} = _min($agreed->{client_max_window_bits}, $options->{client_max_window_bits});
  $agreed->{server_max_window_bits} ||= LARGEST_WINDOW;
  return _parameters($agreed, $options, 'client');
}

sub check { _options(check => @_); return }

sub _must_be_available
{
  Carp::croak('compression takes the native AnyEvent::WebSocket::Connection, and ANYEVENT_WEBSOCKET_PP is set')
    unless available();
}

# The options by name, with plain numbers.
sub _options
{
  my($function, @options) = @_;
  Carp::croak("$function: options must be pairs of a name and a value") if @options % 2;
  my %given = @options;
  for my $name (sort keys %given)
  {
    Carp::croak("$function: there is no option $name; the options are " . AnyEvent::WebSocket::Native::Util::list_of(keys %DEFAULT))
      unless exists $DEFAULT{$name};
    $given{$name} = _checked($name, $given{$name});
  }
  return { %DEFAULT, %given };
}

sub _checked
{
  my($name, $value) = @_;
  return $value ? 1 : 0 if grep { $name eq $_ } @TAKEOVERS;
  my($least, $most) = @{ $RANGE{$name} || [0] };
  my $number = $name eq 'idle_timeout' ? AnyEvent::WebSocket::Native::Number::seconds($value)
    : AnyEvent::WebSocket::Native::Number::whole($value);
  return $number if defined $number && $number >= $least && (!defined $most || $number <= $most && $number == $value);
  my $kind = defined $most ? "whole number from $least to $most"
    : $name eq 'threshold' ? 'number of bytes' : 'number of seconds';
  Carp::croak("$name must be a $kind");
}

# The extensions of a header, in order, each with [name, value] pairs; nothing if it is not such a header.
sub _parse
{
  my($rest) = @_;
  my @extensions;
  while($rest =~ s/\A[\s,]*($TOKEN)//)
  {
    push @extensions, my $extension = { name => $1, pairs => [] };
    while($rest =~ s/\A\s*;\s*($TOKEN)(?:\s*=\s*($TOKEN|$QUOTED))?//)
    {
      push @{ $extension->{pairs} }, [lc $1, defined $2 ? _unquoted($2) : undef];
    }
    $rest =~ /\A\s*(?:,|\z)/ or return;
  }
  return $rest =~ /\A[\s,]*\z/ ? @extensions : ();
}

sub _unquoted
{
  my($value) = @_;
  $value =~ s/\\(.)/$1/gs if $value =~ s/\A"(.*)"\z/$1/s;
  return $value;
}

# The parameters by name, or nothing if there is one that is unknown, there twice, or has a value it may not have. Only an
# offer may have client_max_window_bits without a value: it is then 15.
sub _valid
{
  my($pairs, $is_response) = @_;
  my %parameter;
  for my $pair (@$pairs)
  {
    my($name, $value) = @$pair;
    return if exists $parameter{$name};
    if(grep { $name eq $_ } @TAKEOVERS)
    {
      return if defined $value;
      $parameter{$name} = 1;
      next;
    }
    return unless grep { $name eq $_ } @WINDOWS;
    $value = LARGEST_WINDOW if !defined $value && $name eq 'client_max_window_bits' && !$is_response;
    return unless defined $value && $value =~ /\A(?:[89]|1[0-5])\z/;
    $parameter{$name} = AnyEvent::WebSocket::Native::Number::whole($value);
  }
  return \%parameter;
}

# What a server makes of an offer; nothing if it cannot do that.
sub _agree
{
  my($wanted, $options) = @_;
  my $server_bits = _min($wanted->{server_max_window_bits}, $options->{server_max_window_bits});
  return if $server_bits < SMALLEST_WINDOW;
  my $client_bits = $wanted->{client_max_window_bits};
  return {
    server_max_window_bits => $server_bits,
    client_max_window_bits =>
      defined $client_bits ? _min($client_bits, $options->{client_max_window_bits}) : LARGEST_WINDOW,
    map { $_ => $wanted->{$_} || $options->{$_} } @TAKEOVERS,
  };
}

sub _min
{
  my($agreed, $own) = @_;
  return defined $agreed && $agreed < $own ? $agreed : $own;
}

sub _response
{
  my($agreed) = @_;
  my @flags = grep { $agreed->{$_} } @TAKEOVERS;
  my @windows = map { "$_=$agreed->{$_}" } grep { $agreed->{$_} < LARGEST_WINDOW } @WINDOWS;
  return join '; ', NAME, @flags, @windows;
}

sub _parameters
{
  my($agreed, $options, $own) = @_;
  my $peer = $own eq 'server' ? 'client' : 'server';
  return bless {
    window_bits              => $agreed->{"${own}_max_window_bits"},
    no_context_takeover      => $agreed->{"${own}_no_context_takeover"} ? 1 : 0,
    peer_window_bits         => $agreed->{"${peer}_max_window_bits"},
    peer_no_context_takeover => $agreed->{"${peer}_no_context_takeover"} ? 1 : 0,
    map { $_ => $options->{$_} } qw( idle_timeout level mem_level threshold ),
  }, 'AnyEvent::WebSocket::Deflate::Parameters';
}

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Deflate - compressed WebSocket messages (permessage-deflate, RFC 7692)

=head1 SYNOPSIS

  use AnyEvent::WebSocket::Deflate;

  # A server, which got the header $offer in a request:
  my($header, $parameters) = AnyEvent::WebSocket::Deflate::accept($offer);
  # ... answers with 'Sec-WebSocket-Extensions: ' . $header, if that is defined, and then:
  my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, deflate => $parameters);

  # A client:
  use AnyEvent::WebSocket::Deflate::Client;
  my $connection = AnyEvent::WebSocket::Deflate::Client->new->connect('ws://localhost:5000/feed')->recv;

=head1 DESCRIPTION

Text of a kilobyte, such as JSON, is compressed to a quarter, for less than ten microseconds of CPU time at either end. Both ends
have to agree on it in the opening handshake, by the header C<Sec-WebSocket-Extensions>; the functions here write and
read its values. What they return is given to the connection, and is all it takes: messages of at least
L</threshold> bytes then go out compressed, if that makes them smaller, and compressed ones come in. Programs see no
difference.

Nothing is exported.

=head2 A server made with AnyEvent::WebSocket::Server

Its handshake callback returns the answer, and whatever the program wants to have back together with the connection:

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

  $server->establish($fh)->cb(sub {
    my($connection, $parameters) = $_[0]->recv;
    $connection->enable_deflate($parameters) if $parameters;
    ...
  });

=head2 A server with a handshake of its own

As above, with C<< $handshake->req >> and C<< $handshake->res >> of a L<Protocol::WebSocket::Handshake::Server>, and
C<deflate> among what the connection is constructed with. Where a request has that header more than once, its values are
to be joined with a comma. With PSGI the header is in C<< $env->{HTTP_SEC_WEBSOCKET_EXTENSIONS} >> alone.

=head2 A client

L<AnyEvent::WebSocket::Client> asks for what it is given as C<http_headers>, but keeps the server's answer to itself.
L<AnyEvent::WebSocket::Deflate::Client> is that class, and takes care of both. With a handshake of its own a program sends
what L</offer> returns, and gives L</confirm> the answer.

=head1 FUNCTIONS

All but L</available> take options, by name; see L</OPTIONS>. An option that makes no sense is an exception at the
caller's line.

=head2 accept

  my($header, $parameters) = AnyEvent::WebSocket::Deflate::accept($offers, %options);

For a server: takes the value of the request's header, and returns that of the response's, and the parameters for the
connection. Of several offers it takes the first that it can; one with unknown or invalid parameters it cannot. If there is
none, which includes a value of undef, it returns nothing.

=head2 available

  if (AnyEvent::WebSocket::Deflate::available()) { ... }

False if C<ANYEVENT_WEBSOCKET_PP> has the original take the connection's place, which cannot do any of this. Then
C<accept> accepts nothing, and C<offer>, C<confirm> and C<< $connection->enable_deflate >> are exceptions.

=head2 check

  AnyEvent::WebSocket::Deflate::check(%options);

Does nothing but look at the options.

=head2 confirm

  my $parameters = AnyEvent::WebSocket::Deflate::confirm($header, %options);

For a client: takes the value of the response's header and the options that were given to L</offer>, and returns the
parameters for the connection; or nothing, if the server did not answer the offer, and so declined. An answer to something
else than was offered is an exception: the connection has to be given up (RFC 7692, 5.1).

=head2 offer

  my $header = AnyEvent::WebSocket::Deflate::offer(%options);

For a client: returns the value of the request's header.

=head1 OPTIONS

Without any, a window is small enough for thousands of connections, and compressing is fast rather than thorough.

=head2 client_max_window_bits, server_max_window_bits

How far back an end may refer in what it has sent, as the base-2 logarithm of bytes: 9 to 15, default 12. The other end may
want less.

=head2 client_no_context_takeover, server_no_context_takeover

If true, that end compresses each of its messages by itself. It then needs no memory between messages, and what small
messages have in common is sent each time. Default 0.

=head2 idle_timeout

After so many seconds without a message that was sent, and at most twice as many, the memory for sending is freed; what is
sent then is compressed as the first message was. 0 keeps it. Default 30.

=head2 level

How hard to try: 1 to 9. 1, the default, takes a quarter of the time of the others, and makes JSON half as large again as
6 does.

=head2 mem_level

How much memory zlib has for what it is compressing, besides the window: 1 to 9, default 5.

=head2 threshold

Messages of less than so many bytes go out as they are. Default 128.

=head1 MEMORY

While it is in use, a connection has, by default, 160 KiB for sending, of which 128 KiB do not depend on any option, and
up to 48 KiB for receiving, whatever the peer's window. That for sending is made by the first message that is
compressed, and freed as L</idle_timeout> says. That for receiving is made by the first compressed message that arrives,
and has to be kept as long as the connection. With no_context_takeover for an end, all connections share what that
takes. A connection for which nothing was agreed needs a pointer.

=head1 LIMITS

C<max_payload_size> of L<AnyEvent::WebSocket::Connection> is applied to the frames as they come, and then once more: a
message may inflate to no more than its frames could have brought uncompressed, which is C<max_payload_size> for each of
them. So whether a message is taken does not depend on how well it was compressed. Inflating stops at that limit, and
the peer gets Close 1009. Of a message that is received in chunks, each frame may inflate to C<max_payload_size>. With a
C<max_payload_size> of 0 there is no limit, and a kilobyte from the peer may become a megabyte.

Data that cannot be inflated is answered with Close 1007; RSV1 where it may not be, with 1002. After a block that says it
is the last (BFINAL), the peer's window is taken to be empty, as it is in zlib.

Compressing secrets together with what somebody else chooses tells by the length how alike they are. Where that
matters, don't compress, or use a L</threshold> above the messages in question.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Connection>, L<AnyEvent::WebSocket::Deflate::Client>, RFC 7692

=cut
