package AnyEvent::WebSocket::Native::Handshake::Connecting;

# Runs a client's attempts to connect: from a URL to a connection.

use strict;
use warnings;
use AE ();
use AnyEvent::Handle ();
use AnyEvent::WebSocket::Connection ();
use AnyEvent::WebSocket::Deflate ();
use AnyEvent::WebSocket::Native::Attach ();
use AnyEvent::WebSocket::Native::Handshake::Address ();
use AnyEvent::WebSocket::Native::Handshake::Client ();
use AnyEvent::WebSocket::Native::ClientOptions ();
use AnyEvent::WebSocket::Native::Handshake::Compression ();
use AnyEvent::WebSocket::Native::Handshake::Deadline ();
use AnyEvent::WebSocket::Native::Handshake::NewHandle ();
use AnyEvent::WebSocket::Native::Handshake::Old ();
use AnyEvent::WebSocket::Native::Handshake::Redirect ();
use AnyEvent::WebSocket::Native::Handshake::Refusal ();
use AnyEvent::WebSocket::Native::Handshake::Stream ();
use AnyEvent::WebSocket::Native::Handshake::TcpConnect ();
use AnyEvent::WebSocket::Native::Loop ();
use List::Util ();

use constant { USUAL_VERSION => 'draft-ietf-hybi-17', DRAFT_VERSION => 'draft-ietf-hybi-10' };

# Starts an attempt, which ends with a connection in the condvar `done`, or an error. It needs nobody to keep it.
sub start {
    my ($client, $done, $uri, $host, $port) = @_;
    # Programs rely on the original loading these.
    if (!$INC{'URI/ws.pm'}) {
        require URI;
        require URI::ws;
    }
    my $plain = ref $uri ? undef : AnyEvent::WebSocket::Native::Engine::plain_url($uri);
    return _start_plain($client, $done, $uri, $plain, $host, $port) if $plain;
    $uri = URI->new($uri) if !ref $uri;
    my $scheme = lc($uri->scheme // '');
    if ($scheme !~ /\Awss?\z/) {
        $done->croak('URI is not a websocket');
        return;
    }
    $host = $uri->host if !defined $host;
    $port = $uri->port if !defined $port;
    my $attempt = { client => $client, done => $done, uri => $uri, host => $host, port => $port, redirects => 0 };
    _connect($attempt, $scheme, $host, $port);
    return;
}

# Starts an attempt with a URL, a string, of which the module URI would change nothing; `plain` has its parts.
sub _start_plain {
    my ($client, $done, $url, $plain, $host, $port) = @_;
    my ($scheme, $own_host, $own_port) = @$plain;
    $host //= $own_host;
    $port //= $own_port;
    my $attempt = { client => $client, done => $done, url => $url, host => $host, port => $port, redirects => 0 };
    _connect($attempt, $scheme, $host, $port);
    return;
}

# True while `connect` runs. Programs expect that the condvar fails later, in the event loop.
our $is_in_connect;

sub _connect {
    my ($attempt, $scheme, $host, $port) = @_;
    my $client = $attempt->{client};
    # TLS takes several turns of the event loop. If the program is busy after `connect`, these begin late, and the deadline, which
    # would run already, might pass before they end.
    my $fh = $scheme eq 'ws' && AnyEvent::WebSocket::Native::Handshake::TcpConnect::connect_at_once($client, $host, $port);
    if ($fh) {
        local $is_in_connect = 1;
        return _connected($attempt, $fh);
    }
    # In any but void context tcp_connect returns a guard, and gives up when that goes.
    $client->_make_tcp_connection($scheme, $host, $port, sub { _connected($attempt, $_[0]) }, sub { $client->timeout });
    return;
}

# The TCP connection exists, or there is none.
sub _connected {
    my ($attempt, $fh) = @_;
    return unless $attempt->{done};    # an override has called back twice
    return _fail($attempt, 'unable to connect') unless $fh;
    my $exception;
    {
        local $@;
        return if eval { _open($attempt, $fh); 1 };
        $exception = $@;
    }
    die $exception unless $attempt->{done};    # it comes from the callback of the condvar
    $exception =~ s/ at \S+ line [0-9]+\.?\n\z|\n\z//;
    return _fail($attempt, "handshake error: $exception");
}

sub _open {
    my ($attempt, $fh) = @_;
    my $client = $attempt->{client};
    my $is_secure = _is_secure($attempt);
    my $handshake = $attempt->{handshake} = _new_handshake($attempt);
    my $on_error = sub {
        my (undef, $is_fatal, $message) = @_;
        return warn $message unless $is_fatal;
        _fail($attempt, "connect error: $message");
    };
    my @tls = $is_secure ? _tls($client, _host($attempt)) : ();
    my $handle = $attempt->{handle} =
        @tls
        ? AnyEvent::Handle->new(fh => $fh, @tls, on_error => $on_error)
        : AnyEvent::WebSocket::Native::Handshake::NewHandle::of($fh, $on_error);
    return unless $handle;
    $handle->{rbuf} = '';
    delete $handle->{peername} if $is_secure && $client->ssl_no_verify;
    _set_deadline($attempt);
    AnyEvent::WebSocket::Native::Handshake::Stream::write($attempt, $handshake->request);
    AnyEvent::WebSocket::Native::Handshake::Stream::read($attempt, \&_proceed) if $attempt->{handle};
    return;
}

sub _is_secure {
    my ($attempt) = @_;
    return $attempt->{uri} ? $attempt->{uri}->secure : $attempt->{url} =~ /\Awss:/;
}

# Returns the host of the URL, which need not be the one that the client has connected to.
sub _host {
    my ($attempt) = @_;
    return $attempt->{uri} ? $attempt->{uri}->host : AnyEvent::WebSocket::Native::Engine::plain_url($attempt->{url})->[1];
}

sub _url { return $_[0]{uri} ? $_[0]{uri}->as_string : $_[0]{url} }

sub _set_deadline {
    my ($attempt) = @_;
    my $limit = AnyEvent::WebSocket::Native::ClientOptions::value($attempt->{client}, 'handshake_timeout');
    my $seconds =
        defined $limit
        ? AnyEvent::WebSocket::Native::Handshake::Deadline::seconds($limit)
        : AnyEvent::WebSocket::Native::Handshake::Deadline::USUAL;
    return unless $seconds;
    my $due = AE::now + $seconds;
    $attempt->{deadline} = AE::timer $seconds, 0, sub { _fail_soon($attempt, $seconds, $due) };
    return;
}

# Fails at the deadline. If the timer comes late, the program was busy: the response may have arrived unread, or the server may be in
# the same process and has not written it yet. They get the time that they have lost, but not more than `seconds`.
sub _fail_soon {
    my ($attempt, $seconds, $due) = @_;
    my $more = List::Util::max(List::Util::min(AE::now - $due, $seconds), AnyEvent::WebSocket::Native::Loop::poll_delay());
    $attempt->{deadline} = AE::timer $more, 0, sub {
        _fail($attempt, AnyEvent::WebSocket::Native::Handshake::Deadline::text(response => $seconds, $attempt->{handle}));
    };
    return;
}

sub _new_handshake {
    my ($attempt) = @_;
    my $client = $attempt->{client};
    my ($deflate, $is_lenient, $replaces, $is_strict) =
        AnyEvent::WebSocket::Native::ClientOptions::values($client, qw( deflate lenient http_headers_replace strict ));
    $is_strict //= $ENV{ANYEVENT_WEBSOCKET_STRICT};
    my ($version, $subprotocols) = ($client->protocol_version, $client->subprotocol);
    my $headers = $attempt->{headers} || $client->http_headers;
    return AnyEvent::WebSocket::Native::Handshake::Client->new_plain($attempt->{url}, $is_strict)
        if defined $attempt->{url} && !($deflate || $is_lenient || $version || $subprotocols || $headers);
    $attempt->{deflate} = AnyEvent::WebSocket::Native::Handshake::Compression::options_of($deflate) if $deflate;
    my %common = (
        subprotocols => $subprotocols,
        headers => $headers,
        extensions => $deflate ? AnyEvent::WebSocket::Deflate::offer(%{ $attempt->{deflate} }) : undef,
    );
    if ($is_lenient || $version && $version ne USUAL_VERSION && $version ne DRAFT_VERSION) {
        return AnyEvent::WebSocket::Native::Handshake::Old->new_client(%common, url => _url($attempt), version => $version);
    }
    return AnyEvent::WebSocket::Native::Handshake::Client->new(
        %common,
        address => AnyEvent::WebSocket::Native::Handshake::Address::parse(_url($attempt)),
        is_draft => $version && $version eq DRAFT_VERSION,
        replaces => $replaces,
        strict => $is_strict,
    );
}

# Returns the arguments of AnyEvent::Handle that concern TLS.
sub _tls {
    my ($client, $host) = @_;
    my @names = qw( ssl_cert_file ssl_key_file ssl_sni tls_ctx );
    my %value;
    @value{@names} = AnyEvent::WebSocket::Native::ClientOptions::values($client, @names);
    my %context;
    $context{cert_file} = $value{ssl_cert_file} if defined $value{ssl_cert_file};
    $context{key_file} = $value{ssl_key_file} if defined $value{ssl_key_file};
    if ($client->ssl_no_verify) {
        my $context = $value{tls_ctx} // (%context ? \%context : undef);
        my $is_named = ($value{ssl_sni} // 1) && AnyEvent::WebSocket::Native::Handshake::Address::is_name($host);
        # AnyEvent::TLS sends the name of the handle to the server.
        return (tls => 'connect', $context ? (tls_ctx => $context) : (), $is_named ? (peername => $host) : ());
    }
    my $ca_file = $client->ssl_ca_file;
    $context{ca_file} = $ca_file if defined $ca_file;
    my $context = $value{tls_ctx} // { verify => 1, verify_peername => 'https', %context };
    return (tls => 'connect', peername => $host, tls_ctx => $context);
}

# Reads on, with everything that has arrived so far.
sub _proceed {
    my ($attempt, $octets) = @_;
    my ($handle, $handshake) = @$attempt{qw( handle handshake )};
    return unless $handshake;
    my $result = $handshake->receive($octets) or return;
    return _not_accepted($attempt, $result->{error}) if defined $result->{error};
    $handle->{rbuf} = substr $octets, $result->{length};
    my $client = $attempt->{client};
    my $deflate;
    if ($attempt->{deflate}) {
        local $@;
        eval { $deflate = AnyEvent::WebSocket::Deflate::confirm($result->{extensions}, %{ $attempt->{deflate} }); 1 }
            or return _fail($attempt, $@ =~ s/ at \S+ line [0-9]+\.?\n\z//r);
    }
    my $done = _end($attempt) or return;
    my ($connection, $error);
    {
        local $@;
        eval {
            my @given = (
                defined $result->{subprotocol} ? (subprotocol => $result->{subprotocol}) : (),
                AnyEvent::WebSocket::Native::ClientOptions::of_connection($client),
                $deflate ? (deflate => $deflate) : (),
            );
            $connection = AnyEvent::WebSocket::Native::Attach::new_usual($handle, masked => 1) if !@given;
            $connection ||= AnyEvent::WebSocket::Connection->new(handle => $handle, masked => 1, @given);
            1;
        } or $error = $@;
    }
    return $done->send($connection) if $connection;
    $error =~ s/ at \S+ line [0-9]+\.?\n\z// unless ref $error;
    $done->croak($error);
    return;
}

# The server has not accepted the handshake.
sub _not_accepted {
    my ($attempt, $error) = @_;
    my $client = $attempt->{client};
    my $is_wanted = grep { AnyEvent::WebSocket::Native::ClientOptions::value($client, $_) } qw( on_refused max_redirects );
    return _fail($attempt, $error) unless $is_wanted && $attempt->{octets} =~ m{\AHTTP/1\.[0-9] (?!101)};
    delete @$attempt{qw( handshake watcher )};
    my $timer = AnyEvent::WebSocket::Native::Handshake::Refusal::read($attempt, $error, sub { _refused($attempt, $error, @_) });
    $attempt->{deadline} = $timer if $timer;
    return;
}

# The server's refusal has been read, or could not be.
sub _refused {
    my ($attempt, $error, $refusal) = @_;
    my $client = $attempt->{client} or return;
    my $warning;
    if ($refusal) {
        my $next = AnyEvent::WebSocket::Native::Handshake::Redirect::follow($attempt, $refusal);
        if ($next) {
            _end($attempt);
            return _reconnect($next, $error);
        }
        my $on_refused = AnyEvent::WebSocket::Native::ClientOptions::value($client, 'on_refused');
        local $@;
        eval { $on_refused->($refusal); 1 } or $warning = "The callback on_refused died: $@" if $on_refused;
    }
    _fail($attempt, $error);
    warn $warning if defined $warning;    # last, because it may die
    return;
}

# Goes where a redirect leads. If connecting dies, which nobody would see here, the redirect counts as not followed.
sub _reconnect {
    my ($attempt, $error) = @_;
    my $exception;
    {
        local $@;
        return if eval { _connect($attempt, $attempt->{uri}->scheme, @$attempt{qw( host port )}); 1 };
        $exception = $@;
    }
    die $exception unless $attempt->{done};    # it comes from the callback of the condvar
    return _fail($attempt, $error);
}

sub _fail {
    my ($attempt, $error) = @_;
    my $done = _end($attempt) or return;
    $is_in_connect ? AE::postpone(sub { $done->croak($error) }) : $done->croak($error);
    return;
}

# Returns the condvar, once: the attempt has ended.
sub _end {
    my ($attempt) = @_;
    my $done = delete $attempt->{done};
    %$attempt = ();
    return $done;
}

1;
