package ApiFuzz::Ending;

# Ends the connections of a gentle plan once all messages have arrived. Each ends in the way that its plan names, after which
# `finish` must have been called once; or the program keeps the handle and drops the connection.

use strict;
use warnings;
use Scalar::Util qw(weaken);
use WebSocketTest::Frame;
use ApiFuzz::Wire qw(shown);

my %ENDING = (
    close       => sub { $_[1]->peer_ends('close') },
    half_close  => sub { $_[1]->peer_ends('half_close') },
    their_close => \&their_close,
    our_close   => \&our_close,
);

sub of_links {
    my ($fuzz, @links) = @_;
    for my $link (grep { $_->{connection} } @links) {
        $link->{is_ending} = 1;
        delete $link->{old};
        my $ending = $link->{spec}{ending};
        if    ($ENDING{$ending})                                           { finish($fuzz, $link, $ENDING{$ending}) }
        elsif ($ending eq 'outlive' && $link->has_all && $link->is_quiet) { outlive($fuzz, $link) }
    }
}

# A callback may have paused the connection, which then does not read the EOF; calm_down resumes it.
sub finish {
    my ($fuzz, $link, $ending) = @_;
    $ending->($fuzz, $link);
    my $is_over = $fuzz->await('finish', sub { $link->calm_down; $link->{finished} });
    return $link->problem("no finish after $link->{spec}{ending}") unless $is_over;
    $fuzz->quiet_turn for 1 .. 3;
    $link->problem("finish $link->{finished} times") if $link->{finished} != 1;
    $link->problem('state is ' . $link->{connection}->state) if $link->{connection}->state ne 'closed';
}

sub await_close {
    my ($fuzz, $link) = @_;
    $fuzz->await('a Close frame', sub { $link->calm_down; $link->judge_frames; $link->{close} })
        or return $link->problem('no Close frame comes');
    my $got = join ' ', map { defined ? $_ : 'undef' } @$link{qw(their_code their_reason)};
    $link->problem("the Close frame says $got") if $got !~ /\A4000 (?:bye)?\z/;
}

sub their_close {
    my ($fuzz, $link) = @_;
    $link->queue({ payload => '' }, close_frame(4000, 'bye', $link->mask));
    await_close($fuzz, $link);
    $link->peer_ends('close');
    my $code = $link->{connection}->close_code;
    $link->problem('close_code is ' . (defined $code ? $code : 'undef')) if !defined $code || $code != 4000;
}

sub our_close {
    my ($fuzz, $link) = @_;
    $link->{connection}->close(4000, 'bye');
    await_close($fuzz, $link);
    $link->queue({ payload => '' }, close_frame(4000, '', $link->mask));
    $link->feed(0);
    $link->peer_ends('half_close');
}

# Destroys the connection; the program goes on using its handle.
sub outlive {
    my ($fuzz, $link) = @_;
    my $handle = $link->{connection}->handle;
    $link->{peer}->resume;
    my ($peer_has, $handle_has) = ('', '');
    delete @$link{qw(connection cancels chunk_cancels)};
    return if $link->{weak_connection};    # the plan keeps the connection
    $handle->on_drain(undef);
    $handle->on_error(sub { $link->problem("the remaining handle fails: $_[2]") });
    $handle->on_read(sub { $handle_has .= $_[0]{rbuf}; $_[0]{rbuf} = ''; WebSocketTest::poke() });
    $handle->push_write('to the peer');
    $link->{peer}->write('to the handle');
    $fuzz->await('octets', sub { $handle_has eq 'to the handle' && $link->{peer}{in} =~ /to the peer\z/ })
        or $link->problem('the remaining handle and the peer got ' . join ' and ', map { shown(0, $_) } $handle_has, $link->{peer}{in});
    $handle->destroy;
}

1;
