# Tests that Message is a Moo class with body, opcode, decoded_body, and predicates such as is_text.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

my $class = 'AnyEvent::WebSocket::Message';

subtest 'construction' => sub {
    isa_ok $class, 'Moo::Object';
    my $message = $class->new(body => 'x');
    is ref $message, $class, 'new';
    is $message->body, 'x', 'body';
    is $message->opcode, 1, 'opcode defaults to 1';
    is $class->new({ body => 'y', opcode => 2 })->opcode, 2, 'a hash reference does as well';
    ok !eval { $class->new(opcode => 1); 1 }, 'body is required';
    like $@, qr/\AMissing required arguments: body\b/, q{with Moo's own message};
    is $class->new(body => undef)->body, undef, 'undef is a body';
};

subtest 'read-only' => sub {
    my $message = $class->new(body => 'x', opcode => 2);
    for my $name (qw(body opcode)) {
        ok !eval { $message->$name('other'); 1 }, "$name cannot be set";
    }
    is_deeply [$message->body, $message->opcode], ['x', 2], 'and they keep their values';
};

my %is = (is_text => 1, is_binary => 2, is_close => 8, is_ping => 9, is_pong => 10);

subtest 'questions' => sub {
    for my $opcode (0 .. 15) {
        my $message = $class->new(body => '', opcode => $opcode);
        my @true = grep { $message->$_ } sort keys %is;
        is_deeply \@true, [grep { $is{$_} == $opcode } sort keys %is], "opcode $opcode: @true";
    }
};

subtest 'decoded_body' => sub {
    my @cases = (
        ['',                 ''],
        ['ascii',            'ascii'],
        ["\xc3\xa4",         "\xe4"],
        ["\xe2\x98\xba",     "\x{263a}"],
        ["\xf0\x9f\x90\xaa", "\x{1f42a}"],
        ["a\xffb",           "a\x{fffd}b"],
        ["\xe2\x98",         "\x{fffd}"],
        ["x\xc3",            "x\x{fffd}"],
    );
    for my $case (@cases) {
        my ($octets, $characters) = @$case;
        my $message = $class->new(body => $octets);
        # Encode's version decides if there is one U+FFFD for each octet or one for all.
        is $message->decoded_body =~ s/\x{fffd}+/\x{fffd}/gr, $characters, unpack('H*', $octets) . ' is decoded, leniently';
        is $message->decoded_body, $message->decoded_body, 'again';
        is $message->body, $octets, 'and the body is left alone';
        ok !utf8::is_utf8($message->body), 'as is its flag';
    }
};

subtest 'body is what was given' => sub {
    my $wide = $class->new(body => "\x{263a}")->body;
    is $wide, "\x{263a}", 'characters';
    my $reference = [1, 2];
    is $class->new(body => $reference)->body, $reference, 'even a reference';
};

subtest 'subclassing' => sub {
    { package Tagged; use Moo; extends 'AnyEvent::WebSocket::Message'; has tag => (is => 'rw'); around body => sub { my ($n, $s) = @_; uc $s->$n } }
    my $message = Tagged->new(body => 'shout', tag => 'a tag', opcode => 2);
    is $message->body, 'SHOUT', 'a modifier';
    is $message->tag, 'a tag', 'an attribute';
    ok $message->is_binary, 'inherited methods';
    my ($connection, $peer) = connection_and_peer();
    $connection->send($message);
    my $frame = $peer->next_frame;
    is_deeply [@$frame{qw(opcode payload)}], [2, 'SHOUT'], 'send calls the overridden method';
};

subtest 'received messages are of this class' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $seen = recorder($connection);
    $peer->write(text("\xc3\xa4", fin => 0) . continuation('!') . binary("\xff"));
    my ($text, $binary) = $seen->wait_messages(2)->messages;
    is_deeply [map { ref } $text, $binary], [$class, $class], 'exactly';
    is $text->decoded_body, "\xe4!", 'decoded_body';
    is_deeply [map { my $m = $_; scalar grep { $m->$_ } keys %is } $text, $binary], [1, 1], 'each is one kind';
    ok !eval { $text->body('x'); 1 }, 'read-only as well';
    is_deeply [sort keys %$text], [qw(body opcode)], 'a Moo object, with its two attributes';
};

subtest 'a received message may be sent' => sub {
    my ($connection, $peer) = connection_and_peer(masked => 1);
    my ($other, $other_peer) = connection_and_peer();
    $connection->on(each_message => sub { $_[0]->send($_[1]); $other->send($_[1]) });
    $peer->write(binary("\0\xff", mask => 1) . text("\xc3\xa4"));
    for my $end ($peer, $other_peer) {
        is_deeply [map { [@$_{qw(opcode payload)}] } $end->next_frames(2)], [[2, "\0\xff"], [1, "\xc3\xa4"]], 'octets and opcode';
    }
};

subtest 'modifiers and methods added to the class' => sub {
    my ($connection, $peer) = connection_and_peer();
    no warnings 'once';
    *AnyEvent::WebSocket::Message::shout = sub { uc $_[0]->body };
    my $seen = recorder($connection);
    $peer->write(text('quiet'));
    is(($seen->wait_messages(1)->messages)[0]->shout, 'QUIET', 'work with received messages');
};

done_testing;
