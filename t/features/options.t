# Tests that every attribute has its place in the documentation, and that those that new takes have their defaults.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: the original documents its own' if is_original();
require AnyEvent::WebSocket::Native::Options;

sub pod {
    open my $file, '<', $INC{'AnyEvent/WebSocket/Connection.pm'} or die $!;
    local $/;
    return scalar <$file>;
}

subtest 'the documentation' => sub {
    my ($attributes) = pod() =~ /^=head1 ATTRIBUTES\n(.*?)^=head1 /ms or return fail('has no attributes');
    my @documented = sort $attributes =~ /^=head2 (\S+)$/mg;
    my @names = AnyEvent::WebSocket::Native::Options::names();
    is_deeply \@documented, \@names, 'describes each attribute, and no others';
    my ($read_only) = $attributes =~ /^(L<.*?) are read-only/ms or return fail('does not list the read-only ones');
    my ($connection) = connection_and_peer();
    my @read_only = grep { !eval { $connection->$_($connection->$_); 1 } } @names;
    is_deeply [sort $read_only =~ m{L</(\w+)>}g], [sort @read_only], 'lists those that are read-only';
};

subtest 'defaults' => sub {
    my ($connection) = connection_and_peer();
    my %shown = (masked => 0, close_timeout => 30, strict => 0);
    my @others = grep { !exists $shown{$_} && $_ ne 'handle' } AnyEvent::WebSocket::Native::Options::names();
    is $connection->$_, $shown{$_}, $_ for sort keys %shown;
    is $connection->$_, undef, $_ for @others;
};

subtest 'strict by the environment' => sub {
    my ($before) = connection_and_peer();
    local $ENV{ANYEVENT_WEBSOCKET_STRICT} = 1;
    is $before->strict, 0, 'not for a connection that was made before';
    my ($connection) = connection_and_peer();
    my ($lenient) = connection_and_peer(strict => 0);
    delete $ENV{ANYEVENT_WEBSOCKET_STRICT};
    is $connection->strict, 1, 'for one that was made while it was set';
    is $lenient->strict, 0, 'but not against the program';
    my ($late, $peer) = do { local $ENV{ANYEVENT_WEBSOCKET_STRICT} = 1; connection_and_peer() };
    $late->max_message_size(100);
    $peer->write(text('unmasked'));
    is_deeply recorder($late)->wait_parse_error->order, ['parse_error'], 'also after another limit has been set';
};

subtest 'a value is kept as it was given' => sub {
    my %value = (
        masked => 'yes', subprotocol => 'chat', max_payload_size => '1e3', max_fragments => '5', max_message_size => '', strict => 'true',
        close_timeout => '1.5', idle_timeout => 2.5, ping_interval => '0', ping_timeout => undef, close_reason => 'none',
    );
    my ($connection) = connection_and_peer(%value);
    is $connection->$_, $value{$_}, $_ for sort keys %value;
    ($connection) = connection_and_peer();
    for my $name (grep { !/\A(?:masked|subprotocol)\z/ } sort keys %value) {
        is $connection->$name($value{$name}), $value{$name}, "$name, when it is set";
        is $connection->$name, $value{$name}, 'and later';
    }
};

done_testing;
