package WebSocketTest::Establish;

=head1 NAME

WebSocketTest::Establish - what the tests of AnyEvent::WebSocket::Server share

=head1 SYNOPSIS

    needs_server();
    my ($attempt, $peer) = establishing(handshake => sub { ... });
    $peer->write(request());
    my ($connection, @other) = $attempt->results;
    is response_of($peer), $RESPONSE;

=head1 DESCRIPTION

C<establishing(%new)> makes a server with these arguments, has it establish a connection on a socket, and returns the attempt
and the raw other end. Arguments in capitals are for itself: C<SERVER> is a server that exists, C<TRANSPORT> is C<wss>
(TLS), C<tcp> or C<ws> (a UNIX socket pair; the default), and C<ENV> a PSGI environment.

An attempt has

=over

=item cv, fh, server

what was returned, and what was given. C<release(qw(cv fh server))> drops the attempt's references to them.

=item wait, wait_read

C<wait> awaits that the condition variable is ready; C<wait_read> also returns once all that the peer wrote has been read.

=item record, seen

C<record> has the callback of the condition variable make a L<WebSocketTest::Recorder>, which C<seen> returns. Frames that came
with the request are lost on a program that registers its callbacks later.

=item results, connection, error

C<results> and C<connection> return what the condition variable has. C<error> is '' if it has that, and otherwise the exception,
without the " at FILE line N." of C<recv>, if that is right.

=back

C<request(@edits)> makes a request. Each edit is a reference: C<[line =E<gt> 'GET / HTTP/1.0']>, C<[set =E<gt> 'Host: x']>,
C<[add =E<gt> 'X: y']>, C<[drop =E<gt> 'Host']>, C<[replace =E<gt> 'Host', 'a whole line']>, C<[first =E<gt> 'a whole line']>,
C<[before =E<gt> $bytes]>, C<[behind =E<gt> $bytes]>, C<[ending =E<gt> "\n"]>, C<[raw =E<gt> $bytes]>.

=cut

use strict;
use warnings;
use AnyEvent;
use Digest::SHA ();
use Exporter 'import';
use MIME::Base64 ();
use Scalar::Util qw(weaken);
use Test::More ();
use WebSocketTest;
use WebSocketTest::SecureClient;
use WebSocketTest::TLS;

our @EXPORT = qw(needs_server needs_our_server establishing establishing_on request psgi_env response_of accept_of
    failed_ok intact_ok transports $RESPONSE $KEY);

our $KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
our $RESPONSE = response('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');

# Skips the tests where there is no server, or not that of this backend.
sub needs_server {
    return Test::More::plan(skip_all => _is_missing()) if !eval { require AnyEvent::WebSocket::Server };
    my $can = AnyEvent::WebSocket::Server->can('backend');
    my $is = $can ? AnyEvent::WebSocket::Server->$can : 'pp';
    Test::More::plan(skip_all => 'AnyEvent::WebSocket::Server is not of the same backend as Connection') if $is ne backend();
}

sub _is_missing {
    my ($reason) = "$@" =~ /\A(.*?) \(/;
    return is_original() ? 'by design: there is no AnyEvent::WebSocket::Server to compare with'
        : 'AnyEvent::WebSocket::Server cannot be loaded: ' . ($reason // $@);
}

sub needs_our_server {
    Test::More::plan(skip_all => 'by design: the original does not have this') if is_original();
    return needs_server();
}

# Returns the transports that this machine has. The certificate is made before `differs` forks.
sub transports {
    my $why_not = WebSocketTest::TLS::unavailable();
    Test::More::diag("without wss: $why_not") if $why_not;
    return $why_not ? ('ws') : qw(ws wss);
}

# --- attempts

sub establishing {
    my (%args) = @_;
    my $transport = $args{TRANSPORT} || 'ws';
    my ($ours, $theirs) = $transport eq 'ws' ? socket_pair() : tcp_pair();
    my $attempt = establishing_on($ours, %args);
    return ($attempt, $transport eq 'wss' ? WebSocketTest::SecureClient->new($theirs) : WebSocketTest::Peer->new($theirs));
}

sub establishing_on {
    my ($fh, %args) = @_;
    my $transport = delete $args{TRANSPORT} || 'ws';
    my ($env, $server) = delete @args{qw(ENV SERVER)};
    if ($transport eq 'wss') {
        my %tls = tls_options('accept');
        %args = (ssl_cert_file => $tls{tls_ctx}{cert_file}, ssl_key_file => $tls{tls_ctx}{key_file}, %args);
    }
    $server ||= AnyEvent::WebSocket::Server->new(%args);
    my $cv = $env ? $server->establish_psgi($env, $fh) : $server->establish($fh);
    return bless { cv => $cv, fh => $fh, server => $server }, __PACKAGE__;
}

sub cv     { $_[0]{cv} }
sub fh     { $_[0]{fh} }
sub server { $_[0]{server} }

sub release {
    my ($self, @names) = @_;
    delete @$self{@names};
    return $self;
}

# Records the callbacks of the connection from the beginning; `seen` returns the recorder.
sub record {
    my ($self) = @_;
    weaken(my $weak = $self);
    $self->{cv}->cb(sub {
        my $connection = eval { $_[0]->recv };
        $weak->{seen} = recorder($connection) if $connection;
        poke();
    });
    $self->{records} = 1;
    return $self;
}

sub seen { $_[0]{seen} }

sub wait {
    my ($self, $seconds) = @_;
    my $cv = $self->{cv};
    $cv->cb(sub { poke() }) if !$cv->ready && !$self->{records};
    wait_until('the end of the handshake', sub { $cv->ready }, $seconds);
    return $self;
}

# Runs the event loop until the condition variable is ready, or the kernel has no more bytes for us.
sub wait_read {
    my ($self) = @_;
    my $bits = '';
    vec($bits, fileno $self->{fh}, 1) = 1;
    for (1 .. 1000) {
        return $self if $self->{cv}->ready || !select my $ready = $bits, undef, undef, 0;
        turn();
    }
    die "the server does not read\n";
}

sub results {
    my ($self) = @_;
    return $self->wait->{cv}->recv;
}

sub connection { ($_[0]->results)[0] }

sub error {
    my ($self) = @_;
    my $cv = $self->wait->{cv};
    my $here = __LINE__ + 1;
    return '' if eval { $cv->recv; 1 };
    my $error = $@;
    return $error if ref $error;
    my $file = __FILE__;
    $error =~ s/ at \Q$file\E line $here(?:, <[^>]*> \w+ \d+)?\.\n\z//;
    return $error;
}

# --- requests and responses

sub request {
    my (@edits) = @_;
    my @lines = ('Host: example.com', 'Upgrade: websocket', 'Connection: Upgrade', "Sec-WebSocket-Key: $KEY",
        'Sec-WebSocket-Version: 13');
    my %part = (line => 'GET /chat HTTP/1.1', before => '', behind => '', ending => "\r\n");
    my $named = sub { my ($name) = @_; sub { $_[0] =~ /\A\Q$name\E:/i } };
    for my $edit (@edits) {
        my ($kind, $text, $more) = @$edit;
        my $is = $named->($text =~ /\A([^:]*)/);
        if    ($kind eq 'raw')     { return $text }
        elsif ($kind eq 'add')     { push @lines, $text }
        elsif ($kind eq 'first')   { unshift @lines, $text }
        elsif ($kind eq 'drop')    { @lines = grep { !$is->($_) } @lines }
        elsif ($kind eq 'set')     { @lines = ((grep { !$is->($_) } @lines), $text) }
        elsif ($kind eq 'replace') { $_ = $is->($_) ? $more : $_ for @lines }
        elsif (exists $part{$kind}) { $part{$kind} = $text }
        else                        { die "no such edit: $kind\n" }
    }
    return $part{before} . join('', map { $_ . $part{ending} } $part{line}, @lines, '') . $part{behind};
}

# Returns the PSGI environment of the request, with those changes; undef removes a variable.
sub psgi_env {
    my (%changes) = @_;
    my %env = (
        REQUEST_METHOD => 'GET', SCRIPT_NAME => '', PATH_INFO => '/chat', QUERY_STRING => '', SERVER_PROTOCOL => 'HTTP/1.1',
        HTTP_HOST => 'example.com', HTTP_UPGRADE => 'websocket', HTTP_CONNECTION => 'Upgrade',
        HTTP_SEC_WEBSOCKET_KEY => $KEY, HTTP_SEC_WEBSOCKET_VERSION => 13, %changes,
    );
    delete @env{ grep { !defined $env{$_} } keys %env };
    return \%env;
}

sub accept_of {
    my ($key) = @_;
    return MIME::Base64::encode_base64(Digest::SHA::sha1($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'), '');
}

sub response {
    my ($accept, @more) = @_;
    return join '', map { "$_\r\n" } 'HTTP/1.1 101 WebSocket Protocol Handshake', 'Upgrade: WebSocket', 'Connection: Upgrade',
        "Sec-WebSocket-Accept: $accept", @more, '';
}

# Awaits a response's header, takes it off the bytes of the peer and returns it; or what came before EOF.
sub response_of {
    my ($peer) = @_;
    wait_until('a response', sub { $peer->bytes =~ /\r\n\r\n/ || $peer->eof });
    return $peer->{in} =~ s/\A(.*?\r\n\r\n)//s ? $1 : $peer->bytes;
}

# --- assertions

# Tests that the attempt fails so, and leaves the socket to the program.
sub failed_ok {
    my ($attempt, $peer, $error, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::is($attempt->error, $error, $name || 'the error');
    return intact_ok($attempt, $peer);
}

sub intact_ok {
    my ($attempt, $peer) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    settle();
    Test::More::is($peer->bytes, '', 'nothing is written');
    return if $peer->isa('WebSocketTest::SecureClient');
    Test::More::ok(!$peer->eof, 'and the socket stays open');
    my $answer = "HTTP/1.1 404 Not Found\r\n\r\n";
    syswrite $attempt->fh, $answer;
    Test::More::is(response_of($peer), $answer, 'for the program to answer');
    $attempt->release('fh');
    $peer->wait_eof;
}

1;
