# Tests that on the original, options that it does not know are not ignored in silence.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

plan skip_all => 'by design: it looks for the original itself' if is_original();

sub output_with {
    my ($options) = @_;
    my ($out) = run_perl({ ANYEVENT_WEBSOCKET_PP => 1, WEBSOCKET_TEST_BACKEND => 'pp' }, <<"PROGRAM");
        open STDERR, '>&', STDOUT;
        use WebSocketTest;
        my (\$connection, \$peer) = connection_and_peer($options);
        \$peer->write(text('hello'));
        print 'got ', (next_event('hello', sub { \$connection->on(next_message => shift) }))[1]->body, "\\n";
PROGRAM
    return $out;
}

plan skip_all => 'the original is not installed' if output_with('') !~ /^got hello$/;

is output_with('max_payload_size => 5'), "got hello\n", 'what it knows is no matter';
my $out = output_with('ping_interval => 5, strict => 1, idle_timeout => undef');
like $out, qr{^ignored, since ANYEVENT_WEBSOCKET_PP is set: ping_interval strict at .*WebSocketTest\.pm line}, 'a warning says which';
like $out, qr/^got hello$/m, 'and the program goes on';

done_testing;
