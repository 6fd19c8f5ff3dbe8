#!/usr/bin/env perl
# A JSON-RPC call over a WebSocket, for a shell or a cron job: it calls one method, prints the result, and fails if there is
# none. It needs no event loop.
#
#   perl examples/json-rpc.pl [OPTIONS] URL METHOD [ARGUMENT...]
#   perl examples/json-rpc.pl --timeout 5 wss://node.example.com/rpc getblock 42 '{"verbose": true}'
#
#   --timeout SECONDS     for connecting, and again for the answer (10)
#   --token TOKEN         is sent as "Authorization: Bearer TOKEN"
#   --ca-file FILE        the authorities to trust, instead of the system's
#
# An argument that is JSON is passed as what it says, any other as a string. Notifications from the server are skipped. The exit
# status is 0 if there is a result, 1 if the server answers with an error, and 2 if there is no answer.
use strict;
use warnings;

use AnyEvent::WebSocket::Blocking;
use Getopt::Long qw(GetOptions);
use JSON::PP ();
use Time::HiRes qw(time);

my %option = (timeout => 10);
GetOptions(\%option, 'timeout=f', 'token=s', 'ca-file=s') && @ARGV > 1
    or die "usage: $0 [OPTIONS] URL METHOD [ARGUMENT...]\n";
my ($url, $method, @arguments) = @ARGV;
my $json = JSON::PP->new->utf8->allow_nonref->canonical;

sub give_up {
    my ($why) = @_;
    print STDERR $why =~ s/ at \S+ line \d+\.?\n?\z//r, "\n";
    exit 2;
}

sub value_of {
    my ($argument) = @_;
    my $value = eval { [$json->decode($argument)] };
    return $value ? $value->[0] : $argument;
}

# Returns the answer to the call with this id. Whatever else the server sends must not prolong the wait.
sub answer_to {
    my ($socket, $id) = @_;
    my $deadline = time + $option{timeout};
    while ((my $left = $deadline - time) > 0) {
        $socket->can_receive($left) or last;
        my $message = $socket->receive or give_up('the server closed the connection');
        my $answer = eval { $message->decoded_json };
        return $answer if ref $answer eq 'HASH' && defined $answer->{id} && $answer->{id} eq $id;
    }
    give_up("no answer within $option{timeout} seconds");
}

sub call {
    my $socket = AnyEvent::WebSocket::Blocking->connect(
        $url,
        timeout => $option{timeout},
        defined $option{token} ? (headers => [Authorization => "Bearer $option{token}"]) : (),
        defined $option{'ca-file'} ? (SSL_ca_file => $option{'ca-file'}) : (),
    );
    $socket->send_json({ jsonrpc => '2.0', id => 1, method => $method, params => [map { value_of($_) } @arguments] });
    my $answer = answer_to($socket, 1);
    $socket->close;
    return $answer;
}

my $answer = eval { call() } or give_up($@);
if (defined $answer->{error}) {
    print STDERR $json->encode($answer->{error}), "\n";
    exit 1;
}
print $json->encode($answer->{result}), "\n";
