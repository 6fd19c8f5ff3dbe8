# Tests examples/upload-server.pl and examples/upload-client.pl.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use AnyEvent::WebSocket::Message;
use Digest::SHA qw(sha256_hex);
use ExampleProgram;
use ExampleTest;
use File::Temp;

plan skip_all => missing() if missing();
plan skip_all => 'by design: the original does not stream' if is_original();

my $directory = File::Temp->newdir;
my $server = ExampleProgram->start('upload-server.pl', "$directory");
my ($url) = $server->wait_for(qr{^listening on (ws://\S+)}m);

sub file_with {
    my ($octets) = @_;
    my $file = File::Temp->new;
    binmode $file;
    print $file $octets;
    close $file;
    return $file;
}

sub content {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!";
    local $/;
    return scalar readline $file;
}

sub uploads { my @files = glob "$directory/*"; return @files }

subtest 'a file of several chunks, and an empty one' => sub {
    for my $octets (join('', map { pack 'N', $_ } 1 .. 250_000), '') {
        my $file = file_with($octets);
        my $client = ExampleProgram->start('upload-client.pl', $url, $file->filename);
        my ($name, $digest) = $client->wait_for(qr/^stored as (\S+), ${\ length $octets} bytes, SHA-256 (\w+)$/m);
        is $digest, sha256_hex($octets), 'arrives';
        ok content("$directory/$name") eq $octets, 'and is stored';
        is $client->wait, 0, 'the client ends well';
    }
};

subtest 'two at a time on two connections, in fragments' => sub {
    my @clients = map { client_at($url) } 1 .. 2;
    my @seen = map { recorder($_) } @clients;
    for my $part (1 .. 3) { $_->send_fragment("part $part ", binary => 1) for @clients }
    $clients[$_]->send_fragment("of $_", binary => 1, final => 1) for 0 .. 1;
    $_->wait_messages(1) for @seen;
    is_deeply [map { content("$directory/" . ($_->messages)[0]->decoded_json->{name}) } @seen],
        [map {"part 1 part 2 part 3 of $_"} 0 .. 1], 'do not mix';
};

subtest 'what is cut off is not kept' => sub {
    my $before = uploads();
    my $client = client_at($url);
    $client->send_fragment('the first half', binary => 1);
    wait_until('the file', sub { uploads() == $before + 1 || do { after(0.01); poke(); 0 } });
    $client->handle->destroy;
    wait_until('its end', sub { uploads() == $before || do { after(0.01); poke(); 0 } });
    pass 'its file goes away';
};

subtest 'text' => sub {
    my $client = client_at($url);
    my $seen = recorder($client);
    $client->send('text');
    $seen->wait_finish;
    is $client->close_code, 1003, 'is refused';
};

subtest 'a file that is not there, a server that is not' => sub {
    for my $arguments ([$url, "$directory/none"], ['ws://127.0.0.1:' . free_port() . '/', __FILE__]) {
        isnt(ExampleProgram->start('upload-client.pl', @$arguments)->wait, 0, 'an error');
    }
};

subtest 'the end of the server' => sub {
    my $before = uploads();
    my $client = client_at($url);
    $client->send_fragment('the first half', binary => 1);
    wait_until('the file', sub { uploads() == $before + 1 || do { after(0.01); poke(); 0 } });
    is $server->stop, 0, 'comes with a signal';
    is uploads() + 0, $before, 'and leaves nothing that is cut off';
};

done_testing;
