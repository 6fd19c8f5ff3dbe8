package AnyEvent::WebSocket::Native::Handshake::Rejection;

# The HTTP responses with which a server refuses a handshake.

use strict;
use warnings;

my %REASON = (
    400 => 'Bad Request',
    403 => 'Forbidden',
    405 => 'Method Not Allowed',
    408 => 'Request Timeout',
    426 => 'Upgrade Required',
    431 => 'Request Header Fields Too Large',
    505 => 'HTTP Version Not Supported',
);

my %HEADERS = (
    405 => ['Allow: GET', 'Connection: close'],
    426 => ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'],
);

# Returns a whole response; `error` is the text for the program.
sub response {
    my ($status, $error) = @_;
    my $reason = $REASON{$status};
    my $body = "$reason\n";
    # 403 may stand for an exception of the program, which is not for the client, and perhaps no string.
    if ($status != 403) {
        my ($why) = $error =~ /\A(?:handshake error: )?([^\r\n]*)/;
        $body = "$reason: $why\n";
    }
    utf8::encode($body);
    my @headers = (
        @{ $HEADERS{$status} || ['Connection: close'] },
        'Content-Type: text/plain; charset=utf-8',
        'Content-Length: ' . length $body,
    );
    return join "\r\n", "HTTP/1.1 $status $reason", @headers, '', $body;
}

1;
