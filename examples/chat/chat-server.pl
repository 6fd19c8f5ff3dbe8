#!/usr/bin/env perl
# A chat in the browser: one server for the page and its WebSockets, on one port.
#
#   perl examples/chat/chat-server.pl [--host ADDRESS] [--port PORT] [--redis redis://HOST:PORT]
#
# Then open the address that it prints. Without a port, or with port 0, it takes a free one. Ctrl-C closes in order.
#
# With --redis any number of processes, on any number of hosts, are one chat: each message goes through Redis, and from
# there to each process, which passes it on to its own people.
#
# Needs HTTP::Parser::XS (Debian package libhttp-parser-xs-perl), and AnyEvent::Redis for --redis
# (libanyevent-redis-perl).
use strict;
use warnings;

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::Socket qw(format_hostport parse_hostport tcp_server);
use AnyEvent::WebSocket::Connection;
use AnyEvent::WebSocket::Deflate;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Getopt::Long qw(GetOptions);
use HTTP::Parser::XS qw(parse_http_request);
use JSON::PP ();
use Protocol::WebSocket::Handshake::Server;

my $usage = "usage: $0 [--host ADDRESS] [--port PORT] [--redis redis://HOST:PORT]\n";
my %option = (host => '127.0.0.1', port => 0);
GetOptions(\%option, qw(host=s port=i redis=s)) && !@ARGV or die $usage;

use constant { MAX_REQUEST => 16 << 10, MAX_NAME => 40, MAX_TEXT => 2000, MAX_WAITING => 1 << 20, MAX_PEOPLE => 1000 };

my %for_connections = (
    max_message_size    => 4 * (MAX_NAME + MAX_TEXT) + 1000,
    max_buffered_amount => 2 * MAX_WAITING,
    max_control_rate    => 10,
    # Browsers answer pings by themselves. Proxies and routers drop connections that are silent for a minute.
    ping_interval => 25,
    idle_timeout  => 60,
    close_timeout => 5,
);

# --- HTTP

my $here = dirname(abs_path(__FILE__));
my %pages = (
    '/'         => page('index.html', 'text/html; charset=utf-8'),
    '/chat.js'  => page('chat.js', 'text/javascript; charset=utf-8'),
    '/chat.css' => page('chat.css', 'text/css; charset=utf-8'),
);

sub page {
    my ($name, $type) = @_;
    open my $file, '<:raw', "$here/$name" or die "$here/$name: $!\n";
    return response('200 OK', $type, do { local $/; <$file> });
}

# Returns a response. Its policy lets the browser run no script but ours, should a message ever become part of the page.
sub response {
    my ($status, $type, $body) = @_;
    return join "\r\n", "HTTP/1.1 $status", "Content-Type: $type", 'Content-Length: ' . length $body,
        "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
        'X-Content-Type-Options: nosniff', 'Connection: close', '', $body;
}

sub error_response { response($_[0], 'text/plain', "$_[0]\n") }

sub accept_client {
    my ($socket) = @_;
    my $handle;
    $handle = AnyEvent::Handle->new(
        fh       => $socket,
        no_delay => 1,
        timeout  => 10,
        rbuf_max => MAX_REQUEST,
        on_error => sub { undef $handle },
        on_read  => sub {
            my $length = parse_http_request($handle->{rbuf}, \my %request);
            return if $length == -2;    # not yet whole
            substr $handle->{rbuf}, 0, $length, '' if $length > 0;
            answer($handle, $length > 0 ? \%request : undef);
            undef $handle;
        },
    );
}

# A handle that nobody holds any more closes once it has written everything.
sub answer {
    my ($handle, $request) = @_;
    my $response = $request ? response_to($request, $handle) : error_response('400 Bad Request');
    $handle->push_write($response) if $response;
}

sub response_to {
    my ($request, $handle) = @_;
    return error_response('405 Method Not Allowed') if $request->{REQUEST_METHOD} ne 'GET';
    return upgrade($request, $handle) if $request->{PATH_INFO} eq '/messages';
    return $pages{ $request->{PATH_INFO} } // error_response('404 Not Found');
}

# --- WebSockets

my %people;

# Returns an error response, or nothing if the handle has become a connection.
sub upgrade {
    my ($request, $handle) = @_;
    return error_response('403 Forbidden') if !is_same_origin($request);
    return error_response('503 Service Unavailable') if keys %people >= MAX_PEOPLE;
    my $handshake = Protocol::WebSocket::Handshake::Server->new_from_psgi($request);
    return error_response('400 Bad Request') if !$handshake->parse('') || !$handshake->is_done;
    return error_response('426 Upgrade Required') if $handshake->version ne 'draft-ietf-hybi-17';
    my ($response, @deflate) = agree_on_compression($request, $handshake->to_string);
    $handle->push_write($response);
    $handle->timeout(0);
    $handle->rbuf_max(undef);
    serve(AnyEvent::WebSocket::Connection->new(handle => $handle, %for_connections, @deflate));
    return;
}

# Asks for no context takeover: then a message to everybody is compressed once, and no window is kept.
sub agree_on_compression {
    my ($request, $response) = @_;
    my ($header, $deflate)
        = AnyEvent::WebSocket::Deflate::accept($request->{HTTP_SEC_WEBSOCKET_EXTENSIONS}, server_no_context_takeover => 1);
    return $response if !$header;
    $response =~ s/\r\n\z/Sec-WebSocket-Extensions: $header\r\n\r\n/;
    return ($response, deflate => $deflate);
}

# Any page can open a WebSocket to any host, with that host's cookies; Origin tells which page it was.
sub is_same_origin {
    my ($request) = @_;
    my ($host) = ($request->{HTTP_ORIGIN} // '') =~ m{^https?://(.+)$};
    return defined $host && lc $host eq lc($request->{HTTP_HOST} // '');
}

sub serve {
    my ($connection) = @_;
    $people{ 0 + $connection } = $connection;
    $connection->on(finish => sub { delete $people{ 0 + $_[0] } });
    $connection->on(each_message => sub {
        my ($connection, $message) = @_;
        my $checked = checked($message) // return $connection->close(1008, 'not understood');
        publish($checked);
    });
}

# A message to everybody contains nothing of what came, except two strings of bounded length.
my $json = JSON::PP->new->utf8->canonical;

sub checked {
    my ($message) = @_;
    my $said = eval { $message->decoded_json };
    return if ref $said ne 'HASH';
    my ($name, $text) = @$said{qw(name text)};
    return if grep { !defined || ref || !length } $name, $text;
    return if length $name > MAX_NAME || length $text > MAX_TEXT;
    return $json->encode({ name => "$name", text => "$text" });
}

# Sends to everybody, except those who have too much left to read.
sub tell_all { AnyEvent::WebSocket::Connection->broadcast([values %people], $_[0], max_buffered_amount => MAX_WAITING) }

# --- the other processes

# A connection to Redis that subscribes takes no other commands, so there are two.
my ($subscriber, $publisher, $redis_timer);

sub publish {
    my ($message) = @_;
    return tell_all($message) if !$option{redis};
    return warn "a message is lost: no connection to Redis\n" if !$publisher;
    $publisher->publish(chat => $message);
}

sub connect_redis {
    my (@address) = @_;
    my $warn = sub { warn "Redis: $_[0]\n" };
    # Only the subscriber, which reads all the time, notices at once that Redis is gone.
    my $lost = sub {
        $warn->(@_);
        undef $_ for $subscriber, $publisher;
        $redis_timer = AE::timer 1, 0, sub { connect_redis(@address) };
    };
    $subscriber = AnyEvent::Redis->new(@address, on_error => $lost);
    $subscriber->subscribe(chat => \&tell_all);
    $publisher = AnyEvent::Redis->new(@address, on_error => $warn);
}

if ($option{redis}) {
    require AnyEvent::Redis;
    my ($address) = $option{redis} =~ m{^redis://([^/]+)/?$} or die $usage;
    my ($host, $port) = parse_hostport $address, 6379;
    connect_redis(host => $host, port => $port);
}

# --- start and end

my $address;
my $server = tcp_server $option{host}, $option{port}, \&accept_client, sub {
    my (undef, $host, $port) = @_;
    $address = format_hostport $host, $port;
    return;
};

# A second signal does not wait for people to answer.
my $stopping;

sub stop {
    exit if $stopping++ || !%people;
    undef $server;
    for my $connection (values %people) {
        $connection->on(finish => sub { exit if !%people });
        $connection->close(1001, 'the server stops');
    }
}

my @signals = map { AE::signal $_ => \&stop } qw(INT TERM);

$| = 1;
print "listening on http://$address/\n";
AnyEvent->condvar->recv;
