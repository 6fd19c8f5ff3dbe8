# Tests that send takes magical, tied, read-only and overloaded arguments, and croaks if given no message.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

{
    package Counting;   # a tied scalar
    sub TIESCALAR { my ($class, @values) = @_; bless { values => \@values, fetched => 0, stored => 0 }, $class }
    sub FETCH     { my ($self) = @_; $self->{fetched}++; @{ $self->{values} } > 1 ? shift @{ $self->{values} } : $self->{values}[0] }
    sub STORE     { $_[0]{stored}++ }
}
{
    package Stringy;    # an overloaded object without opcode and body
    use overload '""' => sub { 'stringified' }, fallback => 1;
}
{
    package Duck;
    sub new    { my ($class, %self) = @_; bless {%self}, $class }
    sub opcode { my ($self) = @_; ref $self->{opcode} eq 'CODE' ? $self->{opcode}->() : $self->{opcode} }
    sub body   { my ($self) = @_; ref $self->{body} eq 'CODE' ? $self->{body}->() : $self->{body} }
}

my ($connection, $peer) = connection_and_peer();

sub sent_ok {
    my (undef, $expected, $name) = @_;
    my $returned = $connection->send($_[0]);
    my @frames = $peer->sync;
    is_deeply [map { $_->{payload} } @frames], [$expected], $name;
    is $returned, $connection, 'and the connection is returned';
}

subtest 'tied scalars' => sub {
    for my $value ('value', "\x{263a}", 42, undef) {
        my $object = tie my $tied, 'Counting', $value;
        my $expected = defined $value ? "$value" : '';
        utf8::encode($expected) if utf8::is_utf8($expected);
        sent_ok($tied, $expected, 'the fetched value is sent');
        is $object->{fetched}, 1, 'fetched once';
        is $object->{stored}, 0, 'never stored to';
    }
};

subtest 'a tied scalar that holds a message' => sub {
    tie my $tied, 'Counting', AnyEvent::WebSocket::Message->new(body => 'in a tied scalar');
    sent_ok($tied, 'in a tied scalar', 'its body is sent');
};

subtest 'elements of tied hashes and arrays' => sub {
    require Tie::Hash;
    require Tie::Array;
    tie my %hash, 'Tie::StdHash';
    tie my @array, 'Tie::StdArray';
    %hash = (key => 'of a hash');
    @array = ('of an array');
    sent_ok($hash{key}, 'of a hash', 'hash');
    sent_ok($array[0], 'of an array', 'array');
    sent_ok($hash{missing}, '', 'an element that is not there');
};

subtest 'magical scalars' => sub {
    'matched text' =~ /(\w+) (?<word>\w+)/;
    sent_ok($1, 'matched', '$1');
    'matched text' =~ /(\w+) (?<word>\w+)/;
    sent_ok($+{word}, 'text', '$+{word}');
    'matched text' =~ /text/;
    sent_ok($&, 'text', '$&');
    local $0 = 'program';
    sent_ok($0, 'program', '$0');
    local $ENV{WEBSOCKET_TEST} = 'environment';
    sent_ok($ENV{WEBSOCKET_TEST}, 'environment', 'an element of %ENV');
    my $string = 'a substring of it';
    sent_ok(substr($string, 2, 9), 'substring', 'substr');
    sent_ok(vec($string, 0, 8), ord 'a', 'vec');
    my %hash = (key => 1);
    sent_ok((keys %hash)[0], 'key', 'a hash key');
    pos($string) = 5;
    sent_ok($string, 'a substring of it', 'a string with pos');
    is pos($string), 5, 'which it keeps';
};

subtest 'dualvars' => sub {
    local $! = 2;
    my $text = "$!";
    sent_ok($!, $text, '$!');
};

subtest 'other scalars' => sub {
    sent_ok(v1.22.333, join('', map { chr } 1, 22) . "\xc5\x8d", 'a v-string');
    sent_ok(*STDOUT, '*main::STDOUT', 'a glob');
    sent_ok(!!1, '1', 'true');
    sent_ok(!!0, '', 'false');
    sent_ok(__PACKAGE__, 'main', 'a shared constant');
    sent_ok($$, "$$", '$$');
};

subtest 'read-only scalars' => sub {
    sent_ok('literal', 'literal', 'a literal');
    sent_ok(undef, '', 'undef');
    sent_ok(12, '12', 'a number');
    Internals::SvREADONLY(my $read_only = "\x{263a}", 1);
    sent_ok($read_only, "\xe2\x98\xba", 'a wide read-only variable');
    sent_ok($_, $_, 'an alias of a literal') for 'alias';
};

subtest 'locale, $, and $\ ' => sub {
    local ($,, $\, $") = ('-', '!', '+');
    sent_ok('plain', 'plain', 'output separators have no say');
};

subtest 'opcode and body may be magical, tied or methods that compute' => sub {
    tie my $body, 'Counting', 'tied body';
    tie my $opcode, 'Counting', 2;
    sent_ok(Duck->new(opcode => sub { $opcode }, body => sub { $body }), 'tied body', 'tied');
    '9 ping' =~ /(\d) (\w+)/ and sent_ok(Duck->new(opcode => sub { '2' }, body => sub { 'a match' =~ /(match)/; $1 }), 'match', 'matched');
    sent_ok(Duck->new(opcode => '1', body => bless [], 'Stringy'), 'stringified', 'an overloaded body');
};

subtest 'methods called by send may send themselves' => sub {
    my $inner = Duck->new(opcode => 1, body => sub { $connection->send('inner'); 'outer' });
    $connection->send($inner);
    is_deeply [map { $_->{payload} } $peer->sync], ['inner', 'outer'], 'the inner one is first';
};

subtest 'what has no opcode and body croaks' => sub {
    my %wrong = ('a hash' => {}, 'an array' => [], 'a scalar reference' => \'x', 'code' => sub { 1 },
        'an overloaded object' => bless({}, 'Stringy'), 'another object' => bless([], 'Nothing'), 'a regexp' => qr/x/,
        'a file handle' => \*STDOUT, 'the connection' => $connection);
    for my $name (sort keys %wrong) {
        ok !eval { $connection->send($wrong{$name}); 1 }, $name;
        isnt $@, '', 'with an error';
    }
    is_deeply [$peer->sync], [], 'nothing of it is on the wire, and the connection is in order';
};

subtest 'an exception in opcode or body reaches the caller' => sub {
    for my $method (qw(opcode body)) {
        my $thrown = { from => $method };
        my $bad = Duck->new(opcode => 1, body => 'x', $method => sub { die $thrown });
        ok !eval { $connection->send($bad); 1 }, "$method dies";
        is $@, $thrown, 'the exception is the same';
    }
    is_deeply [$peer->sync], [], 'nothing is on the wire, and the connection is in order';
};

subtest 'a tied scalar whose FETCH dies' => sub {
    no warnings 'once';
    local *Dying::TIESCALAR = sub { bless [], shift };
    local *Dying::FETCH = sub { die "cannot fetch\n" };
    tie my $tied, 'Dying';
    ok !eval { $connection->send($tied); 1 }, 'send dies';
    is $@, "cannot fetch\n", 'with that exception';
    is_deeply [$peer->sync], [], 'nothing is on the wire';
};

subtest 'a body method that closes the connection' => sub {
    my ($connection, $peer) = connection_and_peer();
    my $closing = Duck->new(opcode => 1, body => sub { $connection->close(4000); 'late' });
    is $connection->send($closing), $connection, 'send returns the connection';
    is_deeply [map { $_->{opcode} } $peer->frames_to_eof], [8], 'nothing follows the Close frame';
};

differs 'a Close frame that a callback sends as its last act, before a violation' => 'goes on' => sub {
    my ($connection, $peer) = connection_and_peer();
    $connection->on(each_message => sub {
        my ($self, $message) = @_;
        return $self->send($message) if $message->body eq 'quick';
        $self->send(AnyEvent::WebSocket::Message->new(opcode => 8, body => pack 'n', 4001));
    });
    for (1 .. 2) {
        $peer->write(text('quick') x 8);
        $peer->next_frames(8);
    }
    $peer->write(text('quick'), text('close'), frame(opcode => 3));
    is_deeply [map { [close_of($_)] } grep { $_->{opcode} == 8 } $peer->frames_to_eof], [[4001, '']], 'arrives';
};

done_testing;
