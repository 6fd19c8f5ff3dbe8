package AnyEvent::WebSocket::Native::Handshake::Address;

# Takes the URL of a WebSocket apart.

use strict;
use warnings;
use Carp ();

# Returns what a handshake needs of a URL, a string: the `scheme`, whether it is `secure`, the `host` without brackets and the
# `port`; and for the request, the `target`, `host_header` and `origin`. Dies if it is no URL of a WebSocket.
sub parse {
    my ($url) = @_;
    my ($scheme, $authority, $path, $query) = $url =~ m{\A(wss?)://([^/?#]*)([^?#]*)(\?[^#]*)?}is
        or die "URI is not a websocket\n";
    my ($host, $port) = $authority =~ /\A(?:.*\@)?(\[[^\]]*\]|[^:]*)(?::([0-9]*))?/s;
    my $is_secure = length $scheme == 3 ? 1 : 0;
    my $usual_port = $is_secure ? 443 : 80;
    $port = length($port // '') ? 0 + $port : $usual_port;
    my $host_header = $port == $usual_port ? $host : "$host:$port";
    return {
        scheme => lc $scheme,
        secure => $is_secure,
        host => $host =~ s/\A\[(.*)\]\z/$1/sr,
        port => $port,
        target => ($path || '/') . ($query // ''),
        host_header => $host_header,
        origin => ($is_secure ? 'https://' : 'http://') . $host_header,
    };
}

# Returns true for a name that may be sent to a TLS server (RFC 6066, 3).
sub is_name {
    my ($host) = @_;
    return $host =~ /[^0-9.]/ && $host !~ /:/ ? 1 : 0;
}

1;
