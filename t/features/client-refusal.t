# Tests that on_refused gets the response of a server that refuses the handshake, before the condvar gets the error.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Scalar::Util qw(weaken);
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original does not tell' if is_original();

my $CRLF = "\x0d\x0a";

# Returns the condvar, the peer, and a reference to an array of what on_refused gets.
sub refusing {
    my ($answer, %options) = @_;
    my @refusals;
    my $new = { on_refused => sub { push @refusals, @_ }, %{ $options{new} || {} } };
    my ($cv, $peer) = shake_hands($new, sub { $answer }, tls => $options{tls});
    return ($cv, $peer, \@refusals);
}

my $NOT_FOUND = join $CRLF, 'HTTP/1.1 404 Not Found', 'Content-Length: 5', 'X-A: one', 'x-a: two', '', 'hello';
my $ERROR = 'handshake error: Wrong response line. Got [[HTTP/1.1 404 Not Found]], expected [[HTTP/1.1 101 ]]';

subtest 'the refusal' => sub {
    for my $tls (0, WebSocketTest::TLS::unavailable() ? () : 1) {
        my ($cv, $peer, $refusals) = refusing($NOT_FOUND, tls => $tls);
        is error_of($cv), $ERROR, 'the error is the usual one';
        is scalar @$refusals, 1, 'the callback gets one argument, once';
        my $refusal = $refusals->[0];
        is "$refusal", $ERROR, 'as a string it is the error';
        is $refusal->status, 404, 'status';
        is $refusal->reason, 'Not Found', 'reason';
        my @headers = @{ $refusal->headers };
        is_deeply [map { $_ % 2 ? $headers[$_] : lc $headers[$_] } 0 .. $#headers],
            ['content-length' => 5, 'x-a' => 'one', 'x-a' => 'two'], 'headers, in order';
        is $refusal->header('Content-Length'), 5, 'header';
        is $refusal->header('content-LENGTH'), 5, 'in any case';
        is $refusal->header('X-None'), undef, 'undef if there is none';
        is $refusal->body, 'hello', 'body';
    }
};

subtest 'when it is called' => sub {
    my $was_ready;
    my ($cv, $peer);
    my $new = { on_refused => sub { $was_ready = $cv->ready ? 1 : 0 } };
    ($cv, $peer) = shake_hands($new, sub { $NOT_FOUND });
    wait_outcome($cv);
    is $was_ready, 0, 'before the condvar is ready';
    $peer->wait_eof;
};

subtest 'a response in pieces' => sub {
    my ($cv, $peer, $refusals) = refusing('');
    for my $octet (split //, $NOT_FOUND) { $peer->write($octet); turn() }
    is error_of($cv), $ERROR, 'ends with the same error';
    is $refusals->[0]->body, 'hello', 'and has all of the body';
};

subtest 'bodies' => sub {
    my ($cv, $peer, $refusals) = refusing("HTTP/1.1 403 Forbidden$CRLF${CRLF}some");
    wait_outcome($cv);
    is $refusals->[0]->status, 403, 'without a length, it does not wait';
    like $refusals->[0]->body, qr/\A(?:some)?\z/, 'but has what came with the header';
    ($cv, $peer, $refusals) = refusing("HTTP/1.1 403 Forbidden${CRLF}Content-Length: 100$CRLF${CRLF}some");
    settle();
    $peer->half_close;
    is error_of($cv) =~ s/.*Got //r, '[[HTTP/1.1 403 Forbidden]], expected [[HTTP/1.1 101 ]]', 'an end of file before its end';
    is $refusals->[0]->body, 'some', 'leaves what there is';
    ($cv, $peer, $refusals) = refusing("HTTP/1.1 500 Oops${CRLF}Content-Length: 0$CRLF$CRLF");
    wait_outcome($cv);
    is $refusals->[0]->body, '', 'an empty one';
};

subtest 'other responses' => sub {
    for my $line ('HTTP/1.1 401 Unauthorized', 'HTTP/1.1 302 Found', 'HTTP/1.1 200 OK', 'HTTP/1.0 503 Busy') {
        my ($cv, $peer, $refusals) = refusing("$line$CRLF$CRLF");
        wait_outcome($cv);
        is join(' ', map { $_->status . ' ' . $_->reason } @$refusals), $line =~ s/\S+ //r, $line;
    }
};

subtest 'what is no refusal' => sub {
    for my $answer ('HTTP/1.1 404', "SSH-2.0-OpenSSH$CRLF", '') {
        my ($cv, $peer, $refusals) = refusing($answer);
        $peer->half_close;
        like error_of($cv), qr/\A(?:handshake|connect) error: /, "'$answer' is an error";
        is scalar @$refusals, 0, 'without a refusal';
    }
    my ($cv, $peer, $refusals) = refusing('');
    $peer->reset;
    is error_of($cv), 'connect error: Connection reset by peer', 'as is RST';
    is scalar @$refusals, 0, 'without a refusal';
};

subtest 'a callback that dies' => sub {
    my $cv;
    my $warnings = warnings_of(sub {
        ($cv) = shake_hands({ on_refused => sub { die "oops\n" } }, sub { $NOT_FOUND });
        wait_outcome($cv);
    });
    is error_of($cv), $ERROR, 'changes nothing';
    like "@$warnings", qr/oops/, 'but there is a warning';
};

subtest 'a callback and a warning that die' => sub {
    my $cv;
    {
        local $SIG{__WARN__} = sub { die "no warnings\n" };
        ($cv) = eval {
            shake_hands({ on_refused => sub { die "oops\n" } }, sub { $NOT_FOUND });
        };
        eval { wait_outcome($cv) };
    }
    is error_of($cv), $ERROR, 'change nothing';
};

subtest 'a refusal that nobody keeps' => sub {
    my $refusal;
    my ($cv) = shake_hands({ on_refused => sub { weaken($refusal = $_[0]) } }, sub { $NOT_FOUND });
    is error_of($cv), $ERROR, 'the error';
    undef $cv;
    settle();
    is $refusal, undef, 'is freed';
};

subtest 'a client that goes' => sub {
    my @refusals;
    my $server = raw_server();
    my $cv = client(on_refused => sub { push @refusals, @_ })->connect($server->uri);
    my $peer = $server->next_peer;
    next_request($peer);
    $peer->write($NOT_FOUND);
    wait_outcome($cv);
    is scalar @refusals, 1, 'the callback is called all the same';
};

subtest 'afterwards' => sub {
    my @handles;
    my $new = \&AnyEvent::Handle::new;
    no warnings 'redefine';
    local *AnyEvent::Handle::new = sub { my $handle = &$new; push @handles, $handle; weaken $handles[-1]; $handle };
    for my $answer ($NOT_FOUND, substr $NOT_FOUND, 0, -1) {
        my ($cv, $peer) = refusing($answer);
        $peer->write('o') if $answer ne $NOT_FOUND;
        wait_outcome($cv);
    }
    settle();
    is scalar @handles, 2, 'there were handles';
    is scalar(grep { defined } @handles), 0, 'and nothing keeps them';
};

my $class = 'AnyEvent::WebSocket::Client';
croaks_here('on_refused => 1', sub { $class->new(on_refused => 1) }, qr/on_refused must be a code reference/);

done_testing;
