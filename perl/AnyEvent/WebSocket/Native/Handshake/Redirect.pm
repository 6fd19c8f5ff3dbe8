package AnyEvent::WebSocket::Native::Handshake::Redirect;

# Redirects of a client's handshake (RFC 9110, 15.4).

use strict;
use warnings;
use AnyEvent::WebSocket::Native::ClientOptions ();
use AnyEvent::WebSocket::Native::Number ();

my %IS_REDIRECT = map { $_ => 1 } 301, 302, 303, 307, 308;

# Headers that another host must not see.
my %IS_SECRET = map { $_ => 1 } qw( authorization cookie proxy-authorization );

use constant MAX_PORT => 65535;

# Returns the attempt that follows a refusal with a redirect; nothing if there is none, or one too many, or it leads to something
# else than a WebSocket, or from TLS to a connection without.
sub follow {
    my ($attempt, $refusal) = @_;
    my $client = $attempt->{client};
    my $most = AnyEvent::WebSocket::Native::ClientOptions::value($client, 'max_redirects') or return;
    return if $attempt->{redirects} >= AnyEvent::WebSocket::Native::Number::whole($most);
    my $location = $IS_REDIRECT{ $refusal->status } && $refusal->header('Location');
    return unless defined $location && length $location;
    my $uri = $attempt->{uri} || URI->new($attempt->{url});
    my $target = URI->new_abs($location, $uri->as_string) =~ s/\Ahttp/ws/ir;
    my $new = URI->new($target);
    return unless ($new->scheme // '') =~ /\Awss?\z/ && ($new->secure || !$uri->secure);
    return unless length($new->host // '') && $new->port <= MAX_PORT;
    my $is_same_host = $new->host eq $uri->host && $new->port == $uri->port && $new->scheme eq lc $uri->scheme;
    my $headers = $attempt->{headers} || $client->http_headers;
    $headers = _without_secrets($headers) if $headers && !$is_same_host;
    # A program that says where the host is, says it for the whole way.
    my ($host, $port) = $is_same_host ? @$attempt{qw( host port )} : ($new->host, $new->port);
    return {
        %$attempt{qw( client done )},
        uri => $new,
        host => $host,
        port => $port,
        redirects => $attempt->{redirects} + 1,
        headers => $headers,
    };
}

sub _without_secrets {
    my ($headers) = @_;
    my @indices = grep { !$IS_SECRET{ lc $headers->[2 * $_] } } 0 .. @$headers / 2 - 1;
    return [map { @$headers[2 * $_, 2 * $_ + 1] } @indices];
}

1;
