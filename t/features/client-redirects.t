# Tests that the client follows as many redirects as max_redirects says, and none of those that are not safe.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original follows none' if is_original();

my $CRLF = "\x0d\x0a";

sub redirect {
    my ($location, $status) = @_;
    return 'HTTP/1.1 ' . ($status || 302) . " Moved${CRLF}Location: $location$CRLF$CRLF";
}

# Awaits a client, and answers. Returns the request.
sub answer {
    my ($server, $answer) = @_;
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    $peer->write(ref $answer ? $answer->($request) : $answer);
    push @{ $server->{kept} }, $peer;
    return $request;
}

# Returns the error of a client that the first answer redirects.
sub error_after {
    my ($new, @answers) = @_;
    my $server = raw_server();
    my $cv = client(%$new)->connect($server->uri);
    answer($server, $_) for map { s/SERVER/127.0.0.1:@{[ $server->port ]}/r } @answers;
    return error_of($cv);
}

subtest 'one redirect' => sub {
    for my $status (301, 302, 303, 307, 308) {
        for my $scheme ('ws', 'http') {
            my ($first, $second) = map { raw_server() } 1 .. 2;
            my $cv = client(max_redirects => 1)->connect($first->uri('/first'));
            answer($first, redirect($second->uri('/second?a=b') =~ s/\Aws/$scheme/r, $status));
            my $request = answer($second, sub { switching($_[0]) });
            is $request->first, 'GET /second?a=b HTTP/1.1', "$status leads to the place, as $scheme";
            is $request->value('Host'), '127.0.0.1:' . $second->port, 'with its Host';
            isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
            $first->{kept}[0]->wait_eof;
        }
    }
};

subtest 'over TLS' => sub {
    my $why_not = WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    for my $scheme ('wss', 'https') {
        my ($plain, $secure) = (raw_server(), raw_server(tls => 1));
        my $cv = client(max_redirects => 1)->connect($plain->uri);
        answer($plain, redirect($secure->uri =~ s/\Awss/$scheme/r));
        answer($secure, sub { switching($_[0]) });
        isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', "$scheme:";
    }
    my ($secure, $plain) = (raw_server(tls => 1), raw_server());
    my $cv = client(max_redirects => 1)->connect($secure->uri);
    answer($secure, redirect($plain->uri));
    like error_of($cv), qr/Got \[\[HTTP\/1.1 302 Moved\]\]/, 'not from TLS to a connection without';
    is $plain->waiting, 0, 'nobody comes there';
};

my $REFUSED = 'handshake error: Wrong response line. Got [[HTTP/1.1 302 Moved]], expected [[HTTP/1.1 101 ]]';

subtest 'how many' => sub {
    is error_after({}, redirect('ws://SERVER/')), $REFUSED, 'none without max_redirects';
    is error_after({ max_redirects => 0 }, redirect('ws://SERVER/')), $REFUSED, 'none with 0';
    is error_after({ max_redirects => 2 }, (redirect('ws://SERVER/')) x 3), $REFUSED, 'two, and not three';
    my $server = raw_server();
    my $cv = client(max_redirects => 3)->connect($server->uri);
    answer($server, redirect($server->uri("/$_"))) for 1 .. 3;
    answer($server, sub { switching($_[0]) });
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

subtest 'a relative Location' => sub {
    my $server = raw_server();
    my $cv = client(max_redirects => 1)->connect($server->uri('/a/b'));
    answer($server, redirect('c?d'));
    is answer($server, sub { switching($_[0]) })->first, 'GET /a/c?d HTTP/1.1', 'is relative to the URI';
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
};

subtest 'what is not followed' => sub {
    my $nowhere = 'HTTP/1.1 302 Moved' . $CRLF x 2;
    is error_after({ max_redirects => 5 }, $nowhere), $REFUSED, 'no Location';
    is error_after({ max_redirects => 5 }, redirect($_)), $REFUSED, "'$_'"
        for 'ftp://127.0.0.1/', 'mailto:a@b', 'file:///etc/passwd', '';
    for my $status (300, 304, 305, 401, 404, 200) {
        like error_after({ max_redirects => 5 }, redirect('ws://SERVER/', $status)), qr/Got \[\[HTTP\/1.1 $status Moved\]\]/,
            "status $status";
    }
};

subtest 'a Location without a place' => sub {
    my @locations = ('ws:', 'ws://', 'ws:///x', 'ws:foo', 'wss:x', '//', 'http:', 'ws://127.0.0.1:99999/');
    for my $location (@locations) {
        my $error;
        my $warnings = warnings_of(sub { $error = error_after({ max_redirects => 5 }, redirect($location)) });
        is $error, $REFUSED, "'$location'";
        is "@$warnings", '', 'without a warning';
    }
};

subtest 'connecting that dies' => sub {
    my $server = raw_server();
    my $class = 'AnyEvent::WebSocket::Client';
    my $connect = $class->can('_make_tcp_connection');
    my $calls = 0;
    no warnings 'redefine';
    local *AnyEvent::WebSocket::Client::_make_tcp_connection = sub { die "no\n" if $calls++; goto &$connect };
    my $cv = client(max_redirects => 1)->connect($server->uri);
    answer($server, redirect('/there'));
    is error_of($cv), $REFUSED, 'leaves the redirect as the error';
};

subtest 'a place that the program gives' => sub {
    my $server = raw_server();
    my $cv = client(max_redirects => 1)->connect('ws://name.invalid/first', '127.0.0.1', $server->port);
    answer($server, redirect('/second'));
    is answer($server, sub { switching($_[0]) })->first, 'GET /second HTTP/1.1', 'holds for the same host';
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection';
    my $other = raw_server();
    $cv = client(max_redirects => 1)->connect('ws://name.invalid/first', '127.0.0.1', $server->port);
    answer($server, redirect($other->uri('/second')));
    answer($other, sub { switching($_[0]) });
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', 'and not for another';
};

subtest 'a host with line ends' => sub {
    plan skip_all => 'AnyEvent::Connector is missing' if !eval { require AnyEvent::Connector };
    my ($server, $proxy) = map { raw_server() } 1 .. 2;
    local $ENV{ws_proxy} = 'http://127.0.0.1:' . $proxy->port;
    local $ENV{no_proxy} = '127.0.0.1';
    my $cv = client(max_redirects => 1, env_proxy => 1)->connect($server->uri);
    answer($server, redirect('ws://h%0d%0aX-Own:%20a%0d%0a:80/'));
    like error_of($cv), qr/\Aunable to connect/, 'is an error';
    is $proxy->waiting, 0, 'before the proxy is asked';
};

subtest 'the end of the way' => sub {
    is error_after({ max_redirects => 5 }, redirect('ws://SERVER/'), "HTTP/1.1 404 Not Found$CRLF$CRLF"),
        $REFUSED =~ s/302 Moved/404 Not Found/r, 'a refusal there is the error';
    my ($port, $reserved) = closed_port();
    is error_after({ max_redirects => 5 }, redirect("ws://127.0.0.1:$port/")), 'unable to connect', 'as is nobody there';
};

subtest 'on_refused' => sub {
    my @seen;
    my $server = raw_server();
    my $cv =
        client(max_redirects => 1, on_refused => sub { push @seen, $_[0]->header('Location') })->connect($server->uri('/0'));
    answer($server, redirect("/$_")) for 1 .. 2;
    wait_outcome($cv);
    is_deeply \@seen, ['/2'], 'gets the redirect that is not followed';
};

subtest 'headers of the program' => sub {
    my %new =
        (max_redirects => 1, subprotocol => 'chat', http_headers => [Authorization => 's', COOKIE => 'a=b', 'X-A' => 'c']);
    my $names = sub {
        my ($request) = @_;
        return [map { $request->values($_) } qw(Authorization COOKIE X-A Sec-WebSocket-Protocol)];
    };
    my ($first, $second) = map { raw_server() } 1 .. 2;
    my $cv = client(%new)->connect($first->uri);
    answer($first, redirect($second->uri));
    is_deeply $names->(answer($second, sub { switching($_[0], 'Sec-WebSocket-Protocol: chat') })), ['c', 'chat'],
        'another host does not get Authorization and Cookie';
    is connection_of($cv)->subprotocol, 'chat', 'but the subprotocol is negotiated there';
    $cv = client(%new)->connect($first->uri);
    answer($first, redirect($first->uri('/other')));
    is_deeply $names->(answer($first, sub { switching($_[0], 'Sec-WebSocket-Protocol: chat') })), ['s', 'a=b', 'c', 'chat'],
        'the same does';
};

subtest 'the deadline' => sub {
    my $server = raw_server();
    my $cv = client(max_redirects => 1, handshake_timeout => 0.5 * patience())->connect($server->uri);
    answer($server, redirect('/there'));
    my $peer = $server->next_peer;
    like error_of($cv), qr/\Ahandshake error: no complete response within /, 'holds for the place that is redirected to, too';
};

for my $wrong ('x', -1) {
    my $class = 'AnyEvent::WebSocket::Client';
    croaks_here("max_redirects => '$wrong'", sub { $class->new(max_redirects => $wrong) }, qr/max_redirects must be/);
}

done_testing;
