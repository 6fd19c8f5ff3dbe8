# Tests that exceeding a limit calls parse_error, after which the connection is down and half-closed, and finish follows.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Scalar::Util qw(refaddr);

my %limit = (
    'Payload is too big.' => [{ max_payload_size => 5 }, text('123456')],
    'Too many fragments'  => [{ max_fragments => 2 }, text('a', fin => 0) . continuation('b', fin => 0)],
);

delete $limit{'Too many fragments'} if is_044();

for my $text (sort keys %limit) {
    my ($new, $bytes) = @{ $limit{$text} };

    subtest "$text: the callback" => sub {
        my ($connection, $peer) = connection_and_peer(%$new);
        my $seen = recorder($connection);
        $peer->write($bytes);
        $seen->wait_parse_error;
        my ($arguments, @more) = $seen->arguments('parse_error');
        is_deeply \@more, [], 'is called once';
        is scalar @$arguments, 2, 'with two arguments';
        is $arguments->[0], refaddr $connection, 'the connection';
        like $arguments->[1], qr/\A\Q$text\E/, 'and a text that begins as ever';
    };

    subtest "$text: after it" => sub {
        my ($connection, $peer) = connection_and_peer(%$new);
        my $seen = recorder($connection);
        $peer->sync;    # past the first turn of the loop
        $peer->write(text('ok') . $bytes);
        $seen->wait_parse_error;
        is $connection->send('late'), $connection, 'send does nothing, and returns the connection';
        is $connection->close(4000), $connection, 'so does close';
        is_deeply [grep { $_->{opcode} != 8 } $peer->frames_to_eof], [], 'the handle is half-closed';
        is_deeply $seen->order, ['message', 'parse_error'], 'finish has not come yet';
        $peer->half_close;
        $seen->wait_finish;
        settle();
        is_deeply $seen->order, ['message', 'parse_error', 'finish'], 'it comes with the EOF of the peer, once';
    };

    subtest "$text: messages in the same piece" => sub {
        my ($connection, $peer) = connection_and_peer(%$new);
        my $seen = recorder($connection);
        $peer->sync;
        $peer->write(text('1') . text('2') . $bytes)->half_close;
        $seen->wait_finish;
        is_deeply $seen->bodies, ['1', '2'], 'those before it are delivered';
    };
}

differs 'the peer goes on after a violation' => 'parses on' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 5);
    my $seen = recorder($connection);
    $peer->write(text('123456') . text('more'))->wait_eof;
    $peer->write(text('again'), ping('p'), text('123456'), close_frame(1000));
    $peer->write("\xff" x 1_000_000)->half_close;
    $seen->wait_finish;
    is_deeply $seen->order, ['parse_error', 'finish'], 'nobody hears of it';
    is $connection->close_code, undef, 'a late Close frame is not read either';
};

subtest 'all callbacks, in order; cancelled ones are not called' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 5);
    my @log;
    my @cancel = map { my $name = $_; $connection->on(parse_error => sub { push @log, $name }) } qw(a b c);
    $cancel[1]->();
    my $seen = recorder($connection);
    $peer->write(text('123456'));
    $seen->wait_parse_error;
    is_deeply \@log, [qw(a c)];
};

subtest 'send and close inside the callback do nothing' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 5);
    my @returned;
    $connection->on(parse_error => sub { push @returned, $_[0]->send('sorry'), $_[0]->close(4000, 'sorry') });
    $peer->write(text('123456'));
    is_deeply [grep { $_->{payload} =~ /sorry/ } $peer->frames_to_eof], [], 'nothing on the wire';
    is_deeply [map { refaddr $_ } @returned], [(refaddr $connection) x 2], 'both return the connection';
};

subtest 'without a callback' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 5);
    my ($finished) = (0);
    my $warnings = warnings_of(sub { $peer->write(text('123456'))->wait_eof });
    is_deeply $warnings, [], 'nothing is warned of';
    next_event('finish', sub { $connection->on(finish => $_[0]); $peer->half_close });
    pass 'finish comes';
};

subtest 'queued data goes out first' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 5);
    $peer->stall;
    $connection->send('x' x 3_000_000);
    $peer->write(text('123456'));
    settle();
    my ($data, @more) = $peer->resume->frames_to_eof;
    is length $data->{payload}, 3_000_000, 'all of it';
    is_deeply [grep { $_->{opcode} != 8 } @more], [], 'then EOF';
};

differs 'the peer is gone before our Close is written' => 'sends none' => sub {
    for my $tcp (0, 1) {
        my ($connection, $peer) = connection_and_peer(tcp => $tcp);
        my $seen = recorder($connection);
        $connection->send('unread');
        $peer->stall;
        turn();
        $peer->write(frame(opcode => 3))->close;
        $seen->wait_finish;
        is_deeply $seen->order, ['parse_error', 'finish'], 'parse_error still comes before finish';
    }
};

done_testing;
