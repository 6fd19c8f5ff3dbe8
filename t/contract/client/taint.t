# Tests that a client under perl -T connects to a URL from outside, as far as the original does.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Connects with the arguments that the expression returns. It sees the $server, and $dirt, a tainted empty string.
sub connects {
    my ($arguments) = @_;
    local $ENV{DIRT} = 'x';
    my $program = <<'PROGRAM' =~ s/ARGUMENTS/$arguments/r;
        use strict; use warnings;
        use WebSocketTest;
        use WebSocketTest::RawServer;
        delete @ENV{qw( PATH ENV BASH_ENV CDPATH IFS )};
        my ($dirt, $server) = (substr($ENV{DIRT}, 0, 0), raw_server());
        my $cv = client()->connect(ARGUMENTS);
        my $peer = $server->next_peer;
        $peer->write(switching(next_request($peer)));
        print ref connection_of($cv);
PROGRAM
    open my $out, '-|', $^X, '-T', (map { "-I$_" } @INC), '-e', $program or die "cannot run $^X: $!";
    return <$out>;
}

my %url = (
    'a URL of this machine' => '$server->uri . $dirt',
    'a URL that is connected to by AnyEvent::Socket' => '$server->uri("/", "127.1") . $dirt',
    'a URL that has to be escaped' => '$server->uri("/a b") . $dirt',
);
is connects($url{$_}), 'AnyEvent::WebSocket::Connection', $_ for sort keys %url;

done_testing;
