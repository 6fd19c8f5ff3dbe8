# Tests that the program in README.md does what README.md says, on the original too.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Temp;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use ExampleProgram;
use ExampleTest;

plan skip_all => missing() if missing();

my $readme = abs_path("$FindBin::Bin/../../README.md");
open my $file, '<', $readme or die "$readme: $!";
my $text = do { local $/; <$file> };

my ($code, @others) = $text =~ /^```perl\n(.*?)^```$/msg;
is scalar @others, 0, 'README.md has one program';
cmp_ok $code =~ tr/\n//, '<=', 15, 'of a few lines';
my ($url) = $code =~ m{'(ws://[\w.]+:8080/)'} or BAIL_OUT('the program connects to nothing that this test knows');
like $text, qr{`perl examples/echo-server\.pl --port 8080`}, 'README.md says how to start the server for it';

my $server = ExampleProgram->start('echo-server.pl');
my ($port) = $server->wait_for(qr/^listening on 127\.0\.0\.1:(\d+) /m);
my $script = File::Temp->new;
print {$script} $code =~ s/\Q$url\E/ws:\/\/127.0.0.1:$port\//r;
close $script or die $!;

for my $uses_original (0, 1) {
    local $ENV{ANYEVENT_WEBSOCKET_PP} = $uses_original;
    my $program = ExampleProgram->run($^X, (map {"-I$_"} @INC), "$script");
    my ($sent) = $code =~ /->send\('([^']+)'\)/;
    $program->wait_for(qr/^\Q$sent\E$/m);
    is $program->wait, 0, 'it ends by itself' . ($uses_original ? ', also on the original' : '');
    is $program->output, "$sent\n", 'and prints only the answer';
}

done_testing;
