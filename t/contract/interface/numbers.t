# Tests that limits, close codes and opcodes may be anything that perl takes for a number, and that none is silently taken for
# something else, least of all for "no limit".
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Math::BigFloat;
use Math::BigInt;
use Test::More;
use WebSocketTest;

{
    package Stringy;
    use overload '""' => sub { $_[0][0] }, fallback => 1;
}
{
    package Numeric;
    use overload '0+' => sub { $_[0][0] }, fallback => 1;
}
{
    package Typed;    # a duck-typed message
    sub new { my ($class, @self) = @_; bless [@self], $class }
    sub opcode { $_[0][0] }
    sub body   { $_[0][1] }
}

# Returns the ways to write a number, each as [name, value].
sub ways_to_say {
    my ($number) = @_;
    return (
        ['a number' => 0 + $number], ['a string' => "$number"], ['a float' => $number * 1.0], ['with a fraction' => $number + 0.25],
        ['an exponent' => sprintf '%e', $number], ["with a line's end" => "$number\n"], ['with a blank before' => " $number"],
        ['Math::BigInt' => Math::BigInt->new($number)], ['Math::BigFloat' => Math::BigFloat->new("$number.5")],
        ['an object that is a string' => bless [$number], 'Stringy'],
        ['an object that is a number' => bless [$number], 'Numeric'],
    );
}

my @unbounded = (
    ['0' => 0], ['a string of 0' => '0'], ['infinity' => 9**9**9], ['inf' => 'inf'], ['1e15' => 1e15], ['2**53' => 2**53],
    ['1e30' => 1e30], ['2**63' => 2**63], ['infinity of Math::BigInt' => Math::BigInt->binf],
    ['10**30 of Math::BigInt' => Math::BigInt->new(10)**30],
);

# Returns the outcome of receiving these bytes: 'taken' or the text for parse_error.
sub outcome {
    my ($new, @bytes) = @_;
    my ($connection, $peer) = connection_and_peer(%$new);
    my $seen = recorder($connection);
    $peer->write(@bytes, text('last'));
    wait_until('an outcome', sub { $seen->errors->[0] || ($seen->bodies->[-1] // '') eq 'last' });
    return $seen->errors->[0] || 'taken';
}

sub payload   { binary('x' x $_[0]) }
sub fragments { text('a', fin => 0) . continuation('b', fin => 0) x ($_[0] - 1) . continuation('c') }

subtest 'max_payload_size' => sub {
    for my $way (ways_to_say(1000)) {
        my ($name, $value) = @$way;
        is outcome({ max_payload_size => $value }, payload(1000)), 'taken', "$name: at the limit";
        like outcome({ max_payload_size => $value }, payload(1001)), qr/^Payload is too big/, "$name: over it";
    }
    is outcome({ max_payload_size => $_->[1] }, payload(200_000)), 'taken', "$_->[0]: no limit" for @unbounded;
    like outcome({ max_payload_size => undef }, payload(65_537)), qr/^Payload is too big/, 'undef: 65536';
};

differs 'max_payload_size: an empty string is none' => 'takes it for no limit' => sub {
    is outcome({ max_payload_size => '' }, payload(65_536)), 'taken', '65536';
    like outcome({ max_payload_size => '' }, payload(65_537)), qr/^Payload is too big/, 'and no more';
};

subtest '$MAX_PAYLOAD_SIZE' => sub {
    no warnings 'once';
    for my $way (ways_to_say(1000)) {
        my ($name, $value) = @$way;
        local $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE = $value;
        like outcome({}, payload(1001)), qr/^Payload is too big/, $name;
    }
    for my $case (@unbounded) {
        local $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE = $case->[1];
        is outcome({}, payload(200_000)), 'taken', "$case->[0]: no limit";
    }
};

after_044 'max_fragments' => sub {
    for my $way (ways_to_say(3)) {
        my ($name, $value) = @$way;
        is outcome({ max_fragments => $value }, fragments(2)), 'taken', "$name: below the limit";
        like outcome({ max_fragments => $value }, fragments(3)), qr/^Too many fragments/, "$name: at it";
    }
    for my $case (grep { $_->[0] !~ /0$|^0|of 0/ || $_->[1] } @unbounded) {
        is outcome({ max_fragments => $case->[1] }, fragments(1000)), 'taken', "$case->[0]: no limit";
    }
};

differs 'max_fragments: an empty string is none' => 'takes it for 0' => sub {
    is outcome({ max_fragments => '' }, fragments(127)), 'taken', '127 are taken';
    like outcome({ max_fragments => '' }, fragments(128)), qr/^Too many fragments/, 'and no more';
};

subtest 'opcodes' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $opcode_of = sub { $connection->send($_[0]); $peer->next_frame->{opcode} };
    for my $way (ways_to_say(2)) {
        my ($name, $value) = @$way;
        is $opcode_of->(AnyEvent::WebSocket::Message->new(opcode => $value, body => 'x')), 2, $name;
        is $opcode_of->(Typed->new($value, 'x')), 2, "$name, of another class";
    }
    is $opcode_of->(AnyEvent::WebSocket::Message->new(opcode => undef, body => 'x')), 1, 'undef: text';
    is $opcode_of->(bless { body => 'x' }, 'AnyEvent::WebSocket::Message'), 1, 'none: text';
    is $opcode_of->(Typed->new(undef, 'x')), 1, 'undef, of another class: text';
};

differs 'opcodes: an empty string is none' => 'takes it for 0, a continuation' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->send(AnyEvent::WebSocket::Message->new(opcode => '', body => 'x'));
    is $peer->next_frame->{opcode}, 1, 'text';
};

subtest 'close codes' => sub {
    for my $way (ways_to_say(4321)) {
        my ($name, $value) = @$way;
        my ($connection, $peer) = connection_and_peer();
        $connection->close($value);
        is((close_of($peer->next_frame))[0], 4321, $name);
    }
};

differs 'what is no number' => 'takes it for one' => sub {
    for my $name (qw(max_payload_size max_fragments max_message_size max_control_rate max_buffered_amount)) {
        for my $wrong (-1, -0.5, 'much', 'nan', '12x', '0x10', [], {}, sub { }, \1, bless({}, 'Typed')) {
            my $handle = AnyEvent::Handle->new(fh => (socket_pair())[0], on_error => sub { });
            my $text = qr/^$name must be a whole number/;
            croaks_here("$name => '$wrong'", sub { AnyEvent::WebSocket::Connection->new(handle => $handle, $name => $wrong) }, $text);
        }
    }
    no warnings 'once';
    for my $variable ('MAX_PAYLOAD_SIZE', 'MAX_FRAGMENTS_AMOUNT') {
        no strict 'refs';
        local ${"Protocol::WebSocket::Frame::$variable"} = 'much';
        my $handle = AnyEvent::Handle->new(fh => (socket_pair())[0], on_error => sub { });
        my $text = qr/^\$Protocol::WebSocket::Frame::$variable must be a whole number/;
        croaks_here("$variable = 'much'", sub { AnyEvent::WebSocket::Connection->new(handle => $handle) }, $text);
    }
};

differs 'the same for limits that the original does not have' => 'does not have them' => sub {
    for my $way (ways_to_say(1000)) {
        my ($name, $value) = @$way;
        like outcome({ max_message_size => $value }, payload(1001)), qr/1001/, "max_message_size: $name";
        is outcome({ max_message_size => $value }, payload(1000)), 'taken', "max_message_size: $name, at the limit";
    }
    is outcome({ max_message_size => $_->[1], max_payload_size => 0 }, payload(200_000)), 'taken', "max_message_size: $_->[0]"
        for @unbounded, ['an empty string', ''], ['undef', undef];
    for my $way (ways_to_say(3)) {
        my ($name, $value) = @$way;
        like outcome({ max_control_rate => $value }, (pong('')) x 4), qr/3/, "max_control_rate: $name";
    }
    is outcome({ max_control_rate => $_->[1] }, (pong('')) x 1000), 'taken', "max_control_rate: $_->[0]"
        for @unbounded, ['an empty string', ''], ['undef', undef];
};

differs 'times' => 'has none' => sub {
    for my $name (qw(close_timeout idle_timeout ping_interval ping_timeout)) {
        my @accepted = ([0.05 => 0.05], ['5e-2' => 0.05], ["1\n" => 1], [Math::BigInt->new(2) => 2], ['' => 'none'], [undef, 'none'],
            [9**9**9 => 'infinite'], ['inf' => 'infinite'], [Math::BigInt->binf, 'infinite']);
        for my $case (@accepted) {
            my ($value, $what) = @$case;
            my $shown = defined $value ? "'$value'" : 'undef';
            ok eval { connection_and_peer($name => $value); 1 }, "$name => $shown: $what" or diag $@;
        }
    }
    my ($connection, $peer) = connection_and_peer(close_timeout => '5e-2');
    my $seen = recorder($connection);
    $connection->close;
    like +(next_event('finish', sub { $connection->on(finish => $_[0]) }))[1], qr/0\.05 seconds/, 'and is waited for';
};

# --- tainted numbers

my $tainted = <<'PROGRAM';
    use strict; use warnings;
    use AnyEvent::WebSocket::Connection;    # loaded first, because WebSocketTest clears the environment
    use Scalar::Util 'tainted';
    use WebSocketTest;
    my $empty = substr $ENV{TAINTED}, 0, 0;
    my $number = sub { my $number = $_[0] . $empty; tainted($number) or die; $number };
    my ($what, $value) = @ARGV;
    my %new = $what =~ /^max/ ? ($what => $number->($value)) : ();
    my ($connection, $peer) = connection_and_peer(%new);
    my $seen = recorder($connection);
    my %do = (
        max_payload_size => sub { $peer->write(binary('x' x 1001)) },
        max_message_size => sub { $peer->write(binary('x' x 1001)) },
        max_control_rate => sub { $peer->write(pong('') x 1001) },
        max_fragments    => sub { $peer->write(text('a', fin => 0), continuation('b', fin => 0) x 999, continuation('c')) },
        max_buffered_amount => sub { $peer->stall; $connection->send('x' x 3_000_000) },
        close            => sub { $connection->close($number->($value)); print((close_of($peer->next_frame))[0] // 'none') },
        default          => sub { $connection->close; print((close_of($peer->next_frame))[0] // 'none') },
        opcode           => sub {
            $connection->send(AnyEvent::WebSocket::Message->new(opcode => $number->($value), body => 'x'));
            print $peer->next_frame->{opcode};
        },
    );
    $do{$what}->();
    $what =~ /^max_buffered/ ? $seen->wait_finish : $what =~ /^max/ ? $seen->wait_parse_error : exit;
    print @{ $seen->order };
PROGRAM

sub under_taint {
    my ($env, @arguments) = @_;
    local %ENV = (%ENV, TAINTED => 'x', %$env);
    open my $out, '-|', $^X, '-T', (map { "-I$_" } @INC), '-e', $tainted, @arguments or die "cannot run $^X: $!";
    return do { local $/; <$out> } // '';
}

subtest 'tainted numbers' => sub {
    is under_taint({}, max_payload_size => 1000), 'parse_error', 'max_payload_size';
    is under_taint({}, max_fragments => 1000), 'parse_error', 'max_fragments' unless is_044();
    is under_taint({}, close => 4321), 4321, 'close';
    is under_taint({}, opcode => 2), 2, 'opcode';
};

differs 'tainted numbers of what is new' => 'does not have them' => sub {
    is under_taint({}, $_ => 1000), 'parse_error', $_ for qw(max_message_size max_control_rate);
    is under_taint({}, max_buffered_amount => 1000), 'finish', 'max_buffered_amount';
    my $code = { ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE => 1001 };
    is under_taint($code, 'default'), 1001, 'ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE';
};

done_testing;
