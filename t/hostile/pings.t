# Tests that the pongs that wait for a peer that pings and never reads are bounded. "If an endpoint receives a Ping frame and
# has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only
# the most recently processed Ping frame." (RFC 6455, 5.5.3)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original queues all of them' if is_original();

my $PINGS = 20_000;
my $BOUND = 256 * 1024;    # octets; all the pongs take ten times as much

# Returns the payload of a ping: its number, padded to the maximum length.
sub ping_number { sprintf '%0125d', $_[0] }

for my $masked (0, 1) {
    subtest "masked $masked" => sub {
        my ($connection, $peer) = connection_and_peer(masked => $masked);
        my $seen = recorder($connection);
        $peer->stall;
        my @mask = (mask => !$masked);
        $connection->send('first');
        my $most = 0;
        for (my $from = 1; $from <= $PINGS; $from += 1000) {
            $peer->write(map { ping(ping_number($_), @mask) } $from .. $from + 999);
            $peer->write(text('turn', @mask));
            $seen->wait_messages(1 + int $from / 1000);
            my $queued = length $connection->handle->{wbuf};
            $most = $queued if $queued > $most;
        }
        cmp_ok $most, '<', $BOUND, 'octets that wait for the peer, at most';
        $connection->send('last')->close(4000);
        my @frames = $peer->resume->frames_to_eof;
        my @pongs = grep { $_->{opcode} == 10 } @frames;
        is_deeply [map { $_->{payload} } grep { $_->{opcode} == 1 } @frames], [qw(first last)], 'what was sent is all there';
        is $pongs[-1]{payload}, ping_number($PINGS), 'the latest ping is answered';
        is_deeply [map { $_->{payload} } @pongs], [sort map { $_->{payload} } @pongs], 'pongs are in the order of the pings';
        is_deeply [close_of($frames[-1])], [4000, ''], 'the Close comes last';
    };

    subtest "masked $masked: a peer that reads again gets the latest pong without asking again" => sub {
        my ($connection, $peer) = connection_and_peer(masked => $masked);
        $peer->stall;
        $peer->write(map { ping(ping_number($_), mask => !$masked) } 1 .. $PINGS);
        $peer->wait_written;
        $peer->resume;
        my $latest = '';
        wait_until('the latest pong', sub {
            while (my $frame = decode_frame(\$peer->{in})) { $latest = $frame->{payload} }
            $latest eq ping_number($PINGS);
        });
        is $latest, ping_number($PINGS);
    };
}

# If one of the handle's methods is replaced, all writing goes through them.
for my $case (['the handle is written to natively', sub { }], ['the handle is only called', \&AnyEvent::Handle::push_write]) {
    my ($name, $replacement) = @$case;
    subtest "a send that dies while a pong waits, and $name" => sub {
        no warnings 'redefine';
        local *AnyEvent::Handle::push_write = sub { goto &$replacement } if $name =~ /only/;
        my ($connection, $peer) = connection_and_peer();
        $peer->stall;
        $connection->send_fragment('x' x 1_000_000);
        $peer->write(ping('p'));
        settle();
        ok !eval { $connection->send('out of place'); 1 }, 'it dies';
        $connection->send_fragment('', final => 1);
        $peer->resume;
        is_deeply [map { $_->{opcode} } $peer->next_frames(3)], [1, 10, 0], 'the ping is answered all the same';
    };
}

done_testing;
