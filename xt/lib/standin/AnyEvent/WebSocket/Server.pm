package    # hide from PAUSE: the name is another author's
    AnyEvent::WebSocket::Server;

# Stands in for the module of this name if that is not installed, with as much of its documented interface as the
# documentation here uses.

use strict;
use warnings;
use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::WebSocket::Connection;
use Protocol::WebSocket::Handshake::Server;

sub new {
    my ($class, %self) = @_;
    $self{handshake} ||= sub { $_[1] };
    return bless \%self, $class;
}

# Sends the condition variable the connection, and what the handshake callback has returned after the response.
sub establish {
    my ($self, $fh) = @_;
    my $established = AE::cv;
    my $handshake = Protocol::WebSocket::Handshake::Server->new;
    my $handle;
    $handle = AnyEvent::Handle->new(
        fh => $fh,
        on_error => sub { undef $handle; $established->croak("connection error: $_[2]") },
        on_read => sub {
            my @results = eval { $self->_answer($handle, $handshake) };
            return $established->croak($@), undef $handle if $@;
            return if !@results;
            undef $handle;
            $established->send(@results);
        },
    );
    return $established;
}

sub _answer {
    my ($self, $handle, $handshake) = @_;
    $handshake->parse($handle->{rbuf}) or die 'handshake error: ' . $handshake->error . "\n";
    return if !$handshake->is_done;
    my ($response, @more) = $self->{handshake}->($handshake->req, $handshake->res);
    $handle->push_write(ref $response ? $response->to_string : $response);
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, max_payload_size => $self->{max_payload_size});
    return ($connection, @more);
}

1;
