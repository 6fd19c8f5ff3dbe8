package WebSocketTest::TLS;

# TLS for tests: a certificate made on the spot, and pairs of handles that speak TLS to each other.
#
#   my $why_not = WebSocketTest::TLS::unavailable();     # a reason to skip, or nothing
#   my ($server, $client) = tls_handles();               # AnyEvent::Handles, TLS begun, handshake not yet done

use strict;
use warnings;
use AnyEvent::Handle;
use Exporter 'import';
use File::Temp;
use WebSocketTest ();

our @EXPORT = qw(tls_handles tls_options shared_tls_options);

my $directory = File::Temp->newdir;

sub unavailable {
    return 'Net::SSLeay is not installed' unless eval { require Net::SSLeay; require AnyEvent::TLS; 1 };
    return _certificate() ? '' : 'no certificate could be made: there is no openssl command';
}

my $made;

sub _certificate {
    return $made if defined $made;
    my @command = (qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost),
        '-keyout', "$directory/key.pem", '-out', "$directory/cert.pem");
    return $made = _quietly(@command) == 0 && -s "$directory/cert.pem" ? 1 : 0;
}

sub _quietly {
    my (@command) = @_;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        { exec @command }
        POSIX::_exit(127);
    }
    waitpid $pid, 0;
    return $?;
}

# Returns the options for AnyEvent::Handle->new, on this side.
sub tls_options {
    my ($side) = @_;
    _certificate();
    my $context = $side eq 'accept'
        ? { cert_file => "$directory/cert.pem", key_file => "$directory/key.pem" }
        : { verify => 0 };
    return (tls => $side, tls_ctx => $context);
}

# Contexts are made once and shared, because that takes longer than all else of a connection.
my %context;

sub shared_tls_options {
    my ($side) = @_;
    $context{$side} ||= do { my %options = tls_options($side); AnyEvent::TLS->new(%{ $options{tls_ctx} }) };
    return (tls => $side, tls_ctx => $context{$side});
}

sub tls_handles {
    my ($server_more, $client_more) = @_;
    my ($left, $right) = WebSocketTest::tcp_pair();
    return (
        AnyEvent::Handle->new(fh => $left, tls_options('accept'), %{ $server_more || {} }),
        AnyEvent::Handle->new(fh => $right, tls_options('connect'), %{ $client_more || {} }),
    );
}

1;
