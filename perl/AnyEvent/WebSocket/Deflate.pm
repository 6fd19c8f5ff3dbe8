package AnyEvent::WebSocket::Deflate;

use strict;
use warnings;
use AnyEvent::WebSocket::Connection ();
use Carp ();
use Scalar::Util ();

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
my $QUOTED = qr/"(?:[^"\\]|\\.)*"/;

sub available { AnyEvent::WebSocket::Connection->can('backend') && AnyEvent::WebSocket::Connection->backend eq 'rust' ? 1 : 0 }

sub offer
{
  my $options = _options(@_);
  _must_be_available();
  my @flags = grep { $options->{$_} } @TAKEOVERS;
  my $least = join '; ', NAME, @flags, 'client_max_window_bits';
  my $bits = $options->{server_max_window_bits};
  # Servers that know nothing of window sizes take the second.
  return $bits < LARGEST_WINDOW ? "$least; server_max_window_bits=$bits, $least" : $least;
}

sub accept
{
  my $offers = shift;
  my $options = _options(@_);
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
  my $options = _options(@_);
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

sub check { _options(@_); return }

sub _must_be_available
{
  Carp::croak('compression takes the native AnyEvent::WebSocket::Connection, and ANYEVENT_WEBSOCKET_PP is set')
    unless available();
}

sub _options
{
  Carp::croak('options must be pairs of a name and a value') if @_ % 2;
  my %given = @_;
  for my $name (sort keys %given)
  {
    Carp::croak("there is no option $name") unless exists $DEFAULT{$name};
    _check($name, $given{$name});
  }
  return { %DEFAULT, %given };
}

sub _check
{
  my($name, $value) = @_;
  return if grep { $name eq $_ } @TAKEOVERS;
  if(my $range = $RANGE{$name})
  {
    my($least, $most) = @$range;
    Carp::croak("$name must be a whole number from $least to $most")
      unless defined $value && $value =~ /\A[0-9]{1,2}\z/ && $value >= $least && $value <= $most;
    return;
  }
  my $is_number = defined $value && ($name eq 'threshold' ? $value =~ /\A[0-9]{1,15}\z/
    : Scalar::Util::looks_like_number($value) && $value >= 0 && $value < 9**9**9);
  Carp::croak("$name must be a " . ($name eq 'threshold' ? 'number of bytes' : 'number of seconds')) unless $is_number;
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
    $parameter{$name} = $value;
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
    window_bits              => 0 + $agreed->{"${own}_max_window_bits"},
    no_context_takeover      => $agreed->{"${own}_no_context_takeover"} ? 1 : 0,
    peer_window_bits         => 0 + $agreed->{"${peer}_max_window_bits"},
    peer_no_context_takeover => $agreed->{"${peer}_no_context_takeover"} ? 1 : 0,
    idle_timeout             => $options->{idle_timeout},
    map { $_ => 0 + $options->{$_} } qw( level mem_level threshold ),
  }, 'AnyEvent::WebSocket::Deflate::Parameters';
}

1;
