# Tests that compressed messages work both ways, against perl's own zlib and against each other.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original has no compression' if is_original();
require WebSocketTest::Deflate;
WebSocketTest::Deflate->import;

use constant { RSV1 => 4 };

my @roles = (['server', 0], ['client', 1]);

sub binary_message { AnyEvent::WebSocket::Message->new(opcode => 2, body => $_[0]) }

# Returns a connection in this role with these options for the handshake, and its raw peer.
sub compressing {
    my ($role, %options) = @_;
    my %new = %{ delete $options{new} || {} };
    my ($server, $client) = agreed(threshold => 0, %options);
    my $is_client = $role eq 'client';
    return connection_and_peer(masked => $is_client ? 1 : 0, deflate => $is_client ? $client : $server, %new);
}

for (@roles) {
    my ($role, $masked) = @$_;

    subtest "$role: an echo of text, binary and empty messages" => sub {
        my ($connection, $peer) = compressing($role);
        $connection->on(each_message => sub { $_[0]->send($_[1]) });
        my ($sender, $receiver) = (sender(12), receiver(12));
        for my $case ([1, json(1000)], [2, join '', map { chr } 0 .. 255], [1, ''], [1, json(1000, 7)], [2, "\0" x 60_000]) {
            my ($opcode, $payload) = @$case;
            $peer->write(compressed($sender->($payload), opcode => $opcode, mask => !$masked));
            my $frame = $peer->next_frame;
            ok wire_of($frame, $receiver) eq $payload, length($payload) . ' bytes come back';
            is $frame->{opcode}, $opcode, 'as what they were';
            is $frame->{masked}, $masked, 'masked by a client only';
            cmp_ok length $frame->{payload}, '<=', length $payload, 'and not larger';
        }
    };

    for my $bits (9 .. 15) {
        subtest "$role: windows of 2**$bits" => sub {
            my %windows = map { $_ => $bits } qw(server_max_window_bits client_max_window_bits);
            my ($connection, $peer) = compressing($role, %windows, new => { max_payload_size => 0 });
            my $seen = recorder($connection);
            my ($sender, $receiver) = (sender($bits), receiver($bits));
            my @payloads = map { json(3 * 2**$bits, $_) x 2 } 1 .. 3;
            for my $payload (@payloads) {
                $connection->send($payload);
                my $frame = $peer->next_frame;
                is $frame->{rsv}, RSV1, 'is compressed';
                ok $receiver->($frame->{payload}) eq $payload, 'out';
                $peer->write(compressed($sender->($payload), mask => !$masked));
            }
            ok join('', @{ $seen->wait_messages(3)->bodies }) eq join('', @payloads), 'in';
        };
    }

    subtest "$role: what has to do with the message before is short, unless no context is taken over" => sub {
        for my $no_takeover (0, 1) {
            my %takeovers = map { $_ => $no_takeover } qw(server_no_context_takeover client_no_context_takeover);
            my ($connection, $peer) = compressing($role, %takeovers);
            my $receiver = receiver(12);
            my @lengths;
            for (1 .. 3) {
                $receiver = receiver(12) if $no_takeover;
                $connection->send(json(800));
                my $frame = $peer->next_frame;
                is $receiver->($frame->{payload}), json(800), 'a message';
                push @lengths, length $frame->{payload};
            }
            if ($no_takeover) { is_deeply [@lengths[1, 2]], [@lengths[0, 0]], 'each of the same length' }
            else { cmp_ok $lengths[$_] * 5, '<', $lengths[0], "message $_ is short" for 1, 2 }
            my $seen = recorder($connection);
            my $sender = sender(12);
            for (1 .. 3) {
                $sender = sender(12) if $no_takeover;
                $peer->write(compressed($sender->(json(800)), mask => !$masked));
            }
            is_deeply $seen->wait_messages(3)->bodies, [(json(800)) x 3], 'and back';
        }
    };

    subtest "$role: control frames and uncompressed messages come between" => sub {
        my ($connection, $peer) = compressing($role);
        my $seen = recorder($connection);
        my $sender = sender(12);
        my @mask = (mask => !$masked);
        my ($one, $two) = map { $sender->(json(500)) } 1, 2;
        $peer->write(
            compressed(substr($one, 0, 20), @mask, fin => 0), ping('p1', @mask),
            continuation('', @mask, fin => 0), continuation(substr($one, 20), @mask, fin => 0), pong('p2', @mask), continuation('', @mask),
            text('as it is', @mask), ping('p3', @mask), compressed($two, @mask),
        );
        is_deeply $seen->wait_messages(3)->bodies, [json(500), 'as it is', json(500)], 'messages in order';
        is_deeply [map { $_->{payload} } $peer->next_frames(2)], [qw(p1 p3)], 'pings are answered';
    };
}

subtest 'frames octet by octet' => sub {
    my ($connection, $peer) = compressing('server');
    my $seen = recorder($connection);
    my $sender = sender(12);
    my $wire = join '', map { compressed($sender->("$_ " x 50), mask => 1) } 1 .. 3;
    for my $octet (split //, $wire) { $peer->write($octet); turn() }
    is_deeply $seen->wait_messages(3)->bodies, [map { "$_ " x 50 } 1 .. 3];
};

subtest 'a message in many reads' => sub {
    my ($connection, $peer) = compressing('server', new => { max_payload_size => 0 });
    my $seen = recorder($connection);
    my $payload = join '', map { pack 'N', $_ * 2654435761 % 2**32 } 1 .. 300_000;
    my $sender = sender(12);
    $peer->write(compressed($sender->($payload), opcode => 2) . compressed($sender->('small')));
    $seen->wait_messages(2);
    ok $seen->bodies->[0] eq $payload, 'a megabyte that hardly gets smaller';
    is $seen->bodies->[1], 'small', 'and one behind it';
    $connection->send(binary_message($payload))->send('x' x 100);
    ok wire_of($peer->next_frame, receiver(12)) eq $payload, 'and back';
    is wire_of($peer->next_frame, receiver(12)), 'x' x 100, 'and one behind it';
};

subtest 'the threshold, and what does not get smaller' => sub {
    my ($connection, $peer) = compressing('server', threshold => 100);
    my $rsv = sub { $connection->send($_[0]); $peer->next_frame->{rsv} };
    is $rsv->('a' x 99), 0, 'below the threshold';
    is $rsv->('a' x 100), RSV1, 'at the threshold';
    is $rsv->(binary_message('a' x 100)), RSV1, 'binary as well';
    is $rsv->(join '', map { chr rand 256 } 1 .. 200), 0, 'noise';
    is $rsv->(AnyEvent::WebSocket::Message->new(opcode => 9, body => 'a' x 125)), 0, 'a ping';
    is $rsv->("\x{263a}" x 40), RSV1, 'characters count as what they are encoded to';
    my ($by_default, $other_peer) = connection_and_peer(deflate => (agreed())[0]);
    $by_default->send('a' x $_) for 127, 128;
    is_deeply [map { $_->{rsv} } $other_peer->next_frames(2)], [0, RSV1], '128 bytes by default';
};

subtest 'levels' => sub {
    my %length;
    for my $level (1, 6, 9) {
        for my $mem_level (1, 9) {
            my ($connection, $peer) = compressing('server', level => $level, mem_level => $mem_level);
            my $receiver = receiver(12);
            for my $seed (1 .. 5) {
                $connection->send(json(3000, $seed));
                my $payload = $peer->next_frame->{payload};
                is $receiver->($payload), json(3000, $seed), "level $level, mem_level $mem_level";
                $length{$level} += length $payload;
            }
        }
    }
    cmp_ok $length{9}, '<', $length{1}, 'a higher one makes it smaller';
};

subtest 'connections to each other' => sub {
    for my $options ('', 'server_no_context_takeover 1', 'client_no_context_takeover 1', 'server_max_window_bits 9 client_max_window_bits 15') {
        my ($for_server, $for_client) = agreed(split ' ', $options);
        my ($server, $client) = connection_pair({ deflate => $for_server, strict => 1 }, { deflate => $for_client, masked => 1, strict => 1 });
        $server->on(each_message => sub { $_[0]->send($_[1]) });
        my $seen = recorder($client);
        my @payloads = map { json(50 * $_, $_) . "\x{e9}\x{263a}" } 1 .. 60;
        utf8::encode($_) for @payloads;
        $client->send($_) for @payloads;
        is_deeply $seen->wait_messages(60)->bodies, \@payloads, "with: $options";
    }
};

subtest 'TLS' => sub {
    require WebSocketTest::TLS;
    my $why_not = WebSocketTest::TLS::unavailable();
    plan skip_all => $why_not if $why_not;
    my @parameters = agreed();
    my ($server, $client) = map {
        AnyEvent::WebSocket::Connection->new(handle => $_, deflate => shift @parameters, masked => @parameters ? 0 : 1)
    } WebSocketTest::TLS::tls_handles();
    $server->on(each_message => sub { $_[0]->send($_[1]) });
    my $seen = recorder($client);
    $client->send(json(100 * $_, $_)) for 1 .. 40;
    is_deeply $seen->wait_messages(40)->bodies, [map { json(100 * $_, $_) } 1 .. 40];
};

subtest 'a handle whose methods are not its own' => sub {
    { package Other::Handle; our @ISA = 'AnyEvent::Handle'; sub push_write { my $self = shift; $self->SUPER::push_write(@_) } }
    my ($left, $right) = socket_pair();
    my $connection = AnyEvent::WebSocket::Connection->new(handle => Other::Handle->new(fh => $left), deflate => (agreed())[0]);
    my $peer = WebSocketTest::Peer->new($right);
    $connection->on(each_message => sub { $_[0]->send($_[1]) });
    $peer->write(compressed(sender(12)->(json(700))));
    is wire_of($peer->next_frame, receiver(12)), json(700);
};

subtest 'memory for sending goes when nothing is sent, and nobody notices' => sub {
    my ($connection, $peer) = compressing('server', idle_timeout => 0.3 * patience());
    my $receiver = receiver(12);
    my $length = sub {
        $connection->send(json(800));
        my $payload = $peer->next_frame->{payload};
        is $receiver->($payload), json(800), 'a message';
        return length $payload;
    };
    my $first = $length->();
    ok $connection->{_ws_window_timer}, 'a timer looks after it';
    wait_until('the timer to go', sub { after(0.02); !$connection->{_ws_window_timer} });
    is $length->(), $first, 'the next message is compressed like the first';
    ok $connection->{_ws_window_timer}, 'and there is a timer again';
    cmp_ok $length->() * 5, '<', $first, 'the one after it is short';
};

subtest 'switched on after construction' => sub {
    my ($server, $client) = agreed();
    my ($connection, $peer) = connection_and_peer();
    is $connection->deflate, undef, 'off';
    is $connection->enable_deflate($server), $connection, 'returns the connection';
    is $connection->deflate, $server, 'on';
    $peer->write(ping('p') . compressed(sender(12)->('early')));
    is_deeply recorder($connection)->wait_messages(1)->bodies, ['early'], 'takes compressed messages';
    croaks_here('after a message was received', sub { $connection->enable_deflate($server) }, qr/already/);
    my ($other) = connection_and_peer();
    $other->send('x');
    croaks_here('after a message was sent', sub { $other->enable_deflate($server) }, qr/already/);
};

done_testing;
