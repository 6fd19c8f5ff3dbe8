# Tests that the tables in the documentation of the connection are true: each row is played.
use strict;
use warnings;
use FindBin;
use lib map {"$FindBin::Bin/$_"} qw(lib ../t/lib);
use Test::More;
use PodCode;
use WebSocketTest;

plan skip_all => 'by design: the tables are about what the original does not do' if is_original();

# Returns the rows of the table in a section or an entry, as [first column, the others].
sub rows_of {
    my ($where) = @_;
    my ($table) = grep { $_->{kind} eq 'output' && ($_->{section} eq $where || $_->{entry} eq $where) }
        PodCode::blocks('perl/AnyEvent/WebSocket/Connection.pm');
    my (undef, undef, @rows) = split /\n/, $table->{text};
    return map { [split / {2,}/] } @rows;
}

# --- how a connection ends

# Makes the peer hang up after a callback has died or the peer has broken a rule.
my $hang_up = sub { $_[1]->frames_to_eof; $_[1]->close };

my %end = (
    'the peer sent a Close frame'            => [{}, sub { $_[1]->write(close_frame(4000))->wait_eof->close }, 4000],
    'we called close, the peer answered'     => [{}, sub { $_[0]->close; $_[1]->wait_eof->write(close_frame(4000))->close }, 4000],
    'we called close, the peer just hung up' => [{}, sub { $_[0]->close; $_[1]->wait_eof->close }],
    'the peer hung up without a Close frame' => [{}, sub { $_[1]->close }],
    'the peer broke a rule or a limit'       => [{}, sub { $_[1]->write(frame(rsv => 2)); &$hang_up }],
    "the peer's Close frame broke a rule"    => [{}, sub { $_[1]->write(close_frame(1006)); &$hang_up }, 1006],
    'a message callback died'                => [{}, sub { $_[0]->on(next_message => sub { die bless {}, 'An::Exception' });
        $_[1]->write(text('x')); &$hang_up }],
    'a network error, such as a reset'       => [{}, sub { $_[1]->reset }],
    'idle_timeout or ping_timeout'           => [{ idle_timeout => 0.1 }, sub { }],
    'more than max_buffered_amount'          => [{ max_buffered_amount => 1000 }, sub { $_[1]->stall; $_[0]->send('x' x 20_000_000) }],
    'the peer did not close in time'         => [{ close_timeout => 0.1 }, sub { $_[0]->close }],
    'a timeout of the handle'                => [{ handle => { timeout => 0.1 } }, sub { }],
    'the program destroyed the handle'       => [{}, sub { $_[0]->handle->destroy }],
);

# Plays an end. Returns the calls of parse_error and of finish, and the connection.
sub play {
    my ($new, $do) = @_;
    my ($connection, $peer) = connection_and_peer(tcp => 1, %$new);
    my %calls = map { $_ => [] } qw(parse_error finish);
    for my $event (keys %calls) { $connection->on($event => sub { push @{ $calls{$event} }, $_[1]; poke() }) }
    $do->($connection, $peer);
    wait_until('the end', sub { $connection->state eq 'closed' });
    settle();
    return (@calls{qw(parse_error finish)}, $connection);
}

sub kind_of { !defined $_[0] ? 'undef' : ref $_[0] ? 'exception' : length $_[0] ? 'text' : 'nothing' }

my @rows = rows_of('HOW A CONNECTION ENDS');
is_deeply [sort map { $_->[0] } @rows], [sort keys %end], 'all ends that are listed can be played';

for my $row (@rows) {
    my ($what, $parse_error, $finish, $close_code) = @$row;
    subtest $what => sub {
        my ($new, $do, $code) = @{ $end{$what} };
        my ($parse_errors, $finished, $connection) = play($new, $do);
        is_deeply [map { kind_of($_) } @$parse_errors], [$parse_error eq '-' ? () : $parse_error], "parse_error: $parse_error";
        is_deeply [map { kind_of($_) } @$finished], [$finish eq 'no finish' ? () : $finish], "finish: $finish";
        is kind_of($connection->close_error), $finish eq 'no finish' ? 'undef' : $finish, 'close_error is the same';
        is $connection->close_code, $close_code eq 'undef' ? undef : $code, "close_code: $close_code";
    };
}

subtest 'a Close frame without a code' => sub {
    my (undef, undef, $connection) = play({}, sub { $_[1]->write(frame(opcode => 8))->wait_eof->close });
    is $connection->close_code, 1005, 'is 1005';
};

subtest 'a peer that broke a rule and does not hang up' => sub {
    my ($parse_errors, $finished) = play({ close_timeout => 0.1 }, sub { $_[1]->write(frame(rsv => 2)) });
    is_deeply [map { kind_of($_) } @$parse_errors, @$finished], ['text', 'text'], 'finish has a text';
};

# --- what a subclass sees

{
    package Listening;
    use Moo;
    extends 'AnyEvent::WebSocket::Connection';
    has heard => (is => 'ro', default => sub { { send => [], close => [] } });
    for my $method (qw(send close)) {
        before $method => sub { my ($self, @arguments) = @_; push @{ $self->heard->{$method} }, \@arguments };
    }
}

my %sent = (
    'send, broadcast'                      => sub { $_[0]->send('x'); $_[0]->broadcast([$_[0]], 'x') },
    'send_text, send_json'                 => sub { $_[0]->send_text("\x{fc}"); $_[0]->send_json("\x{fc}") },
    'send_binary'                          => sub { $_[0]->send_binary('x') },
    'ping, automatic or not'               => sub { $_[0]->ping_interval(0.05); $_[0]->ping; $_[1]->next_frame for 1 .. 2; $_[0]->ping_interval(0) },
    'the pong for a ping'                  => sub { $_[1]->write(ping('x')); $_[1]->next_frame },
    'close'                                => sub { $_[0]->close(4000, 'x'); $_[1]->frames_to_eof },
    "the answer to the peer's Close frame" => sub { $_[1]->write(close_frame(4001)); $_[1]->frames_to_eof },
    'the Close frame for a broken rule'    => sub { $_[1]->write(frame(rsv => 2)); $_[1]->frames_to_eof },
    'send_fragment, send_stream'           => sub { $_[0]->send_fragment('x', final => 1); $_[0]->send_stream(sub { }) },
);

# Each returns true if send or close was given all that the column of that name promises.
my %is_given = (
    '-'                        => sub { !@_ },
    'not called'               => sub { !@_ },
    'what they were given'     => sub { 2 == grep { $_->[0] eq 'x' } @_ },
    'the text, encoded as UTF-8' => sub { $_[0][0] eq "\xc3\xbc" && $_[1][0] eq "\"\xc3\xbc\"" && @_ == 2 },
    'what it was given'        => sub { @_ == 1 && "@{ $_[0] }" eq '4000 x' },
    'its code, if any'         => sub { @_ == 1 && "@{ $_[0] }" eq '4001' },
);
for my $opcode (2, 8, 9, 10) {
    $is_given{"a Message with opcode $opcode"} = sub { @_ && !grep { ref $_->[0] ne 'AnyEvent::WebSocket::Message' || $_->[0]->opcode != $opcode } @_ };
}

@rows = rows_of("What a subclass's send and close see");
is_deeply [sort map { $_->[0] } @rows], [sort keys %sent], 'all that is listed can be sent';

for my $row (@rows) {
    my ($what, %expected) = ($row->[0], send => $row->[1], close => $row->[2]);
    my ($connection, $peer) = connection_and_peer(class => 'Listening');
    $sent{$what}->($connection, $peer);
    ok $is_given{ $expected{$_} }->(@{ $connection->heard->{$_} }), "$what: $_: $expected{$_}" for qw(send close);
}

done_testing;
