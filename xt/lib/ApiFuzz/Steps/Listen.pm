package ApiFuzz::Steps::Listen;

# Steps that register callbacks, and steps by which callbacks use the messages they get.

use strict;
use warnings;
use ApiFuzz::Step;
use Scalar::Util qw(weaken);

$STEP{on} = sub {
    my ($fuzz, $link, $event, $calls) = @_;
    my $connection = $link->{connection} or return;
    push @{ $link->{cancels} }, $connection->on($event => $fuzz->callback($link, $calls, $event));
};

$STEP{cancel} = sub {
    my ($fuzz, $link, $which) = @_;
    my $cancel = $link->{cancels}[$which];
    $cancel->() if ref $cancel eq 'CODE';
};

$STEP{forget_callbacks} = sub { my ($fuzz, $link) = @_; $_->() for grep { ref eq 'CODE' } splice @{ $link->{cancels} } };

$STEP{pause} = sub {
    my ($fuzz, $link) = @_;
    my $connection = $link->{connection} or return;
    $link->problem('pause returns something else') unless $link->pause == $connection;
};

$STEP{go_on} = sub {
    my ($fuzz, $link) = @_;
    my $connection = $link->{connection} or return;
    $link->problem('resume returns something else') unless $link->go_on == $connection;
};

# --- messages

my %KEEP = (
    message    => sub { { message => $_[0], body => $_[0]->body } },
    body       => sub { { alias => \$_[0]{body}, body => $_[0]->body } },
    reference  => sub { { message => $_[0], reference => \$_[0], body => $_[0]->body } },
    weak       => sub { my $kept = { weak => $_[0] }; weaken $kept->{weak}; $kept },
    connection => sub { { connection => $_[1] } },
);

$STEP{keep} = sub {
    my ($fuzz, $link, $what) = @_;
    my $message = message_of($fuzz) or return;
    my $kept = $KEEP{$what}->($message, $link->{connection});
    # A step before this one has emptied it.
    $kept->{tampered} = 1 if !defined $message->{body};
    push @{ $fuzz->{ $kept->{message} ? 'kept' : 'copies' } }, $kept;
};

my %TAMPER = (
    replace  => sub { $_[1][1] = 'replaced' },
    body     => sub { $_[0]{body} = 'other' x 1000 },
    opcode   => sub { $_[0]{opcode} = 7 },
    bless    => sub { bless $_[0], 'ApiFuzz::Message' },
    empty    => sub { %{ $_[0] } = () },
    append   => sub { $_[0]{body} .= "\x{20ac}" },
    readonly => sub { Internals::SvREADONLY($_[0]{body}, 1) },
);

$STEP{tamper} = sub {
    my ($fuzz, $link, $how) = @_;
    my $message = message_of($fuzz) or return;
    $_->{tampered} = 1 for grep { $_->{message} == $message } @{ $fuzz->{kept} };
    # next_message callbacks precede our each_message callback, which compares.
    $fuzz->{link}{tampered}{ $fuzz->{index} } = 1 if $fuzz->{event} eq 'next_message';
    $TAMPER{$how}->($message, $fuzz->{arguments});
};

package ApiFuzz::Message { our @ISA = 'AnyEvent::WebSocket::Message'; sub DESTROY { eval { 1 } } }

# Condvars of a connection. Our own callbacks get the messages, so `receive` mostly refuses.
$STEP{awaiting} = sub {
    my ($fuzz, $link, $method, $how, $calls) = @_;
    my $connection = $link->{connection} or return;
    my $condvar = $connection->$method;
    $condvar->cb($fuzz->callback($link, $calls, 'awaiting')) if $how eq 'callback';
    $condvar->cancel if $how eq 'cancel';
    push @{ $fuzz->{copies} }, $condvar if $how eq 'keep';
};

1;
