# Tests that compression works together with limits, stats, broadcast and trace.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no compression' if is_original();
require AnyEvent::WebSocket::Deflate;

sub compressing_pair {
    my ($server_more, $client_more) = @_;
    my ($response, $server) = AnyEvent::WebSocket::Deflate::accept(AnyEvent::WebSocket::Deflate::offer());
    my $client = AnyEvent::WebSocket::Deflate::confirm($response);
    return connection_pair({ deflate => $server, %{ $server_more || {} } },
        { deflate => $client, masked => 1, max_payload_size => 0, %{ $client_more || {} } });
}

subtest 'max_message_size bounds what is inflated' => sub {
    my ($server, $client) = compressing_pair({ max_message_size => 10_000 });
    my $seen = recorder($server);
    $client->send('x' x 10_000);
    $seen->wait_messages(1);
    $client->send('x' x 10_001);
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/^Message is too big\. .* max_message_size is 10000/, 'parse_error';
};

subtest 'stats' => sub {
    my ($server, $client) = compressing_pair();
    my $seen = recorder($server);
    is $client->stats->{compression_ratio_sent}, undef, 'no ratio at first';
    $client->send('x' x 10_000);
    $seen->wait_messages(1);
    my ($sent, $received) = ($client->stats, $server->stats);
    cmp_ok $sent->{compression_ratio_sent}, '>', 50, 'ratio of what was sent';
    is $received->{compression_ratio_received}, $sent->{compression_ratio_sent}, 'is that of what was received';
    cmp_ok $sent->{bytes_sent}, '<', 200, 'bytes are those on the wire';
    is $received->{bytes_received}, $sent->{bytes_sent}, 'on both sides';
};

subtest 'broadcast' => sub {
    my @pairs = map { [compressing_pair()] } 1 .. 2;
    my ($plain, $peer) = connection_and_peer();
    my @seen = map { recorder($_->[1]) } @pairs;
    is(AnyEvent::WebSocket::Connection->broadcast([$plain, map { $_->[0] } @pairs], 'x' x 10_000), 3, 'counts all');
    $_->wait_messages(1) for @seen;
    is_deeply $seen[$_]->bodies, ['x' x 10_000], 'arrives' for 0 .. 1;
    cmp_ok $pairs[$_][0]->stats->{bytes_sent}, '<', 200, 'compressed' for 0 .. 1;
    is $peer->next_frame->{payload}, 'x' x 10_000, 'and plain where it is not agreed on';
};

subtest 'broadcast to peers whose messages are compressed each by itself' => sub {
    my @options = (server_no_context_takeover => 1);
    my @pairs = map {
        my ($response, $server) = AnyEvent::WebSocket::Deflate::accept(AnyEvent::WebSocket::Deflate::offer(@options, server_max_window_bits => $_), @options, server_max_window_bits => $_);
        my $client = AnyEvent::WebSocket::Deflate::confirm($response, @options);
        [connection_pair({ deflate => $server }, { deflate => $client, masked => 1, max_payload_size => 0 })];
    } 12, 12, 10;
    my @seen = map { recorder($_->[1]) } @pairs;
    my @bodies = map { join ' ', $_ .. 2000 + $_ } 1 .. 3;
    AnyEvent::WebSocket::Connection->broadcast([map { $_->[0] } @pairs], $_) for @bodies;
    $_->wait_messages(3) for @seen;
    is_deeply $_->bodies, \@bodies, 'arrives' for @seen;
    for my $pair (@pairs) {
        my ($sent, $received) = map { $_->stats } @$pair;
        cmp_ok $sent->{compression_ratio_sent}, '>', 1.2, 'compressed';
        is $sent->{bytes_sent}, $received->{bytes_received}, 'and counted so';
        is $sent->{compression_ratio_sent}, $received->{compression_ratio_received}, 'on both sides';
    }
};

done_testing;
