package AnyEvent::WebSocket::Native::BlockingOpening;

# Opens the connection of an AnyEvent::WebSocket::Blocking: TCP, TLS and the opening handshake, by one deadline.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Codec ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Opening ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Transport ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

use constant TIMED_OUT => AnyEvent::WebSocket::Native::Transport::TIMED_OUT;

my %DEFAULT = (
    timeout => 30,
    close_timeout => 10,
    headers => [],
    subprotocols => [],
    deflate => undef,
    fh => undef,
    strict => 0,
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

# Returns the parts of the connection.
sub connect {
    my ($url, @options) = @_;
    my ($option, $tls) = _options(@options);
    my $place = _place($url);
    my $deadline = AnyEvent::WebSocket::Native::Transport::FOREVER;
    $deadline = AnyEvent::WebSocket::Native::Transport::now() + $option->{timeout} if $option->{timeout};
    my $opening = _opening($place, $option);
    my $transport = _transport($place, $option, $tls, $deadline);
    my ($answer, $error) = _shake_hands($transport, $opening, $deadline);
    _fail($option, 'in the WebSocket handshake', $error) if defined $error;
    return {
        codec => _codec($option, $answer),
        transport => $transport,
        subprotocol => $answer->{subprotocol},
        map { $_ => $option->{$_} } @SECONDS,
    };
}

# Croaks with what has gone wrong, and when.
sub _fail {
    my ($option, $when, $error) = @_;
    Carp::croak("connect: timed out after $option->{timeout} seconds, $when") if $error eq TIMED_OUT;
    Carp::croak("connect: $error, $when");
}

# --- options

# Returns the options, with plain numbers, and those for TLS.
sub _options {
    my (@options) = @_;
    Carp::croak('connect: options must be pairs of a name and a value') if @options % 2;
    my %given = @options;
    my %tls = map { $_ => delete $given{$_} } grep { /\ASSL_/ } keys %given;
    for my $name (sort keys %tls) {
        next if grep { $_ eq $name } @TLS;
        my $meant = AnyEvent::WebSocket::Native::Util::nearest($name, @TLS);
        Carp::croak("connect: there is no option $name; did you mean $meant?") if defined $meant;
    }
    my %option = (%DEFAULT, map { $_ => delete $given{$_} } grep { exists $given{$_} } keys %DEFAULT);
    AnyEvent::WebSocket::Native::Util::no_more_options('connect', \%given, keys %DEFAULT, 'those of IO::Socket::SSL');
    $option{$_} = _seconds($_, $option{$_}) for @SECONDS;
    $option{$_} = _limit($_, $option{$_}) for @LIMITS;
    $option{strict} = $option{strict} || $ENV{ANYEVENT_WEBSOCKET_STRICT} ? 1 : 0;
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
    my ($options) = @_;
    return undef if !$options;
    Carp::croak('connect: deflate must be 1, or a reference to a hash of options')
        if ref $options ? ref $options ne 'HASH' : $options ne '1';
    require AnyEvent::WebSocket::Deflate;
    return undef if !AnyEvent::WebSocket::Deflate::available();
    $options = {} if !ref $options;
    AnyEvent::WebSocket::Deflate::check(%$options);
    return $options;
}

# --- the URL

# Returns the place that a URL names: is_secure, host, port, and for the request target and authority.
sub _place {
    my ($url) = @_;
    Carp::croak('connect takes a URL') if !defined $url || $url eq '';
    my ($scheme, $user, $host, $port, $target) =
        "$url" =~
        m{\A(wss?)://(?:([^/?#\@]*)\@)?(\[[0-9A-Fa-f:.]+\]|[^/?#\@:\[\]\s]+)(?::([0-9]{0,5}))?([/?][^#]*)?(?:\#.*)?\z}si
        or Carp::croak("connect: not a WebSocket URL: $url");
    Carp::croak('connect: a name and password in the URL are not sent; give a header called Authorization') if defined $user;
    $target = AnyEvent::WebSocket::Native::Payload::octets(defined $target ? $target : '/');
    # What a URL must not contain would end the request line, or part of it.
    $target =~ s/([^!-~])/sprintf '%%%02X', ord $1/ge;
    my $is_secure = lc $scheme eq 'wss';
    my $default = $is_secure ? 443 : 80;
    $port = $default if !defined $port || $port eq '';
    return {
        is_secure => $is_secure,
        host => $host =~ s/\A\[(.*)\]\z/$1/r,
        port => $port,
        authority => $port == $default ? $host : "$host:$port",
        target => $target =~ m{\A/} ? $target : "/$target",
    };
}

# --- the phases

sub _transport {
    my ($place, $option, $tls, $deadline) = @_;
    my ($host, $port) = @$place{qw( host port )};
    my ($transport, $error) =
        $option->{fh}
        ? AnyEvent::WebSocket::Native::Transport->on_handle($option->{fh})
        : AnyEvent::WebSocket::Native::Transport->connect($host, $port, $deadline);
    _fail($option, "while connecting to $host port $port", $error) if defined $error;
    if ($place->{is_secure}) {
        my $error = $transport->start_tls($host, $tls, $deadline);
        _fail($option, "in the TLS handshake with $host port $port", $error) if defined $error;
    }
    return $transport;
}

sub _opening {
    my ($place, $option) = @_;
    return AnyEvent::WebSocket::Native::Opening->new(
        target => $place->{target},
        host => $place->{authority},
        headers => $option->{headers},
        subprotocols => $option->{subprotocols},
        extensions => $option->{deflate} ? AnyEvent::WebSocket::Deflate::offer(%{ $option->{deflate} }) : undef,
    );
}

# Returns the server's answer, or undef and an error text.
sub _shake_hands {
    my ($transport, $opening, $deadline) = @_;
    my $request = $opening->request;
    while (AnyEvent::WebSocket::Native::Transport::now() < $deadline) {
        my $written = length $request ? $transport->send($request) : 0;
        substr $request, 0, $written, '' if $written;
        my $read = $transport->receive(my $octets = '');
        if ($read) {
            my $answer = $opening->receive($octets) or next;
            return defined $answer->{error} ? (undef, $answer->{error}) : $answer;
        }
        return (undef, $transport->error || 'the server ended the connection') if defined $read;
        $transport->wait($deadline, 'read', length $request ? 'write' : ());
    }
    return (undef, TIMED_OUT);
}

sub _codec {
    my ($option, $answer) = @_;
    my $codec =
        AnyEvent::WebSocket::Native::Codec->new(masked => 1, strict => $option->{strict}, map { $_ => $option->{$_} } @LIMITS);
    if ($option->{deflate}) {
        my $agreed = AnyEvent::WebSocket::Deflate::confirm($answer->{extensions}, %{ $option->{deflate} });
        $codec->compress(
            @$agreed{ qw(
                window_bits no_context_takeover peer_window_bits peer_no_context_takeover level mem_level threshold
            ) }
        ) if $agreed;
    }
    $codec->feed(my $rest = $answer->{rest});
    return $codec;
}

1;
