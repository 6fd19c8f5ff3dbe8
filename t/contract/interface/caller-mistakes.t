# Tests that a caller's mistakes croak at the caller's line and leave the connection unchanged.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

sub alive_ok {
    my ($connection, $peer) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply [$peer->sync], [], 'nothing is on the wire, and the connection is in order';
}

sub message { AnyEvent::WebSocket::Message->new(@_) }

subtest 'on: an unknown event' => sub {
    my ($connection, $peer) = connection_and_peer();
    croaks_here("on('$_')", sub { $connection->on($_ => sub { }) }, qr/\Q$_/) for qw(message Finish nonsense);
    alive_ok($connection, $peer);
};

differs 'on: a callback which is none' => 'takes it, and dies when it is to be called' => sub {
    my ($connection, $peer) = connection_and_peer();
    for my $event (qw(next_message each_message parse_error finish)) {
        for my $wrong (undef, '', 'main::callback', 1, {}, [], \'x', bless {}, 'Any') {
            my $what = defined $wrong ? "'$wrong'" : 'undef';
            croaks_here("on($event => $what)", sub { $connection->on($event => $wrong) });
        }
        croaks_here("on($event)", sub { $connection->on($event) });
    }
    alive_ok($connection, $peer);
};

differs 'close: a code that may not go on the wire' => 'packs whatever it is given' => sub {
    for my $code (1, 999, 5000, 65535, 65536, 100_000, -1, 'normal', '1000x', 'nan', 'inf') {
        my ($connection, $peer) = connection_and_peer();
        croaks_here("close($code)", sub { $connection->close($code) });
        croaks_here("close($code, 'reason')", sub { $connection->close($code, 'reason') });
        alive_ok($connection, $peer);
    }
};

differs 'send: a control frame that is too long' => 'sends it' => sub {
    my ($connection, $peer) = connection_and_peer();
    for my $opcode (8, 9, 10) {
        croaks_here("opcode $opcode with 126 bytes", sub { $connection->send(message(opcode => $opcode, body => 'x' x 126)) });
        croaks_here("opcode $opcode, 126 when encoded", sub { $connection->send(message(opcode => $opcode, body => "\x{263a}" x 42)) });
    }
    alive_ok($connection, $peer);
    $connection->send(message(opcode => 9, body => 'x' x 125));
    is length $peer->next_frame->{payload}, 125, '125 bytes may be sent';
};

differs 'send: an opcode outside 0..15' => 'sends something else' => sub {
    my ($connection, $peer) = connection_and_peer();
    for my $opcode (16, 17, 128, 255, 256, 2**32, -1, 'text') {
        croaks_here("opcode '$opcode'", sub { $connection->send(message(opcode => $opcode, body => 'x')) });
    }
    alive_ok($connection, $peer);
};

differs 'send: a reference that is no message' => 'dies in a line of its own' => sub {
    my ($connection, $peer) = connection_and_peer();
    for my $wrong ({}, [], \'x', sub { 1 }, bless({}, 'Any')) {
        croaks_here(ref $wrong, sub { $connection->send($wrong) });
    }
    alive_ok($connection, $peer);
};

differs 'new: limits that are none' => 'takes them' => sub {
    for my $name (qw(max_payload_size max_fragments close_timeout)) {
        my @wrong = (-1, 'much', 'nan', '12x');
        for my $value (@wrong) {
            my ($left, $right) = socket_pair();
            my $handle = AnyEvent::Handle->new(fh => $left, on_error => sub { });
            croaks_here("$name => '$value'", sub { AnyEvent::WebSocket::Connection->new(handle => $handle, $name => $value) }, qr/$name/);
        }
    }
};

subtest 'new: no handle' => sub {
    ok !eval { AnyEvent::WebSocket::Connection->new(masked => 1); 1 }, 'dies';
    like $@, qr/handle/, 'and says why';
};

subtest 'a mistake inside a message callback is a die there' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    $connection->on(next_message => sub { $_[0]->on(nonsense => sub { }) });
    my (undef, $text) = next_event('parse_error', sub { $connection->on(parse_error => $_[0]); $peer->write(text('x')) });
    like $text, qr/nonsense/, 'and goes to parse_error';
    like $text, qr/ at \Q${\__FILE__}\E line \d+\.?$/, 'with the line';
};

subtest 'a mistake that is caught changes nothing' => sub {
    my ($connection, $peer) = connection_and_peer();
    $peer->sync;
    $connection->on(each_message => sub { eval { $_[0]->on(nonsense => sub { }) }; $_[0]->send('re: ' . $_[1]->body) });
    $peer->write(text('1') . text('2'));
    is_deeply [map { $_->{payload} } $peer->next_frames(2)], ['re: 1', 're: 2'];
};

subtest 'methods called on the class or on nothing' => sub {
    my $class = 'AnyEvent::WebSocket::Connection';
    my %lived;
    warnings_of(sub {
        # Without Class::XSAccessor, Moo's readers return undef if called on nothing.
        $lived{"$class->$_"}++ for grep { eval { $class->$_('x'); 1 } } qw(send close on handle);
        $lived{$_}++ for grep { eval { $class->can($_)->(); 1 } } qw(send close on);
    });
    is_deeply \%lived, {}, 'die';
};

done_testing;
