# Tests that connections work on each AnyEvent backend that is installed: EV, the pure-Perl loop, Event, Glib, POE, IO::Async.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

# Runs a connection from start to end on each event loop, in a separate process.
my $program = <<'PROGRAM';
    use WebSocketTest;
    my ($left, $right) = connection_pair({ max_payload_size => 0 }, { masked => 1, max_payload_size => 0 });
    my @seen = map { recorder($_) } $left, $right;
    $right->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
    $left->send($_) for 1 .. 100;
    $left->send('x' x 300_000);
    $seen[1]->wait_messages(101);
    $seen[0]->wait_messages(100);
    $left->close(4000, 'done');
    $_->wait_finish for @seen;
    my ($connection, $peer) = connection_and_peer(tcp => 1);
    my $cut = recorder($connection);
    $peer->reset;
    $cut->wait_finish;
    print join '|', AnyEvent::detect(), scalar($seen[1]->messages), $seen[0]->bodies->[99], $right->close_code,
        $right->close_reason, $connection->close_error ? 'error' : '';
PROGRAM

my %needs = (EV => 'EV', Perl => '', Event => 'Event', Glib => 'Glib', POE => 'POE', IOAsync => 'IO::Async::Loop');

for my $model (sort keys %needs) {
    SKIP: {
        my $module = $needs{$model};
        skip "$module is not installed", 1 if $module && !eval "require $module";
        my ($printed) = run_perl({ PERL_ANYEVENT_MODEL => $model }, $program);
        is $printed, "AnyEvent::Impl::$model|101|re: 100|4000|done|error", $model;
    }
}

done_testing;
