package AnyEvent::WebSocket::Native::Opening;

# The client's side of the opening handshake, as bytes in and bytes out (RFC 6455, 4.1).

use strict;
use warnings;
use Digest::SHA ();
use MIME::Base64 ();

use constant {
    GUID => '258EAFA5-E914-47DA-95CA-C5AB0DC85B11',
    MAX_HEAD => 65536,
    MAX_INTERIM => 8,
};

# Takes the target, the value of Host, other headers as a list of names and values, the subprotocols and the extensions to
# offer.
sub new {
    my ($class, %part) = @_;
    open my $random, '<:raw', '/dev/urandom' or die "no random bytes: $!\n";
    read $random, my $nonce, 16;
    return bless { %part, key => MIME::Base64::encode_base64($nonce, ''), input => '', interim => 0 }, $class;
}

sub request {
    my ($self) = @_;
    my @headers = (
        Host => $self->{host},
        Upgrade => 'websocket',
        Connection => 'Upgrade',
        'Sec-WebSocket-Key' => $self->{key},
        'Sec-WebSocket-Version' => 13,
        @{ $self->{subprotocols} } ? ('Sec-WebSocket-Protocol' => join ', ', @{ $self->{subprotocols} }) : (),
        defined $self->{extensions} ? ('Sec-WebSocket-Extensions' => $self->{extensions}) : (),
        @{ $self->{headers} },
    );
    my $head = "GET $self->{target} HTTP/1.1\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) { $head .= "$name: $value\r\n" }
    return "$head\r\n";
}

# Takes bytes of the response. Returns nothing until it is complete, and then a hash: `error`, if the server has not accepted;
# or `rest`, the bytes that follow, with `subprotocol` and `extensions`, if the server has chosen any.
sub receive {
    my ($self, $octets) = @_;
    $self->{input} .= $octets;
    while ($self->{input} =~ s/\A(.*?\n)\r?\n//s) {
        my ($status, $fields) = _parsed($1);
        return { error => 'the server did not answer in HTTP/1.1' } if !$status;
        next if $status =~ /\A1/ && $status !~ /\A101\b/ && $self->{interim}++ < MAX_INTERIM;
        return { error => "the server refused: $status" } if $status !~ /\A101\b/;
        return $self->_accepted($fields);
    }
    return { error => 'the server did not answer in HTTP/1.1' }
        if 'HTTP/1.1 ' ne substr $self->{input} . substr('HTTP/1.1 ', length $self->{input}), 0, 9;
    return { error => 'the response is too long' } if length $self->{input} > MAX_HEAD;
    return;
}

# Returns what follows the version in the first line, and the fields by name.
sub _parsed {
    my ($head) = @_;
    my ($first, @lines) = split /\r?\n/, $head;
    my ($status) = $first =~ m{\AHTTP/1\.1 (\d{3}.*)} or return;
    my %field;
    for my $line (@lines) {
        my ($name, $value) = $line =~ /\A([^:\s]+):\s*(.*?)\s*\z/ or next;
        push @{ $field{ lc $name } }, $value;
    }
    return ($status, { map { $_ => join ', ', @{ $field{$_} } } keys %field });
}

sub _accepted {
    my ($self, $field) = @_;
    my $proof = MIME::Base64::encode_base64(Digest::SHA::sha1($self->{key} . GUID), '');
    my $is_accepted =
           ($field->{'sec-websocket-accept'} || '') eq $proof
        && lc($field->{upgrade} || '') eq 'websocket'
        && grep { lc eq 'upgrade' } split /\s*,\s*/, $field->{connection}
        || '';
    return { error => 'the response is not one of a WebSocket server' } if !$is_accepted;
    my $extensions = $field->{'sec-websocket-extensions'};
    return { error => "the server uses an extension that was not offered: $extensions" }
        if defined $extensions && !defined $self->{extensions};
    my $chosen = $field->{'sec-websocket-protocol'};
    return { error => "the server chose a subprotocol that was not offered: $chosen" }
        if defined $chosen && !grep { $_ eq $chosen } @{ $self->{subprotocols} };
    return { subprotocol => $chosen, extensions => $extensions, rest => $self->{input} };
}

1;
