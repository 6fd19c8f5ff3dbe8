# Tests that the client takes a TLS context, has a certificate of its own, and sends the server's name only if it may.
use strict;
use warnings;
use File::Temp ();
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::RawServer;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original has none of these' if is_original();
my $why_not = WebSocketTest::TLS::unavailable();
plan skip_all => $why_not if $why_not;
delete @ENV{qw(PERL_ANYEVENT_CA_FILE PERL_ANYEVENT_CA_PATH)};

my $class = 'AnyEvent::WebSocket::Client';
my ($certificate, $key) = certificate_files();    # for localhost

# Connects to localhost over TLS. Returns the condvar, the server's end, and the server.
sub connecting {
    my ($new, %server) = @_;
    my $server = raw_server(tls => %server ? \%server : 1);
    my $cv = $class->new(%$new)->connect($server->uri('/', 'localhost'));
    return ($cv, $server->next_peer, $server);
}

sub connects_ok {
    my ($name, @arguments) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($cv, $peer) = connecting(@arguments);
    $peer->write(switching(next_request($peer)));
    my $connection = connection_of($cv);
    isa_ok $connection, 'AnyEvent::WebSocket::Connection', "$name:";
    return ($connection, $peer);
}

subtest 'tls_ctx' => sub {
    require AnyEvent::TLS;
    my $context = AnyEvent::TLS->new(verify => 1, verify_peername => 'https', ca_file => $certificate);
    my ($connection) = connects_ok('an object', { tls_ctx => $context });
    is $connection->handle->{tls_ctx}, $context, 'is used';
    is $connection->handle->{peername}, 'localhost', 'and verifies the name';
    connects_ok('a hash', { tls_ctx => { verify => 1, verify_peername => 'https', ca_file => $certificate } });
    connects_ok('a hash that verifies nothing', { tls_ctx => { verify => 0 } });
    my ($cv, $peer) = connecting({ tls_ctx => { verify => 1 } });
    like error_of($cv), qr/\Aconnect error: .*certificate verify failed/, 'a hash that trusts nobody';
};

subtest 'tls_ctx and ssl_no_verify' => sub {
    my ($connection) = connects_ok('both', { tls_ctx => { verify => 0 }, ssl_no_verify => 1 });
    isnt $connection->handle->{tls_ctx}, AnyEvent::Handle::TLS_CTX(), 'the context is the own one';
};

my @wants_certificate = (
    tls => 'accept',
    tls_ctx => {
        cert_file => $certificate, key_file => $key, verify => 1, verify_require_client_cert => 1, ca_file => $certificate,
    },
);

subtest 'a certificate of the client' => sub {
    for my $more ({ ssl_ca_file => $certificate }, { ssl_no_verify => 1 }) {
        my ($connection, $peer) = connects_ok(
            'with ' . join(' ', keys %$more),
            { ssl_cert_file => $certificate, ssl_key_file => $key, %$more }, @wants_certificate);
        my $seen = Net::SSLeay::get_peer_certificate($peer->handle->{tls});
        like $seen && Net::SSLeay::X509_NAME_oneline(Net::SSLeay::X509_get_subject_name($seen)), qr/CN=localhost/,
            'the server sees it';
    }
    my ($cv, $peer) = connecting({ ssl_ca_file => $certificate }, @wants_certificate);
    like error_of($cv), qr/\Aconnect error: /, 'without one, such a server refuses';
};

subtest 'key and certificate in one file' => sub {
    my $both = File::Temp->new;
    for my $name ($certificate, $key) { open my $file, '<', $name or die "$name: $!"; print {$both} <$file> }
    close $both;
    connects_ok('without ssl_key_file', { ssl_cert_file => "$both", ssl_no_verify => 1 }, @wants_certificate);
};

subtest 'a certificate that cannot be read' => sub {
    my $server = raw_server(tls => 1);
    my $cv = $class->new(ssl_cert_file => "$certificate.none", ssl_key_file => $key, ssl_no_verify => 1)->connect($server->uri);
    like error_of($cv), qr/\Q$certificate.none\E/, 'is an error of the condvar that names it';
};

# Returns the name that the client sends to the server.
sub server_name {
    my ($host, %new) = @_;
    my $server = raw_server();
    my $cv = $class->new(%new)->connect("wss://$host:" . $server->port . '/');
    my $peer = $server->next_peer;
    $peer->wait_bytes(5);
    $peer->wait_bytes(5 + unpack 'x3 n', $peer->bytes);
    return server_name_in($peer->bytes);
}

subtest 'ssl_sni' => sub {
    is server_name('localhost', ssl_no_verify => 1, ssl_sni => 1), 'localhost', '1 is the default';
    is server_name('localhost', ssl_no_verify => 1, ssl_sni => 0), undef, '0 sends no name';
    is server_name('127.0.0.1', ssl_no_verify => 1, ssl_sni => 1), undef, 'an address is never sent';
    is server_name('localhost', tls_ctx => { verify => 0 }), 'localhost', 'with tls_ctx it is sent, too';
};

subtest 'what cannot be combined' => sub {
    croaks_here('tls_ctx and ssl_ca_file', sub { $class->new(tls_ctx => {}, ssl_ca_file => 'x') }, qr/tls_ctx .*ssl_ca_file/);
    croaks_here('tls_ctx, ssl_cert_file', sub { $class->new(tls_ctx => {}, ssl_cert_file => 'x') }, qr/tls_ctx .*_cert_file/);
    croaks_here('ssl_key_file alone', sub { $class->new(ssl_key_file => 'x') }, qr/ssl_key_file needs ssl_cert_file/);
};

done_testing;
