package AnyEvent::WebSocket::Native::BlockingOpening;

# Opens the connection of an AnyEvent::WebSocket::Blocking: TCP, TLS and the opening handshake, by one deadline.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Codec ();
use AnyEvent::WebSocket::Native::Handshake::Address ();
use AnyEvent::WebSocket::Native::Handshake::Client ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Transport ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

my %DEFAULT = (
    timeout => 30,
    close_timeout => 10,
    headers => [],
    subprotocols => [],
    deflate => undef,
    fh => undef,
    strict => undef,
    max_control_rate => 0,
    max_fragments => 128,
    max_message_size => 16 * 1024 * 1024,
    max_payload_size => 0,
);
my @SECONDS = qw( timeout close_timeout );
my @LIMITS = grep { /^max_/ } sort keys %DEFAULT;

# The usual options of IO::Socket::SSL: misspelt ones are looked for among them, others are left to it.
my @TLS = map { "SSL_$_" } qw(
    alpn_protocols ca ca_file ca_path cert cert_file check_crl cipher_list crl_file error_trap fingerprint hostname key
    key_file ocsp_mode passwd_cb reuse_ctx session_cache use_cert verify_callback verify_mode verifycn_name
    verifycn_scheme version
);

# The parameters of compression that a codec takes, in its order.
my @COMPRESSION = qw( window_bits no_context_takeover peer_window_bits peer_no_context_takeover level mem_level threshold );

# Returns the parts of the connection.
sub connect {
    my ($url, @options) = @_;
    my ($option, $tls) = _options(@options);
    my $address = _address($url);
    my $deadline = AnyEvent::WebSocket::Native::Transport::FOREVER;
    $deadline = AnyEvent::WebSocket::Native::Transport::now() + $option->{timeout} if $option->{timeout};
    my $handshake = _handshake($address, $option);
    my $transport = _transport($address, $option, $tls, $deadline);
    my ($answer, $error) = _shake_hands($transport, $handshake, $deadline);
    my $compression;
    ($compression, $error) = _compression($option, $answer) if !defined $error;
    _fail($option, 'in the WebSocket handshake', $error) if defined $error;
    return {
        codec => _codec($option, $compression, $answer->{rest}),
        transport => $transport,
        subprotocol => $answer->{subprotocol},
        map { $_ => $option->{$_} } @SECONDS,
    };
}

# Croaks with what has gone wrong, and when.
sub _fail {
    my ($option, $when, $error) = @_;
    Carp::croak("connect: timed out after $option->{timeout} seconds, $when")
        if $error eq AnyEvent::WebSocket::Native::Transport::TIMED_OUT;
    Carp::croak("connect: $error, $when");
}

# --- options

# Returns the options, with plain numbers, and those for TLS.
sub _options {
    my (@options) = @_;
    Carp::croak('connect: options must be pairs of a name and a value') if @options % 2;
    my %given = @options;
    my %tls = map { $_ => delete $given{$_} } grep { /\ASSL_/ } keys %given;
    # IO::Socket::SSL takes undef for no verification.
    delete @tls{ grep { !defined $tls{$_} } keys %tls };
    for my $name (sort keys %tls) {
        next if grep { $_ eq $name } @TLS;
        my $meant = AnyEvent::WebSocket::Native::Util::nearest($name, @TLS);
        Carp::croak("connect: there is no option $name; did you mean $meant?") if defined $meant;
    }
    my %option = (%DEFAULT, map { $_ => delete $given{$_} } grep { exists $given{$_} } keys %DEFAULT);
    AnyEvent::WebSocket::Native::Util::no_more_options('connect', \%given, keys %DEFAULT, 'those of IO::Socket::SSL');
    $option{$_} = _seconds($_, $option{$_}) for @SECONDS;
    $option{$_} = _limit($_, $option{$_}) for @LIMITS;
    $option{strict} = ($option{strict} // $ENV{ANYEVENT_WEBSOCKET_STRICT}) ? 1 : 0;
    $option{fh} = _fh($option{fh});
    $option{headers} = _headers($option{headers});
    $option{subprotocols} = _subprotocols($option{subprotocols});
    $option{deflate} = _deflate($option{deflate});
    return (\%option, \%tls);
}

sub _seconds {
    my ($name, $value) = @_;
    return $DEFAULT{$name} unless AnyEvent::WebSocket::Native::Number::is_given($value);
    my $seconds = AnyEvent::WebSocket::Native::Number::seconds($value);
    Carp::croak("connect: $name must be a number of seconds") unless defined $seconds;
    return $seconds;
}

sub _limit {
    my ($name, $value) = @_;
    return $DEFAULT{$name} unless AnyEvent::WebSocket::Native::Number::is_given($value);
    my $limit = AnyEvent::WebSocket::Native::Number::whole($value);
    Carp::croak("connect: $name must be a whole number") unless defined $limit;
    return $limit;
}

sub _fh {
    my ($fh) = @_;
    return undef if !defined $fh;
    my $number = _descriptor($fh);
    Carp::croak('connect: fh must be an open socket') unless defined $number && $number >= 0;
    return $fh;
}

sub _descriptor {
    my ($fh) = @_;
    local ($@, $SIG{__DIE__});
    return eval { fileno $fh };
}

# A name or value with a line end would be another header.
sub _headers {
    my ($headers) = @_;
    Carp::croak('connect: headers must be a reference to an array of names and values')
        unless ref $headers eq 'ARRAY' && @$headers % 2 == 0;
    my @octets = map { AnyEvent::WebSocket::Native::Payload::octets($_) } @$headers;
    Carp::croak("connect: a header must not contain the end of a line") if grep { /[\r\n\0]/ } @octets;
    return \@octets;
}

sub _subprotocols {
    my ($names) = @_;
    my @names = ref $names eq 'ARRAY' ? @$names : defined $names ? $names : ();
    for my $name (@names) {
        Carp::croak("connect: not the name of a subprotocol: " . (defined $name ? $name : 'undef'))
            unless defined $name && $name =~ /\A[!#\$%&'*+.^_`|~0-9A-Za-z-]+\z/;
    }
    return \@names;
}

# Returns the options of AnyEvent::WebSocket::Deflate, which loads AnyEvent; undef without compression.
sub _deflate {
    my ($deflate) = @_;
    return undef if !$deflate;
    require AnyEvent::WebSocket::Native::Handshake::Compression;
    return undef if !AnyEvent::WebSocket::Deflate::available();
    return AnyEvent::WebSocket::Native::Handshake::Compression::options_of($deflate, 'connect');
}

# Returns what a URL says. A name and password are not sent by themselves, so they must not seem to be.
sub _address {
    my ($url) = @_;
    Carp::croak('connect takes a URL') if !defined $url || $url eq '';
    my $octets = AnyEvent::WebSocket::Native::Payload::octets($url);
    my ($user) = $octets =~ m{\Awss?://(?:([^/?\#]*)\@)?(?:\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::[0-9]{0,5})?(?:[/?\#]|\z)}i
        or Carp::croak("connect: not a WebSocket URL: $url");
    Carp::croak('connect: a name and password in the URL are not sent; give a header called Authorization') if defined $user;
    # Spaces and line ends would end the request line, or a part of it.
    $octets =~ s/([^!-~])/sprintf '%%%02X', ord $1/ge;
    my $address = AnyEvent::WebSocket::Native::Handshake::Address::parse($octets);
    Carp::croak("connect: not a WebSocket URL: $url") if $address->{port} > 65535;
    return $address;
}

# --- the phases

sub _transport {
    my ($address, $option, $tls, $deadline) = @_;
    my ($host, $port) = @$address{qw( host port )};
    my ($transport, $error) =
        $option->{fh}
        ? AnyEvent::WebSocket::Native::Transport->on_handle($option->{fh})
        : AnyEvent::WebSocket::Native::Transport->connect($host, $port, $deadline);
    _fail($option, "while connecting to $host port $port", $error) if defined $error;
    if ($address->{secure}) {
        my $error = $transport->start_tls($host, $tls, $deadline);
        _fail($option, "in the TLS handshake with $host port $port", $error) if defined $error;
    }
    return $transport;
}

sub _handshake {
    my ($address, $option) = @_;
    return AnyEvent::WebSocket::Native::Handshake::Client->new(
        address => $address,
        subprotocols => @{ $option->{subprotocols} } ? $option->{subprotocols} : undef,
        headers => $option->{headers},
        extensions => $option->{deflate} ? AnyEvent::WebSocket::Deflate::offer(%{ $option->{deflate} }) : undef,
        replaces => 1,
        strict => $option->{strict},
    );
}

# Returns the server's answer with the bytes that follow it as `rest`; or undef and an error text.
sub _shake_hands {
    my ($transport, $handshake, $deadline) = @_;
    my ($request, $response) = ($handshake->request, '');
    while (AnyEvent::WebSocket::Native::Transport::now() < $deadline) {
        my $written = length $request ? $transport->send($request) : 0;
        substr $request, 0, $written, '' if $written;
        my $read = $transport->receive($response);
        if ($read) {
            my $answer = $handshake->receive($response) or next;
            return (undef, _refusal($response, $answer->{error})) if defined $answer->{error};
            return { %$answer, rest => substr $response, $answer->{length} };
        }
        return (undef, $transport->error || 'the server ended the connection') if defined $read || defined $transport->error;
        $transport->wait($deadline, 'read', length $request ? 'write' : ());
    }
    return (undef, AnyEvent::WebSocket::Native::Transport::TIMED_OUT);
}

# Returns the error text; with the status, if that is what is wrong.
sub _refusal {
    my ($response, $error) = @_;
    my ($status) = $response =~ m{\AHTTP/1\.[0-9] ([2-9][0-9][0-9]\b[^\r\n]{0,200})};
    return defined $status ? "the server refused: $status" : $error =~ s/\Ahandshake error: //r;
}

# Returns the parameters of the compression that the server has accepted; undef if it has not; undef and an error text if what
# it has accepted was not offered.
sub _compression {
    my ($option, $answer) = @_;
    my $deflate = $option->{deflate} or return undef;
    local ($@, $SIG{__DIE__});
    my $parameters;
    return $parameters if eval { $parameters = AnyEvent::WebSocket::Deflate::confirm($answer->{extensions}, %$deflate); 1 };
    return (undef, $@ =~ s/ at (?:(?! at ).)+ line [0-9]+\.?\n\z//sr);
}

sub _codec {
    my ($option, $compression, $octets) = @_;
    my $codec =
        AnyEvent::WebSocket::Native::Codec->new(masked => 1, strict => $option->{strict}, map { $_ => $option->{$_} } @LIMITS);
    $codec->compress(@$compression{@COMPRESSION}) if $compression;
    $codec->feed($octets);
    return $codec;
}

1;
