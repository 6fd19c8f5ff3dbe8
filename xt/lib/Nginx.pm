package Nginx;

# An nginx with the configuration of examples/behind-nginx, but ports of its own, in front of a server on 127.0.0.1. It ends
# with the object.
#
#   plan skip_all => Nginx::missing() if Nginx::missing();
#   my $nginx = Nginx->new($port, read_timeout => '1s');    # tls => 0: for ws, not wss
#   my $client = client_at($nginx->url, ssl_ca_file => Nginx::certificate(), to => $nginx->address);

use strict;
use warnings;
use ExampleProgram;
use ExampleTest ();
use File::Temp;
use IO::Socket::INET;
use WebSocketTest;

my $directory;

sub missing {
    return ExampleTest::missing(modules => ['Net::SSLeay'], programs => [qw(nginx openssl)]);
}

sub new {
    my ($class, $backend, %options) = @_;
    $directory ||= _directory();
    my $port = ExampleTest::free_port();
    my $tls = $options{tls} // 1;
    my %replace = (
        '127.0.0.1:5000' => "127.0.0.1:$backend",
        '127.0.0.1:8443 ssl' => "127.0.0.1:$port" . ($tls ? ' ssl' : ''),
        'proxy_read_timeout 60s' => 'proxy_read_timeout ' . ($options{read_timeout} // '60s'),
        'nginx.pid' => "nginx-$port.pid",
        $tls ? () : ('ssl_certificate cert.pem;' => '', 'ssl_certificate_key key.pem;' => ''),
    );
    _write_config("$directory/$port.conf", \%replace);
    my $program = ExampleProgram->run('nginx', '-p', "$directory", '-c', "$port.conf", '-e', 'stderr');
    wait_until('nginx to listen', sub { $program->ended || _connects($port) || (after(0.05), 0)[1] }, 60);
    return bless { program => $program, port => $port, scheme => $tls ? 'wss' : 'ws' }, $class;
}

sub certificate { ($directory ||= _directory()) . '/cert.pem' }

sub url     { "$_[0]{scheme}://localhost:$_[0]{port}/" }
sub address { ['127.0.0.1', $_[0]{port}] }

# Makes a directory with a certificate.
sub _directory {
    my $new = File::Temp->newdir;
    system(qw(sh -c), 'exec "$@" 2>"$0"', "$new/openssl.log", qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2),
        qw(-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout), "$new/key.pem", '-out', "$new/cert.pem") == 0
        or die "openssl failed\n";
    return $new;
}

sub _write_config {
    my ($path, $replace) = @_;
    open my $template, '<', ExampleProgram->path('behind-nginx/nginx.conf') or die $!;
    my $config = do { local $/; <$template> };
    $config =~ s/^([^#\n]*)\Q$_\E/$1$replace->{$_}/m or die "no $_ in nginx.conf" for sort keys %$replace;
    open my $file, '>', $path or die "$path: $!";
    print {$file} $config;
    close $file or die "$path: $!";
}

sub _connects { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0]) }

1;
