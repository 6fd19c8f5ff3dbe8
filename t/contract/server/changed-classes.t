# Tests that a program may change the classes of connections and handles at any time, and that this has an effect on the
# connections that a server makes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Class::Method::Modifiers ();
use IO::Socket::INET ();
use Test::More;
use WebSocketTest;
use WebSocketTest::Apart qw(passes_apart);
use WebSocketTest::Establish;

needs_server();

my $CLASS = 'AnyEvent::WebSocket::Connection';

# Returns a connection that a server has made.
sub accepted {
    my (%args) = @_;
    my ($attempt, $peer) = establishing(%args);
    $peer->write(request());
    return $attempt->connection;
}

# Each test runs in a process of its own, without a connection before it, and after one.
sub changing {
    my ($name, $tests) = @_;
    for my $is_first (1, 0) {
        my $in_child = sub { accepted() if !$is_first; $tests->() };
        ok passes_apart($in_child, 60), $name . ($is_first ? '' : ', when there is a connection already');
    }
}

for my $method (qw(new _start oobinline)) {
    changing "AnyEvent::Handle's $method is replaced" => sub {
        my $own = AnyEvent::Handle->can($method);
        my $called = 0;
        no strict 'refs';
        no warnings 'redefine';
        *{"AnyEvent::Handle::$method"} = sub { $called++; &$own };
        accepted();
        is $called, 1, 'and called';
        *{"AnyEvent::Handle::$method"} = $own;
        accepted();
        is $called, 1, 'and put back';
    };
}

changing 'a wrapped AnyEvent::Handle->new that makes other handles' => sub {
    @Marked::ISA = 'AnyEvent::Handle';
    my $own = AnyEvent::Handle->can('new');
    no warnings 'redefine';
    *AnyEvent::Handle::new = sub { my (undef, @rest) = @_; $own->('Marked', @rest, linger => 7) };
    my $handle = accepted()->handle;
    is ref $handle, 'Marked', 'decides on the class';
    is $handle->{linger}, 7, 'and on the options';
};

for my $modifier (qw(before around after)) {
    changing "$modifier BUILD" => sub {
        my @seen;
        my $code = $modifier eq 'around' ? sub { my ($next, @rest) = @_; push @seen, ref $rest[0]; $next->(@rest) }
            : sub { push @seen, ref $_[0] };
        Class::Method::Modifiers::install_modifier($CLASS, $modifier => BUILD => $code);
        accepted();
        is_deeply \@seen, [$CLASS], 'is called';
    };
}

changing 'around new, which adds an argument' => sub {
    Class::Method::Modifiers::install_modifier($CLASS,
        around => new => sub { my ($next, $class, @rest) = @_; $next->($class, @rest, subprotocol => 'added') });
    is accepted()->subprotocol, 'added', 'is called';
};

# Moo's constructor calls it only if it is there before the first connection.
ok passes_apart(sub {
    no strict 'refs';
    *{"${CLASS}::BUILDARGS"} = sub { my ($class, %args) = @_; return { %args, subprotocol => 'added' } };
    is accepted()->subprotocol, 'added', 'is called';
}, 60), 'a BUILDARGS';

changing 'an accessor is replaced' => sub {
    my $own = $CLASS->can('max_payload_size');
    no warnings 'redefine';
    *AnyEvent::WebSocket::Connection::max_payload_size = sub { @_ == 1 ? 3 : &$own };
    my ($attempt, $peer) = establishing();
    $peer->write(request());
    my $seen = recorder($attempt->connection);
    $peer->write(text('1234', mask => 1));
    $seen->wait_parse_error;
    like $seen->errors->[0], qr/\APayload is too big/, 'and asked';
};

ok passes_apart(sub {
    package Tagged;
    use Moo::Role;
    has tag => (is => 'ro', default => sub { 'a tag' });
    Moo::Role->apply_roles_to_package($CLASS, 'Tagged');
    main::is main::accepted()->tag, 'a tag', 'has its default';
}, 60), q(an attribute of a role that is applied to the class);

# Runs Perl code in the class, with Moo's own subs, before there is a connection.
sub changed_ok {
    my ($name, $code, $tests) = @_;
    return ok passes_apart(sub { eval "package $CLASS; $code; 1" or die $@; $tests->(accepted()) }, 60), $name;
}

changed_ok 'an attribute without an accessor', q(has extra => (is => 'bare', default => 42)), sub { is $_[0]{extra}, 42, 'is set' };
changed_ok 'a default for an attribute', q(has '+subprotocol' => (default => 'chat')), sub { is $_[0]->subprotocol, 'chat', 'is set' };
changed_ok 'another parent, with Moo', q(package Parent; use Moo; has zz => (is => 'ro', default => 7); package ) . $CLASS . q(; extends 'Parent'),
    sub { is $_[0]->zz, 7, 'has its attributes' };
changed_ok 'another parent, with @ISA', q(our $built; sub Above::BUILD { $built++ } push our @ISA, 'Above'),
    sub { is do { no strict 'refs'; ${"${CLASS}::built"} }, 1, 'has its BUILD called' };
changed_ok 'a DEMOLISH', q(our $ended = 0; sub DEMOLISH { $ended++ }), sub {
    undef $_[0];
    is do { no strict 'refs'; ${"${CLASS}::ended"} }, 1, 'is called';
};

# Perl then counts this change in another way.
my @SUBS = qw(AnyEvent::Handle::_start AnyEvent::WebSocket::Connection::BUILD);
my @copies = do { no strict 'refs'; map { *$_ } @SUBS };
for my $sub (@SUBS) {
    changing "$sub is replaced while the program has a copy of its glob" => sub {
        my $called = 0;
        no strict 'refs';
        no warnings 'redefine';
        my $own = \&$sub;
        *$sub = sub { $called++; &$own };
        accepted();
        is $called, 1, 'and called';
    };
}

changing 'AnyEvent::fh_unblock is replaced' => sub {
    my $own = \&AnyEvent::fh_unblock;
    my $called = 0;
    no warnings qw(redefine prototype);
    *AnyEvent::fh_unblock = sub { $called++; $own->(@_) };
    accepted();
    is $called, 1, 'and called';
};

subtest 'handles are as AnyEvent makes them' => sub {
    accepted();
    my ($left) = socket_pair();
    my $usual = AnyEvent::Handle->new(fh => $left, on_error => sub { });
    my $handle = accepted()->handle;
    is ref $handle, ref $usual, 'class';
    is $handle->{$_}, $usual->{$_}, $_ for qw(oobinline read_size max_read_size);
    ok $handle->{$_} > 1e9, $_ for qw(_activity _ractivity _wactivity);
    ok !defined(do { no warnings; sysread $handle->{fh}, my $bytes, 1 }), 'does not block';
};

subtest 'a socket that is no stream' => sub {
    accepted();
    my $socket = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1') or die "no socket: $@";
    my $error = do { local $@; eval { AnyEvent::WebSocket::Server->new->establish($socket) }; $@ };
    like $error, qr/only stream sockets supported/, 'is refused as AnyEvent refuses it';
};

done_testing;
