# Tests that the client is a Moo class with these attributes, and reads them through their accessors when it needs them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;

my $class = 'AnyEvent::WebSocket::Client';

my @undefined = (
    qw(ssl_no_verify ssl_ca_file protocol_version subprotocol http_headers max_payload_size),
    is_044() ? () : 'max_fragments');

{
    package Extended;    # Moo, with modifiers
    use Moo;
    extends 'AnyEvent::WebSocket::Client';
    has '+timeout' => (default => sub { 7 });
    has name => (is => 'ro', default => 'anonymous');
    has log => (is => 'ro', default => sub { [] });
    around http_headers => sub { my ($next, $self) = @_; return [@{ $self->$next || [] }, 'X-Added' => $self->name] };
    around connect => sub { my ($next, $self, @rest) = @_; push @{ $self->log }, 'connect'; return $self->$next(@rest) };
    sub BUILD { push @{ $_[0]->log }, 'BUILD' }
}
{
    package Plain;    # an ordinary subclass that has methods instead of attributes, and notes their calls
    our @ISA = 'AnyEvent::WebSocket::Client';
    our %value;
    our @log;
    for my $name (qw(timeout env_proxy ssl_no_verify ssl_ca_file protocol_version subprotocol http_headers max_payload_size
        max_fragments))
    {
        no strict 'refs';
        *$name = sub { push @log, $name; $value{$name} };
    }
}

subtest 'defaults' => sub {
    my $client = $class->new;
    isa_ok $client, 'Moo::Object';
    is $client->timeout, 30, 'timeout';
    is $client->env_proxy, 0, 'env_proxy' unless is_044();
    is $client->$_, undef, $_ for @undefined;
};

my %value =
    (timeout => 3, env_proxy => 1, (map { $_ => "a $_" } @undefined), subprotocol => ['a', 'b'], http_headers => [a => 1]);
delete $value{env_proxy} if is_044();

subtest 'values given to new' => sub {
    # The options of connections are numbers here, since they are checked.
    my %given = (%value, max_payload_size => 10, is_044() ? () : (max_fragments => 4));
    for my $client ($class->new(%given), $class->new({%given})) {
        is_deeply $client->$_, $given{$_}, $_ for sort keys %given;
    }
};

subtest 'read-only' => sub {
    my $client = $class->new(timeout => 3);
    for my $name ('timeout', 'env_proxy', @undefined) {
        next unless $client->can($name);
        my $before = $client->$name;
        ok !eval { $client->$name(7); 1 }, "$name cannot be set";
        is $client->$name, $before, 'and keeps its value';
    }
};

subtest 'unknown arguments' => sub {
    is ref $class->new(of_a_later_version => 1), $class, 'are ignored';
};

subtest 'any value' => sub {
    for my $name (qw(timeout ssl_no_verify ssl_ca_file protocol_version)) {
        my $object = {};
        is $class->new($name => $_)->$name, $_, "is taken for $name: " . (defined $_ ? "'$_'" : 'undef')
            for undef, '', -1, 'x', $object;
    }
};

subtest 'subprotocol' => sub {
    my $subprotocols = ['a', 'b'];
    is $class->new(subprotocol => $subprotocols)->subprotocol, $subprotocols, 'a reference is kept';
    is_deeply $class->new(subprotocol => 'a')->subprotocol, ['a'], 'a string becomes an array';
    is_deeply $class->new(subprotocol => $_)->subprotocol, [$_], defined $_ ? "'$_', too" : 'undef, too' for undef, '';
};

subtest 'http_headers' => sub {
    my $headers = [b => 1, a => 2];
    is $class->new(http_headers => $headers)->http_headers, $headers, 'an array is kept';
    is_deeply $class->new(http_headers => { b => [3, 1], a => 'x', c => [], B => undef })->http_headers,
        [B => undef, a => 'x', b => 3, b => 1], 'a hash is sorted by name, and arrays in it are repeated';
    is_deeply $class->new(http_headers => $_)->http_headers, [], defined $_ ? 'an empty hash: none' : 'undef: none'
        for undef, {};
    for my $wrong (sub { }, 'X-A: 1') {
        ok !eval { $class->new(http_headers => $wrong); 1 }, 'anything else dies: ' . (ref $wrong || 'a string');
        like $@, qr/\Acoercion for "http_headers" failed: /, q{with Moo's own message};
    }
};

subtest 'extends, has, around and BUILD' => sub {
    my $server = raw_server();
    my $client = Extended->new(name => 'one', http_headers => [a => 1]);
    is_deeply $client->log, ['BUILD'], 'BUILD has run';
    is $client->timeout, 7, 'another default';
    my $cv = $client->connect($server->uri);
    is_deeply $client->log, [qw(BUILD connect)], 'connect can be wrapped';
    my $request = next_request($server->next_peer);
    is_deeply [$request->values('a'), $request->values('X-Added')], [1, 'one'], 'so can an accessor';
};

subtest 'methods instead of attributes' => sub {
    local %Plain::value = (
        timeout => 5, env_proxy => 0, protocol_version => 'draft-ietf-hybi-17', subprotocol => ['chat'],
        http_headers => ['X-A' => 1], max_payload_size => 10, max_fragments => 4);
    my $server = raw_server();
    @Plain::log = ();
    my $cv = Plain->new->connect($server->uri);
    is_deeply [grep { !/\A(?:env_proxy|timeout)\z/ } @Plain::log], [], 'before TCP is up, only env_proxy and timeout are read';
    is $Plain::log[0], 'env_proxy', 'env_proxy inside connect' unless is_044();
    my $peer = $server->next_peer;
    my $request = next_request($peer);
    is_deeply [map { $request->value($_) } qw(X-A Sec-WebSocket-Protocol)], [1, 'chat'], 'their values are used';
    is_deeply [grep { /\A(?:max_\w+)\z/ } @Plain::log], [], 'the limits are not yet read';
    %Plain::value = (%Plain::value, max_payload_size => 20, max_fragments => 8);
    $peer->write(switching($request, 'Sec-WebSocket-Protocol: chat'));
    my $connection = connection_of($cv);
    is $connection->max_payload_size, 20, 'max_payload_size is, when the answer comes';
    is $connection->max_fragments, 8, 'as is max_fragments' unless is_044();
    is $connection->subprotocol, 'chat', 'the subprotocol is the one of the method';
};

subtest 'a method for timeout' => sub {
    plan skip_all => 'by design: there is only one address of localhost'
        if grep { !$AnyEvent::PROTOCOL{$_} } qw(ipv4 ipv6);
    local %Plain::value = (timeout => 5);
    @Plain::log = ();
    my ($port, $reserved) = closed_port();
    is error_of(Plain->new->connect("ws://localhost:$port/")), 'unable to connect', 'nobody listens';
    is scalar(grep { $_ eq 'timeout' } @Plain::log), 2, 'it is asked for each address';
};

done_testing;
