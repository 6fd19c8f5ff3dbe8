# Tests that broadcast sends one message to many connections.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::TLS;

plan skip_all => 'by design: the original has no broadcast' if is_original();

my $class = 'AnyEvent::WebSocket::Connection';
my $much = 'x' x 4_000_000;

sub pairs { my ($count, %new) = @_; map { [connection_and_peer(%new)] } 1 .. $count }
sub lefts { [map { $_->[0] } @_] }
sub payloads { [map { [@$_{qw(opcode payload)}] } grep { $_->{opcode} < 8 } $_[0][1]->sync] }

subtest 'to all, of every kind' => sub {
    my @pairs = (pairs(3), pairs(2, masked => 1));
    for my $case (
        ['text', [1, 'text']], ["caf\x{e9} \x{263a}", [1, "caf\xc3\xa9 \xe2\x98\xba"]], ['', [1, '']], ['x' x 70_000, [1, 'x' x 70_000]],
        [AnyEvent::WebSocket::Message->new(opcode => 2, body => "\0\xff"), [2, "\0\xff"]],
        [$class->can('send') && AnyEvent::WebSocket::Message->prepare("\x{263a}"), [1, "\xe2\x98\xba"]],
    ) {
        my ($message, $expected) = @$case;
        is $class->broadcast(lefts(@pairs), $message), 5, 'returns how many get it';
        is_deeply payloads($_), [$expected], 'which they do' for @pairs;
    }
    is $class->broadcast([], 'x'), 0, 'nobody';
};

subtest 'called on a connection, inside a callback, which is among them' => sub {
    my @pairs = pairs(3);
    my ($first) = map { $_->[0] } @pairs;
    $first->on(each_message => sub { $_[0]->send('before'); $_[0]->broadcast(lefts(@pairs), $_[1]); $_[0]->send('after') });
    $pairs[0][1]->write(text('one'), text('two'));
    my @bodies = map { $pairs[0][1]->next_frame->{payload} } 1 .. 6;
    is "@bodies", 'before one after before two after', 'in order with what it sends itself';
    is_deeply payloads($_), [[1, 'one'], [1, 'two']], 'and the others get both' for @pairs[1, 2];
};

subtest 'who is left out' => sub {
    my @pairs = pairs(5);
    my ($closed, $gone, $behind, $except) = @{ lefts(@pairs) };
    $closed->close;
    my $seen = recorder($gone);
    $pairs[1][1]->close;
    $seen->wait_finish;
    $pairs[2][1]->stall;
    $behind->send($much);
    my $waiting = $behind->buffered_amount;
    is $class->broadcast(lefts(@pairs), 'x', except => $except, max_buffered_amount => 1000), 1, 'closed, gone, too far behind, excepted';
    is $behind->buffered_amount, $waiting, 'nothing is added to what waits';
    is_deeply payloads($pairs[3]), [], 'the excepted one gets nothing';
    is_deeply payloads($pairs[4]), [[1, 'x']], 'the last one does';
    is $class->broadcast([$behind], 'x'), 1, 'without the option, it is queued';
    is $behind->buffered_amount, $waiting + 3, 'behind the rest';
};

subtest 'a peer that takes only a part gets the rest later, in order' => sub {
    my @pairs = pairs(2);
    my ($slow, $fast) = @pairs;
    $slow->[1]->stall;
    my $drained = 0;
    $slow->[0]->on(drain => sub { $drained++; WebSocketTest::poke() });
    $class->broadcast(lefts(@pairs), $_) for $much, 'end';
    cmp_ok $slow->[0]->buffered_amount, '>', 1_000_000, 'it waits';
    $slow->[1]->resume;
    is_deeply [map { length $_->[1]->next_frame->{payload} } $slow, $slow], [length $much, 3], 'both arrive whole';
    wait_until('drain', sub { $drained });
    is_deeply [map { length $_->[1]->next_frame->{payload} } $fast, $fast], [length $much, 3], 'also at the other';
};

subtest 'one that is in the list twice' => sub {
    my ($pair) = pairs(1);
    my ($connection, $peer) = @$pair;
    $peer->stall;
    is $class->broadcast([$connection, $connection], $much), 2, 'is counted twice';
    $peer->resume;
    is_deeply [map { length $peer->next_frame->{payload} } 1, 2], [(length $much) x 2], 'and gets one after the other';
    my $close = AnyEvent::WebSocket::Message->new(opcode => 8, body => pack 'n', 1000);
    is $class->broadcast([$connection, $connection], $close), 1, 'but one Close';
    $connection->handle->push_shutdown;
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'and nothing behind it';
};

subtest 'max_buffered_amount of the connection holds' => sub {
    my ($pair) = pairs(1, max_buffered_amount => 100_000);
    $pair->[1]->stall;
    my $seen = recorder($pair->[0]);
    $class->broadcast([$pair->[0]], $much);
    is_deeply $seen->order, ['finish'], 'it is given up';
};

subtest 'a peer that has gone without notice' => sub {
    my @pairs = pairs(2);
    my $seen = recorder($pairs[0][0]);
    $pairs[0][1]->close;
    $class->broadcast(lefts(@pairs), 'x');
    $seen->wait_finish;
    is_deeply payloads($pairs[1]), [[1, 'x']], 'does not keep others from theirs';
};

subtest 'a handle that the program has destroyed' => sub {
    my @pairs = pairs(2);
    {
        package Plain::Handle;
        our @ISA = 'AnyEvent::Handle';
        sub push_write { my $self = shift; $self->SUPER::push_write(@_) }
    }
    my ($ours, $theirs) = socket_pair();
    push @pairs, [$class->new(handle => Plain::Handle->new(fh => $ours))];
    $_->[0]->handle->destroy for @pairs[0, 2];
    is $class->broadcast(lefts(@pairs), 'x'), 1, 'does not count';
};

subtest 'a finish callback that dies' => sub {
    my ($gone, $slow, $fast) = pairs(3);
    my ($masked) = pairs(1, masked => 1);
    $slow->[1]->stall;
    $gone->[0]->on(finish => sub { die "finish\n" });
    # This is not close, because on POE a cancelled watcher keeps the descriptor open for a turn.
    shutdown $gone->[1]->fh, 2;
    ok !eval { $class->broadcast(lefts($gone, $slow, $fast, $masked), $much); 1 }, 'is an exception';
    is $@, "finish\n", 'the one it died with';
    is $masked->[0]->stats->{messages_sent}, 1, 'does not keep others from theirs';
    $slow->[1]->resume;
    ok eval { $slow->[1]->next_frame(3) }, 'nor from the rest of what they have got in part';
};

subtest 'prepare, in a program that has loaded no connection' => sub {
    my $program = 'use AnyEvent::WebSocket::Message; print AnyEvent::WebSocket::Message->prepare("\x{263a}")->body';
    my ($printed) = run_perl({}, $program);
    is $printed, "\xe2\x98\xba", 'works';
};

subtest 'over TLS' => sub {
    plan skip_all => WebSocketTest::TLS::unavailable() if WebSocketTest::TLS::unavailable();
    my ($server, $client) = map { $class->new(handle => $_->[0], masked => $_->[1], max_payload_size => 0) }
        do { my ($s, $c) = tls_handles(); ([$s, 0], [$c, 1]) };
    my $seen = recorder($client);
    is $class->broadcast([$server], 'secret'), 1, 'counts';
    $seen->wait_messages(1);
    is_deeply $seen->bodies, ['secret'], 'and arrives';
    $client->pause;
    is $class->broadcast([$server, $server], $_), 2, 'counts each time that it is in the list' for 'small', $much, 'end';
    cmp_ok $server->buffered_amount, '>', 1_000_000, 'waits while the peer does not read';
    $client->resume;
    $seen->wait_messages(7);
    my @lengths = map { length } @{ $seen->bodies };
    is_deeply \@lengths, [6, 5, 5, (length $much) x 2, 3, 3], 'and arrives whole, in order';
};

subtest 'classes with a send of their own' => sub {
    {
        package Counting;
        use Moo;
        extends 'AnyEvent::WebSocket::Connection';
        our @sent;
        sub send { my ($self, $message) = @_; push @sent, $message; $self->SUPER::send($message) }
        package Plain;
        use Moo;
        extends 'AnyEvent::WebSocket::Connection';
        package Duck;
        sub new { bless [] }
        sub send { push @{ $_[0] }, $_[1] }
        package Dying;
        sub new { bless [] }
        sub send { die "no\n" }
    }
    my @pairs = (pairs(1, class => 'Counting'), pairs(1, class => 'Plain'), pairs(1));
    my $duck = Duck->new;
    is $class->broadcast([@{ lefts(@pairs) }, $duck], 'x'), 4, 'count';
    is_deeply \@Counting::sent, ['x'], 'its send is called';
    is_deeply $duck, ['x'], 'of any object';
    is_deeply payloads($_), [[1, 'x']], 'all get it' for @pairs;
    ok !eval { $class->broadcast([Dying->new, @{ lefts(@pairs) }], 'y'); 1 }, 'one that dies';
    is $@, "no\n", 'makes broadcast die';
    is_deeply payloads($_), [[1, 'y']], 'when all others have theirs' for @pairs;
};

subtest 'send wrapped in the class itself' => sub {
    my ($pair) = pairs(1);
    my @seen;
    no warnings 'redefine';
    my $original = $class->can('send');
    local *AnyEvent::WebSocket::Connection::send = sub { push @seen, $_[1]; goto $original };
    $class->broadcast([$pair->[0]], 'x');
    is_deeply \@seen, ['x'], 'is called';
};

subtest 'a list with an element that empties it when it is read' => sub {
    {
        package Emptying;
        sub TIESCALAR { bless [@_[1, 2]] }
        sub FETCH { my ($self) = @_; @{ $self->[0] } = (); $self->[1] }
    }
    my @pairs = pairs(3, masked => 1);
    my @list = @{ lefts(@pairs) };
    tie $list[1], 'Emptying', \@list, $pairs[1][0];
    $class->broadcast(\@list, 'x');
    is_deeply [map { payloads($_) } @pairs], [([[1, 'x']]) x 3], 'reaches them all';
};

subtest 'lists of other kinds' => sub {
    { package TiedList; require Tie::Array; our @ISA = 'Tie::StdArray' }
    my @pairs = pairs(2);
    tie my @list, 'TiedList';
    @list = @{ lefts(@pairs) };
    is $class->broadcast(\@list, 'x'), 2, 'a tied array';
    my @sparse;
    $sparse[2] = $pairs[0][0];
    ok !eval { $class->broadcast([undef, $pairs[1][0], 'no'], 'y'); 1 }, 'what is no connection is an exception';
    like $@, qr/^broadcast: .*no connection at \Q${\ __FILE__}\E line/, 'at the caller\'s line';
    is_deeply payloads($pairs[1]), [[1, 'x'], [1, 'y']], 'and the others have theirs';
    is $class->broadcast(\@sparse, 'z'), 1, 'holes are passed over';
};

subtest 'stats count it' => sub {
    my ($pair) = pairs(1);
    $class->broadcast([$pair->[0]], 'hello');
    is_deeply [@{ $pair->[0]->stats }{qw(messages_sent frames_sent bytes_sent)}], [1, 1, 5], 'as any message';
};

subtest 'mistakes' => sub {
    my ($pair) = pairs(1);
    my @list = $pair->[0];
    for my $case (
        ['no list', [undef, 'x']], ['a list that is none', [{}, 'x']], ['an unknown option', [\@list, 'x', expect => 1]],
        ['a limit that is none', [\@list, 'x', max_buffered_amount => 'much']], ['an opcode that is none', [\@list, AnyEvent::WebSocket::Message->new(opcode => 16, body => '')]],
        ['a reference', [\@list, []]], ['a control frame that is too long', [\@list, AnyEvent::WebSocket::Message->new(opcode => 9, body => 'x' x 126)]],
    ) {
        my ($name, $arguments) = @$case;
        ok !eval { $class->broadcast(@$arguments); 1 }, "$name is an exception";
        like $@, qr/^broadcast.* at \Q${\ __FILE__}\E line/, 'at the caller\'s line';
    }
    ok !eval { AnyEvent::WebSocket::Message->prepare([]); 1 }, 'prepare of a reference is an exception';
    like $@, qr/^prepare .* at \Q${\ __FILE__}\E line/, 'at the caller\'s line';
    is_deeply payloads($pair), [], 'nothing was sent';
};

done_testing;
