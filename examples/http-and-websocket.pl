#!/usr/bin/env perl
# Serves an HTTP page and WebSockets on one port.
#
#   perl examples/http-and-websocket.pl [--host ADDRESS] [--port PORT]
#
# Then open the address that it prints; the page sends what you type, and shows what comes back. Without a port it takes a free
# one. Ctrl-C ends it.
#
# It reads the head of each request, as an HTTP server does, and gives those for a WebSocket to `establish_psgi`. (`establish`
# reads the head itself, and so is for ports on which nothing but WebSockets is served.)
#
# Needs HTTP::Parser::XS (Debian package libhttp-parser-xs-perl).
use strict;
use warnings;

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::Socket qw(format_hostport tcp_server);
use AnyEvent::WebSocket::Server;
use Getopt::Long qw(GetOptions);
use HTTP::Parser::XS qw(parse_http_request);

my %option = (host => '127.0.0.1', port => 0);
GetOptions(\%option, qw(host=s port=i)) && !@ARGV or die "usage: $0 [--host ADDRESS] [--port PORT]\n";

# With `reject`, a client whose handshake fails gets an HTTP response. The other options apply to each connection.
my $server = AnyEvent::WebSocket::Server->new(
    reject              => 1,
    max_payload_size    => 1 << 20,
    max_message_size    => 1 << 20,
    max_buffered_amount => 4 << 20,
    ping_interval       => 25,
    idle_timeout        => 60,
);

my $page = <<'HTML';
<!DOCTYPE html>
<title>Echo</title>
<form><input autofocus> <button>Send</button></form>
<pre></pre>
<script>
const socket = new WebSocket(new URL('echo', location.href.replace(/^http/, 'ws')));
const input = document.querySelector('input');
const show = (line) => document.querySelector('pre').append(line, '\n');
socket.onopen = () => show('connected');
socket.onmessage = (event) => show(event.data);
socket.onclose = (event) => show(`closed: ${event.code}`);
document.querySelector('form').onsubmit = (event) => {
  event.preventDefault();
  socket.send(input.value);
  input.value = '';
};
</script>
HTML

sub accept_client {
    my ($socket) = @_;
    my $handle;
    # Covers the whole head; the handle's own timeout would start again with each byte.
    my $timer = AE::timer 10, 0, sub { undef $handle };
    $handle = AnyEvent::Handle->new(
        fh       => $socket,
        rbuf_max => 16 << 10,
        on_error => sub { undef $_ for $handle, $timer },
        on_read  => sub {
            my $length = parse_http_request($handle->{rbuf}, \my %request);
            return if $length == -2;    # not yet complete
            answer($handle, $length == length $handle->{rbuf} ? \%request : undef);
            undef $_ for $handle, $timer;
        },
    );
}

sub answer {
    my ($handle, $request) = @_;
    return respond($handle, '400 Bad Request') if !$request;
    return upgrade($handle, $request) if $request->{PATH_INFO} eq '/echo';
    return respond($handle, '404 Not Found') if $request->{PATH_INFO} ne '/';
    return respond($handle, '405 Method Not Allowed') if $request->{REQUEST_METHOD} ne 'GET';
    return respond($handle, '200 OK', 'text/html', $page);
}

# A handle that nobody holds any more closes once it has written everything.
sub respond {
    my ($handle, $status, $type, $body) = @_;
    $body //= "$status\n";
    $handle->push_write(join "\r\n", "HTTP/1.1 $status", 'Content-Type: ' . ($type // 'text/plain'),
        'Content-Length: ' . length $body, 'Connection: close', '', $body);
}

my %connections;

sub upgrade {
    my ($handle, $request) = @_;
    my $socket = $handle->fh;
    $handle->destroy;    # it gives up the socket, which the variable keeps open
    $server->establish_psgi($request, $socket)->cb(sub {
        my ($connection) = eval { $_[0]->recv } or return warn "no WebSocket: $@";
        $connections{ 0 + $connection } = $connection;    # a connection that nobody holds is closed
        $connection->on(finish => sub { delete $connections{ 0 + $_[0] } });
        $connection->on(each_message => sub { $_[0]->send($_[1]) });
    });
}

my $address;
my $guard = tcp_server $option{host}, $option{port}, \&accept_client, sub {
    my (undef, $host, $port) = @_;
    $address = format_hostport $host, $port;
    return;
};

$| = 1;
print "listening on http://$address/\n";
AnyEvent->condvar->recv;
