package Measurement;

# Measures one cell on one server.

use strict;
use warnings;

use List::Util qw(min);
use Servers;

# Takes the Processes that start everything.
sub new {
    my ($class, $processes) = @_;
    my @certificate = $processes->certificate;
    print "cells with TLS fail: openssl makes no certificate\n" if !@certificate;
    my $loadgen = $processes->crate('loadgen', 'loadgen');
    return bless { processes => $processes, loadgen => $loadgen, certificate => \@certificate }, $class;
}

# Returns the figures, by the suffix of their names: CPU time of a message in microseconds, all and user time, or the memory
# of a connection in KiB.
sub figures {
    my ($self, $server, $cell, $seconds) = @_;
    $seconds *= $cell->{longer} if $server->{is_close};
    die "no certificate\n" if $cell->{tls} && !@{ $self->{certificate} };
    my $line =
          $cell->{load} ? $self->_load($server, $cell, $seconds)
        : $cell->{feed} ? $self->_feed($server, $cell, $seconds)
        : $self->_client_role($server, $cell, $seconds);
    my ($all) = $line =~ /^(?:cpu_us|kib)=([\d.]+)/ or die "not understood: $line\n";
    my ($user) = $line =~ /\buser_us=([\d.]+)/;
    return { '' => $all, $cell->{load} && defined $user ? ('/user' => $user) : () };
}

# Has the load generator talk to a server.
sub _load {
    my ($self, $server, $cell, $seconds) = @_;
    my %env = $cell->{loop} ? (PERL_ANYEVENT_MODEL => $cell->{loop}) : ();
    my @certificate = $cell->{tls} ? @{ $self->{certificate} } : ();
    my ($process, $port) = Servers::start($self->{processes}, $server, \%env, $cell->{server}, @certificate);
    my @numbers = ($port, $process->{pid}, $cell->{tls} ? 1 : 0, @$cell{qw(size in_flight connections)}, $seconds);
    return $self->{processes}->start(1, {}, $self->{loadgen}, $cell->{load}, @numbers)->last_line($seconds);
}

# Has the load generator wait for a client.
sub _feed {
    my ($self, $server, $cell, $seconds) = @_;
    my @certificate = $cell->{tls} ? @{ $self->{certificate} } : ();
    my $feed = $self->{processes}->start(1, {}, $self->{loadgen}, 'feed', $cell->{size}, $seconds, @certificate);
    chomp(my $port = $feed->first_line);
    my @command = (@{ $server->{receiver} }, $cell->{feed}, $port, $cell->{size});
    my $receiver = $self->{processes}->start(0, $server->{env}, @command);
    return $feed->last_line($seconds);
}

# Runs a program that measures itself.
sub _client_role {
    my ($self, $server, $cell, $seconds) = @_;
    # The count is chosen so that the original takes about a second.
    my ($kind, $size) = @$cell{qw(kind size)};
    my %count_of = (new => 10_000, dial => 2_800);
    my $count = $count_of{$kind} // min(150_000, 600e6 / $size);
    my @arguments = ($kind, $count_of{$kind} ? () : $size, int($count * $seconds));
    my $script = "$self->{processes}{root}/bench/client.pl";
    return $self->{processes}->start(0, $server->{env}, @{ $server->{perl} }, $script, @arguments)->last_line($seconds);
}

1;
