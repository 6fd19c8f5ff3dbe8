package AnyEvent::WebSocket::Native::Handshake::Old;

# Opening handshakes as the originals make them, with Protocol::WebSocket: for the drafts of WebSocket that only that knows, and
# for `lenient`. The methods are those of Handshake::Client and Handshake::Server.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Handshake::Head ();
use Protocol::WebSocket::Handshake::Client ();
use Protocol::WebSocket::Handshake::Server ();
use Protocol::WebSocket::Request ();

# Takes the arguments of Handshake::Client, the `url`, and the name of the draft as `version`. Dies if there is no such draft.
sub new_client {
    my ($class, %args) = @_;
    my @extensions = defined $args{extensions} ? ('Sec-WebSocket-Extensions' => $args{extensions}) : ();
    my $request = Protocol::WebSocket::Request->new(headers => [@{ $args{headers} || [] }, @extensions]);
    my $handshake = Protocol::WebSocket::Handshake::Client->new(
        url => $args{url}, req => $request,
        $args{version} ? (version => $args{version}) : ());
    $request->subprotocol(join ',', map { defined $_ ? $_ : '' } @{ $args{subprotocols} }) if $args{subprotocols};
    my $text = AnyEvent::WebSocket::Native::Handshake::Head::octets('the request', $handshake->to_string);
    return bless { handshake => $handshake, request => $text, subprotocols => $args{subprotocols}, seen => 0 }, $class;
}

# Takes a Protocol::WebSocket::Handshake::Server, or undef.
sub new_server {
    my ($class, $handshake) = @_;
    return bless { handshake => $handshake || Protocol::WebSocket::Handshake::Server->new, seen => 0 }, $class;
}

sub request { $_[0]{request} }

sub receive {
    my ($self, $octets) = @_;
    my $handshake = $self->{handshake};
    my $new = substr $octets, $self->{seen};
    $self->{seen} = length $octets;
    if (!defined $handshake->parse($new) || $handshake->error) {
        return { error => 'handshake error: ' . $handshake->error, status => 400 };
    }
    return unless $handshake->is_done;
    my $length = $self->{seen} - length $new;
    return _servers_result($handshake->version, $length) unless $handshake->isa('Protocol::WebSocket::Handshake::Client');
    my $error = _subprotocol_error($handshake->res->subprotocol, $self->{subprotocols});
    return { error => $error } if defined $error;
    return {
        length => $length,
        subprotocol => $self->{subprotocols} ? $handshake->res->subprotocol : undef,
        extensions => $handshake->res->field('Sec-WebSocket-Extensions'),
    };
}

sub _servers_result {
    my ($version, $length) = @_;
    return { length => $length } if $version eq 'draft-ietf-hybi-17';
    return { error => "handshake error: unsupported WebSocket protocol version $version", status => 426 };
}

sub _subprotocol_error {
    my ($chosen, $subprotocols) = @_;
    return unless $subprotocols;
    return 'no subprotocol in response' unless defined $chosen;
    return if grep { (defined $_ ? $_ : '') eq $chosen } @$subprotocols;
    return "subprotocol mismatch, requested: @{[ join ', ', map { defined $_ ? $_ : '' } @$subprotocols ]}, got: $chosen";
}

# Returns the request and the response, for the callback of a server.
sub objects { return ($_[0]{handshake}->req, $_[0]{handshake}->res) }

# Returns the value of a request's header that is a list.
sub list { return $_[0]{handshake}->req->field($_[1]) }

1;
