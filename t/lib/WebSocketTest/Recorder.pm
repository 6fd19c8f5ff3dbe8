package WebSocketTest::Recorder;

# Notes what a connection reports, in order, without keeping the connection alive.
#
#   my $seen = WebSocketTest::Recorder->new($connection);
#   $seen->wait_messages(2); $seen->wait_finish; $seen->wait_parse_error;
#   is_deeply $seen->bodies, ['a', 'b'];
#   $seen->order         # e.g. ['message', 'parse_error', 'finish']
#   $seen->arguments('finish')  # the argument lists of the finish callbacks, connections as their addresses

use strict;
use warnings;
use Scalar::Util qw(refaddr weaken);

sub new {
    my ($class, $connection) = @_;
    my $self = bless { order => [], arguments => {}, messages => [] }, $class;
    $connection->on(each_message => sub { push @{ $self->{messages} }, $_[1]; $self->_note(message => @_) });
    $connection->on($_ => $self->_noter($_)) for qw(parse_error finish);
    return $self;
}

sub _noter {
    my ($self, $event) = @_;
    return sub { $self->_note($event => @_) };
}

sub _note {
    my ($self, $event, $connection, @rest) = @_;
    push @{ $self->{order} }, $event;
    push @{ $self->{arguments}{$event} }, [refaddr $connection, @rest] unless $event eq 'message';
    WebSocketTest::poke();
}

sub order     { $_[0]{order} }
sub messages  { @{ $_[0]{messages} } }
sub bodies    { [map { $_->body } @{ $_[0]{messages} }] }
sub arguments { @{ $_[0]{arguments}{ $_[1] } || [] } }
sub finished  { scalar $_[0]->arguments('finish') }
sub errors    { [map { $_->[1] } $_[0]->arguments('parse_error')] }

sub wait_messages {
    my ($self, $count, $seconds) = @_;
    WebSocketTest::wait_until("$count message(s)", sub { @{ $self->{messages} } >= $count }, $seconds);
    return $self;
}

sub wait_finish      { $_[0]->_wait(finish => $_[1]) }
sub wait_parse_error { $_[0]->_wait(parse_error => $_[1]) }

sub _wait {
    my ($self, $event, $seconds) = @_;
    WebSocketTest::wait_until($event, sub { scalar $self->arguments($event) }, $seconds);
    return $self;
}

1;
