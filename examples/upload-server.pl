#!/usr/bin/env perl
# Takes uploads of any size, and keeps no more of one in memory than it has read at a time.
#
#   perl examples/upload-server.pl [--host ADDRESS] [--port PORT] DIRECTORY
#
# Each binary message becomes a file in the directory, under a name of the server's own; the answer is its name, size and
# SHA-256 as JSON. examples/upload-client.pl is the other half, and this line in a browser:
# socket.send(input.files[0]). Without a port it takes a free one; its first line says which. Ctrl-C ends it.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::Socket qw(format_hostport tcp_server);
use AnyEvent::WebSocket::Connection;
use Digest::SHA;
use File::Basename qw(basename);
use File::Temp;
use Getopt::Long qw(GetOptions);
use Protocol::WebSocket::Handshake::Server;

my %option = (host => '127.0.0.1', port => 0);
GetOptions(\%option, qw(host=s port=i)) && @ARGV == 1 && -d $ARGV[0]
    or die "usage: $0 [--host ADDRESS] [--port PORT] DIRECTORY\n";
my ($directory) = @ARGV;

# The frames of an upload may have any size, because none of them is kept; their total is limited here. A client that sends
# nothing for a minute is disconnected.
my %for_connections = (
    max_payload_size    => 0,
    max_message_size    => 4 << 30,
    max_buffered_amount => 1 << 20,
    max_control_rate    => 10,
    ping_interval       => 25,
    idle_timeout        => 60,
    close_timeout       => 5,
);
my $max_connections = 100;
my %connections;

sub accept_client {
    my ($socket) = @_;
    return if keys %connections >= $max_connections;
    my $handshake = Protocol::WebSocket::Handshake::Server->new;

    my $handle;
    # This covers the whole handshake; the handle's timeout would start again with each byte.
    my $timer = AE::timer 10, 0, sub { undef $handle };
    $handle = AnyEvent::Handle->new(
        fh       => $socket,
        on_error => sub { undef $_ for $handle, $timer },
        on_read  => sub {
            return undef $handle if !$handshake->parse($handle->{rbuf});
            return if !$handshake->is_done;
            $handle->push_write($handshake->to_string);
            serve($handle);
            undef $_ for $handle, $timer;
        },
    );
}

sub serve {
    my ($handle) = @_;
    my $connection = AnyEvent::WebSocket::Connection->new(handle => $handle, %for_connections);
    $connections{ 0 + $connection } = $connection;
    my $upload;

    # An unfinished file is deleted together with $upload.
    $connection->on(finish => sub { undef $upload; delete $connections{ 0 + $_[0] } });
    $connection->on(message_chunk => sub {
        my ($connection, $message, $is_final) = @_;
        return $connection->close(1003, 'uploads are binary') if !$message->is_binary;
        $upload ||= { file => File::Temp->new(DIR => $directory), digest => Digest::SHA->new(256) };
        $upload->{digest}->add($message->body);
        # An exception, such as for a full disk, closes the connection.
        print { $upload->{file} } $message->body or die "cannot write: $!\n";
        $connection->send_json(stored(delete @$upload{qw(file digest)})), undef $upload if $is_final;
    });
}

sub stored {
    my ($file, $digest) = @_;
    close $file or die "cannot write: $!\n";
    $file->unlink_on_destroy(0);
    return { name => basename($file->filename), size => -s $file->filename, sha256 => $digest->hexdigest };
}

my $address;
my $server = tcp_server $option{host}, $option{port}, \&accept_client, sub {
    my (undef, $host, $port) = @_;
    $address = format_hostport $host, $port;
    return;
};

# Leaving by exit deletes unfinished files.
my @signals = map { AE::signal $_ => sub { exit } } qw(INT TERM);

$| = 1;
print "listening on ws://$address/\n";
AnyEvent->condvar->recv;
