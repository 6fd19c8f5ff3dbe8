package ApiFuzz::Values;

# Makes values of many kinds to send, each with the frame that the peer must get.
#
#   my $value = ApiFuzz::Values::of($fuzz, $connection, $kind, $number, $size, $steps);
#   $value->{give}->(sub { $connection->send($_[0]) });    # calls the sub with the value
#   # order: strict (a frame, in the order of sending), loose (a frame, in any order), any (perhaps some frame),
#   #        none (the call must die and send nothing)
#   # opcode, payload: of the frame

use strict;
use warnings;
use AnyEvent::WebSocket::Message;
use ApiFuzz::Step ();
use Encode ();
use List::Util ();
use Math::BigInt ();
use Scalar::Util qw(dualvar);

my %KIND = (
    plain          => sub { my $body = body(@_); strict(1, $body, $body) },
    binary         => sub { my $body = body(@_) . "\x80\xff\0"; strict(1, $body, $body) },
    flagged        => sub { my $body = body(@_) . "\x{20ac}\x{1f600}"; strict(1, $body, Encode::encode('UTF-8', $body)) },
    latin          => sub { my $body = body(@_) . "\xe9"; utf8::upgrade($body); strict(1, $body, Encode::encode('UTF-8', $body)) },
    readonly       => sub { my $body = body(@_); Internals::SvREADONLY($body, 1); strict(1, $body, $body) },
    copy           => sub { my $body = body(@_); push @{ $_[0]{fuzz}{copies} }, my $copy = $body; strict(1, $body, $body) },
    number         => sub { my $number = 1e6 + $_[0]{number}; strict(1, $number, "$number") },
    message        => sub { my $body = body(@_); strict(1, ApiFuzz::Duck->message(1, $body), $body) },
    message_binary => sub { my $body = body(@_); strict(2, ApiFuzz::Duck->message(2, $body), $body) },

    undef      => sub { loose(1, undef, '') },
    dual       => sub { my $body = body(@_); loose(1, dualvar($_[0]{number}, $body), $body) },
    lvalue     => sub { my $body = body(@_); given(loose(1, undef, $body), sub { $_[0]->(substr my $more = "xx$body", 2) }) },
    vec        => sub { my $octet = "\x05"; given(loose(1, undef, '5'), sub { $_[0]->(vec $octet, 0, 8) }) },
    tied       => \&tied_value,
    element    => sub { my $body = body(@_); given(loose(1, undef, $body), sub { my %hash = (x => $body); $_[0]->($hash{x}) }) },
    capture    => sub { my $body = body(@_); given(loose(1, undef, $body), sub { $body =~ /(.*)/s; $_[0]->($1) }) },
    overloaded => sub { my $body = body(@_); loose(1, ApiFuzz::Duck->new(1, ApiFuzz::Text->new(sub { $body })), $body) },
    duck       => sub { my $body = body(@_); loose(2, ApiFuzz::Duck->new(2, $body), $body) },
    odd_opcode => \&odd_opcode,
    said_opcode => \&said_opcode,
    alias      => sub { my $body = body(@_); given(loose(1, undef, $body), sub { for my $x ($body) { $_[0]->($x) } }) },
    shared     => sub { my ($key) = keys %{ { body(@_) => 1 } }; loose(1, $key, $key) },
    received   => \&received,

    tied_acts  => sub { tie my $tied, 'ApiFuzz::Tied', acting(@_); given(any(), sub { $_[0]->($tied) }) },
    duck_acts  => sub { any(ApiFuzz::Duck->new(1, ApiFuzz::Text->new(acting(@_)))) },
    duck_dies  => sub { none(ApiFuzz::Duck->new(1, ApiFuzz::Text->new(sub { die "fuzz die\n" }))) },
    odd        => sub { my @odd = odd_values(); none($odd[$_[0]{number} % @odd]) },
    too_long   => sub { none(ApiFuzz::Duck->new(9, 'x' x 126)) },
    wbuf       => sub { my $handle = $_[0]{connection}->handle; given(any(), sub { $_[0]->($handle->{wbuf}) }) },
    malformed  => sub { my $bad = "\xff\xfe\x80"; Encode::_utf8_on($bad); any($bad) },
    surrogate  => sub { no warnings; any("\x{d800}\x{110000}") },
);

sub of {
    my ($fuzz, $connection, $kind, $number, $size, $steps) = @_;
    my $made = $KIND{$kind}->({ fuzz => $fuzz, connection => $connection, number => $number, size => $size, steps => $steps });
    $made->{give} ||= do { my $value = $made->{value}; sub { $_[0]->($value) } };
    return $made;
}

# Returns a body that is unique by its number. Under perl -T, every other one is tainted.
sub body {
    my ($wish) = @_;
    my $start = "<$wish->{number}>";
    my $body = substr $start . 'abcdefgh' x (1 + $wish->{size} / 8), 0, length($start) + $wish->{size};
    return ${^TAINT} && $wish->{number} % 2 ? $body . $ApiFuzz::Step::DIRT : $body;
}

sub strict { my ($opcode, $value, $payload) = @_; return expecting('strict', @_) }
sub loose  { return expecting('loose', @_) }
sub any    { return { order => 'any', value => $_[0] } }
sub none   { return { order => 'none', value => $_[0] } }

sub expecting {
    my ($order, $opcode, $value, $payload) = @_;
    return { order => $order, opcode => $opcode, value => $value, payload => $payload };
}

sub given {
    my ($made, $give) = @_;
    $made->{give} = $give;
    return $made;
}

# A program may send reserved opcodes. Those above 7 are control frames.
sub odd_opcode {
    my ($wish) = @_;
    my $code = (3 .. 7, 11 .. 15)[$wish->{number} % 10];
    my $body = body({ %$wish, size => List::Util::min(100, $wish->{size}) });
    return loose($code, ApiFuzz::Duck->new($code, $body), $body);
}

# The opcode of an object may be anything that Perl takes for a number; undef and '' mean text.
my @SAID = (
    [1 => undef], [1 => ''], [1 => "1\n"], [1 => ' 1'], [1 => 1.75], [2 => '2'], [2 => 2.0], [2 => '2e0'], [2 => '2.9'],
    [2 => Math::BigInt->new(2)], [15 => '15'], [15 => Math::BigInt->new(15)], [7 => 7.5], [11 => '11'],
);

sub said_opcode {
    my ($wish) = @_;
    my ($code, $opcode) = @{ $SAID[$wish->{number} % @SAID] };
    my $body = body({ %$wish, size => List::Util::min(100, $wish->{size}) });
    my $class = $wish->{number} % 2 ? 'message' : 'new';
    return strict($code, ApiFuzz::Duck->$class($opcode, $body), $body);
}

sub tied_value {
    my ($wish) = @_;
    my $body = body($wish);
    tie my $tied, 'ApiFuzz::Tied', sub { $body };
    return given(loose(1, undef, $body), sub { $_[0]->($tied) });
}

# Returns a received message, which the plan may have altered.
sub received {
    my ($wish) = @_;
    my $kept = $wish->{fuzz}{kept}[-1] or return loose(1, undef, '');
    my $message = $kept->{message};
    return any($message) if $kept->{tampered};
    return loose($message->opcode, $message, $kept->{body});
}

sub acting {
    my ($wish) = @_;
    my ($fuzz, $steps, $body) = ($wish->{fuzz}, $wish->{steps}, body($wish));
    return sub { $fuzz->run(@$steps); $body };
}

sub odd_values {
    return ([], {}, \1, sub { }, qr/x/, \*STDOUT, *STDIN{IO}, \\1, \v1.2, bless([], 'ApiFuzz::Nothing'),
        (map { ApiFuzz::Duck->new($_, 'x') } 16, 255, -1, 'x', 1e9, 'nan', -0.5, '0x2', '1x', []), ApiFuzz::Text->new(sub { 'x' }));
}

package ApiFuzz::Tied {
    sub TIESCALAR { bless { get => $_[1] }, $_[0] }
    sub FETCH     { $_[0]{get}->() }
    sub STORE     { }
}

package ApiFuzz::Text {
    use overload '""' => sub { $_[0]{get}->() }, fallback => 1;
    sub new { bless { get => $_[1] }, $_[0] }
}

package ApiFuzz::Duck {
    sub new    { my ($class, $opcode, $body) = @_; bless { opcode => $opcode, body => $body }, $class }
    sub message { AnyEvent::WebSocket::Message->new(opcode => $_[1], body => $_[2]) }
    sub opcode { $_[0]{opcode} }
    sub body   { $_[0]{body} }
}

# Two subclasses as programs write them.
package ApiFuzz::Plain {
    our @ISA = 'AnyEvent::WebSocket::Connection';
}

package ApiFuzz::Loud {
    our @ISA = 'AnyEvent::WebSocket::Connection';
    sub send  { my $self = shift; $self->SUPER::send(@_) }
    sub close { my $self = shift; $self->SUPER::close(@_) }
}

1;
