package AnyEvent::WebSocket::Deflate::Client;

use strict;
use warnings;
use AnyEvent::WebSocket::Client ();
use AnyEvent::WebSocket::Native::Handshake::Compression ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Moo;

our $VERSION = '1.000';

# Exceptions about options name the line of the caller that passed them.
our @CARP_NOT = map { "AnyEvent::WebSocket::Native::$_" } qw( Handshake::Compression Util );

extends 'AnyEvent::WebSocket::Client';

# The original has no such attribute.
has deflate => (is => 'ro') unless AnyEvent::WebSocket::Client->can('deflate');

around BUILDARGS => sub {
    my ($original, $class, @arguments) = @_;
    my $arguments = $class->$original(@arguments);
    my $deflate = $arguments->{deflate} //= {};
    Carp::croak('deflate must be a reference to a hash of options') unless ref $deflate eq 'HASH';
    AnyEvent::WebSocket::Native::Handshake::Compression::options_of($deflate);
    return $arguments;
};

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
if the server accepts. C<< AnyEvent::WebSocket::Client->new(deflate => {}) >> is the same; this class is for programs
that also run with C<ANYEVENT_WEBSOCKET_PP=1>, where the parent has no such attribute.

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
