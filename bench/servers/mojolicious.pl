#!/usr/bin/env perl
# Echoes on Mojolicious.
#   mojolicious.pl MODE [CERTIFICATE KEY]
# Modes: echo; deflate, compressed.
use Mojolicious::Lite -signatures;
use Mojo::Server::Daemon;

my ($mode, $certificate, $key) = @ARGV;
app->log->level('fatal');
websocket '/' => sub ($c) {
    $c->tx->max_websocket_size(1 << 30);
    $c->inactivity_timeout(0);
    $c->tx->with_compression if $mode eq 'deflate';
    $c->on(text => sub ($c, $octets) { $c->send({ text => $octets }) });
};

my $listen = defined $key ? "https://127.0.0.1?cert=$certificate&key=$key" : 'http://127.0.0.1';
my $daemon = Mojo::Server::Daemon->new(app => app, listen => [$listen], silent => 1, max_clients => 20_000);
$daemon->start;
my $reactor = ref Mojo::IOLoop->singleton->reactor;
my $loop = $reactor eq 'Mojo::Reactor::EV' ? "EV $EV::VERSION" : $reactor;
syswrite STDOUT, "@{$daemon->ports} Mojolicious " . Mojolicious->VERSION . ", $loop, perl $^V\n";
Mojo::IOLoop->start;
