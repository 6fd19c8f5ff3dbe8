# Tests that the client passes options of connections on, checks them when it is made, and warns of misspelt ones.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;

plan skip_all => 'by design: the original has no such options' if is_original();

my $class = 'AnyEvent::WebSocket::Client';
is $class->backend, 'rust', 'backend';

subtest 'options of connections' => sub {
    my %options =
        (close_timeout => 5, idle_timeout => 60, max_buffered_amount => 1000, max_payload_size => 10, max_fragments => 3);
    my ($cv) = shake_hands({%options}, sub { switching($_[0]) });
    my $connection = connection_of($cv);
    is $connection->$_, $options{$_}, $_ for sort keys %options;
};

subtest 'defaults' => sub {
    my ($cv) = shake_hands({}, sub { switching($_[0]) });
    my $connection = connection_of($cv);
    is $connection->close_timeout, 30, 'close_timeout';
    is $connection->idle_timeout,
        AnyEvent::WebSocket::Connection->new(handle => AnyEvent::Handle->new(fh => (socket_pair())[0]))->idle_timeout,
        'idle_timeout is that of a connection';
};

subtest 'values that are wrong' => sub {
    croaks_here('close_timeout => "soon"', sub { $class->new(close_timeout => 'soon') }, qr/close_timeout/);
    croaks_here('idle_timeout => -1', sub { $class->new(idle_timeout => -1) }, qr/idle_timeout/);
};

subtest 'misspelt names' => sub {
    my $line = __LINE__ + 1;
    my $warnings = warnings_of(sub { $class->new(handshake_timout => 3) });
    like "@$warnings", qr/handshake_timout.*handshake_timeout/, 'get a warning that names the right one';
    like "@$warnings", qr/ at \Q${\__FILE__}\E line $line\.?$/, 'at the line of the caller';
    is_deeply warnings_of(sub { $class->new(something_else => 3) }), [], 'others are ignored';
};

subtest 'names that other classes have, or other libraries' => sub {
    my %meant = (
        headers => 'http_headers', subprotocols => 'subprotocol', protocols => 'subprotocol', connect_timeout => 'timeout',
        max_payload => 'max_payload_size', max_message => 'max_message_size', SSL_ca_file => 'ssl_ca_file',
        ca_file => 'ssl_ca_file', SSL_verify_mode => 'ssl_no_verify', compression => 'deflate', proxy => 'env_proxy',
    );
    for my $name (sort keys %meant) {
        my $warnings = warnings_of(sub { $class->new($name => 1) });
        like "@$warnings", qr/has no attribute $name, which is ignored; did you mean $meant{$name}\?/, $name;
    }
    my $subclass = 'WebSocketTest::HasHeaders';
    @WebSocketTest::HasHeaders::ISA = $class;
    no warnings 'once';
    *WebSocketTest::HasHeaders::headers = sub { };
    is_deeply warnings_of(sub { $subclass->new(headers => []) }), [], 'a subclass may have its own';
};

{
    package Own;    # has a method of the name of an addition
    our @ISA = 'AnyEvent::WebSocket::Client';
    sub max_redirects { 5 }
    sub on_refused { die 'not to be called' }
    sub strict { 1 }
}

subtest 'a method of a subclass' => sub {
    my ($cv) = shake_hands(Own->new, sub { switching($_[0]) =~ s/\x0d//gr });
    isa_ok connection_of($cv), 'AnyEvent::WebSocket::Connection', 'is not taken for an addition:';
    like error_for(Own->new, sub { "HTTP/1.1 302 Found\x0d\x0aLocation: ws://127.0.0.1:1/\x0d\x0a\x0d\x0a" }), qr/302 Found/,
        'also not for redirects';
};

subtest 'a limit that no connection takes' => sub {
    for my $name (qw(max_payload_size max_fragments)) {
        like error_for({ $name => 'much' }, sub { switching($_[0]) }), qr/\A$name must be a whole number, or undef\z/,
            "$name is an error of the condvar";
    }
};

done_testing;
