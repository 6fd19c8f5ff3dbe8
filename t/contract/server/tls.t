# Tests AnyEvent::WebSocket::Server with TLS: its files, when they are read, and what goes wrong.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Temp;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;
use WebSocketTest::TLS;

needs_server();
my ($plain, $secure) = transports();
plan skip_all => WebSocketTest::TLS::unavailable() if !$secure;

my %tls = tls_options('accept');
my ($CERTIFICATE, $KEY_FILE) = @{ $tls{tls_ctx} }{qw(cert_file key_file)};
my $directory = File::Temp->newdir;

sub content {
    my ($name) = @_;
    open my $in, '<', $name or die "$name: $!";
    return join '', <$in>;
}

# Writes a file and returns its name.
sub file {
    my ($name, @content) = @_;
    open my $out, '>', "$directory/$name" or die "$name: $!";
    print $out @content;
    close $out or die "$name: $!";
    return "$directory/$name";
}

# Makes another certificate and its key; returns their files.
sub new_certificate {
    my ($name) = @_;
    my @files = ("$directory/$name.crt", "$directory/$name.key");
    my $what = "-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$name";
    system "openssl req $what -keyout '$files[1]' -out '$files[0]' >/dev/null 2>&1";
    return -s $files[0] ? @files : die "no certificate\n";
}

sub secure_attempt {
    my (%args) = @_;
    my ($ours, $theirs) = tcp_pair();
    my $attempt = establishing_on($ours, %args);
    return ($attempt, WebSocketTest::SecureClient->new($theirs));
}

sub echoes_ok {
    my ($attempt, $peer) = @_;
    $peer->write(request());
    my $connection = $attempt->connection;
    is response_of($peer), $RESPONSE, 'the response';
    is_deeply [$peer->sync(mask => 1)], [], 'frames';
}

subtest 'certificate and key in two files' => sub {
    my ($attempt, $peer) = secure_attempt(ssl_cert_file => $CERTIFICATE, ssl_key_file => $KEY_FILE);
    echoes_ok($attempt, $peer);
    is $peer->certificate_name, 'localhost', 'the certificate';
    ok $attempt->connection->handle->{tls}, 'the handle of the connection has TLS';
};

subtest 'certificate and key in one file' => sub {
    echoes_ok(secure_attempt(ssl_cert_file => file('both.pem', content($CERTIFICATE), content($KEY_FILE))));
};

subtest 'a renewed certificate' => sub {
    my @files = map { "$directory/renewed.$_" } qw(crt key);
    copy($CERTIFICATE, $files[0]) && copy($KEY_FILE, $files[1]) or die "copy: $!";
    my $server = AnyEvent::WebSocket::Server->new(ssl_cert_file => $files[0], ssl_key_file => $files[1]);
    my ($first, $first_peer) = secure_attempt(SERVER => $server);
    is $first_peer->certificate_name, 'localhost', 'the first connection has the old one';
    my @new = new_certificate('renewed.example');
    copy($new[$_], $files[$_]) or die "copy: $!" for 0, 1;
    my ($second, $second_peer) = secure_attempt(SERVER => $server);
    is $second_peer->certificate_name, 'renewed.example', 'the next one the new one';
    echoes_ok($first, $first_peer);
    echoes_ok($second, $second_peer);
};

subtest 'a key without a certificate' => sub {
    my ($ours, $theirs) = tcp_pair();
    my $peer = WebSocketTest::Peer->new($theirs);
    my $server = AnyEvent::WebSocket::Server->new(ssl_key_file => $KEY_FILE);
    ok !eval { $server->establish($ours); 1 }, 'establish dies';
    like $@, qr/\AOnly ssl_key_file is specified\. You need to specify ssl_cert_file, too\. at /, 'with the reason';
    ok !eval { $server->establish_psgi(psgi_env(), $ours); 1 }, 'so does establish_psgi';
    like $@, qr/\AOnly ssl_key_file is specified\./, 'with the same';
    settle();
    ok !$peer->eof, 'the socket stays open';
};

my @other = new_certificate('other');
my %wrong = (
    'no such certificate' => [cert_file => "$directory/none", key_file => $KEY_FILE],
    'no such key' => [cert_file => $CERTIFICATE, key_file => "$directory/none"],
    'a certificate that is none' => [cert_file => file('garbage', "garbage\n"), key_file => $KEY_FILE],
    'a key of another certificate' => [cert_file => $CERTIFICATE, key_file => $other[1]],
    'no key in the file' => [cert_file => $CERTIFICATE],
);
for my $name (sort keys %wrong) {
    subtest $name => sub {
        my %files = @{ $wrong{$name} };
        my $expected = eval { AnyEvent::TLS->new(%files); 1 } ? '' : $@ =~ s/ at \S+ line \d+\.?\n\z//r;
        my ($ours, $theirs) = tcp_pair();
        my $peer = WebSocketTest::Peer->new($theirs);
        my $server = AnyEvent::WebSocket::Server->new(map { ("ssl_$_" => $files{$_}) } keys %files);
        my $lived = eval { $server->establish($ours); 1 };
        is !$lived, $expected ne '', 'establish dies, if AnyEvent::TLS does';
        like $@, qr/\A\Q$expected\E/, 'with the same text' if !$lived;
        settle();
        ok !$peer->eof, 'the socket stays open';
    };
}

differs 'where such an error is reported' => 'names a line of its own file' => sub {
    for my $method (qw(establish establish_psgi)) {
        my ($ours) = tcp_pair();
        my $server = AnyEvent::WebSocket::Server->new(ssl_cert_file => "$directory/none");
        my @arguments = $method eq 'establish' ? $ours : (psgi_env(), $ours);
        croaks_here($method, sub { $server->$method(@arguments) }, qr{\A\Q$directory\E/none: });
    }
};

subtest 'new does not look at the files' => sub {
    is ref AnyEvent::WebSocket::Server->new(ssl_cert_file => 'none', ssl_key_file => 'none'), 'AnyEvent::WebSocket::Server',
        'they may come later';
};

subtest 'a plain request' => sub {
    my ($ours, $theirs) = tcp_pair();
    my $attempt = establishing_on($ours, TRANSPORT => 'wss');
    my $peer = WebSocketTest::Peer->new($theirs)->write(request());
    like $attempt->error, qr/\Aconnection error: error:\w+:[^:]*:[^:]*:http request\z/, 'the error is OpenSSL\'s';
};

subtest 'garbage' => sub {
    my ($ours, $theirs) = tcp_pair();
    my $attempt = establishing_on($ours, TRANSPORT => 'wss');
    my $peer = WebSocketTest::Peer->new($theirs)->write("\0" x 100);
    like $attempt->error, qr/\Aconnection error: error:\w+:[^:]*:[^:]*:[^:]+\z/, 'the error is OpenSSL\'s';
};

subtest 'EOF in the TLS handshake' => sub {
    my ($ours, $theirs) = tcp_pair();
    my $attempt = establishing_on($ours, TRANSPORT => 'wss');
    my $peer = WebSocketTest::Peer->new($theirs)->write("\x16\x03\x01\x02\0\x01")->wait_written;
    $attempt->wait_read;
    $peer->half_close;
    is $attempt->error, 'connection error: Unexpected end-of-file', 'the error';
};

subtest 'the client refuses the certificate' => sub {
    my ($ours, $theirs) = tcp_pair();
    my $attempt = establishing_on($ours, TRANSPORT => 'wss');
    my $peer = WebSocketTest::SecureClient->new($theirs, tls_ctx => { verify => 1, ca_file => $other[0] });
    ok !$peer->wait_secure->{secure}, 'it does so';
    $peer->close;
    like $attempt->error, qr/\Aconnection error: /, 'is an error';
};

subtest 'establish_psgi' => sub {
    my $called = 0;
    my ($attempt, $peer) = secure_attempt(ENV => psgi_env(), ssl_cert_file => $CERTIFICATE, ssl_key_file => $KEY_FILE,
        handshake => sub { $called++; $_[1] });
    ok $attempt->cv->ready, 'is done before the TLS handshake';
    is $called, 1, 'the callback has run';
    is response_of($peer), $RESPONSE, 'the response comes afterwards';
    is_deeply [$peer->sync(mask => 1)], [], 'then frames';
};

subtest 'with AnyEvent::WebSocket::Client' => sub {
    plan skip_all => 'AnyEvent::WebSocket::Client is not installed' unless eval { require AnyEvent::WebSocket::Client };
    require AnyEvent::Socket;
    my $server = AnyEvent::WebSocket::Server->new(ssl_cert_file => $CERTIFICATE, ssl_key_file => $KEY_FILE);
    my ($port, $connection);
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        $server->establish($_[0])->cb(sub { $connection = $_[0]->recv; poke() });
    }, sub { $port = $_[2]; 0 });
    my $cv = AnyEvent::WebSocket::Client->new(ssl_no_verify => 1)->connect("wss://127.0.0.1:$port/");
    $cv->cb(sub { poke() });
    wait_until('both ends', sub { $connection && $cv->ready });
    my $seen = recorder($connection);
    $cv->recv->send('hello');
    is_deeply $seen->wait_messages(1)->bodies, ['hello'], 'a message';
};

done_testing;
