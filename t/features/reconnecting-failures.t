# Tests which failures a reconnecting connection takes for final, and that the program can decide otherwise.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Listener;
use WebSocketTest::TLS;

BEGIN { plan skip_all => 'AnyEvent::WebSocket::Client is not installed' if !eval { require AnyEvent::WebSocket::Client } }
use AnyEvent::WebSocket::Reconnecting;

my $listener;

# Returns an object, and a reference to its log of `retry` and `give_up`.
sub reconnecting {
    my (%options) = @_;
    # One of its own: an earlier client may still try to connect to the last.
    $listener = WebSocketTest::Listener->new;
    my $self = AnyEvent::WebSocket::Reconnecting->new(
        uri => $listener->url, initial_delay => 0.01, max_delay => 0.01, %options);
    my @log;
    for my $event (qw(retry give_up)) { $self->on($event => sub { push @log, [$event, @_[1 .. $#_]]; poke() }) }
    $self->on(connect => \&poke);
    return ($self, \@log);
}

# Returns the first event, and its failure, delay and object.
sub outcome {
    my ($serve, %options) = @_;
    my ($self, $log) = reconnecting(%options);
    $serve->() if $serve;
    wait_until('a failure', sub { @$log });
    my ($event, $failure, $delay) = @{ $log->[0] };
    is $self->state, $event eq 'retry' ? 'waiting' : 'closed', "it is $event: $failure";
    return ($event, $failure, $delay, $self);
}

my %outcome_of = (
    (map { $_ => 'retry' } 200, 301, 302, 408, 425, 429, 500, 502, 503, 504),
    (map { $_ => 'give_up' } 400, 401, 403, 404, 410, 426),
);

for my $status (sort keys %outcome_of) {
    my ($event, $failure) = outcome(sub { $listener->refuse("HTTP/1.1 $status Whatever") });
    is $event, $outcome_of{$status}, "status $status: $event";
    is $failure->status, $status, 'failure has the status';
    is $failure->is_final, $event eq 'give_up' ? 1 : 0, 'and is final or not';
    like "$failure", qr/^handshake error: /, 'and a text';
}

subtest 'a failure' => sub {
    my ($event, $failure) = outcome(sub { close $listener->next_socket });
    is_deeply [map { $failure->$_ } qw(attempts close_code close_reason retry_after status)], [1, (undef) x 4], 'attributes';
    like $failure->error, qr/^connect error: /, 'error';
    is $failure->text, "$failure", 'text';
    ok $failure, 'is true';
};

my %uri = (
    'a scheme that is not a WebSocket\'s' => ['http://localhost/', qr/^URI is not a websocket$/],
    'no URI' => [sub { return }, qr/^there is no URI$/],
);
for my $what (sort keys %uri) {
    my ($uri, $text) = @{ $uri{$what} };
    my ($event, $failure) = outcome(undef, uri => $uri);
    is $event, 'give_up', "$what: give_up";
    like "$failure", $text, 'with a text';
}

subtest 'subprotocols' => sub {
    my $peer;
    my ($event, $failure) = outcome(sub { $peer = $listener->next_connection }, client => { subprotocol => 'a' });
    is $event, 'give_up', 'none in the answer: give_up';
    like "$failure", qr/^no subprotocol in response/, 'text';
    my $other = sub { $peer = $listener->subprotocol('b')->next_connection };
    ($event, $failure) = outcome($other, client => { subprotocol => 'a' });
    is $event, 'give_up', 'another: give_up';
    like "$failure", qr/^subprotocol mismatch/, 'text';
};

subtest 'a certificate that is not trusted' => sub {
    plan skip_all => WebSocketTest::TLS::unavailable() if WebSocketTest::TLS::unavailable();
    my $secure = WebSocketTest::Listener->new(tls_options('accept'));
    my $handle;
    my ($event, $failure) = outcome(sub { $handle = AnyEvent::Handle->new(
        fh => $secure->next_socket, tls_options('accept'), on_error => sub { }, on_read => sub { }) }, uri => $secure->url);
    is $event, 'give_up', 'give_up';
    like "$failure", qr/certificate verify failed/, 'text';
    my ($self) = reconnecting(uri => $secure->url, client => { ssl_no_verify => 1 });
    my $peer = $secure->next_connection;
    wait_until('the connection', sub { $self->connection });
    pass 'it connects without verification';
};

subtest 'give_up' => sub {
    my (undef, $failure, undef, $self) = outcome(sub { $listener->refuse('HTTP/1.1 404 Not Found') });
    after(0.05);
    is $listener->waiting, 0, 'ends the attempts';
    croaks_here 'send', sub { $self->send('x') }, qr/^send: gave up: handshake error: .* 404/;
    $self->start;
    my $peer = $listener->next_connection;
    wait_until('the connection', sub { $self->connection });
    pass 'until it is started again';
};

subtest 'give_up without a callback' => sub {
    require AnyEvent::Log;
    my @logged;
    my $context = AnyEvent::Log::ctx('AnyEvent::WebSocket::Reconnecting::Lifecycle');
    $context->log_cb(sub { push @logged, $_[0]; poke(); 1 });
    my $self = AnyEvent::WebSocket::Reconnecting->new(uri => 'http://localhost/');
    wait_until('the log', sub { @logged });
    like $logged[0], qr/URI is not a websocket; giving up/, 'is logged';
    $context->log_cb(undef);
};

subtest 'retry_if' => sub {
    my @asked;
    my ($event, $failure, $delay, $self) = outcome(
        sub { $listener->refuse('HTTP/1.1 404 Not Found') },
        retry_if => sub { push @asked, [@_]; 1 });
    is $event, 'retry', 'decides that a final failure is none';
    is_deeply \@asked, [[$self, $failure]], 'it gets the object and the failure';
    ($event) = outcome(sub { close $listener->next_socket }, retry_if => sub { 0 });
    is $event, 'give_up', 'or the other way round';
    ($event) = outcome(
        sub { my $peer = $listener->next_connection; my $seen = recorder($peer); $peer->close(4001); $seen->wait_finish },
        retry_if => sub { ($_[1]->close_code || 0) != 4001 });
    is $event, 'give_up', 'also because of a close code';
    my @logged;
    my $context = AnyEvent::Log::ctx('AnyEvent::WebSocket::Reconnecting::Lifecycle');
    $context->log_cb(sub { push @logged, $_[0]; 1 });
    ($event) = outcome(sub { close $listener->next_socket }, retry_if => sub { die "oops\n" });
    is $event, 'retry', 'if it dies, it is as if it were not there';
    like $logged[0], qr/retry_if died: oops/, 'and that is logged';
    $context->log_cb(undef);
};

subtest 'max_attempts' => sub {
    my ($self, $log) = reconnecting(max_attempts => 3, retry_if => sub { 1 });
    close $listener->next_socket for 1 .. 3;
    wait_until('the end', sub { $self->state eq 'closed' });
    is_deeply [map { $_->[0] } @$log], [qw(retry retry give_up)], 'limits attempts in a row';
    is $log->[-1][1]->attempts, 3, 'the failure has their number';
};

subtest 'Retry-After' => sub {
    plan skip_all => 'by design: this client does not tell' if !AnyEvent::WebSocket::Client->can('on_refused');
    my @refusals;
    my $delay_for = sub {
        my (@lines) = @_;
        return (outcome(sub { $listener->refuse('HTTP/1.1 503 Busy', @lines) },
            random => sub { 1 }, client => { on_refused => sub { push @refusals, @_ } }))[2];
    };
    is $delay_for->(), 0.01, 'without it';
    is $delay_for->('Retry-After: 7'), 7.01, 'is waited in addition';
    is $delay_for->('Retry-After: soon'), 0.01, 'if it makes sense';
    is $delay_for->('Retry-After: 99999999'), 3600.01, 'up to an hour';
    is $delay_for->('Retry-After: Sun, 06 Nov 1994 08:49:37 GMT'), 0.01, 'a date in the past does not matter';
    my @date = gmtime(time + 100);
    my $date = sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', (qw(Sun Mon Tue Wed Thu Fri Sat))[$date[6]], $date[3],
        (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[$date[4]], 1900 + $date[5], @date[2, 1, 0];
    my $delay = $delay_for->("Retry-After: $date");
    ok $delay > 100 - 60 * patience() && $delay < 101, 'a date in the future does' or diag $delay;
    is scalar @refusals, 6, 'the client\'s own on_refused is called';
};

done_testing;
