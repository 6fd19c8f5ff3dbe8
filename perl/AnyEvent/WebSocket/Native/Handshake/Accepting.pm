package AnyEvent::WebSocket::Native::Handshake::Accepting;

# Runs a server's handshakes: from a file handle to a connection.

use strict;
use warnings;
use AE ();
use AnyEvent::Handle ();
use AnyEvent::WebSocket::Connection ();
use AnyEvent::WebSocket::Deflate ();
use AnyEvent::WebSocket::Native::Attach ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Handle ();
use AnyEvent::WebSocket::Native::Handshake::Deadline ();
use AnyEvent::WebSocket::Native::Handshake::Head ();
use AnyEvent::WebSocket::Native::Handshake::NewHandle ();
use AnyEvent::WebSocket::Native::Handshake::Old ();
use AnyEvent::WebSocket::Native::Handshake::Rejection ();
use AnyEvent::WebSocket::Native::Handshake::Server ();
use AnyEvent::WebSocket::Native::Handshake::Stream ();
use AnyEvent::WebSocket::Native::ServerOptions ();
use Carp ();
use Protocol::WebSocket::Response ();
use Scalar::Util ();

# Mistakes in the arguments of a server are reported at the line that calls establish.
our @CARP_NOT = 'AnyEvent::WebSocket::Server';

use constant {
    # The status of a refusal: the program does not want this client, or has made a mistake.
    FORBIDDEN => 403,
    SERVER_ERROR => 500,
    # The seconds that a client has to read a refusal.
    LINGER => 5,
};

# The callback of a server that has none.
sub accept_as_it_is { return $_[1] }

# Returns true if a server has that callback. A program may have put an object there, whose class overloads operators.
sub _accepts_as_it_is { return (Scalar::Util::refaddr($_[0]{handshake}) // 0) == Scalar::Util::refaddr(\&accept_as_it_is) }

# Starts a handshake on `fh`, which ends with a connection in the condvar `done`, or an error. `handshake` is undef, or a
# Protocol::WebSocket::Handshake::Server, with the request if that came through PSGI or the program has read it. The handle
# refers to itself until then: nobody else has to keep it.
sub start {
    my ($server, $done, $fh, $handshake) = @_;
    my $options = $server->{_ws_options} || {};
    my $attempt = { server => $server, done => $done, options => $options };
    $attempt->{protocol} = _new_protocol($options, $handshake) if $handshake || !$options->{is_usual};
    my $handle = _new_handle($attempt, $fh);
    $handle->{rbuf} = '';
    my $is_read = $handshake && AnyEvent::WebSocket::Native::Handshake::Server::has_request($handshake);
    return if $is_read && _proceed($attempt, '') || !$attempt->{handle};
    my @first = $attempt->{protocol} ? () : \&_answer_natively;
    AnyEvent::WebSocket::Native::Handshake::Stream::read($attempt, \&_proceed, @first);
    my $seconds = $options->{handshake_timeout} // AnyEvent::WebSocket::Native::Handshake::Deadline::USUAL;
    return unless $seconds && $attempt->{handle};
    $attempt->{deadline} = AE::timer $seconds, 0, sub {
        my $text = AnyEvent::WebSocket::Native::Handshake::Deadline::text(request => $seconds, $attempt->{handle});
        _fail($attempt, $text, 408);
    };
    return;
}

sub _new_protocol {
    my ($options, $handshake) = @_;
    return AnyEvent::WebSocket::Native::Handshake::Old->new_server($handshake) if $options->{lenient};
    my $is_strict = AnyEvent::WebSocket::Native::ServerOptions::strict($options);
    return AnyEvent::WebSocket::Native::Handshake::Server->new($handshake, $is_strict);
}

sub _new_handle {
    my ($attempt, $fh) = @_;
    my @of_program = $attempt->{server}->_handle_args_tls;
    $attempt->{has_arguments} = @of_program;
    my $on_error = sub {
        my (undef, $is_fatal, $message) = @_;
        return warn $message unless $is_fatal;
        _fail($attempt, "connection error: $message");
    };
    return $attempt->{handle} =
        @of_program
        ? _checked_handle(@of_program, fh => $fh, on_error => $on_error)
        : AnyEvent::WebSocket::Native::Handshake::NewHandle::of($fh, $on_error);
}

# Croaks if the program's arguments are wrong, such as those of TLS.
sub _checked_handle {
    my (@arguments) = @_;
    my ($handle, $error);
    {
        local ($@, $SIG{__DIE__});
        eval { $handle = AnyEvent::Handle->new(@arguments); 1 } or $error = $@;
    }
    return $handle unless defined $error;
    # AnyEvent has named a line of this file.
    Carp::croak(ref $error ? $error : $error =~ s/ at (?:(?! at ).)+ line [0-9]+\.?\n\z//sr);
}

# Refuses a request that came through PSGI with another method than GET.
sub refuse_method {
    my ($server, $done, $fh) = @_;
    my $attempt = { server => $server, done => $done };
    _new_handle($attempt, $fh);
    _fail($attempt, "handshake error: Wrong method or http version\n", 405);
    return;
}

# Reads on, with everything that has arrived so far. Returns true when the handshake has ended.
sub _proceed {
    my ($attempt, $octets) = @_;
    my $handle = $attempt->{handle} or return 1;
    my $result = _receive($attempt, $octets) or return;
    if (defined $result->{error}) {
        _fail($attempt, "$result->{error}\n", $result->{status});
        return 1;
    }
    AnyEvent::WebSocket::Native::Handshake::Stream::stop($attempt);
    delete $attempt->{deadline};
    $handle->{rbuf} = substr $octets, $result->{length};
    _answer($attempt);
    return 1;
}

# Reads, and answers the request if a whole and valid one has arrived and the program has no say in the response. Returns undef if it
# cannot read, a reference to what has arrived if that is something else, and otherwise 0.
sub _answer_natively {
    my ($attempt) = @_;
    return undef if !_accepts_as_it_is($attempt->{server});
    my $result = AnyEvent::WebSocket::Native::Engine::answer_request(
        $attempt->{handle},
        AnyEvent::WebSocket::Native::Handshake::Head::limits(),
        AnyEvent::WebSocket::Native::ServerOptions::strict($attempt->{options}) ? 1 : 0,
    );
    return $result if !defined $result || ref $result;
    _report_write_error($attempt, abs $result) if $result < 0;
    _hand_over($attempt) if $result;
    return 0;
}

sub _report_write_error {
    my ($attempt, $errno) = @_;
    local $@;
    eval { AnyEvent::WebSocket::Native::Handle::write_error($attempt->{handle}, $errno); 1 }
        or _fail($attempt, $@, FORBIDDEN);
}

# Returns what the protocol makes of the bytes. What dies here is an error of the handshake: in establish_psgi, the program would
# get no condvar; in the event loop, nobody would see it.
sub _receive {
    my ($attempt, $octets) = @_;
    local $@;
    my $result;
    my $protocol = $attempt->{protocol} ||= _new_protocol($attempt->{options});
    eval { $result = $protocol->receive($octets); 1 } and return $result;
    return { error => 'handshake error: ' . ($@ =~ s/ at \S+ line [0-9]+\.?\n\z|\n\z//r), status => 400 };
}

# Ends the handshake with an error: a text, or the exception of a callback. The file handle stays open, and nothing is written to
# it, unless the program asks for that; `status` is what the client is told then.
sub _fail {
    my ($attempt, $error, $status) = @_;
    my ($done, $handle) = _end($attempt) or return;
    _reject($handle, $status, $error) if $handle && $status && $attempt->{server}{_ws_options}{reject};
    $done->croak($error);
    return;
}

# Returns the condvar and the handle, once: the handshake has ended.
sub _end {
    my ($attempt) = @_;
    delete @$attempt{qw( deadline octets options protocol watcher )};
    my ($done, $handle) = delete @$attempt{qw( done handle )};
    return $done ? ($done, $handle) : ();
}

# Sends a response that refuses. What the client still sends is read for a while, because a socket that is closed with unread
# bytes makes the client's system throw the response away.
sub _reject {
    my ($handle, $status, $error) = @_;
    my $timer;
    my $end = sub { undef $timer; $handle->destroy if $handle; undef $handle };
    $handle->on_read(sub { $_[0]{rbuf} = '' });
    $handle->on_error($end);
    $handle->on_eof($end);
    $timer = AE::timer LINGER, 0, $end;    # not the handle's timeout, which each byte that arrives puts off
    $handle->push_write(AnyEvent::WebSocket::Native::Handshake::Rejection::response($status, $error));
    $handle->push_shutdown if $handle;
    return;
}

# Sends the response, and makes the connection.
sub _answer {
    my ($attempt) = @_;
    local $@;
    my $options = $attempt->{options};
    if (my $is_allowed = $options->{origins}) {
        my $origin = $attempt->{protocol}->list('Origin');
        return _fail($attempt, 'handshake error: the origin is not allowed: ' . ($origin // 'none'), FORBIDDEN)
            if !$is_allowed->($origin);
    }
    my ($response, @results);
    eval {
        ($response, @results) = _compose($attempt);
        AnyEvent::WebSocket::Native::Handshake::Stream::write($attempt, $response) if defined $response;
        1;
    } or return _fail($attempt, $@, FORBIDDEN);
    return _fail($attempt, Carp::shortmess('handshake response was undef'), SERVER_ERROR) if !defined $response;
    _hand_over($attempt, @results);
    return;
}

# Makes the connection, and passes it to the program. Takes a reference to an array of the settings on which both sides have agreed,
# if there are such, and the other values of the callback.
sub _hand_over {
    my ($attempt, $agreed, @others) = @_;
    my ($server, $options) = @$attempt{qw( server options )};
    my ($done, $handle) = _end($attempt) or return;
    my @given = ($options->{connection} ? %{ $options->{connection} } : (), $agreed ? @$agreed : ());
    my $size = $server->{max_payload_size};
    my $connection;
    local $@;
    eval {
        $connection = AnyEvent::WebSocket::Native::Attach::new_usual($handle) if !@given && !defined $size;
        $connection ||= AnyEvent::WebSocket::Connection->new(handle => $handle, max_payload_size => $size, @given);
        $done->send($connection, @others);
        1;
    } and return;
    my $error = $@;
    warn "The callback of AnyEvent::WebSocket::Server's establish died: $error" if $connection;
    $done->croak($error);
    return;
}

# Returns the response; a reference to an array, of the connection's settings on which both sides have agreed; and the other values
# of the callback. Returns nothing if the callback has returned no response.
sub _compose {
    my ($attempt) = @_;
    my ($server, $protocol, $options) = @$attempt{qw( server protocol options )};
    my $subprotocol = $options->{subprotocols} && _choose($options->{subprotocols}, $protocol);
    my ($extensions, $deflate);
    if (my $wanted = $options->{deflate}) {
        my $offers = $protocol->list('Sec-WebSocket-Extensions');
        ($extensions, $deflate) = AnyEvent::WebSocket::Deflate::accept($offers, %$wanted);
    }
    my $text;
    my @others;
    if (_accepts_as_it_is($server) && $protocol->can('acceptance')) {
        $text = $protocol->acceptance($subprotocol, $extensions);
    } else {
        my ($request, $response) = $protocol->objects;
        $response->subprotocol($subprotocol) if defined $subprotocol;
        (my $result, @others) = $server->{handshake}->($request, $response);
        return if !defined $result;
        $text = _text_of($result);
        $subprotocol = $response->subprotocol if $options->{subprotocols};
        $deflate = undef unless $deflate && _add_extensions(\$text, $extensions);
    }
    my @agreed = ($deflate ? (deflate => $deflate) : (), defined $subprotocol ? (subprotocol => $subprotocol) : ());
    return ($text, \@agreed, @others);
}

# Adds the header to a response that accepts. Returns false if it does not, or has one already.
sub _add_extensions {
    my ($text, $extensions) = @_;
    return $$text !~ /^Sec-WebSocket-Extensions:/mi
        && $$text =~ s{\A(HTTP/1\.1 101 .*?\n)(?=\r?\n)}{$1Sec-WebSocket-Extensions: $extensions\r\n}s;
}

my $STOCK_TO_STRING = Protocol::WebSocket::Response->can('to_string');

# Returns the response as text. The stock to_string computes all headers, and the proof of the key, for each line.
sub _text_of {
    my ($result) = @_;
    return "$result" unless Scalar::Util::blessed $result && $result->isa('Protocol::WebSocket::Response');
    return $result->to_string unless $result->can('to_string') == $STOCK_TO_STRING && $result->can('headers');
    my @headers = @{ $result->headers };
    my $text = 'HTTP/1.1 ' . $result->status . " WebSocket Protocol Handshake\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) { $text .= "$name: $value" =~ tr/\r\n//dr . "\r\n" }
    return $text . "\r\n" . $result->body;
}

# Returns the first of the server's subprotocols that the client asks for.
sub _choose {
    my ($own, $protocol) = @_;
    my %is_offered = map { $_ => 1 } split /[ \t]*,[ \t]*/, $protocol->list('Sec-WebSocket-Protocol') // '';
    my ($chosen) = grep { $is_offered{$_} } @$own;
    return $chosen;
}

1;
