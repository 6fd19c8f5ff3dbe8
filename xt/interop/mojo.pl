# Mojolicious as a peer of xt/interop.t, which describes the argument and the output.
use Mojo::Base -strict, -signatures;
use Mojo::IOLoop;
use Mojo::JSON qw(decode_json);
use Mojo::Server::Daemon;
use Mojo::UserAgent;
use Mojolicious;

my $plan = decode_json(shift);
$| = 1;

sub echo ($socket) {
    say join ' ', 'open', $socket->protocol // 'none', $socket->compressed ? 'compressed' : 'plain';
    $socket->max_websocket_size(16 << 20);
    $socket->on(text => sub ($socket, $octets) {
        return $socket->finish($1, $2) if $octets =~ /^close (\d+) (.*)/;
        $socket->send({ text => $octets });
    });
    $socket->on(binary => sub ($socket, $octets) { $socket->send({ binary => $octets }) });
    $socket->on(finish => sub ($socket, $code, $reason = undef) { say join ' ', 'closed', $code, $reason // '' });
}

my $ua = Mojo::UserAgent->new;

sub connect_again ($count) {
    return if !$count;
    my %headers = $plan->{deflate} ? ('Sec-WebSocket-Extensions' => 'permessage-deflate') : ();
    $ua->websocket("ws://127.0.0.1:$plan->{port}/", \%headers, ['chat.v2', 'chat.v1'], sub ($ua, $transaction) {
        die 'no WebSocket: ' . ($transaction->error // {})->{message} unless $transaction->is_websocket;
        echo($transaction);
        $transaction->on(finish => sub { connect_again($count - 1) });
    });
}

if ($plan->{role} eq 'client') {
    connect_again($plan->{connections});
    Mojo::IOLoop->start;    # until a signal, so that the last Close frame is written
}

my $app = Mojolicious->new;
$app->log->level('fatal');
$app->routes->websocket('/')->to(cb => sub ($c) {
    $c->tx->with_compression if $plan->{deflate};
    $c->tx->with_protocols('chat.v1');
    echo($c->tx);
    $c->rendered(101);
});
my $daemon = Mojo::Server::Daemon->new(app => $app, listen => ['http://127.0.0.1'], silent => 1);
$daemon->start;
say 'listening ', $daemon->ports->[0];
$daemon->run;
