# Tests what on_refused of AnyEvent::WebSocket::Client gets: the final response, in whatever pieces it arrives.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use AnyEvent::Handle;
use AnyEvent::Socket qw( tcp_server );
use AnyEvent::WebSocket::Client;
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no on_refused' if is_original();

# Connects to a server that sends these pieces, each when the one before has been read, and then, if asked, closes. Returns the
# refusal, if there was one, and the error.
sub refusal_in {
    my ($pieces, $closes) = @_;
    my ($peer, $port, @refused);
    my $server = tcp_server '127.0.0.1', 0, sub {
        my ($fh) = @_;
        $peer = AnyEvent::Handle->new(fh => $fh, no_delay => 1, on_error => sub { });
        $peer->push_read(line => "\r\n\r\n", sub { _send($peer, [@$pieces], $closes) });
    }, sub { $port = $_[2]; 0 };
    my $done = AnyEvent::WebSocket::Client->new(on_refused => sub { push @refused, @_ })->connect("ws://127.0.0.1:$port/");
    $done->cb(sub { poke() });
    wait_until('the end of the handshake', sub { $done->ready });
    eval { $done->recv };
    return ($refused[0], $@);
}

sub _send {
    my ($peer, $pieces, $closes) = @_;
    my $piece = shift @$pieces;
    return $closes && $peer->push_shutdown unless defined $piece;
    $peer->push_write($piece);
    my $timer;
    $timer = AE::timer 0.001, 0, sub { undef $timer; _send($peer, $pieces, $closes) };
    return;
}

my $head = "HTTP/1.1 404 Not Found\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\n";
my %pieces = (
    'whole' => [$head . 'body'],
    'byte by byte' => [split //, $head . 'body'],
    'before other bytes' => [$head . 'body and more'],
    'behind interim responses' =>
        ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" . $head . 'body'],
);
for my $what (sort keys %pieces) {
    my ($refusal, $error) = refusal_in($pieces{$what});
    is_deeply [map { $refusal && $refusal->$_ } qw( status reason body )], [404, 'Not Found', 'body'], $what;
    is $refusal && $refusal->header('Retry-After'), 3, "$what: a header";
    like $error, qr/^handshake error: Wrong response line\. Got \[\[HTTP\/1\.1 404 Not Found\]\]/, "$what: the error";
}

my ($refusal) = refusal_in([$head, 'bo'], 1);
is $refusal && $refusal->body, 'bo', 'a body that ends early';
($refusal) = refusal_in(["HTTP/1.1 500 x\r\n\r\nsome"]);
is $refusal && $refusal->body, 'some', 'a body of unknown length';
for my $no_head ("HTTP/1.1 404 Not Found\r\nno colon\r\n", "HTTP/1.1 100 x\r\n\r\n" x 9) {
    ($refusal, my $error) = refusal_in([$no_head]);
    is $refusal, undef, 'no refusal without a head';
    like $error, qr/^handshake error: /, 'but an error';
}

done_testing;
