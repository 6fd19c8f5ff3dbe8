# Tests that a child that leaves writes nothing into the parent's TLS session, at whatever moment it was forked.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::TLS;

needs_plain_loop();

my $why_not = WebSocketTest::TLS::unavailable();
plan skip_all => $why_not if $why_not;

my %leave = (
    '_exit'           => sub { POSIX::_exit(0) },
    'exit'            => sub { exit 0 },
    'undef, exit'     => sub { undef $_[0]; exit 0 },
    'destroy, exit'   => sub { $_[0]->handle->destroy; exit 0 },
);

# The moments to fork: subs that get two connections with recorders, which speak TLS with each other, and a sub that forks.
my %moment = (
    'before the handshake' => sub { $_[2]->() },
    'in the callback of a message that comes with the handshake' => sub {
        my ($near, $far, $fork) = @_;
        $near->[0]->on(next_message => $fork);
        $far->[0]->send('at once');
        $near->[1]->wait_messages(1);
    },
    'in the callback of a message that was there before' => sub {
        my ($near, $far, $fork) = @_;
        $near->[0]->on(next_message => $fork);
        $near->[1]->wait_messages(1);
    },
    'open' => sub {
        my ($near, $far, $fork) = @_;
        $far->[0]->send('before');
        $near->[1]->wait_messages(1);
        $fork->();
    },
    'with replies that wait for those behind them' => sub {
        my ($near, $far, $fork) = @_;
        $near->[0]->on(each_message => sub { $_[0]->send('reply'); $fork->() if $_[1]->body eq '2' });
        $far->[0]->send("$_") for 1 .. 3;
        $far->[1]->wait_messages(3);
    },
);

# Plays a fork. The server forks or, if turned, the client.
sub play {
    my ($moment, $how, $turned) = @_;
    my ($server, $client) = tls_handles();
    my @handles = $turned ? ($client, $server) : ($server, $client);
    $handles[0]{rbuf} = text('early') if $moment =~ /there before/;
    my ($near, $far) = map {
        my $connection = AnyEvent::WebSocket::Connection->new(handle => $_);
        [$connection, recorder($connection)];
    } @handles;
    my $pid;
    $moment{$moment}->($near, $far, sub { $pid ||= fork_child(sub { $leave{$how}->($near->[0]) }) });
    left_ok($pid);
    for my $pair ([$near, $far], [$far, $near]) {
        my ($from, $to) = @$pair;
        my $count = () = $to->[1]->messages;
        $from->[0]->send('afterwards');
        is $to->[1]->wait_messages($count + 1)->bodies->[-1], 'afterwards', 'the session goes on';
    }
}

for my $moment (sort keys %moment) {
    for my $how (sort keys %leave) {
        subtest "$moment, a child that leaves by $how" => sub {
            play($moment, $how, $_) for 0, 1;
        };
    }
}

done_testing;
