package ApiFuzz;

# Carries out a plan and returns the problems found.
#
#   my @problems = ApiFuzz->run_seed(42);

use strict;
use warnings;
use AnyEvent;
use Scalar::Util qw(weaken);
use WebSocketTest ();
use ApiFuzz::Ending;
use ApiFuzz::Link;
use ApiFuzz::Plan;
use ApiFuzz::Steps;

# Exceptions that steps may raise: their own, and the croaks for a program's mistakes.
my $OWN_EXCEPTION = qr/\A(?:fuzz die|Died at|\z)/;
our $EXPECTED = qr/
    $OWN_EXCEPTION
    | \A(?:send\w*|ping|broadcast|receive)(?::|\ takes) | is\ not\ a\ close\ code | \Aunrecognized\ event | callback\ must\ be
    | \Anot\ an\ AnyEvent
    | \ACan't\ "(?:last|next)"\ outside | \ACan't\ find\ label | \AUsage:
    | \AModification\ of\ a\ read-only | \Athe\ handle's\ write\ buffer\ is\ not
/x;

my $MAX_DEPTH = 4;

sub run_seed {
    my ($class, $seed) = @_;
    return $class->run_plan(ApiFuzz::Plan::of_seed($seed));
}

sub run_plan {
    my ($class, $plan) = @_;
    my @lists = qw(problems kept copies buffers watchers);
    my $self = bless { plan => $plan, depth => 0, map { $_ => [] } @lists }, $class;
    local $SIG{__WARN__} = sub { $self->problem("warning: $_[0]") };
    weaken(my $weak = $self);
    local $EV::DIED = sub { $weak->judge_exception($@) if $weak };
    my @specs = @{ $plan->{connections} };
    $self->{links} = [map { ApiFuzz::Link->new($self, $_, $specs[$_])->connect } 0 .. $#specs];
    $self->step($_) for @{ $plan->{steps} };
    $self->finish;
    return @{ $self->{problems} };
}

sub problem {
    my ($self, $text) = @_;
    push @{ $self->{problems} }, $text =~ s/\s+\z//r;
}

sub is_gentle { $_[0]{plan}{mood} eq 'gentle' }

sub judge_exception {
    my ($self, $exception) = @_;
    return if defined $exception && $exception =~ $EXPECTED;
    $self->problem('exception: ' . (defined $exception ? $exception : 'undef'));
}

# A step of the plan itself.
sub step {
    my ($self, $step) = @_;
    local $self->{is_top} = 1;
    eval { $self->run($step); 1 } or $self->judge_exception($@);
}

# Runs steps. An exception that a step causes is judged, and the next step runs; that of the step `die` goes to the caller.
# During tear-down no link is left.
sub run {
    my ($self, @steps) = @_;
    for my $step (@steps) {
        my ($name, $index, @arguments) = @$step;
        my $link = $self->{links}[$index] or return;
        my $code = ApiFuzz::Steps::of_name($name);
        if ($name eq 'die') { $code->($self, $link, @arguments); next }
        my $is_done = eval { $code->($self, $link, @arguments); 1 };
        $self->judge_exception($@) unless $is_done || $name eq 'error_variable';
    }
}

# Returns a callback whose n-th call runs the n-th list of steps.
sub callback {
    my ($self, $link, $calls, $event) = @_;
    weaken(my $weak = $self);
    my @left = @$calls;
    return sub {
        my $steps = shift @left;
        return unless $weak && $steps;
        my $leave = $weak->in_callback($steps, \@_, $link, $event);
        no warnings 'exiting';
        last if $leave && $leave eq 'last';
        next if $leave && $leave eq 'next';
        goto NOWHERE if $leave;
    };
}

# Returns how the callback shall leave: `last`, `next`, `goto`, or undef for a plain return. on_drain always returns: EV may
# call it directly, and an exit out of it would unwind EV's own loop.
sub in_callback {
    my ($self, $steps, $arguments, $link, $event) = @_;
    local @$self{qw(arguments link event index is_top leave)} = ($arguments, $link, $event, $link->{received}, 0, undef);
    local $link->{under_way}{ $link->{received} } = 1 if ($event || '') eq 'next_message';
    $self->run(@$steps);
    return ($event || '') eq 'on_drain' ? undef : $self->{leave};
}

# Runs the event loop once, perhaps inside a callback. The caller's $_ must survive every callback.
sub turn {
    my ($self) = @_;
    return if $self->{depth} >= $MAX_DEPTH;
    local $self->{depth} = $self->{depth} + 1;
    local $_ = "the caller's";
    WebSocketTest::turn();
    $self->problem('$_ has become ' . (defined $_ ? "'$_'" : 'undef')) if !defined $_ || $_ ne "the caller's";
}

# --- the end

sub finish {
    my ($self) = @_;
    my @links = @{ $self->{links} };
    if ($self->is_gentle) { $self->await_all(@links) }
    else                  { $self->guarded(sub { $_->calm_down for @links }) }
    $self->quiet_turn for 1 .. 3;
    $_->judge_frames for @links;
    $self->judge_kept;
    if ($self->is_gentle) { $self->judge_stats(@links); ApiFuzz::Ending::of_links($self, @links) }
    $self->judge_kept;
    $self->tear_down;
}

sub guarded {
    my ($self, $code) = @_;
    eval { $code->(); 1 } or $self->judge_exception($@);
}

sub quiet_turn { $_[0]->guarded(\&WebSocketTest::turn) }

# Waits until the condition holds, polling it every 10 ms. Returns false if it times out.
sub await {
    my ($self, $what, $condition) = @_;
    my $look = AE::timer 0, 0.01, \&WebSocketTest::poke;
    return eval { WebSocketTest::wait_until($what, $condition); 1 };
}

# Waits for all messages. Callbacks for the last ones may send more, so it looks again.
sub await_all {
    my ($self, @links) = @_;
    for (1 .. 5) {
        my $has_all = $self->await('all', sub { my $missing = grep { !$self->has_all($_) } @links; !$missing });
        return map { $_->report_missing } @links unless $has_all;
        $self->quiet_turn for 1 .. 2;
    }
}

sub has_all {
    my ($self, $link) = @_;
    my $has_all;
    $self->guarded(sub { $has_all = $link->has_all });
    return $has_all;
}

# Messages and buffers that the plan kept copies of must not change.
sub judge_kept {
    my ($self) = @_;
    for my $kept (grep { !$_->{tampered} } @{ $self->{kept} }) {
        my $body = $kept->{message}->body;
        $self->problem('a kept message has become ' . ApiFuzz::Wire::shown(0, $body)) if $body ne $kept->{body};
    }
    for my $kept (@{ $self->{buffers} }) {
        my ($name, $copy, $is) = @$kept{qw(name copy is)};
        my ($is_now, $was) = map { ApiFuzz::Wire::shown(0, $_) } $copy, $is;
        $self->problem("the $name a buffer was $was and is now $is_now") if $copy ne $is;
    }
}

# Both sides must have counted the same.
sub judge_stats {
    my ($self, @links) = @_;
    my @comparable = grep { !$_->{is_wrapped} && !$_->{asks_by_itself} && $_->{connection} } @links;
    my @wrong;
    my $look = sub { $self->has_all($_) for @comparable; @wrong = map { $_->wrong_counts } @comparable; !@wrong };
    return if $self->await('the same counts', $look);
    $self->problem($_) for @wrong;
}

sub tear_down {
    my ($self) = @_;
    ApiFuzz::Steps::Replace::restore_all();
    my @links = splice @{ $self->{links} };
    delete @$self{qw(kept copies buffers watchers)};
    my @weak = map { [connection => $_->{weak_connection}], [handle => $_->{handle}] } @links;
    push @weak, map { ['old connection' => $_] } map { @{ $_->{gone} } } @links;
    weaken $_->[1] for @weak;
    for my $link (@links) {
        $link->peer_ends('close');
        delete @$link{qw(connection cancels chunk_cancels old kept_handle)};
    }
    for (1 .. 20) {
        $self->quiet_turn;
        last unless grep { $_->[1] } @weak;
    }
    $self->problem("left behind: $_->[0]") for grep { $_->[1] } @weak;
}

1;
