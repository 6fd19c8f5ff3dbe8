package ApiFuzz::Plan;

# What a seed stands for: connections, and steps that are done to them. A plan is data and nothing but data; so no timing
# changes what is drawn, and a seed means the same in every run. ApiFuzz::Steps says what each step does.
#
#   my $plan = ApiFuzz::Plan::of_seed(42);
#   # { mood => 'gentle', connections => [{...}, ...], steps => [[name, connection, argument...], ...] }
#
# In a gentle plan nothing happens that may lose a message, so all must arrive. Rude ones have in them whatever a program
# may do; hostile ones also have peers that break rules.

use strict;
use warnings;
use List::Util qw(sum0);

# How often each step is drawn.
my %GENTLE = (
    send => 14, message => 10, pieces => 2, ping => 3, pong => 1, feed => 6, turn => 8, settle => 1, on => 7, cancel => 2,
    read => 2, later => 3, error_variable => 2, keep => 3, stop_read => 1, start_read => 2,
    on_drain => 1, push_write => 2, no_delay => 1, fork => 0.15, stall => 1, resume => 2, arguments => 2, junk => 2,
);
my %RUDE = (
    %GENTLE,
    die => 1.5, close => 1.2, undef => 0.6, destroy => 0.5, push_shutdown => 0.4, wbuf_max => 0.4, timeout => 0.4,
    autocork => 0.4, tamper => 2, leave => 0.7, redefine => 0.5, rebless => 0.5, second => 0.1, push_read => 0.3,
    on_read => 0.1, half_close => 0.6, close_peer => 0.5, reset => 0.3, their_close => 0.7, send_close => 0.3, set => 0.5,
    forget_callbacks => 0.3,
);
my %HOSTILE = (%RUDE, broken => 4);
my %WEIGHT = (gentle => \%GENTLE, rude => \%RUDE, hostile => \%HOSTILE);

my %ARGUMENTS = (
    send           => \&value,
    message        => sub { (number(), one_of(1, 2), size(), pieces()) },
    pieces         => sub { (number(), one_of(1, 2), size(), 2 + int rand 12) },
    ping           => sub { (number(), int rand 100) },
    pong           => sub { int rand 125 },
    feed           => sub { one_of(0, 0, 1, 2, 3, 10, 127, 5000) },
    on             => sub { (event(), callback(@_)) },
    cancel         => sub { int rand 8 },
    read           => sub { one_of(qw(handle masked subprotocol max_payload_size strict close_code close_reason close_error)) },
    later          => sub { (one_of(qw(timer postpone idle)), steps(@_, 2)) },
    error_variable => sub { one_of(qw(string object undef local alias hold)) },
    keep           => sub { one_of(qw(message body reference weak connection)) },
    on_drain       => sub { callback(@_) },
    push_write     => sub { number() },
    fork           => sub { one_of(qw(_exit exit), map { "$_, $_[0]{leave}" } qw(undef destroy cancel on)) },
    arguments      => sub { one_of(qw(empty undef shift copy)) },
    junk           => sub { int rand 16 },
    die            => sub { one_of(qw(string object undef false)) },
    close          => sub { closing() },
    wbuf_max       => sub { one_of(0, 1, 100, 100_000) },
    timeout        => sub { (one_of(qw(timeout rtimeout wtimeout)), one_of(0, 0.02, 0.05, 100)) },
    tamper         => sub { one_of(qw(replace body opcode bless empty append readonly)) },
    leave          => sub { one_of(qw(last next goto)) },
    redefine       => sub { one_of(qw(send close none)) },
    rebless        => sub { one_of(qw(ApiFuzz::Loud AnyEvent::WebSocket::Connection)) },
    push_read      => sub { 1 + int rand 5 },
    their_close    => sub { one_of([], [1000], [1000, 'bye'], [4999, "\xc3\xa9" x 30], [1001, 'x' x 123]) },
    send_close     => sub { one_of('', 'x', "\x03\xe8", "\x03\xe8bye", "\xff\xff\xff") },
    set            => sub { (one_of(qw(close_code close_reason close_error)), one_of(undef, 0, 'x', 1000)) },
    broken         => sub { (number(), int rand 24) },
);

my $numbers;

sub of_seed {
    my ($seed) = @_;
    srand $seed;
    $numbers = 0;
    my $mood = one_of(qw(gentle gentle gentle rude rude rude rude hostile hostile));
    my $count = one_of(1, 1, 1, 1, 2, 3);
    my $context = { mood => $mood, count => $count, depth => 0, leave => one_of(qw(_exit exit)) };
    return {
        seed => $seed, mood => $mood,
        connections => [map { connection($context) } 1 .. $count],
        steps => steps($context, 8 + int rand 60),
    };
}

sub one_of { $_[rand @_] }
sub number { ++$numbers }
sub event  { one_of(qw(next_message each_message finish parse_error next_message each_message)) }

# Payload lengths, most of them small, with the borders of the length forms and of what is read and written at once.
sub size {
    my @border = (125, 126, 127, 4095, 4096, 16_384, 65_535, 65_536, 131_072, 300_000);
    my $size = rand() < 0.75 ? int rand 40 : rand() < 0.6 ? int rand 5000 : one_of(@border);
    return $size;
}

# In how many frames a message comes.
sub pieces { rand() < 0.85 ? 1 : 1 + int rand 5 }

sub connection {
    my ($context) = @_;
    my $is_gentle = $context->{mood} eq 'gentle';
    my %new = (masked => one_of(0, 1));
    $new{strict} = one_of(0, 1) if rand() < 0.5;
    $new{max_payload_size} = $is_gentle ? 0 : one_of(0, undef, 1, 125, 1000, 100_000);
    $new{max_fragments} = $is_gentle ? 1000 : one_of(undef, 1, 2, 5) if rand() < 0.5 || $is_gentle;
    $new{close_timeout} = one_of(0, 0.001, 0.01, 30) if rand() < 0.5;
    my %handle;
    $handle{linger} = one_of(0, 1) if !$is_gentle && rand() < 0.2;
    $handle{low_water_mark} = 1000 if rand() < 0.1;
    $handle{read_size} = 16 if rand() < 0.1;
    return {
        transport => one_of(qw(unix unix unix unix unix tcp tcp tls)), new => \%new, handle => \%handle,
        class => one_of((undef) x 6, qw(ApiFuzz::Loud ApiFuzz::Plain)), is_early => one_of(0, 0, 0, 1),
    };
}

sub steps {
    my ($context, $count) = @_;
    return [map { step($context) } 1 .. $count];
}

sub step {
    my ($context) = @_;
    my $name = weighted($context);
    my $make = $ARGUMENTS{$name};
    return [$name, int rand $context->{count}, $make ? $make->($context) : ()];
}

# Callbacks within callbacks come to an end.
sub weighted {
    my ($context) = @_;
    my $weight = $WEIGHT{ $context->{mood} };
    my @names = grep { $context->{depth} < 2 || !/\A(?:on|later|on_drain|fork)\z/ } sort keys %$weight;
    my $left = rand sum0(@$weight{@names});
    for my $name (@names) { return $name if ($left -= $weight->{$name}) < 0 }
    return $names[-1];
}

# What a callback does in its first call, in its second, ...; and then nothing.
sub callback {
    my ($context) = @_;
    local $context->{depth} = $context->{depth} + 1;
    return [map { steps($context, int rand 4) } 0 .. int rand 3];
}

my @STRICT_VALUES = qw(plain binary flagged latin readonly copy number message message_binary);
my @LOOSE_VALUES = qw(
    undef dual lvalue vec tied overloaded duck capture element odd_opcode received alias shared
);
my @WILD_VALUES = qw(tied_acts duck_acts duck_dies odd wbuf too_long malformed surrogate);

sub value {
    my ($context) = @_;
    my $kind = one_of(rand() < 0.6 ? @STRICT_VALUES : rand() < 0.7 ? @LOOSE_VALUES : @WILD_VALUES);
    my $acts = $kind =~ /acts/ ? do { local $context->{depth} = 2; steps($context, 1) } : undef;
    return ($kind, number(), size(), $acts);
}

sub closing {
    my $wild = rand() < 0.3;
    my @codes = $wild ? (0, 999, 5000, -1, 'x', '1000x', 1e9, [], '') : (undef, 1000, 1001, 1005, 3000, 4999, '4000');
    my @reasons = (undef, '', 'bye', "\x{20ac}" x 41, "\x{20ac}" x 50, 'x' x 123, 'x' x 124, "\xff\xfe",
        "\x{10ffff}" x 40, 'y' x 100_000);
    return rand() < 0.2 ? [] : [one_of(@codes), rand() < 0.6 ? one_of(@reasons) : ()];
}

1;
