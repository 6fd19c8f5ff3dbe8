package AnyEvent::WebSocket::Native::Handshake::Client;

# A client's side of the opening handshake, for any transport: bytes in, bytes out. AnyEvent::WebSocket::Native::Handshake::Old
# has the same methods.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Handshake::Head ();
use Carp ();

# The names that new takes:
#   address       what AnyEvent::WebSocket::Native::Handshake::Address::parse returns
#   subprotocols  a reference to an array; undef asks for none
#   headers       a reference to an array of names and values, sent after all others
#   extensions    the value of Sec-WebSocket-Extensions; undef sends none
#   is_draft      true for the last draft before RFC 6455, with version 8
#   replaces      true if one of the headers replaces the one of ours with its name
#   strict        true to enforce rules that servers in use break without harm
# Dies if a string has a character that is no byte.
sub new {
    my ($class, %self) = @_;
    my $self = bless \%self, $class;
    my @headers = @{ $self->{headers} || [] };
    push @headers, undef if @headers % 2;
    push @headers, 'Sec-WebSocket-Extensions', $self->{extensions} if defined $self->{extensions};
    Carp::carp('undefined value in http_headers') if grep { !defined } @headers;
    defined or $_ = '' for @headers;
    $self->{headers} = [AnyEvent::WebSocket::Native::Handshake::Head::octets('http_headers', @headers)];
    $self->{subprotocols} &&= [
        AnyEvent::WebSocket::Native::Handshake::Head::octets(
            'subprotocol', map { defined $_ ? $_ : '' } @{ $self->{subprotocols} })];
    my $own_key = join ', ', $self->_sent('Sec-WebSocket-Key');
    $self->{key} = $self->{replaces} && length $own_key ? $own_key : AnyEvent::WebSocket::Native::Engine::new_key();
    $self->{state} = AnyEvent::WebSocket::Native::Engine::client_handshake(
        AnyEvent::WebSocket::Native::Handshake::Head::limits(), $self->{strict} ? 1 : 0,
        length $own_key && !$self->{replaces} ? undef : $self->{key}, join(', ', $self->_sent('Sec-WebSocket-Extensions')),
        $self->_sent('Sec-WebSocket-Protocol') ? 1 : 0, $self->{subprotocols} ? (1, @{ $self->{subprotocols} }) : 0,
    );
    return $self;
}

# Returns the same for a request that asks for nothing and has only our headers. The URL is one that plain_url takes.
sub new_plain {
    my ($class, $url, $is_strict) = @_;
    my $plain = AnyEvent::WebSocket::Native::Engine::plain_opening(
        AnyEvent::WebSocket::Native::Handshake::Head::limits(),
        $is_strict ? 1 : 0, $url);
    return bless { state => $plain->[0], request => $plain->[1] }, $class;
}

# Returns the values of the program's headers with this name.
sub _sent {
    my ($self, $name) = @_;
    my ($headers, @values) = $self->{headers};
    for (my $i = 0; $i < @$headers; $i += 2) {
        push @values, $headers->[$i + 1] // '' if lc $headers->[$i] eq lc $name;
    }
    return @values;
}

# Returns the request.
sub request {
    my ($self) = @_;
    return $self->{request} if defined $self->{request};
    my $address = $self->{address};
    return AnyEvent::WebSocket::Native::Engine::opening(
        AnyEvent::WebSocket::Native::Handshake::Head::octets('the URL', @$address{qw( target host_header origin )}),
        $self->{subprotocols} ? join(',', @{ $self->{subprotocols} }) : undef,
        $self->{key}, $self->{is_draft} ? 1 : 0, $self->{replaces} ? 1 : 0, @{ $self->{headers} },
    );
}

# Takes everything that has arrived so far. Returns nothing while that is not enough; otherwise a reference to a hash: `error`,
# the text for the program; or the `length` of the response, after which frames follow, the `subprotocol` that was chosen, and
# the value of Sec-WebSocket-Extensions as `extensions`.
sub receive {
    my ($self, $octets) = @_;
    my $result = AnyEvent::WebSocket::Native::Engine::read_response($self->{state}, $octets) or return;
    my ($length, @rest) = @$result;
    return defined $length ? { length => $length, subprotocol => $rest[0], extensions => $rest[1] } : { error => $rest[0] };
}

1;
