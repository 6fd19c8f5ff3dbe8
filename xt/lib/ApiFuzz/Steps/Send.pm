package ApiFuzz::Steps::Send;

# Sending whole messages, and asking about what was sent.

use strict;
use warnings;
use AnyEvent::WebSocket::Connection;
use AnyEvent::WebSocket::Message;
use ApiFuzz::Step;
use ApiFuzz::Values;
use ApiFuzz::Wire ();
use Carp ();
use List::Util qw(sum0);

$STEP{send} = sub {
    my ($fuzz, $link, $kind, $number, $size, $steps) = @_;
    my $connection = $link->{connection} or return;
    my $value = ApiFuzz::Values::of($fuzz, $connection, $kind, $number, $size, $steps);
    local $SIG{__WARN__} = sub { } if $kind =~ /malformed|surrogate/;
    # Carp matches the arguments of each caller, and a perl with assertions aborts when it matches malformed UTF-8.
    local $Carp::MaxArgNums = -1 if $kind eq 'malformed';
    my $returned;
    send_value($link, "send of $kind", $value, sub { $value->{give}->(sub { $returned = $connection->send($_[0]) }) });
    $link->problem("send of $kind returns something else") unless defined $returned && $returned == $connection;
};

my %FORMAT = (
    text   => sub { ("\xe9\x{20ac}$_[0]", 1, "\xc3\xa9\xe2\x82\xac$_[0]") },
    binary => sub { ("\xe9\xff$_[0]", 2, "\xe9\xff$_[0]") },
    json   => sub { ([$_[0], 1, undef], 1, "[\"$_[0]\",1,null]") },
);

$STEP{send_as} = sub {
    my ($fuzz, $link, $format, $number, $size) = @_;
    my $connection = $link->{connection} or return;
    my ($data, $opcode, $payload) = $FORMAT{$format}->(ApiFuzz::Values::body({ number => $number, size => $size }));
    my $method = "send_$format";
    my %value = (order => 'strict', opcode => $opcode, payload => $payload);
    send_value($link, $method, \%value, sub { $connection->$method($data) });
};

# Calls $code, which sends a value, and checks whether it dies exactly if it must.
sub send_value {
    my ($link, $what, $value, $code) = @_;
    my ($order, $opcode, $payload) = @$value{qw(order opcode payload)};
    $link->{credit}++ if $order eq 'any';
    my $is_known = $order eq 'strict' || $order eq 'loose';
    my $is_wrong = $order eq 'none' || $is_known && $link->is_between_parts($opcode);
    my $send = !$is_known ? $code
        : sub { $link->sending($order eq 'strict' ? $link->list_for($opcode) : 'loose', [$opcode, $payload], $code) };
    my $is_sent = eval { $send->(); 1 };
    judge_outcome($link, $what, $is_sent, $is_wrong, $@, $order eq 'any');
}

sub judge_outcome {
    my ($link, $what, $is_sent, $is_wrong, $error, $may_be) = @_;
    if ($link->is_judged && !$may_be) {
        $link->problem("$what does not die") if $is_sent && $is_wrong;
        $link->problem("$what dies: $error") if !$is_sent && !$is_wrong;
    }
    die $error unless $is_sent;
}

$STEP{ask} = sub {
    my ($fuzz, $link, $number, $size) = @_;
    my $connection = $link->{connection} or return;
    my $payload = ApiFuzz::Values::body({ number => $number, size => $size });
    push @{ $link->{asked} }, $payload;
    my $returned = eval { $connection->ping($payload) } or do {
        my $error = $@;
        $link->problem("ping dies: $error") if $link->is_judged;
        pop @{ $link->{asked} } if ApiFuzz::Wire::is_refusal($error);
        die $error;
    };
    $link->problem('ping returns something else') unless $returned == $connection;
};

# --- one message to many

my %SHAPE = (
    plain         => sub { [@_] },
    tied_list     => sub { require Tie::Array; tie my @list, 'Tie::StdArray'; @list = @_; \@list },
    tied_elements => sub { my @list = @_; tie $list[$_], 'ApiFuzz::Holding', $_[$_] for 0 .. $#list; \@list },
    holes         => sub { my @list; $list[2 * $_] = $_[$_] for 0 .. $#_; \@list },
    crowd         => sub { [@_, ApiFuzz::Crowd->new] },
);

$STEP{broadcast} = sub {
    my ($fuzz, $link, $kind, $number, $size, $how) = @_;
    my $connection = $link->{connection} or return;
    my $value = ApiFuzz::Values::of($fuzz, $connection, $kind, $number, $size);
    my @links = grep { $_->{connection} } map { $fuzz->{links}[$_] || () } @{ $how->{list} };
    # on_drain, called between two recipients, may send to the second first.
    splice @links, 1 if grep { $_->{has_on_drain} } @{ $fuzz->{links} };
    my $except = defined $how->{except} && $fuzz->{links}[$how->{except}];
    my @recipients = grep { !$except || $_ != $except } @links;
    my $list = $SHAPE{ $how->{shape} }->(map { $_->{connection} } @links);
    my %options = (
        $except && $except->{connection} ? (except => $except->{connection}) : (),
        exists $how->{max} ? (max_buffered_amount => number_of($how->{max})) : (),
    );
    my $on = $how->{call} eq 'class' ? 'AnyEvent::WebSocket::Connection' : $connection;
    my $is_bounded = length($how->{max} // '');
    my @wrong = expect_for_all($value, $is_bounded, @recipients);
    my $count;
    my $is_sent = eval { $value->{give}->(sub { $count = $on->broadcast($list, $_[0], %options) }); 1 };
    judge_outcome($link, "broadcast of $kind", $is_sent, @wrong > 0, $@, $is_bounded || !all_judged(@links));
    my $wanted = @recipients + ($how->{shape} eq 'crowd');
    $link->problem("broadcast to $count, not $wanted") if $count != $wanted && !$is_bounded && all_judged(@links);
};

sub all_judged { return !grep { !$_->is_judged } @_ }

# Returns the recipients in the middle of a message in fragments: they get nothing, and broadcast must croak.
sub expect_for_all {
    my ($value, $is_bounded, @recipients) = @_;
    my @wrong;
    for my $link (@recipients) {
        if    ($link->is_between_parts($value->{opcode})) { push @wrong, $link }
        elsif ($is_bounded)                               { $link->{credit}++ }
        else { push @{ $link->{ $link->list_for($value->{opcode}) } }, [@$value{qw(opcode payload)}] }
    }
    return @wrong;
}

package ApiFuzz::Holding {
    sub TIESCALAR { bless { value => $_[1] }, $_[0] }
    sub FETCH     { $_[0]{value} }
    sub STORE     { $_[0]{value} = $_[1] }
}

# An object of the program with a send method of its own.
package ApiFuzz::Crowd {
    sub new  { bless [], $_[0] }
    sub send { push @{ $_[0] }, $_[1]; $_[0] }
}

package ApiFuzz::Steps::Send;

# --- amounts and counts

$STEP{buffered_amount} = sub {
    my ($fuzz, $link) = @_;
    my $connection = $link->{connection} or return;
    my $amount = $connection->buffered_amount;
    my $handle = $connection->handle;
    my $waiting = sum0(map { length($handle->{$_} // '') } qw(wbuf _tls_wbuf));
    $link->problem("buffered_amount is $amount, not $waiting") if $amount != $waiting;
    $link->{owes_drain} = 1 if $amount && $link->{spec}{listens};
};

$STEP{stats} = sub {
    my ($fuzz, $link) = @_;
    my $stats = $link->{connection} && $link->{connection}->stats or return;
    return if !$link->is_judged || $link->{is_wrapped};
    my ($received, $fed) = ($stats->{messages_received}, $link->{fed}{messages} // 0);
    $link->problem("stats: $received messages received, not $link->{received} to $fed")
        if $received < $link->{received} || $received > $fed;
    for my $name (qw(seconds_since_read seconds_since_write)) {
        $link->problem("stats: $name is $stats->{$name}") if defined $stats->{$name} && $stats->{$name} < 0;
    }
};

# --- the end

$STEP{close} = sub {
    my ($fuzz, $link, $arguments) = @_;
    my $connection = $link->{connection} or return;
    my ($code, @reason) = @$arguments;
    $link->{sends_any_close} = 1 if ($code || 1005) eq '1005' && defined $reason[0];
    my $returned = $connection->close(@$arguments ? number_of($code) : (), @reason);
    $link->problem('close returns something else') unless $returned == $connection;
};

# The program sends a Close frame as a message.
$STEP{send_close} = sub {
    my ($fuzz, $link, $body) = @_;
    my $connection = $link->{connection} or return;
    $link->{sends_any_close} = 1;
    $connection->send(AnyEvent::WebSocket::Message->new(opcode => 8, body => $body));
};

1;
