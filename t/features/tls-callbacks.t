# Tests Perl code that OpenSSL calls while it decrypts or encrypts. The original crashes when that uses the connection.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original crashes' if is_original();
my $why_not = WebSocketTest::TLS::unavailable();
plan skip_all => $why_not if $why_not;
plan skip_all => 'this Net::SSLeay is too old' if !Net::SSLeay->can('set_msg_callback');

subtest 'a callback that sends' => sub {
    my ($server, $client) = map { AnyEvent::WebSocket::Connection->new(handle => $_) } tls_handles();
    my ($at_server, $at_client) = map { recorder($_) } $server, $client;
    $client->send('ready');
    $at_server->wait_messages(1);
    my @errors;
    my $session = $server->handle->{tls};
    Net::SSLeay::set_msg_callback($session, sub { push @errors, eval { $server->send('inside'); '' } // $@ });
    $client->send('now');
    $at_server->wait_messages(2);
    Net::SSLeay::set_msg_callback($session, undef);
    # OpenSSL 3.5 does not call it for the records of messages.
    is_deeply [grep { !/\Ainternal error: / } @errors], [], 'gets an exception each time';
    $server->send('later');
    is_deeply $at_client->wait_messages(1)->bodies, ['later'], 'and the connection stays good';
};

subtest 'a callback that empties the list of a broadcast' => sub {
    my @pairs = map { [map { AnyEvent::WebSocket::Connection->new(handle => $_) } tls_handles()] } 1 .. 3;
    my @seen = map { recorder($_->[1]) } @pairs;
    $_->[0]->send('ready') for @pairs;
    $_->wait_messages(1) for @seen;
    my @list = map { shift @$_ } @pairs;
    my $session = $list[0]->handle->{tls};
    Net::SSLeay::set_msg_callback($session, sub { splice @list, 1 });
    is(AnyEvent::WebSocket::Connection->broadcast(\@list, 'to all'), 3, 'counts all');
    Net::SSLeay::set_msg_callback($session, undef);
    $_->wait_messages(2) for @seen;
    is_deeply [map { $_->bodies->[1] } @seen], [('to all') x 3], 'which get the message';
};

done_testing;
