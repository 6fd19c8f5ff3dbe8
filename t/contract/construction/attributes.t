# Tests the attributes of the class, a Moo class: which there are, their defaults, and who may write them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my $class = 'AnyEvent::WebSocket::Connection';

sub new_handle { AnyEvent::Handle->new(fh => (socket_pair())[0], on_error => sub { }) }

subtest 'handle is required' => sub {
    ok !eval { $class->new; 1 }, 'new without a handle dies';
    like $@, qr/\AMissing required arguments: handle\b/, q{with Moo's own message};
    like $@, qr/\Q${\__FILE__}\E/, 'at a line of ours';
    is ref $class->new(handle => new_handle()), $class, 'with one it lives';
    is ref $class->new({ handle => new_handle() }), $class, 'a hash reference does as well';
};

subtest 'a Moo class' => sub {
    isa_ok $class, 'Moo::Object';
    is ref $class->new(handle => new_handle(), of_a_later_version => 1), $class, 'unknown arguments are ignored';
};

subtest 'defaults' => sub {
    my $connection = $class->new(handle => new_handle());
    is $connection->masked, 0, 'masked';
    is $connection->$_, undef, $_ for qw(subprotocol max_payload_size close_code close_reason close_error);
    is $connection->max_fragments, undef, 'max_fragments' unless is_044();
};

subtest 'masked replaced in the class' => sub {
    no warnings 'redefine';
    local *AnyEvent::WebSocket::Connection::masked = sub { 1 };
    my ($connection, $peer) = connection_and_peer();
    $connection->send('hello');
    ok $peer->next_frame->{masked}, 'is called';
};

my %read_only = (masked => 1, subprotocol => 'chat', max_payload_size => 1000, is_044() ? () : (max_fragments => 4));
my %read_write = (close_code => 4001, close_reason => "gr\x{fc}n", close_error => 'broken');

subtest 'values given to new' => sub {
    my $connection = $class->new(handle => new_handle(), %read_only, %read_write);
    my %expected = (%read_only, %read_write);
    is $connection->$_, $expected{$_}, $_ for sort keys %expected;
};

subtest 'read-only' => sub {
    my $handle = new_handle();
    my $connection = $class->new(handle => $handle, %read_only);
    my %now = (%read_only, handle => $handle);
    delete @now{qw(max_payload_size max_fragments)} if !is_original();    # in the original they are read-only
    for my $name (sort keys %now) {
        ok !eval { $connection->$name(7); 1 }, "$name cannot be set";
        is $connection->$name, $now{$name}, 'and keeps its value';
    }
};

subtest 'read-write' => sub {
    my $connection = $class->new(handle => new_handle());
    for my $name (sort keys %read_write) {
        $connection->$name($read_write{$name});
        is $connection->$name, $read_write{$name}, "$name can be set";
        $connection->$name(undef);
        is $connection->$name, undef, 'and unset';
    }
};

subtest 'handle is the very object that was passed in' => sub {
    my $handle = new_handle();
    is $class->new(handle => $handle)->handle, $handle;
};

differs 'backend' => 'has no such method' => sub {
    is $class->backend, 'rust', 'as class method';
    is $class->new(handle => new_handle())->backend, 'rust', 'as object method';
};

differs 'close_timeout' => 'has no such attribute' => sub {
    is $class->new(handle => new_handle())->close_timeout, 30, 'default';
    is $class->new(handle => new_handle(), close_timeout => $_)->close_timeout, $_, "given as $_" for 0, 0.5, 7;
};

done_testing;
