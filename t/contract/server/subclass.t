# Tests what subclasses of AnyEvent::WebSocket::Server may override.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;
use WebSocketTest::Establish;

needs_server();
my ($plain, @secure) = transports();
@Sub::ISA = 'AnyEvent::WebSocket::Server';

# Has the subclass do that, for this scope, when the method is called.
sub overriding {
    my ($method, $code) = @_;
    no strict 'refs';
    no warnings 'redefine';
    *{"Sub::$method"} = $code;
    return Overridden->new(sub { delete $Sub::{$method} });
}

{
    package Overridden;
    sub new { bless { code => $_[1] }, $_[0] }
    sub DESTROY { $_[0]{code}->() }
}

subtest 'an empty subclass' => sub {
    my $server = Sub->new(max_payload_size => 5);
    is ref $server, 'Sub', 'has its class';
    my ($attempt, $peer) = establishing(SERVER => $server);
    $peer->write(request());
    is $attempt->connection->max_payload_size, 5, 'and works';
};

subtest 'new' => sub {
    my $guard = overriding(new => sub {
        my ($class, %args) = @_;
        my $self = AnyEvent::WebSocket::Server::new($class, %args);
        $self->{own} = $args{own};
        return $self;
    });
    is(Sub->new(own => 3)->{own}, 3, 'may add keys');
};

subtest '_do_handshake' => sub {
    my @calls;
    my $guard = overriding(_do_handshake => sub { push @calls, [@_]; AnyEvent::WebSocket::Server::_do_handshake(@_) });
    my $server = Sub->new;
    my ($attempt, $peer) = establishing(SERVER => $server);
    is_deeply [map { ref } @{ $calls[0] }], ['Sub', ref $attempt->cv, 'GLOB', 'Protocol::WebSocket::Handshake::Server'],
        'gets the condition variable, the socket and a handshake';
    is_deeply [@{ $calls[0] }[0 .. 2]], [$server, $attempt->cv, $attempt->fh], 'the same ones';
    $peer->write(request());
    isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
    is response_of($peer), $RESPONSE, 'the response';
    my ($psgi_attempt, $psgi_peer) = establishing(SERVER => $server, ENV => psgi_env(PATH_INFO => '/psgi'));
    is $calls[1][3]->req->resource_name, '/psgi', 'establish_psgi calls it too, with the request';
    isa_ok $psgi_attempt->connection, 'AnyEvent::WebSocket::Connection';
    is scalar @calls, 2, 'once each';
};

subtest '_do_handshake replaced in the class' => sub {
    my $original = AnyEvent::WebSocket::Server->can('_do_handshake');
    my @got;
    no warnings 'redefine';
    local *AnyEvent::WebSocket::Server::_do_handshake = sub { push @got, ref $_[3]; goto &$original };
    my ($attempt, $peer) = establishing();
    $peer->write(request());
    isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
    is_deeply \@got, ['Protocol::WebSocket::Handshake::Server'], 'gets a handshake, too';
};

subtest '_do_handshake that refuses' => sub {
    my $guard = overriding(_do_handshake => sub { $_[1]->croak('too many') });
    for my $env (undef, psgi_env()) {
        my ($attempt, $peer) = establishing(SERVER => Sub->new, ENV => $env);
        is $attempt->error, 'too many', $env ? 'establish_psgi' : 'establish';
    }
};

subtest '_do_handshake that has read the request itself' => sub {
    my $guard = overriding(_do_handshake => sub {
        my ($self, $cv, $fh, $handshake) = @_;
        sysread $fh, my $octets, 4096;
        $handshake->parse($octets);
        AnyEvent::WebSocket::Server::_do_handshake($self, $cv, $fh, $handshake);
    });
    for my $callback (undef, sub { ($_[1], $_[0]->resource_name) }) {
        my ($ours, $theirs) = socket_pair();
        my $peer = WebSocketTest::Peer->new($theirs)->write(request())->wait_written;
        my $attempt = establishing_on($ours, SERVER => Sub->new(handshake => $callback));
        my ($connection, @other) = $attempt->results;
        isa_ok $connection, 'AnyEvent::WebSocket::Connection';
        is_deeply \@other, $callback ? ['/chat'] : [], 'the request';
        is response_of($peer), $RESPONSE, 'the response';
    }
};

subtest '_do_handshake with another condition variable' => sub {
    my @results;
    my $guard = overriding(_do_handshake => sub {
        my ($self, $cv, @more) = @_;
        my $own = AE::cv;
        $own->cb(sub { $cv->send($_[0]->recv, 'added') });
        AnyEvent::WebSocket::Server::_do_handshake($self, $own, @more);
    });
    my ($attempt, $peer) = establishing(SERVER => Sub->new(handshake => sub { ($_[1], 'other') }));
    $peer->write(request());
    my ($connection, @other) = $attempt->results;
    isa_ok $connection, 'AnyEvent::WebSocket::Connection';
    is_deeply \@other, ['other', 'added'], 'results can be added';
};

subtest 'establish and establish_psgi' => sub {
    my @calls;
    my @guards = map {
        my $method = $_;
        overriding($method => sub { push @calls, $method; AnyEvent::WebSocket::Server->can($method)->(@_) });
    } qw(establish establish_psgi);
    my ($attempt, $peer) = establishing(SERVER => Sub->new);
    $peer->write(request());
    isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
    is_deeply \@calls, ['establish'], 'establish is not called for anything else';
    ($attempt, $peer) = establishing(SERVER => Sub->new, ENV => psgi_env());
    is_deeply \@calls, [qw(establish establish_psgi)], 'nor is establish_psgi';
};

subtest '_handle_args_tls that returns nothing' => sub {
    my @calls;
    my $guard = overriding(_handle_args_tls => sub { push @calls, [@_]; return });
    my $server = Sub->new(ssl_cert_file => 'no such file');
    for my $number (1, 2) {
        my ($attempt, $peer) = establishing(SERVER => $server);
        $peer->write(request());
        isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
        is response_of($peer), $RESPONSE, 'there is no TLS';
        is_deeply \@calls, [([$server]) x $number], 'it is called for each connection';
    }
};

subtest '_handle_args_tls that returns its own' => sub {
    plan skip_all => 'no certificate' if !@secure;
    my $guard = overriding(_handle_args_tls => sub { WebSocketTest::TLS::shared_tls_options('accept') });
    my ($ours, $theirs) = tcp_pair();
    my $attempt = establishing_on($ours, SERVER => Sub->new);
    my $peer = WebSocketTest::SecureClient->new($theirs)->write(request());
    isa_ok $attempt->connection, 'AnyEvent::WebSocket::Connection';
    is response_of($peer), $RESPONSE, 'decides on TLS';
};

subtest '_handle_args_tls that dies' => sub {
    my $guard = overriding(_handle_args_tls => sub { die "no TLS\n" });
    my ($ours, $theirs) = socket_pair();
    my $peer = WebSocketTest::Peer->new($theirs);
    ok !eval { Sub->new->establish($ours); 1 }, 'has establish die';
    is $@, "no TLS\n", 'with that';
    settle();
    ok !$peer->eof, 'the socket stays open';
};

done_testing;
