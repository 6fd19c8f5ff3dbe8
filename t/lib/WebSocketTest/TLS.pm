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

our @EXPORT = qw(tls_handles tls_options shared_tls_options certificate_files server_name_in);

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

# Returns the names of the files with the certificate, which is for localhost and its own CA, and with its key.
sub certificate_files {
    _certificate();
    return ("$directory/cert.pem", "$directory/key.pem");
}

# Returns the server's name in a ClientHello, the first bytes of a client; undef if it has none (RFC 6066, 3).
sub server_name_in {
    my ($hello) = @_;
    my ($after_compression) = $hello =~ /\A\x16.{4}\x01.{3}.{34}(.*)\z/s or die "no ClientHello\n";
    my (undef, undef, undef, $extensions) = unpack 'C/a n/a C/a n/a', $after_compression;
    while (length $extensions) {
        (my $type, my $content, $extensions) = unpack 'n n/a a*', $extensions;
        return unpack 'x3 n/a', $content if $type == 0;
    }
    return undef;
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
