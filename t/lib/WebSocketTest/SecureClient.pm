package WebSocketTest::SecureClient;

# A WebSocketTest::SecurePeer that is the TLS client, and has the methods of WebSocketTest::Peer that read.
#
#   my $peer = WebSocketTest::SecureClient->new($fh, %more);   # more: for AnyEvent::Handle
#   $peer->wait_secure;         # awaits the end of the TLS handshake
#   $peer->certificate_name;    # the common name in the server's certificate

use strict;
use warnings;
use AnyEvent::Handle;
use Scalar::Util 'weaken';
use WebSocketTest ();
use WebSocketTest::SecurePeer;
use WebSocketTest::TLS;

use parent -norequire => qw(WebSocketTest::SecurePeer WebSocketTest::Peer);

sub new {
    my ($class, $fh, %more) = @_;
    my $self;
    my $handle = AnyEvent::Handle->new(
        fh => $fh, shared_tls_options('connect'), no_delay => 1,
        on_starttls => sub { $self->_started(@_[1, 2]) if $self },
        %more,
    );
    $self = my $strong = $class->SUPER::new($handle);
    $self->{fh} = $fh;
    weaken($self);
    return $strong;
}

sub _started {
    my ($self, $is_secure, $error) = @_;
    $self->{secure} = $is_secure;
    $self->_end($error) if !$is_secure;
    WebSocketTest::poke();
}

sub write {
    my ($self, @bytes) = @_;
    return $self if $self->eof;
    return $self->SUPER::write(join '', @bytes);
}

# The handle has forgotten the socket if the TLS handshake has failed.
sub close {
    my ($self) = @_;
    $self->SUPER::close;
    CORE::close $self->{fh};
    return $self;
}

sub wait_secure {
    my ($self) = @_;
    WebSocketTest::wait_until('the TLS handshake', sub { $self->{secure} || $self->eof });
    return $self;
}

sub certificate_name {
    my ($self) = @_;
    my $certificate = Net::SSLeay::get_peer_certificate($self->wait_secure->handle->{tls}) or return;
    my $name = Net::SSLeay::X509_NAME_get_text_by_NID(Net::SSLeay::X509_get_subject_name($certificate), 13);
    Net::SSLeay::X509_free($certificate);
    return $name =~ s/\0\z//r;
}

1;
