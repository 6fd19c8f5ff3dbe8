package PodCode::Stage;

# Runs a fragment of Perl from the documentation where variables that it takes for granted exist, connections have a peer at
# the other end, and clients reach a server whatever URL they are given.
#
#   my @problems = PodCode::Stage::problems($block);      # a block of PodCode
#
# Each fragment runs under strict and warnings, in a process of its own. Then its connections receive a text message, a ping,
# a pong and the end of the connection. A problem is a syntax error, an exception, a warning, or anything else on STDERR.
# `...` stands for code of the reader's own, and does nothing. The last line of a whole program, which runs the event loop until
# the program ends, is left out.

use strict;
use warnings;

use AnyEvent;
use AnyEvent::Handle;
use AnyEvent::Socket ();
use AnyEvent::WebSocket::Blocking;
use AnyEvent::WebSocket::Client;
use AnyEvent::WebSocket::Connection;
use AnyEvent::WebSocket::Deflate::Client;
use AnyEvent::WebSocket::Reconnecting;
use AnyEvent::WebSocket::Server;
use File::Temp;
use POSIX ();
use WebSocketTest;
use WebSocketTest::ForkedServer;
use WebSocketTest::Frame;
use WebSocketTest::Peer;


my (@kept, @peers, $port);

# The variables that fragments may take for granted.
our %GIVEN = (
    '$connection'  => sub { connection() },
    '@connections' => sub { connection(), connection() },
    '%clients'     => sub { map { $_ => connection() } 1 .. 2 },
    '$handle'      => sub { AnyEvent::Handle->new(fh => end_of_pair()) },
    '$socket'      => sub { end_of_pair() },
    '$url'         => sub { server_url() },
    '$path'        => sub { file_with("line\n" x 1000) },
    '$fh'          => sub { open my $fh, '+<:raw', file_with('octets' x 1000) or die $!; $fh },
    '$database'    => sub { bless [], 'PodCode::Stage::Database' },
    '$message'     => sub { AnyEvent::WebSocket::Message->new(body => '{"text":"hello"}') },
    '$string'      => sub { 'hello' },
    '$characters'  => sub { "gr\x{fc}n" },
    '$octets'      => sub { "\x00\xff" },
    '$payload'     => sub { 'payload' },
    '$data'        => sub { 'data' },
    '$next'        => sub { my @chunks = qw(one two); sub { shift @chunks } },
    '$code'        => sub { 4000 },
    '$reason'      => sub { 'over' },
    '$event'       => sub { 'each_message' },
    '$seconds'     => sub { 30 },
    '$bytes'       => sub { 1_000_000 },
    '$count'       => sub { 100 },
    '$client'      => sub { AnyEvent::WebSocket::Deflate::Client->new },
    '$feed'        => sub { AnyEvent::WebSocket::Reconnecting->new(uri => server_url()) },
    '$failure'     => sub { AnyEvent::WebSocket::Reconnecting::Failure->new(error => 'unable to connect', attempts => 1) },
    '$token'       => sub { 'token' },
    '$callback'    => sub { sub { } },
    '$offers'      => sub { 'permessage-deflate; client_max_window_bits' },
    '$answer'      => sub { 'permessage-deflate' },
    '$parameters'  => sub { (AnyEvent::WebSocket::Deflate::accept('permessage-deflate'))[1] },
    '%options'     => sub { () },
    '$server'      => sub { AnyEvent::WebSocket::Server->new },
    '$env'         => sub { { 'psgix.io' => end_of_pair(), SCRIPT_NAME => '', PATH_INFO => '/', QUERY_STRING => '' } },
    '$ws'          => sub { AnyEvent::WebSocket::Blocking->connect('ws://localhost/') },
    '$tunnel'      => sub { IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => other_process()->port) },
    '$limit'       => sub { 60 },
);

sub PodCode::Stage::Database::insert { my (undef, $octets, $done) = @_; $done->() }

sub problems {
    my ($block) = @_;
    my $report = File::Temp->new;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        open STDERR, '>>', $report->filename or POSIX::_exit(2);
        open STDOUT, '>', '/dev/null' or POSIX::_exit(2);
        alarm 60 * patience();
        my $is_done = eval { perform($block); 1 };
        print STDERR $@ if !$is_done;
        STDERR->flush;
        end_other_process();
        POSIX::_exit($is_done ? 0 : 1);
    }
    waitpid $pid, 0;
    my @problems = split /\n/, do { local $/; readline($report) // '' };
    push @problems, "ended with wait status $?" if $? && !@problems;
    return @problems;
}

sub perform {
    my ($block) = @_;
    no warnings 'redefine';
    my $connect = \&AnyEvent::Socket::tcp_connect;
    local *AnyEvent::Socket::tcp_connect = sub { splice @_, 0, 2, '127.0.0.1', server_port(); &$connect };
    my $blocking = AnyEvent::WebSocket::Native::Transport->can('connect');
    local *AnyEvent::WebSocket::Native::Transport::connect =
        sub { splice @_, 1, 2, '127.0.0.1', other_process()->port; &$blocking };
    local *AnyEvent::WebSocket::Native::Transport::start_tls = sub { return };
    my $result = evaluate($block);
    die $@ if $@;
    happen();
    return $result;
}

sub evaluate {
    my ($block) = @_;
    my @given = grep { uses($block->{text}, $_) } sort keys %GIVEN;
    my $declared = join '', map {"my $_ = \$PodCode::Stage::GIVEN{'$_'}->();"} @given;
    my $text = $block->{text} =~ s/(?<![.\w'"])\.\.\.(?=\s*[;}\n])/();/gr;
    $text =~ s/^(?:AE::cv|\$finished)->recv;\n\z//m;
    return in_own_package(qq{$declared {\n# line $block->{line} "$block->{file}"\n$text\n;}});
}

sub in_own_package {
    my $result = eval "package PodCode::Stage; use strict; use warnings; $_[0]; 1";
    return $result;
}

# Returns true if the text uses the variable, or a part of it, before declaring it.
sub uses {
    my ($text, $variable) = @_;
    my ($sigil, $name) = $variable =~ /^(.)(.+)$/;
    my $mention = $sigil eq '$' ? qr/\$\Q$name\E\b(?!\s*[\[{])/
        : $sigil eq '@' ? qr/\@\Q$name\E\b|\$\Q$name\E\[/ : qr/%\Q$name\E\b|[\$\@]\Q$name\E\{/;
    # The names that a sub gives its arguments do not matter outside.
    $text =~ s/\bmy\s*\([^()]*\) = \@_;//g;
    my ($before) = $text =~ /\A(.*?)$mention/s or return 0;
    return $before !~ /\bmy\s*(?:\([^()]*)?\z/;
}

# --- variables that fragments are given

sub end_of_pair {
    my ($left, $right) = socket_pair();
    push @peers, WebSocketTest::Peer->new($right);
    return $left;
}

sub connection {
    my $connection = connection_on(end_of_pair());
    $connection->on(parse_error => sub { print STDERR "parse_error: $_[1]\n" });
    push @kept, $connection;
    return $connection;
}

sub file_with {
    my ($content) = @_;
    my $file = File::Temp->new;
    print {$file} $content;
    close $file or die $!;
    push @kept, $file;
    return $file->filename;
}

sub server_url { 'ws://localhost:' . server_port() . '/' }

sub server_port {
    return $port ||= do
    {
        my $found;
        push @kept, AnyEvent::Socket::tcp_server('127.0.0.1', 0, \&serve, sub { $found = $_[2]; 0 });
        $found;
    };
}

sub serve {
    my ($socket) = @_;
    AnyEvent::WebSocket::Server->new->establish($socket)->cb(sub {
        push @kept, my $connection = eval { $_[0]->recv } or return;
        $connection->on(each_message => sub { $_[0]->send($_[1]) });
    });
}

# Returns the server for clients that block this process. It says hello, answers messages, and closes after a while of silence.
my $other_process;

sub end_other_process { undef $other_process }

sub other_process {
    return $other_process ||= WebSocketTest::ForkedServer->start(
        sub {
            my ($peer) = @_;
            my ($protocol) = $peer->head =~ /^Sec-WebSocket-Protocol: ([^,\r]+)/m;
            $peer->accept(defined $protocol ? "Sec-WebSocket-Protocol: $protocol\r\n" : '');
            $peer->write(text('{"result":"hello"}'));
            $SIG{ALRM} = sub { $peer->write(close_frame(1000)) };
            alarm 1;
            $peer->echo;
            alarm 0;
        },
        raw => 1
    );
}

# --- events that fragments see

sub happen {
    turn();
    $_->resume for connections();
    for my $peer (@peers) {
        $peer->write(map { $_->[0]->($_->[1], mask => 1) } [\&text, '{"text":"hello"}'], [\&ping, 'ping'], [\&pong, 'pong'], [\&text, 'good bye']);
        $peer->half_close;
    }
    settle();
    wait_until('all connections to be closed', sub { !grep { !is_over($_) } @peers });
    settle();
}

# Returns true if a pair has ended. Its end may be a handle on which the fragment made no connection, and which is gone.
sub is_over { $_[0]->eof || $_[0]->error || !grep { $_->state ne 'closed' } connections() }

sub connections { grep { ref && $_->isa('AnyEvent::WebSocket::Connection') } @kept }

1;
