# Tests that subclassing with extends, method modifiers, and overriding send and close work.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

{
    package Logging;    # Moo, with modifiers
    use Moo;
    extends 'AnyEvent::WebSocket::Connection';
    has name => (is => 'ro', default => 'anonymous');
    has log  => (is => 'ro', default => sub { [] });
    around send  => sub { my ($next, $self, @rest) = @_; push @{ $self->log }, [send => @rest]; $self->$next(@rest) };
    around close => sub { my ($next, $self, @rest) = @_; push @{ $self->log }, [close => @rest]; $self->$next(@rest) };
    sub BUILD { push @{ $_[0]->log }, ['BUILD'] }
    our $demolished = 0;
    sub DEMOLISH { $demolished++ }
}
{
    package Plain;      # an ordinary subclass
    our @ISA = 'AnyEvent::WebSocket::Connection';
    our @log;
    sub send  { my ($self, @rest) = @_; push @log, [send => @rest];  $self->SUPER::send(@rest) }
    sub close { my ($self, @rest) = @_; push @log, [close => @rest]; $self->SUPER::close(@rest) }
}
{
    package Mute;       # its send sends nothing
    our @ISA = 'AnyEvent::WebSocket::Connection';
    sub send { $_[0] }
}

sub names { [map { $_->[0] } @_] }

subtest 'extends, with attributes, BUILD and DEMOLISH' => sub {
    {
        my ($connection, $peer) = connection_and_peer(class => 'Logging', name => 'one', masked => 1);
        is $connection->name, 'one', 'own attribute';
        is $connection->masked, 1, 'inherited attribute';
        is_deeply $connection->log, [['BUILD']], 'BUILD has run';
        my ($passed) = next_event('a message', sub { $connection->on(next_message => $_[0]); $peer->write(text('x')) });
        is $passed, $connection, 'callbacks get the subclass object';
    }
    is $Logging::demolished, 1, 'DEMOLISH has run';
};

subtest 'around send, around close' => sub {
    my ($connection, $peer) = connection_and_peer(class => 'Logging');
    is $connection->send('hello'), $connection, 'send returns the connection through the modifier';
    is $connection->close(4000, 'bye'), $connection, 'so does close';
    my ($message, $close) = $peer->frames_to_eof;
    is $message->{payload}, 'hello', 'the message is on the wire';
    is_deeply [close_of($close)], [4000, 'bye'], 'and the Close';
    is_deeply [grep { !ref $_->[1] } @{ $connection->log }],
        [['BUILD'], [send => 'hello'], [close => 4000, 'bye']], 'the modifiers saw the calls';
};

subtest 'a plain subclass' => sub {
    my ($connection, $peer) = connection_and_peer(class => 'Plain');
    @Plain::log = ();
    $connection->send('hello')->close(4000);
    is scalar(my @frames = $peer->frames_to_eof), 2, 'both frames arrive';
    is_deeply [$Plain::log[0], $Plain::log[1]], [[send => 'hello'], [close => 4000]], 'by way of the overridden methods';
};

for my $class (qw(Plain Logging)) {
    subtest "$class: a pong goes through send" => sub {
        my ($connection, $peer) = connection_and_peer(class => $class);
        @Plain::log = ();
        $peer->write(ping("\0ping\xff"));
        is $peer->next_frame->{payload}, "\0ping\xff", 'the pong arrives';
        my @log = $class eq 'Plain' ? @Plain::log : grep { $_->[0] ne 'BUILD' } @{ $connection->log };
        is_deeply names(@log), ['send'], 'one call of send';
        ok $log[0][1]->is_pong, 'with a message which is a pong';
        is $log[0][1]->body, "\0ping\xff", 'and has the body';
    };

    subtest "$class: the reply to a Close frame goes through close, and that through send" => sub {
        my ($connection, $peer) = connection_and_peer(class => $class);
        @Plain::log = ();
        $peer->write(close_frame(4001, 'over'));
        is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'the reply arrives';
        my @log = $class eq 'Plain' ? @Plain::log : grep { $_->[0] ne 'BUILD' } @{ $connection->log };
        is_deeply names(@log), ['close', 'send'], 'one call of each';
        ok $log[1][1]->is_close, 'send gets a message which is a Close';
    };
}

subtest 'a subclass may swallow pongs and Close frames' => sub {
    my ($connection, $peer) = connection_and_peer(class => 'Mute');
    my $seen = recorder($connection);
    $peer->write(ping('anybody?') . text('x'));
    $seen->wait_messages(1);
    $peer->write(close_frame(1000));
    is_deeply [$peer->frames_to_eof], [], 'nothing is sent';
    is $connection->close_code, 1000, 'the Close frame has been seen all the same';
};

subtest 'a method of a subclass which calls send on its own' => sub {
    my ($connection, $peer) = connection_and_peer(class => 'Plain');
    $connection->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
    $peer->write(text('1') . ping('p') . text('2'));
    is_deeply [map { $_->{payload} } $peer->next_frames(3)], ['re: 1', 'p', 're: 2'], 'in order with pongs';
};

subtest 'a subclass with methods that a newer class of ours may have' => sub {
    {
        package WithItsOwn;
        use Moo;
        extends 'AnyEvent::WebSocket::Connection';
        sub state { 'of mind' }
        sub peer { die 'not to be called' }
        sub buffered_amount { die 'not to be called' }
        sub ping { die 'not to be called' }
        sub stats { die 'not to be called' }
    }
    my ($connection, $peer) = connection_and_peer(class => 'WithItsOwn');
    my $seen = recorder($connection);
    $peer->stall;
    $connection->send('x' x 1_000_000);
    $peer->resume->write(text('hello'), ping('p'));
    $seen->wait_messages(1);
    $peer->write(close_frame(1000))->half_close;
    $seen->wait_finish;
    is $connection->state, 'of mind', 'has them';
    is_deeply $seen->order, ['message', 'finish'], 'and works';
};

subtest 'a subclass with attributes that a newer class of ours may have' => sub {
    {
        package WithItsOwnAttributes;
        use Moo;
        extends 'AnyEvent::WebSocket::Connection';
        has ping_interval => (is => 'ro', default => sub { 0.01 });
        has idle_timeout => (is => 'ro', default => sub { '5 minutes' });
        has close_timeout => (is => 'ro', default => sub { 'none' });
        has max_message_size => (is => 'rw', default => sub { 1 });
        has max_buffered_amount => (is => 'ro', default => sub { 1 });
        has strict => (is => 'ro', default => sub { 'very' });
        has deflate => (is => 'ro', default => sub { 'no' });
    }
    my ($connection, $peer) = connection_and_peer(class => 'WithItsOwnAttributes');
    my $seen = recorder($connection);
    $peer->stall;
    $connection->send('x' x 1_000_000);
    $peer->resume->write(text("\xff is no UTF-8"));
    $seen->wait_messages(1);
    after(0.05);
    is length $peer->next_frame->{payload}, 1_000_000, 'nothing waits too much';
    is_deeply [$peer->sync], [], 'no pings are sent';
    is $connection->idle_timeout, '5 minutes', 'has them';
    $connection->close;
    $peer->write(close_frame(1000))->half_close;
    $seen->wait_finish;
    is_deeply $seen->order, ['message', 'finish'], 'and works';
};

done_testing;
