package AnyEvent::WebSocket::Reconnecting::Failure;

# Why an attempt failed or a connection ended, and whether a further attempt could do better. A failure is its text when it is
# used as a string. AnyEvent::WebSocket::Reconnecting has the documentation.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Ended ();
use overload '""' => \&text, 'bool' => sub { 1 }, fallback => 1;
use Time::Local ();

our $VERSION = '1.000';

# A server must not be able to stop a client for longer than this.
use constant MAX_RETRY_AFTER => 3600;

# The client sent something wrong, so the same again is wrong again. The exceptions are Request Timeout, Too Early, and Too Many
# Requests.
my %IS_TRANSIENT = map { $_ => 1 } qw( 408 425 429 );

# Errors of the client's `connect` that come from the arguments or from a server that is set up differently.
my $FINAL =
    qr/\A(?:URI is not a websocket|subprotocol mismatch|no subprotocol in response|connect error: .*certificate verify failed)/;

# The keys are the names of the methods below; `refusal` is what the client's on_refused got.
sub new {
    my ($class, %of) = @_;
    my $self = bless \%of, $class;
    my $refusal = delete $self->{refusal};
    $self->{status} = $refusal ? $refusal->status : $self->text =~ m{\[\[HTTP/[0-9.]+ ([0-9]{3})\b} ? 0 + $1 : undef;
    $self->{retry_after} = _seconds_until($refusal->header('Retry-After')) if $refusal;
    $self->{is_final} ||= $self->_seems_final;
    return $self;
}

# The failure of a connection that had been established. `error` may be undef.
sub of_connection {
    my ($class, $connection, $error) = @_;
    my ($code, $reason) = map { $connection->$_ } qw( close_code close_reason );
    my @own_close = AnyEvent::WebSocket::Native::Ended::own_close($connection);
    my $text =
          @own_close ? 'closed by this side: ' . AnyEvent::WebSocket::Native::Ended::code_and_reason(@own_close)
        : defined $code ? 'closed by the peer: ' . AnyEvent::WebSocket::Native::Ended::code_and_reason($code, $reason)
        : 'the peer closed the connection without a Close frame';
    my $self = bless { error => defined $error ? $error : $text, close_code => $code, close_reason => $reason }, $class;
    return $self;
}

sub attempts { $_[0]{attempts} }
sub close_code { $_[0]{close_code} }
sub close_reason { $_[0]{close_reason} }
sub error { $_[0]{error} }
sub is_final { $_[0]{is_final} ? 1 : 0 }
sub retry_after { $_[0]{retry_after} }
sub status { $_[0]{status} }

sub text { return "$_[0]{error}" =~ s/\n\z//r }

sub _seems_final {
    my ($self) = @_;
    my $status = $self->{status};
    return $self->text =~ $FINAL || defined $status && $status =~ /\A4/ && !$IS_TRANSIENT{$status};
}

my @MONTHS = qw( Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec );
my %MONTH = map { $MONTHS[$_] => $_ } 0 .. $#MONTHS;

# Returns the seconds that a Retry-After field asks for, or undef if it has neither a number nor a date (RFC 9110, 10.2.3).
sub _seconds_until {
    my ($field) = @_;
    return undef unless defined $field;
    my $seconds = $field =~ /\A\s*([0-9]+)\s*\z/ ? $1 : undef;
    if ($field =~ /\A\s*\w{3}, ([0-9]{2}) (\w{3}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT\s*\z/ && exists $MONTH{$2}) {
        my $then = eval { Time::Local::timegm($6, $5, $4, $1, $MONTH{$2}, $3) };
        $seconds = $then - time if defined $then;
    }
    return undef unless defined $seconds;
    return $seconds < 0 ? 0 : $seconds > MAX_RETRY_AFTER ? MAX_RETRY_AFTER : 0 + $seconds;
}

1;
