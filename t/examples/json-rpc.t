# Tests that examples/json-rpc.pl prints the result of a call, and tells by its exit status what went wrong.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use ExampleProgram;
use JSON::PP qw(decode_json encode_json);
use WebSocketTest::ForkedServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original has no blocking client' if is_original();

# Calls a method of a server that handles requests with the sub, which gets the decoded request and the connection.
sub call {
    my ($handle, $arguments, %option) = @_;
    my $server = WebSocketTest::ForkedServer->start(
        sub { my ($peer) = @_; while (defined(my $message = $peer->message)) { $handle->(decode_json($message), $peer) } },
        tls => $option{tls}
    );
    my $url = $server->url =~ s/127\.0\.0\.1/localhost/r;
    my %tls = $server->options;
    my $program = ExampleProgram->start('json-rpc.pl', $option{tls} ? ('--ca-file', $tls{SSL_ca_file}) : (),
        '--timeout', $option{timeout} || 60 * patience(), $option{token} ? ('--token', $option{token}) : (), $url, @$arguments);
    wait_until('the end of its output', sub { $program->ended });
    return ($program->output, $program->wait >> 8);
}

sub answer { my ($peer, $request, %members) = @_; $peer->write(text(encode_json({ id => $request->{id}, %members }))) }

subtest 'a result' => sub {
    my ($output, $status) = call(sub {
        my ($request, $peer) = @_;
        $peer->write(ping('still there?'), text('{"method":"news"}'), text('no JSON'), text('{"id":7}'));
        answer($peer, $request, result => $request);
    }, ['add', 42, '{"a": [true]}', 'word']);
    is $status, 0, 'is success';
    is_deeply decode_json($output), { jsonrpc => '2.0', id => 1, method => 'add', params => [42, { a => [JSON::PP::true()] }, 'word'] },
        'and printed; what is no answer is skipped';
};

subtest 'a result over TLS' => sub {
    my $why_not = WebSocketTest::TLS::unavailable() || (eval { require IO::Socket::SSL; 1 } ? '' : 'IO::Socket::SSL is not installed');
    plan skip_all => $why_not if $why_not;
    my ($output, $status) = call(sub { answer($_[1], $_[0], result => $_[1]->request =~ /^Authorization: (.*)\r$/m) }, ['who'],
        tls => 1, token => 'secret');
    is_deeply [$output, $status], ["\"Bearer secret\"\n", 0], 'is success';
};

subtest 'an error' => sub {
    my ($output, $status) = call(sub { answer($_[1], $_[0], error => { code => -32601 }) }, ['nothing']);
    is_deeply [$output, $status], ["{\"code\":-32601}\n", 1], 'is printed, with another status';
};

subtest 'no answer' => sub {
    my ($output, $status) = call(sub { my (undef, $peer) = @_; $peer->write(close_frame(1000)) }, ['leave']);
    is_deeply [$output, $status], ["the server closed the connection\n", 2], 'since the server closes';
    ($output, $status) = call(sub { my (undef, $peer) = @_; $peer->write(close_frame(1011, 'broken')) }, ['break']);
    is_deeply [$output, $status], ["receive: the peer closed the connection with code 1011: broken\n", 2], 'for a reason';
    ($output, $status) = call(sub { $_[1]->wait_end }, ['sleep'], timeout => 1);
    is_deeply [$output, $status], ["no answer within 1 seconds\n", 2], 'in time';
    ($output, $status) = call(sub { my (undef, $peer) = @_; $peer->write(text('{}')) for 1 .. 1_000_000 }, ['flood'], timeout => 1);
    is_deeply [$output, $status], ["no answer within 1 seconds\n", 2], 'also while other messages come';
};

subtest 'no server' => sub {
    my $program = ExampleProgram->start('json-rpc.pl', 'ws://127.0.0.1:1/', 'x');
    $program->wait_for(qr/^connect: Connection refused/m);
    is $program->wait >> 8, 2, 'is no answer, too';
};

subtest 'a wrong option' => sub {
    my $program = ExampleProgram->start('json-rpc.pl', '--time', 1, 'ws://127.0.0.1:1/');
    $program->wait_for(qr/^usage: /m);
    isnt $program->wait, 0, 'prints the usage, and fails';
};

done_testing;
