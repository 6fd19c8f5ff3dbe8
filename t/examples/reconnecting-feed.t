# Tests examples/reconnecting-feed.pl against a server that ends connections, and one that refuses them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use ExampleProgram;
use ExampleTest;
use WebSocketTest::Listener;

plan skip_all => missing() if missing();
plan skip_all => 'by design: the original has no JSON' if is_original();

my $listener;

sub start_client {
    $listener = WebSocketTest::Listener->new;
    return ExampleProgram->start('reconnecting-feed.pl', $listener->url, qw(trades book));
}

# Returns the feed's side of the next connection, after the subscription.
sub next_subscriber {
    my $feed = $listener->next_connection;
    my (undef, $message) = next_event('the subscription', sub { $feed->on(next_message => $_[0]) });
    is_deeply $message->decoded_json, { op => 'subscribe', channels => ['trades', 'book'] }, 'it subscribes';
    return $feed;
}

subtest 'messages' => sub {
    my $client = start_client();
    my $feed = next_subscriber();
    $feed->send_text("one \x{20ac}")->send('two');
    $client->wait_for(qr/^one \xe2\x82\xac\ntwo\n/m);
    pass 'are printed';
    $feed->close(1012, 'restart');
    $client->wait_for(qr/^closed by the peer: 1012 restart; next attempt in [\d.]+ s$/m);
    $feed = next_subscriber();
    $feed->send('three');
    $client->wait_for(qr/^three$/m);
    pass 'also those of the next connection';
    my $seen = recorder($feed);
    is $client->stop, 0, 'SIGTERM ends it with status 0';
    $seen->wait_finish;
    is $feed->close_code, 1000, 'after it has closed in order';
};

subtest 'SIGTERM while it is not connected' => sub {
    my $client = start_client();
    my $socket = $listener->next_socket;
    is $client->stop, 0, 'ends it with status 0';
};

subtest 'a server that refuses' => sub {
    my $client = start_client();
    $listener->refuse('HTTP/1.1 403 Forbidden');
    is $client->wait >> 8, 1, 'ends it with status 1';
    like $client->output, qr/403 Forbidden/, 'and a text';
};

done_testing;
