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
    500 => 'Internal Server Error',
    505 => 'HTTP Version Not Supported',
);

my %HEADERS = (
    405 => ['Allow: GET', 'Connection: close'],
    426 => ['Upgrade: websocket', 'Connection: Upgrade, close', 'Sec-WebSocket-Version: 13'],
);

# The client does not learn why: the error may be an exception of the program, and perhaps no string.
my %IS_PRIVATE = map { $_ => 1 } 403, 500;

# Returns a whole response; `error` is the text for the program.
sub response {
    my ($status, $error) = @_;
    my $reason = $REASON{$status};
    my $body = "$reason\n";
    if (!$IS_PRIVATE{$status}) {
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
