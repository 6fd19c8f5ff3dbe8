package WebSocketTest::SecureClient;

# A WebSocketTest::Peer that speaks TLS: bytes and frames are those inside. It has no stall, resume or reset.
#
#   my $peer = WebSocketTest::SecureClient->new($fh, %more);   # more: for AnyEvent::Handle
#   $peer->wait_secure;         # awaits the end of the TLS handshake
#   $peer->certificate_name;    # the common name in the server's certificate

use strict;
use warnings;
use AnyEvent::Handle;
use Scalar::Util 'weaken';
use WebSocketTest ();
use WebSocketTest::TLS;

use parent -norequire => 'WebSocketTest::Peer';

sub new {
    my ($class, $fh, %more) = @_;
    my $self = bless { fh => $fh, in => '', out => '', eof => 0, error => undef, syncs => 0 }, $class;
    weaken(my $weak = $self);
    $self->{handle} = AnyEvent::Handle->new(
        fh => $fh, shared_tls_options('connect'), no_delay => 1,
        on_starttls => sub { $weak->{secure} = $_[1]; $weak->_ended($_[2]) if !$_[1]; WebSocketTest::poke() },
        on_read => sub { $weak->{in} .= delete $_[0]{rbuf}; $_[0]{rbuf} = ''; WebSocketTest::poke() },
        on_eof => sub { $weak->_ended },
        on_error => sub { $weak->_ended($_[2]) },
        %more,
    );
    return $self;
}

sub _ended {
    my ($self, $error) = @_;
    @$self{qw(eof error)} = (1, $error);
    WebSocketTest::poke();
}

sub write {
    my ($self, @bytes) = @_;
    $self->{handle}->push_write(join '', @bytes) if !$self->{eof};
    return $self;
}

sub unsent { length($_[0]{handle}{wbuf}) + length($_[0]{handle}{_tls_wbuf} || '') }

sub wait_secure {
    my ($self) = @_;
    WebSocketTest::wait_until('the TLS handshake', sub { $self->{secure} || $self->{eof} });
    return $self;
}

sub certificate_name {
    my ($self) = @_;
    my $certificate = Net::SSLeay::get_peer_certificate($self->wait_secure->{handle}{tls}) or return;
    my $name = Net::SSLeay::X509_NAME_get_text_by_NID(Net::SSLeay::X509_get_subject_name($certificate), 13);
    Net::SSLeay::X509_free($certificate);
    return $name =~ s/\0\z//r;
}

sub half_close {
    my ($self) = @_;
    $self->{handle}->push_shutdown;
    return $self;
}

sub close {
    my ($self) = @_;
    delete($self->{handle})->destroy if $self->{handle};
    close delete $self->{fh} if $self->{fh};
    return $self;
}

1;
