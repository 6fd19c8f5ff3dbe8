# Tests what AnyEvent::WebSocket::Server's constructor takes, what it refuses, and what a server object is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Scalar::Util qw(reftype);
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;

needs_server();

my $class = 'AnyEvent::WebSocket::Server';

subtest 'a blessed hash with what it was given' => sub {
    my $handshake = sub { $_[1] };
    my $server = $class->new(handshake => $handshake, ssl_key_file => 'k', ssl_cert_file => 'c', max_payload_size => 5);
    is ref $server, $class, 'the class';
    is reftype $server, 'HASH', 'is a hash';
    is_deeply { map { $_ => $server->{$_} } qw(ssl_key_file ssl_cert_file max_payload_size) },
        { ssl_key_file => 'k', ssl_cert_file => 'c', max_payload_size => 5 }, 'with the arguments';
    is $server->{handshake}, $handshake, 'and the callback';
};

subtest 'without arguments' => sub {
    my $server = $class->new();
    is ref $server->{handshake}, 'CODE', 'there is a callback';
    is $server->{$_}, undef, $_ for qw(ssl_key_file ssl_cert_file max_payload_size);
};

subtest 'unknown arguments' => sub {
    is ref eval { $class->new(nonsense => 1, version => 13) }, $class, 'are ignored';
};

subtest 'what is not a code reference' => sub {
    for my $name (qw(validator handshake)) {
        for my $wrong ('', 0, 'main::code', 1, [], {}, \'x', bless(sub { }, 'Some::Class'), bless {}, 'Any') {
            my $text = qr/\A$name parameter must be a code-ref at /;
            croaks_here("$name => '$wrong'", sub { $class->new($name => $wrong) }, $text);
        }
    }
};

subtest 'validator is checked although handshake wins' => sub {
    my %both = (handshake => sub { $_[1] }, validator => 1);
    croaks_here('validator => 1', sub { $class->new(%both) }, qr/\Avalidator parameter must/);
    my $called = 0;
    my ($attempt, $peer) = establishing(handshake => sub { ($_[1], 'handshake') }, validator => sub { $called++; 'validator' });
    $peer->write(request());
    is_deeply [($attempt->results)[1 .. 1]], ['handshake'], 'the result is that of handshake';
    is $called, 0, 'validator is not called';
};

subtest 'undef is as absent' => sub {
    my ($attempt, $peer) = establishing(
        handshake => undef, validator => undef, ssl_key_file => undef, ssl_cert_file => undef, max_payload_size => undef,
    );
    $peer->write(request());
    is_deeply [map { ref } $attempt->results], ['AnyEvent::WebSocket::Connection'], 'it gets a connection';
    is response_of($peer), $RESPONSE, 'and the client the response';
};

subtest 'validator' => sub {
    my @seen;
    my ($attempt, $peer) = establishing(validator => sub { @seen = (wantarray, map { ref } @_); return (1, undef, 'x') });
    $peer->write(request());
    my ($connection, @other) = $attempt->results;
    is_deeply \@seen, [1, 'Protocol::WebSocket::Request'], 'gets the request, in list context';
    isa_ok $connection, 'AnyEvent::WebSocket::Connection';
    is_deeply \@other, [1, undef, 'x'], 'what it returns follows the connection';
    is response_of($peer), $RESPONSE, 'and the client gets the response';
};

subtest 'a validator that returns nothing accepts, too' => sub {
    my ($attempt, $peer) = establishing(validator => sub { return });
    $peer->write(request());
    is scalar(my @results = $attempt->results), 1, 'there is the connection alone';
};

subtest 'a validator that dies' => sub {
    my ($attempt, $peer) = establishing(validator => sub { die "not you\n" });
    $peer->write(request());
    failed_ok($attempt, $peer, "not you\n");
};

subtest 'max_payload_size' => sub {
    my ($attempt, $peer) = establishing(max_payload_size => 5);
    $peer->write(request());
    my $connection = $attempt->connection;
    is $connection->max_payload_size, 5, 'is the attribute of the connection';
    my $seen = recorder($connection);
    response_of($peer);
    $peer->write(text('12345', mask => 1));
    $seen->wait_messages(1);
    $peer->write(text('123456', mask => 1));
    $seen->wait_parse_error;
    is_deeply $seen->bodies, ['12345'], 'and its limit';
};

subtest 'values that are changed in the object' => sub {
    my $server = $class->new(max_payload_size => 5);
    $server->{max_payload_size} = 7;
    $server->{handshake} = sub { ($_[1], 'changed') };
    my ($attempt, $peer) = establishing(SERVER => $server);
    $peer->write(request());
    my ($connection, @other) = $attempt->results;
    is $connection->max_payload_size, 7, 'count for the next connection';
    is_deeply \@other, ['changed'], 'also the callback';
};

{
    package WebSocketTest::Callable;
    use overload '&{}' => sub {
        sub { ($_[1], 'called') }
    };
}

subtest 'a callback that is replaced by an object' => sub {
    my $server = $class->new;
    $server->{handshake} = bless {}, 'WebSocketTest::Callable';
    my ($attempt, $peer) = establishing(SERVER => $server);
    $peer->write(request());
    my ($connection, @other) = $attempt->results;
    is_deeply \@other, ['called'], 'which can be called';
};

done_testing;
