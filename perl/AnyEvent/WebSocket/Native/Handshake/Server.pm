package AnyEvent::WebSocket::Native::Handshake::Server;

# A server's side of the opening handshake: bytes in, bytes out. AnyEvent::WebSocket::Native::Handshake::Old has the same
# methods.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Handshake::Head ();
use Protocol::WebSocket::Handshake::Server ();

use constant VERSION => 'draft-ietf-hybi-17';

# Takes a Protocol::WebSocket::Handshake::Server, or undef, whose request and response are filled in if a callback wants to see
# them, and whether to enforce rules that clients in use break without harm.
sub new {
    my ($class, $handshake, $is_strict) = @_;
    my @limits = AnyEvent::WebSocket::Native::Handshake::Head::limits();
    my $state = AnyEvent::WebSocket::Native::Engine::server_handshake(@limits, $is_strict ? 1 : 0);
    return bless { handshake => $handshake, state => $state }, $class;
}

# Takes everything that has arrived so far. Returns nothing while that is not enough; otherwise a reference to a hash: `error`,
# the text for the program, and `status`, the HTTP status that tells the client; or the `length` of the request, after which
# frames follow. A request that came through PSGI, or that the program has read, is in the handshake already.
sub receive {
    my ($self, $octets) = @_;
    my $is_read = has_request($self->{handshake});
    my $result =
        $is_read
        ? AnyEvent::WebSocket::Native::Engine::take_request($self->{state}, $self->_request_of_handshake)
        : AnyEvent::WebSocket::Native::Engine::read_request($self->{state}, $octets);
    return unless $result;
    my ($length, $error, $status) = @$result;
    return defined $length ? { length => $length } : { error => "handshake error: $error", status => $status };
}

# Returns true if a Protocol::WebSocket::Handshake::Server, or undef, has the whole request.
sub has_request {
    my ($handshake) = @_;
    my $request = $handshake && $handshake->{req};
    return $request && ($request->is_body || $request->is_done);
}

sub _request_of_handshake {
    my ($self) = @_;
    my $request = $self->{handshake}->req;
    my $fields = $request->fields;
    my @pairs = map { $_ => $fields->{$_} } grep { defined $fields->{$_} } keys %$fields;
    return AnyEvent::WebSocket::Native::Handshake::Head::octets('the request', $request->resource_name, @pairs);
}

# Returns the request and the response, for the callback of a server.
sub objects {
    my ($self) = @_;
    my $handshake = $self->{handshake} ||= Protocol::WebSocket::Handshake::Server->new;
    my ($request, $response) = ($handshake->req, $handshake->res);
    _fill_in($request, @{ AnyEvent::WebSocket::Native::Engine::request($self->{state}) }) unless $request->is_done;
    $response->version(VERSION);
    $response->$_($request->$_) for qw( host secure resource_name origin key );
    return ($request, $response);
}

# The values that are lists, of which all lines count. Of others the last line does, as in Protocol::WebSocket.
my @LISTS = qw( sec-websocket-protocol sec-websocket-extensions );

# Gives a Protocol::WebSocket::Request what it would have found itself.
sub _fill_in {
    my ($request, $target, $pairs) = @_;
    my $fields = $request->fields;
    my %lines;
    while (my ($name, $value) = splice @$pairs, 0, 2) {
        $fields->{$name} = $value;
        push @{ $lines{$name} }, $value;
    }
    $lines{$_} and $fields->{$_} = join ', ', @{ $lines{$_} } for @LISTS;
    $request->version(VERSION);
    $request->resource_name($target) if !$request->is_body;
    my $origin = $fields->{'sec-websocket-origin'} || $fields->{origin};
    $request->origin($origin);
    $request->secure(1) if !$request->is_body && $lines{'x-forwarded-proto'} || defined $origin && $origin =~ /\Ahttps:/;
    $request->host($fields->{host});
    my $subprotocol = $fields->{'sec-websocket-protocol'} || $fields->{'websocket-protocol'};
    $request->subprotocol($subprotocol) if $subprotocol;
    $request->cookies($fields->{cookie});
    $request->done;
    return;
}

# Returns the value of a request's header that is a list.
sub list { return AnyEvent::WebSocket::Native::Engine::request_list($_[0]{state}, lc $_[1]) }

# Returns the response that accepts the request, for a server without a callback.
sub acceptance {
    my ($self, $subprotocol, $extensions) = @_;
    return AnyEvent::WebSocket::Native::Engine::acceptance($self->{state}, $subprotocol, $extensions);
}

1;
