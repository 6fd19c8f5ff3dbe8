package ApiFuzz::Steps::Object;

# The connection object: its attributes, class and lifetime, and mistaken calls.

use strict;
use warnings;
use AnyEvent::WebSocket::Connection;
use ApiFuzz::Step;

$STEP{read} = sub {
    my ($fuzz, $link, $name) = @_;
    my $value = $link->{connection} && $link->{connection}->$name;
    push @{ $fuzz->{copies} }, $value unless ref $value;
    $link->problem("latency is $value") if $name eq 'latency' && defined $value && !($value >= 0);
    $link->problem("state is $value") if $name eq 'state' && $link->is_judged && $value ne 'open';
};

$STEP{set} = sub { my ($fuzz, $link, $name, $value) = @_; $link->{connection}->$name($value) if $link->{connection} };

# Sets a limit or time. A valid value is stored and returned; an invalid one must croak and change nothing.
$STEP{limit} = sub {
    my ($fuzz, $link, $name, $text, $verdict) = @_;
    my $connection = $link->{connection} or return;
    my ($before, $value) = ($connection->$name, number_of($text));
    $link->{asks_by_itself} = 1 if $name eq 'ping_interval';
    my $returned;
    my $is_set = eval { $returned = $connection->$name($value); 1 };
    # A limit that is exceeded already ends the connection, and its callbacks may die.
    return if !$is_set && $@ =~ /\Afuzz /;
    my $shown = "$name(" . (defined $text ? "'$text'" : 'undef') . ')';
    $link->problem("$shown dies: $@")     if !$is_set && $verdict eq 'right';
    $link->problem("$shown does not die") if $is_set && $verdict eq 'wrong';
    my ($after, $wanted) = map { defined $_ ? "$_" : 'undef' } $connection->$name, $is_set ? $value : $before;
    $link->problem("$shown: it is now $after, not $wanted") if $after ne $wanted;
    $link->problem("$shown returns something else") if $is_set && (defined $returned ? "$returned" : 'undef') ne $wanted;
};

# --- its lifetime

$STEP{undef}   = sub { my ($fuzz, $link) = @_; undef $link->{connection} };
$STEP{rebless} = sub { my ($fuzz, $link, $class) = @_; bless $link->{connection}, $class if $link->{connection} };

# The program keeps the handle and drops the connection.
$STEP{orphan} = sub {
    my ($fuzz, $link) = @_;
    $link->{kept_handle} ||= handle_of($link);
    delete $link->{connection};
    @{ $link->{cancels} } = ();
    delete $link->{chunk_cancels};
};

# Another connection takes over the handle. Messages that the old one has not delivered are lost, so a gentle plan waits for
# them first.
$STEP{wrap} = sub {
    my ($fuzz, $link, $how) = @_;
    return unless $link->{connection};
    if ($fuzz->is_gentle) {
        return unless $fuzz->{is_top} && !$fuzz->{depth};
        $link->calm_down;
        for (1 .. 4) { $fuzz->turn; $link->judge_frames; $link->feed(0) }
        return unless $link->{connection} && $link->is_quiet;
    }
    else { @$link{qw(is_void has_second loses_frames)} = (1, 1, 1) }
    $link->wrap($how eq 'keep');
};

$STEP{drop_old} = sub { my ($fuzz, $link) = @_; delete $link->{old} };

# --- its class

# Defines a method in a subclass, or removes both.
$STEP{redefine} = sub {
    my ($fuzz, $link, $name) = @_;
    no strict 'refs';
    no warnings 'redefine';
    my $super = "AnyEvent::WebSocket::Connection::$name";
    *{"ApiFuzz::Plain::$name"} = sub { my $self = shift; $self->$super(@_) } if $name ne 'none';
    delete $ApiFuzz::Plain::{$_} for $name eq 'none' ? qw(send close) : ();
    mro::method_changed_in('ApiFuzz::Plain');
};

# --- mistakes

my @JUNK = (
    sub { $_[0]->on('nonsense' => sub { }) }, sub { $_[0]->on(undef, sub { }) }, sub { $_[0]->on('finish') },
    sub { $_[0]->on(finish => 'x') }, sub { $_[0]->on }, sub { $_[0]->handle(1) }, sub { $_[0]->masked(1) },
    sub { AnyEvent::WebSocket::Connection->send('x') }, sub { AnyEvent::WebSocket::Connection::send() },
    sub { AnyEvent::WebSocket::Connection::send(undef, 'x') }, sub { AnyEvent::WebSocket::Connection::send({}, 'x') },
    sub { AnyEvent::WebSocket::Connection::send(bless({}, 'ApiFuzz::Nothing'), 'x') },
    sub { AnyEvent::WebSocket::Connection->new(handle => undef) }, sub { AnyEvent::WebSocket::Connection->new(handle => {}) },
    sub { AnyEvent::WebSocket::Connection->new(handle => $_[0]->handle, max_fragments => 'x') },
    sub { AnyEvent::WebSocket::Connection->close },
    sub { $_[0]->send_fragment('x', fin => 1) }, sub { $_[0]->send_stream(sub { }, final => 1) },
    sub { $_[0]->send_stream('x') }, sub { $_[0]->send_stream(sub { }, done => 1) },
    sub { $_[0]->broadcast([], 'x', to => 1) }, sub { $_[0]->broadcast('x', 'x') }, sub { $_[0]->broadcast([undef], 'x') },
    sub { $_[0]->ping('x' x 126) },
);

$STEP{junk} = sub {
    my ($fuzz, $link, $which) = @_;
    my $connection = $link->{connection} or return;
    eval { $JUNK[$which]->($connection); 1 } and !$link->{loses_frames} and $link->problem("junk $which does not die");
};

1;
