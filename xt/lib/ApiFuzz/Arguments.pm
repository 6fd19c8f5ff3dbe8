package ApiFuzz::Arguments;

# Draws the arguments of steps.
#
#   my @arguments = ApiFuzz::Arguments::of('send', $context);

use strict;
use warnings;
use ApiFuzz::Draw;

my @SOME_EVENTS = qw(next_message each_message next_message each_message next_message each_message finish parse_error);
my @NEW_EVENTS = qw(ping pong drain);
my @ATTRIBUTES = qw(handle masked subprotocol max_payload_size strict close_code close_reason close_error latency state);
my @TOPICS = qw(assign undef reference file whole_file local scalar other array taken change tied readonly loop);
my @BUFFERS = qw(wbuf wbuf rbuf _tls_wbuf);
my @LOOKS = qw(copy copy copy match capture place number reference part back upgrade);
my @METHODS = (
    ('Connection::send') x 3, qw(Connection::close Connection::on), ('Handle::push_write') x 2,
    map { "Handle::$_" } qw(start_read stop_read on_read _drain_wbuf _drain_rbuf _error push_shutdown),
);

# Steps that contain other steps.
my %NESTING = (
    on             => sub { (one_of(@SOME_EVENTS, @SOME_EVENTS, @NEW_EVENTS), callback(@_)) },
    on_drain       => sub { callback(@_) },
    awaiting       => sub { (one_of(qw(receive closed drained)), one_of(qw(keep drop cancel callback)), callback(@_)) },
    later          => sub { (one_of(qw(timer postpone idle)), within(@_, 2)) },
    fork           => sub { one_of(qw(_exit exit), map { "$_, $_[0]{leave}" } qw(undef destroy cancel on)) },
    fragments      => sub { (number(), one_of(0, 1), sizes(1 + int rand 4), one_of((1) x 7, 0), within(@_, int rand 2)) },
    stream         => \&stream,
    chunks         => sub { callback(@_) },
    replace        => sub { (one_of(@METHODS), replacement(@_)) },
    replace_during => sub { (one_of(@METHODS), replacement(@_), within(@_, 1 + int rand 4)) },
    read_only      => sub { (one_of(@BUFFERS), within(@_, 1 + int rand 3)) },
);

my %ARGUMENTS = (
    %NESTING,
    send           => \&value,
    send_as        => sub { (one_of(qw(text binary json)), number(), size()) },
    ask            => sub { (number(), int rand 100) },
    broadcast      => \&broadcast,
    message        => sub { (number(), one_of(1, 2), size(), pieces()) },
    pieces         => sub { (number(), one_of(1, 2), size(), 2 + int rand 12) },
    ping           => sub { (number(), int rand 100) },
    pong           => sub { int rand 125 },
    feed           => sub { one_of(0, 0, 1, 2, 3, 10, 127, 5000) },
    cancel         => sub { int rand 8 },
    read           => sub { one_of(@ATTRIBUTES) },
    limit          => \&limit,
    error_variable => sub { one_of(qw(string object undef local alias hold)) },
    topic          => sub { one_of(@TOPICS) },
    keep           => sub { one_of(qw(message body reference weak connection)) },
    buffer         => sub { (one_of(@BUFFERS), one_of(@LOOKS)) },
    wrap           => sub { one_of(qw(drop keep)) },
    restore        => sub { one_of(@METHODS) },
    push_write     => sub { number() },
    arguments      => sub { one_of(qw(empty undef shift copy)) },
    junk           => sub { int rand 24 },
    die            => sub { one_of(qw(string object undef false)) },
    close          => sub { closing() },
    wbuf_max       => sub { one_of(0, 1, 100, 100_000) },
    timeout        => sub { (one_of(qw(timeout rtimeout wtimeout)), one_of(0, 0.02, 0.05, 100)) },
    tamper         => sub { one_of(qw(replace body opcode bless empty append readonly)) },
    leave          => sub { one_of(qw(last next goto)) },
    redefine       => sub { one_of(qw(send close none)) },
    rebless        => sub { one_of(qw(ApiFuzz::Loud AnyEvent::WebSocket::Connection)) },
    push_read      => sub { 1 + int rand 5 },
    lose           => sub { (one_of(@BUFFERS), one_of(qw(undef delete empty))) },
    their_close    => sub { one_of([], [1000], [1000, 'bye'], [4999, "\xc3\xa9" x 30], [1001, 'x' x 123]) },
    send_close     => sub { one_of('', 'x', "\x03\xe8", "\x03\xe8bye", "\xff\xff\xff") },
    set            => sub { (one_of(qw(close_code close_reason close_error)), one_of(undef, 0, 'x', 1000)) },
    broken         => sub { (number(), int rand 24) },
);

sub of {
    my ($name, $context) = @_;
    my $make = $ARGUMENTS{$name};
    return $make ? $make->($context) : ();
}

sub has_steps { exists $NESTING{ $_[0] } }

# Returns the number of frames that carry a message.
sub pieces { chance(0.85) ? 1 : 1 + int rand 5 }

# Draws steps one level deeper.
sub within {
    my ($context, $count) = @_;
    local $context->{depth} = $context->{depth} + 1;
    return $context->{steps}->($context, $count);
}

# Returns lists of steps for a callback's first call, its second, and so on. Later calls do nothing.
sub callback {
    my ($context) = @_;
    return [map { within($context, int rand 4) } 0 .. int rand 3];
}

# --- what is sent

my @STRICT_VALUES = qw(plain binary flagged latin readonly copy number message message_binary said_opcode);
my @LOOSE_VALUES = qw(
    undef dual lvalue vec tied overloaded duck capture element odd_opcode received alias shared
);
my @WILD_VALUES = qw(tied_acts duck_acts duck_dies odd wbuf too_long malformed surrogate);

sub value {
    my ($context) = @_;
    my $kind = one_of(chance(0.6) ? @STRICT_VALUES : chance(0.7) ? @LOOSE_VALUES : @WILD_VALUES);
    my $acts = $kind =~ /acts/ ? do { local $context->{depth} = 2; $context->{steps}->($context, 1) } : undef;
    return ($kind, number(), size(), $acts);
}

sub broadcast {
    my ($context) = @_;
    my %how = (
        list => [map { int rand $context->{count} } 0 .. int rand 4],
        shape => one_of(qw(plain plain plain tied_list tied_elements holes crowd)), call => one_of(qw(class object)),
    );
    $how{except} = int rand $context->{count} if chance(0.2);
    $how{max} = one_of(undef, '', 0, '1e3', 'bigint:100000', 'inf') if chance(0.3);
    return (one_of(@STRICT_VALUES), number(), size(), \%how);
}

# The last call of the stream's callback returns undef, or dies.
sub stream {
    my ($context) = @_;
    my $chunks = chance(0.15) ? [] : sizes(chance(0.8) ? int rand 6 : int rand 40);
    my $ending = $context->{mood} ne 'gentle' && chance(0.2) ? 'die' : 'undef';
    return (number(), one_of(0, 1), $chunks, $ending, callback($context), within($context, int rand 2));
}

sub closing {
    my $wild = chance(0.3);
    my @codes = $wild ? (0, 999, 5000, -1, 'x', '1000x', 1e9, 'reference', '')
        : (undef, 1000, 1001, 1005, 3000, 4999, '4000', 'bigint:4000');
    my @reasons = (undef, '', 'bye', "\x{20ac}" x 41, "\x{20ac}" x 50, 'x' x 123, 'x' x 124, "\xff\xfe",
        "\x{10ffff}" x 40, 'y' x 100_000);
    return chance(0.2) ? [] : [one_of(@codes), chance(0.6) ? one_of(@reasons) : ()];
}

# --- attributes that are set later

# Values that lose no message; below them, those that may.
my %HARMLESS = (
    max_payload_size    => [0, '0', '1e9', 'inf', 'bigint:1000000000', 1e15],
    max_fragments       => [1000, '1e3', 'inf', 'bigint:1000', 999.5],
    max_message_size    => [undef, '', 0, '1e9', 'inf', 'bigint:1000000000'],
    max_control_rate    => [undef, '', 0, '1e6', 'inf', 'bigint:1000000'],
    max_buffered_amount => [undef, '', 0, '1e9', 'inf', 'bigint:1000000000'],
    strict              => [0, 1, '', undef, 'yes'],
    close_timeout       => [undef, '', 30, '3e1', 'inf', 'bigint:30'],
    idle_timeout        => [undef, '', 0, 100, '1e2', 'inf', 'bigint:100'],
    ping_interval       => [undef, '', 0, 0.002, '5e-3', 100, 'inf', 'bigint:1'],
    ping_timeout        => [undef, '', 0, 100, 'inf', 'bigint:100'],
);
my %HARMFUL = (
    max_payload_size => [undef, '', 1, '1e2', 125.9, 'bigint:1000'], max_fragments => [undef, '', 1, 2, '3', 'bigint:5'],
    max_message_size => [1, '1e2', 1000.5, 'bigint:5000'], max_control_rate => [1, '2', 'bigint:3'],
    max_buffered_amount => [1, '1e3', 'bigint:100000'], close_timeout => [0, 0.001, '1e-2'], idle_timeout => [0.001, '2e-2'],
    ping_interval => [0.001], ping_timeout => [0.001, '5e-3'], strict => [1],
);
my @WRONG = (-1, -0.5, 'much', 'nan', '12x', '0x10', 'reference', 'code');

sub limit {
    my ($context) = @_;
    my $name = one_of(sort keys %HARMLESS);
    return ($name, one_of(@WRONG), 'wrong') if $name ne 'strict' && chance(0.2);
    my $is_harmful = $context->{mood} ne 'gentle' && chance(0.5);
    return ($name, one_of(@{ ($is_harmful ? \%HARMFUL : \%HARMLESS)->{$name} }), 'right');
}

# --- methods that a program replaces

sub methods { my %has; return grep { !$has{$_}++ } @METHODS }

sub replacement {
    my ($context) = @_;
    my $is_rude = $context->{mood} ne 'gentle' && chance(0.3);
    my $kind = $is_rude ? one_of(qw(acts swallows dies)) : one_of(qw(goto call copy local));
    return ($kind, $kind eq 'acts' ? within($context, 1) : []);
}

1;
