package ExampleTest;

# Helpers for the tests of the examples, in addition to WebSocketTest.
#
#   plan skip_all => $reason if $reason = missing(modules => [...], programs => [...]);
#   my $connection = client_at('ws://127.0.0.1:8080/', %options_of_the_client);    # to => [$host, $port], if not the URL's
#   my $port = free_port();     # for programs that cannot take one themselves

use strict;
use warnings;
use Exporter 'import';
use IO::Socket::INET;
use WebSocketTest;

our @EXPORT = qw(client_at free_port missing);

# Debian installs server programs in directories that only root's PATH contains.
$ENV{PATH} .= ':/usr/sbin';

sub missing {
    my (%needed) = @_;
    my @modules = grep { !eval "require $_" } 'AnyEvent::WebSocket::Client', @{ $needed{modules} || [] };
    my @programs = grep { !_is_program($_) } @{ $needed{programs} || [] };
    return @modules || @programs ? join(' and ', @modules, @programs) . ' not installed' : '';
}

sub _is_program {
    my ($name) = @_;
    return scalar grep { -x "$_/$name" } split /:/, $ENV{PATH};
}

sub client_at {
    my ($url, %options) = @_;
    my $to = delete $options{to} || [];
    my $opening = AnyEvent::WebSocket::Client->new(%options)->connect($url, @$to);
    next_event("the handshake with $url", sub { $opening->cb($_[0]) });
    return $opening->recv;
}

sub free_port {
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "no free port: $@";
    return $socket->sockport;
}

1;
