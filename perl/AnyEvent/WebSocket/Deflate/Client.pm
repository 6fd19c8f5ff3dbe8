package AnyEvent::WebSocket::Deflate::Client;

use strict;
use warnings;
use AE ();
use AnyEvent::WebSocket::Deflate ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Moo;
use Protocol::WebSocket::Handshake::Client ();

our $VERSION = '1.000';

# Exceptions about options name the line of the caller that passed them.
our @CARP_NOT = qw( AnyEvent::WebSocket::Deflate AnyEvent::WebSocket::Native::Util );

extends 'AnyEvent::WebSocket::Client';

has deflate => (is => 'ro', default => sub { {} });

# The place where the handshake of the connect that is running further up the stack is stored.
our $place;

sub BUILD {
    my ($self, $arguments) = @_;
    Carp::croak('deflate must be a reference to a hash of options') unless ref $self->deflate eq 'HASH';
    AnyEvent::WebSocket::Deflate::check(%{ $self->deflate });
    AnyEvent::WebSocket::Native::Util::warn_of_slips(ref $self, $arguments, 'deflate');
}

around http_headers => sub {
    my ($original, $self) = @_;
    my $headers = $self->$original;
    return $headers unless AnyEvent::WebSocket::Deflate::available();
    my $offer = AnyEvent::WebSocket::Deflate::offer(%{ $self->deflate });
    return [@{ $headers || [] }, 'Sec-WebSocket-Extensions' => $offer];
};

around connect => sub {
    my ($original, $self, @arguments) = @_;
    my $handshake;
    local $place = \$handshake;
    my $connected = $self->$original(@arguments);
    return $connected unless AnyEvent::WebSocket::Deflate::available();
    my $done = AE::cv;
    $connected->cb(sub {
        my $connection = eval { $self->_compressing($_[0]->recv, $handshake) };
        return $done->send($connection) if $connection;
        # The handshake is stored in the same variable, where it is looked at later.
        (my $error = $@) =~ s/ at (?:(?! at ).)+ line [0-9]+\.?\n\z//s;
        $done->croak($error);
    });
    return $done;
};

# The parent class does not expose the server's answer, and creates its handshake as soon as there is a socket.
around _make_tcp_connection => sub {
    my ($original, $self, $scheme, $host, $port, $connected, @more) = @_;
    my $here = $place;
    my $new = Protocol::WebSocket::Handshake::Client->can('new');
    my $noting = sub {
        no warnings 'redefine';
        local *Protocol::WebSocket::Handshake::Client::new = sub { $$here = &$new };
        $connected->(@_);
    };
    return $self->$original($scheme, $host, $port, $noting, @more);
};

sub _compressing {
    my ($self, $connection, $handshake) = @_;
    my $answer = $handshake->res->field('Sec-WebSocket-Extensions');
    my $parameters = AnyEvent::WebSocket::Deflate::confirm($answer, %{ $self->deflate });
    $connection->enable_deflate($parameters) if $parameters;
    return $connection;
}

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Deflate::Client - an AnyEvent::WebSocket::Client that offers compression

=head1 SYNOPSIS

  use AnyEvent::WebSocket::Deflate::Client;

  my $client = AnyEvent::WebSocket::Deflate::Client->new(deflate => { threshold => 1024 });
  my $connection = $client->connect('ws://localhost:5000/feed')->recv;
  print $connection->deflate ? "compressed\n" : "the server does not compress\n";

=head1 DESCRIPTION

A subclass of L<AnyEvent::WebSocket::Client> that offers permessage-deflate to the server, and enables it on the connection
if the server accepts. The original has no such class. It needs AnyEvent::WebSocket::Client 0.46 or newer.

An answer that was not offered is an error of C<connect>, like a failed handshake.

With C<ANYEVENT_WEBSOCKET_PP=1>, it offers nothing and behaves like its parent. Its connections then have no method
C<deflate>, so a program that must also run there asks C<< $connection->can('deflate') && $connection->deflate >>.

=head1 ATTRIBUTES

It takes those of its parent, and

=head2 deflate

  my $options = $client->deflate;

A reference to a hash of L<AnyEvent::WebSocket::Deflate/OPTIONS>. Default empty. Wrong options are exceptions at the line
where the client is constructed.

  my $client = AnyEvent::WebSocket::Deflate::Client->new(deflate => { level => 6, server_max_window_bits => 15 });

=head1 SEE ALSO

L<AnyEvent::WebSocket::Deflate>, L<AnyEvent::WebSocket::Client>

=cut
