# Tests that connections work over TLS, as server and as client.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use WebSocketTest::TLS;

my $why_not = WebSocketTest::TLS::unavailable();
plan skip_all => $why_not if $why_not;

sub connection { AnyEvent::WebSocket::Connection->new(@_) }

# Returns a connection on this side of a TLS pair, and the handle on the other side.
sub connection_with {
    my ($side, %args) = @_;
    my ($server, $client) = tls_handles(@{ delete $args{handles} || [] });
    my ($ours, $theirs) = $side eq 'accept' ? ($server, $client) : ($client, $server);
    return (connection(handle => $ours, masked => $side eq 'connect' ? 1 : 0, %args), _raw($theirs));
}

# Notes the bytes and the EOF that the raw end receives.
sub _raw {
    my ($handle) = @_;
    my $raw = { handle => $handle, in => '', eof => 0 };
    $handle->on_read(sub { $raw->{in} .= $_[0]{rbuf}; $_[0]{rbuf} = ''; poke() });
    my $end = sub { $raw->{eof} = 1; $_[0]->destroy; poke() };
    $handle->on_eof($end);
    $handle->on_error($end);
    return $raw;
}

sub next_frame {
    my ($raw) = @_;
    my $frame;
    wait_until('a frame', sub { ($frame = decode_frame(\$raw->{in})) || $raw->{eof} });
    return $frame;
}

# Who has the last word in the handshake depends on the version, and on whether the server gives out tickets.
my %setting = (
    'TLS 1.2' => sub { Net::SSLeay::CTX_set_options($_[0], Net::SSLeay::OP_NO_TLSv1_3()) },
    'TLS 1.3 without tickets' => sub { Net::SSLeay::CTX_set_num_tickets($_[0], 0) },
);
for my $side (qw(accept connect)) {
    for my $name (sort keys %setting) {
        subtest "$side, $name: a send before the handshake is done" => sub {
            plan skip_all => 'this Net::SSLeay is too old'
                if !eval { Net::SSLeay::OP_NO_TLSv1_3(); Net::SSLeay->can('CTX_set_num_tickets') };
            my %server = tls_options('accept');
            my $context = AnyEvent::TLS->new(%{ $server{tls_ctx} });
            $setting{$name}->($context->ctx);
            my ($connection, $raw) = connection_with($side, handles => [{ tls_ctx => $context }]);
            $connection->send('early');
            is next_frame($raw)->{payload}, 'early';
        };
    }

    subtest "$side: both directions" => sub {
        my ($connection, $raw) = connection_with($side);
        my $seen = recorder($connection);
        $connection->send('before the handshake is done');
        is next_frame($raw)->{payload}, 'before the handshake is done', 'a send';
        $raw->{handle}->push_write(join '', map { text($_) } 1 .. 50);
        is_deeply $seen->wait_messages(50)->bodies, [1 .. 50], 'messages';
        $raw->{handle}->push_write(ping('p'));
        my $pong = next_frame($raw);
        is_deeply [@$pong{qw(opcode payload)}], [10, 'p'], 'a ping is answered';
        is $pong->{masked}, $side eq 'connect' ? 1 : 0, 'masked by a client';
    };

    subtest "$side: replies and pongs in order" => sub {
        my ($connection, $raw) = connection_with($side);
        $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body); $_[0]->handle->push_write(ping('raw')) });
        $raw->{handle}->push_write(join '', map { text($_) . ping("p$_") } 1 .. 30);
        is_deeply [map { next_frame($raw)->{payload} } 1 .. 90], [map {; "re: $_", 'raw', "p$_" } 1 .. 30];
    };

    subtest "$side: large messages" => sub {
        my ($connection, $raw) = connection_with($side, max_payload_size => 0);
        my $seen = recorder($connection);
        my $large = join '', map { pack 'N', $_ } 1 .. 500_000;
        $connection->send(AnyEvent::WebSocket::Message->new(opcode => 2, body => $large))->send('small');
        ok next_frame($raw)->{payload} eq $large, 'out';
        is next_frame($raw)->{payload}, 'small', 'and one behind it';
        $raw->{handle}->push_write(binary($large) . text('small'));
        $seen->wait_messages(2);
        ok $seen->bodies->[0] eq $large, 'in';
        is $seen->bodies->[1], 'small', 'and one behind it';
    };

    subtest "$side: frames cut anywhere" => sub {
        my ($connection, $raw) = connection_with($side);
        my $seen = recorder($connection);
        for my $byte (split //, text('byte by byte', mask => 1) . binary('x' x 200)) { $raw->{handle}->push_write($byte) }
        is_deeply $seen->wait_messages(2)->bodies, ['byte by byte', 'x' x 200];
    };

    subtest "$side: close" => sub {
        my ($connection, $raw) = connection_with($side);
        my $seen = recorder($connection);
        $connection->send('last')->close(4000, 'bye');
        is next_frame($raw)->{payload}, 'last', 'what was sent';
        is_deeply [close_of(next_frame($raw))], [4000, 'bye'], 'the Close frame';
        is next_frame($raw), undef, 'and EOF';
        $seen->wait_finish;
        is $seen->finished, 1, 'finish when the peer has closed';
    };

    subtest "$side: a Close frame of the peer" => sub {
        my ($connection, $raw) = connection_with($side);
        my $seen = recorder($connection);
        $raw->{handle}->push_write(text('message') . close_frame(4001, 'theirs') . text('late'));
        is next_frame($raw)->{opcode}, 8, 'is answered';
        is_deeply [$connection->close_code, $connection->close_reason], [4001, 'theirs'], 'and noted';
        is_deeply $seen->bodies, ['message'], 'nothing behind it is delivered';
    };

    subtest "$side: EOF with messages before it" => sub {
        my ($connection, $raw) = connection_with($side);
        my $seen = recorder($connection);
        $connection->send('x');
        next_frame($raw);
        $raw->{handle}->push_write(join '', map { text($_) } 1 .. 20);
        $raw->{handle}->push_shutdown;
        $seen->wait_finish;
        is_deeply $seen->bodies, [1 .. 20], 'all are delivered';
        is $seen->finished, 1, 'then finish';
    };

    subtest "$side: a limit" => sub {
        my ($connection, $raw) = connection_with($side, max_payload_size => 5);
        my $seen = recorder($connection);
        $raw->{handle}->push_write(text('12345') . text('123456'));
        $seen->wait_parse_error;
        like $seen->errors->[0], qr/\APayload is too big\./;
        wait_until('EOF', sub { $raw->{eof} });
        pass 'the connection is down';
    };

    subtest "$side: the connection goes in a callback" => sub {
        my ($connection, $raw) = connection_with($side);
        $connection->on(each_message => sub { $_[0]->send('bye'); undef $connection });
        $raw->{handle}->push_write(text('1') . text('2'));
        is next_frame($raw)->{payload}, 'bye', 'what was sent goes out';
        wait_until('EOF', sub { $raw->{eof} });
        pass 'then EOF';
    };
}

subtest 'both ends are connections, and the client\'s bytes were there early' => sub {
    my ($server_handle, $client_handle) = tls_handles();
    my $client = connection(handle => $client_handle, masked => 1);
    my $client_seen = recorder($client);
    $client->send($_) for 'early', 'words';
    my $server = connection(handle => $server_handle);
    my $server_seen = recorder($server);
    $server->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
    is_deeply $server_seen->wait_messages(2)->bodies, ['early', 'words'], 'to the server';
    is_deeply $client_seen->wait_messages(2)->bodies, ['re: early', 're: words'], 'and back';
    $server->close(4000, 'done');
    $_->wait_finish for $server_seen, $client_seen;
    is_deeply [$client->close_code, $client->close_reason], [4000, 'done'], 'close';
    is_deeply [map { $_->finished } $server_seen, $client_seen], [1, 1], 'finish on both sides, once';
};

subtest 'starttls on a handle that has a connection' => sub {
    my ($left, $right) = tcp_pair();
    my ($server_handle, $client_handle) = map { AnyEvent::Handle->new(fh => $_) } $left, $right;
    my ($server, $client) = (connection(handle => $server_handle), connection(handle => $client_handle, masked => 1));
    my ($server_seen, $client_seen) = map { recorder($_) } $server, $client;
    $client->send('in the clear');
    $server_seen->wait_messages(1);
    my %server_options = tls_options('accept');
    my %client_options = tls_options('connect');
    $server_handle->starttls(@server_options{qw(tls tls_ctx)});
    $client_handle->starttls(@client_options{qw(tls tls_ctx)});
    $client->send('encrypted');
    is_deeply $server_seen->wait_messages(2)->bodies, ['in the clear', 'encrypted'], 'client to server';
    $server->send('as well');
    is_deeply $client_seen->wait_messages(1)->bodies, ['as well'], 'server to client';
};

done_testing;
