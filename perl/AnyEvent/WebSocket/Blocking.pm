package AnyEvent::WebSocket::Blocking;

use strict;
use warnings;
use AnyEvent::WebSocket::Message ();
use AnyEvent::WebSocket::Native::Codec ();
use AnyEvent::WebSocket::Native::BlockingOpening ();
use AnyEvent::WebSocket::Native::Formats ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Payload ();
use AnyEvent::WebSocket::Native::Transport ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Encode ();
use POSIX ();

our $VERSION = '1.000';
our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

use constant {
    PING => 9,
    NORMAL => 1000,
    NO_STATUS => 1005,
    # Limits the messages that wait for `receive`, in bytes, while the peer does not read what we send.
    MAX_WAITING => 16 * 1024 * 1024,
    # Roughly the memory that perl needs for a message besides its body, in bytes.
    MESSAGE_SIZE => 512,
    CHUNK => 65536,
};

# A SIGPIPE that is blocked would come later, when it is no longer ignored.
my $SIGNALS = POSIX::SigSet->new;
$SIGNALS->fillset;
$SIGNALS->delset(POSIX::SIGPIPE());

# The codes with which a peer closes because it is done, or going away.
my %IS_PROPER = map { $_ => 1 } 1000, 1001, NO_STATUS;

*send_binary = \&AnyEvent::WebSocket::Native::Formats::send_binary;
*send_json = \&AnyEvent::WebSocket::Native::Formats::send_json;
*send_text = \&AnyEvent::WebSocket::Native::Formats::send_text;

sub connect {
    my ($class, $url, @options) = @_;
    my $parts = AnyEvent::WebSocket::Native::BlockingOpening::connect($url, @options);
    return bless {
        %$parts,
        input => '',
        messages => [],
        waiting => 0,
        written => 0,
        pings => 0,
        pong => 0,
        thread => AnyEvent::WebSocket::Native::Util::thread_id(),
        },
        $class;
}

# --- receiving

sub receive {
    my ($self, $seconds) = @_;
    my $message;
    # A signal handler may take a message, too.
    my $has_come = $self->_wait(receive => $seconds, sub { ($message = shift @{ $self->{messages} }) || defined $self->{end} });
    Carp::croak("receive: timed out after $seconds seconds") if !$has_come;
    if ($message) {
        $self->{waiting} -= _size($message);
        return $message;
    }
    Carp::croak("receive: $self->{end}") if $self->{end} ne '';
    return;
}

sub can_receive {
    my ($self, $seconds) = @_;
    return $self->_wait(
        can_receive => defined $seconds ? $seconds : 0,
        sub { @{ $self->{messages} } || defined $self->{end} }
    ) ? 1 : 0;
}

# --- sending

sub send {
    my ($self, $message) = @_;
    $self->_check_use('send');
    my ($opcode, $octets) = AnyEvent::WebSocket::Native::Payload::frame_of($message, 'send');
    $self->_check_open('send');
    my $error = $self->{codec}->queue_frame($opcode, $octets);
    Carp::croak("send: $error") if defined $error;
    $self->_write_all or Carp::croak("send: timed out: the peer took nothing for $self->{timeout} seconds");
    # After a Close frame that the program has sent as a message, the connection is not open either.
    $self->_check_open('send') if defined $self->{end};
    return $self;
}

# Writes everything. Returns false if the peer takes nothing for a while: the connection is then of no more use, because part
# of a frame may be written.
sub _write_all {
    my ($self) = @_;
    while (!defined $self->{end} && length $self->{codec}->output(1)) {
        my $before = $self->{written};
        my $has_moved = $self->_run_until(
            _after($self->{timeout}),
            sub { defined $self->{end} || $self->{written} != $before || !length $self->{codec}->output(1) });
        next if $has_moved;
        $self->_end("the peer took nothing for $self->{timeout} seconds");
        $self->_drop;
        return 0;
    }
    return 1;
}

sub ping {
    my ($self, $seconds) = @_;
    $seconds = $self->{timeout} || undef if !defined $seconds;
    $self->_check_use('ping');
    my $deadline = _deadline(ping => $seconds);
    $self->_check_open('ping');
    my $since = AnyEvent::WebSocket::Native::Transport::now();
    my $number = ++$self->{pings};
    my $error = $self->{codec}->queue_frame(PING, "$number");
    Carp::croak("ping: $error") if defined $error;
    $self->_run_until($deadline, sub { $self->{pong} >= $number || defined $self->{end} })
        or Carp::croak("ping: timed out after $seconds seconds");
    $self->_check_open('ping') if $self->{pong} < $number;
    return AnyEvent::WebSocket::Native::Transport::now() - $since;
}

# --- closing

sub close {
    my ($self, $code, $reason) = @_;
    $self->_check_use('close');
    $code = NORMAL if !defined $code;
    my $number = AnyEvent::WebSocket::Native::Number::whole($code);
    Carp::croak("close: $code is not a close code, which is a whole number from 1000 to 4999")
        unless defined $number && $number >= NORMAL && $number <= 4999;
    my $octets = AnyEvent::WebSocket::Native::Payload::octets($reason);
    ($self->{messages}, $self->{waiting}) = ([], 0);
    if (!defined $self->{end}) {
        $self->{is_closing} = 1;
        $self->{codec}->queue_close($number == NO_STATUS && $octets eq '' ? undef : $number, $octets);
        $self->_run_until(_after($self->{close_timeout}), sub { defined $self->{end} });
        $self->{end} = '';
    }
    $self->_drop;
    return $self->{is_closed} ? 1 : 0;
}

# --- what it is

sub close_code { return $_[0]{close_code} }
sub close_reason { return $_[0]{close_reason} }

sub is_open {
    my ($self) = @_;
    $self->_check_thread('is_open');
    return !defined $self->{end} && $self->{codec}->may_send ? 1 : 0;
}

sub subprotocol { return $_[0]{subprotocol} }
sub handle { return $_[0]{transport} ? $_[0]{transport}->socket : undef }
sub fileno { my $handle = $_[0]->handle; return $handle ? CORE::fileno($handle) : undef }

# --- the work behind all that

# Croaks if the connection cannot be used here and now.
sub _check_use {
    my ($self, $method) = @_;
    $self->_check_thread($method);
    Carp::croak("$method: a transfer was interrupted") if $self->{is_moving};
}

sub _check_thread {
    my ($self, $method) = @_;
    return if $self->{thread} == AnyEvent::WebSocket::Native::Util::thread_id();
    Carp::croak("$method: the connection belongs to another thread");
}

sub _check_open {
    my ($self, $method) = @_;
    return if $self->is_open;
    Carp::croak("$method: " . (($self->{end} || '') eq '' ? 'the connection is closed' : $self->{end}));
}

sub _after {
    my ($seconds) = @_;
    return AnyEvent::WebSocket::Native::Transport::FOREVER if !$seconds;
    return AnyEvent::WebSocket::Native::Transport::now() + $seconds;
}

# Runs until the condition holds, for that many seconds; without end if they are undef. Returns false if it does not hold then.
sub _wait {
    my ($self, $method, $seconds, $holds) = @_;
    $self->_check_use($method);
    return $self->_run_until(_deadline($method, $seconds), $holds);
}

sub _deadline {
    my ($method, $seconds) = @_;
    return AnyEvent::WebSocket::Native::Transport::FOREVER if !defined $seconds;
    my $plain = AnyEvent::WebSocket::Native::Number::seconds($seconds);
    Carp::croak("$method: the time must be a number of seconds") if !defined $plain;
    # An infinite number of seconds is 0 here.
    return AnyEvent::WebSocket::Native::Transport::FOREVER if !$plain && $seconds != 0;
    return AnyEvent::WebSocket::Native::Transport::now() + $plain;
}

# Moves bytes until the condition holds. Returns false if it does not hold at the deadline. Each time around, everything may
# have changed, because a signal handler may have used the connection.
sub _run_until {
    my ($self, $deadline, $holds) = @_;
    my $turns = 0;
    while (1) {
        $self->_take_events;
        $self->_leave($deadline) if defined $self->{end};
        return 1 if $holds->();
        return 0 if defined $self->{end} || $turns++ && AnyEvent::WebSocket::Native::Transport::now() >= $deadline;
        next if $self->_move('_write_some') || $self->_may_read && $self->_move('_read_some');
        $self->{is_mute}
            ? $self->_lose
            : $self->_await($deadline, $self->_may_read ? 'read' : (), length $self->{codec}->output(1) ? 'write' : ());
    }
}

sub _await {
    my ($self, $deadline, @directions) = @_;
    my $transport = $self->{transport} or return 0;
    return $transport->wait($deadline, @directions);
}

# A peer that sends without end while it does not read must not use up all memory.
sub _may_read { return $_[0]{waiting} < MAX_WAITING }

# Runs a transfer, with signals blocked: a handler in the middle of it could neither use the connection nor die without harm.
sub _move {
    my ($self, $transfer) = @_;
    my $mask = POSIX::SigSet->new;
    my ($is_fine, $has_moved, $error);
    {
        local $@;
        $is_fine = eval {
            POSIX::sigprocmask(POSIX::SIG_BLOCK(), $SIGNALS, $mask);
            # For signals that came just before, perl calls the handlers at this `if`.
            $self->{is_moving} = 1 if $mask;
            $has_moved = $self->$transfer;
            $self->{is_moving} = 0;
            1;
        };
        $error = $@;
    }
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), $mask);
    return $has_moved if $is_fine;
    local $SIG{__DIE__};
    die $error;
}

# Both return true if bytes were moved, or the connection has ended.
sub _write_some {
    my ($self) = @_;
    my $transport = $self->{transport} or return 1;
    my $octets = $self->{is_mute} ? '' : $self->{codec}->output(CHUNK);
    return 0 if $octets eq '';
    my $count = $transport->send($octets);
    return 0 if !defined $count;
    # We can still read what the peer sent before, for instance a Close frame with its reason.
    $count ? $self->{codec}->written($count) : ($self->{is_mute} = 1);
    $self->{written} += $count;
    return 1;
}

sub _read_some {
    my ($self) = @_;
    my $transport = $self->{transport} or return 1;
    my $count = $transport->receive($self->{input});
    return 0 if !defined $count;
    $count ? $self->{codec}->feed($self->{input}) : $self->_lose;
    return 1;
}

my %TAKE = (
    message => sub {
        my ($self, $message) = @_;
        return if $self->{is_closing};
        push @{ $self->{messages} }, $message;
        $self->{waiting} += _size($message);
    },
    pong => sub {
        my ($self, $payload) = @_;
        $self->{pong} = 0 + $payload if $payload =~ /\A[0-9]{1,15}\z/ && $payload > $self->{pong} && $payload <= $self->{pings};
    },
    close => sub {
        my ($self, $code, $reason) = @_;
        $self->{close_code} = $code;
        $self->{close_reason} = Encode::decode('UTF-8', $reason);
        $self->{is_closed} = 1;
        my $said = $code == NO_STATUS ? '' : " with code $code" . ($reason eq '' ? '' : ": $self->{close_reason}");
        $self->_end($IS_PROPER{$code} || $self->{is_closing} ? '' : "the peer closed the connection$said");
    },
    failure => sub { $_[0]->_end($_[1]) },
);

sub _size { return MESSAGE_SIZE + length $_[0]{body} }

sub _take_events {
    my ($self) = @_;
    while (!defined $self->{end} && $self->_may_read and my $event = $self->{codec}->next_event) {
        my ($kind, @values) = @$event;
        $TAKE{$kind}->($self, @values);
    }
}

# The transport has ended.
sub _lose {
    my ($self) = @_;
    my $error = $self->{transport}->error;
    $self->_end('the connection ended without a Close frame' . (defined $error ? ": $error" : ''));
    $self->_drop;
}

# Drops a connection that has ended. What answers the peer's Close, or its violation, is written before, if the peer takes it.
# Messages that are there do not wait for that.
sub _leave {
    my ($self, $deadline) = @_;
    my $latest = @{ $self->{messages} } ? 0 : _after($self->{close_timeout});
    $deadline = $latest if $latest < $deadline;
    while ($self->{transport} && !$self->{is_mute} && length $self->{codec}->output(1)) {
        next if $self->_move('_write_some');
        $self->_await($deadline, 'write') or last;
    }
    $self->_drop;
}

# The first reason counts.
sub _end {
    my ($self, $why) = @_;
    $self->{end} = $why if !defined $self->{end};
}

sub _drop {
    my ($self) = @_;
    $self->{codec}->give_up;
    my $transport = delete $self->{transport} or return;
    $transport->close;
}

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Blocking - a WebSocket client that waits, without an event loop

=head1 SYNOPSIS

  use AnyEvent::WebSocket::Blocking;

  my $ws = AnyEvent::WebSocket::Blocking->connect('wss://example.com/rpc', timeout => 10);
  $ws->send_json({ id => 1, method => 'status' });
  my $reply = $ws->receive(5) or die "the server has closed\n";
  print $reply->decoded_json->{result}, "\n";
  $ws->close;

=head1 DESCRIPTION

For programs that ask and wait for the answer: scripts, cron jobs, tests, and callbacks of an event loop that need an answer
before they return. In a callback of AnyEvent, C<< AnyEvent::WebSocket::Client->connect(...)->recv >> dies with "recursive
blocking wait" while the main program itself waits in a C<recv>; this class works there, and in callbacks of L<IO::Async>,
L<POE> or any other loop, because it uses none. While it waits, the loop stands still: no other callback runs. A program that must do several things at once takes
L<AnyEvent::WebSocket::Client>.

It has the same engine as L<AnyEvent::WebSocket::Connection>, and messages are objects of L<AnyEvent::WebSocket::Message>. It
does not load AnyEvent, except for L</deflate>. Sockets are L<IO::Socket::IP>, and with C<wss> L<IO::Socket::SSL>, which is
loaded only then.

Pings and the peer's Close are answered while a method waits, and only then. A server that drops clients which do not answer
its pings may do so if the program does something else for long.

=head2 Errors

What goes wrong is an exception: a string at the caller's line that begins with the name of the method. If time has run out,
the name is followed by C<timed out>:

  my $message = eval { $ws->receive(5) };
  print "nothing yet\n" if !$message && $@ =~ /^receive: timed out/;

After a timeout of C<receive>, C<can_receive> or C<ping>, the connection goes on and nothing is lost. After one of C<send>, it is
given up, because a part of the message may have been sent.

Once a connection has ended, each call of L</receive>, L</send> and L</ping> says why.

=head2 Signals, processes and threads

Signal handlers run while a method waits. They may die, which ends the method; and they may use the connection. SIGPIPE does not
end the program.

After a fork, either the parent or the child may use the connection. In another thread than the one that made it, the methods
that use the connection raise an exception.

A connection that goes out of scope closes its socket without a Close frame. Call L</close> to take leave in order.

=head1 CLASS METHODS

=head2 connect

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, %options);

Connects and returns the connection. C<$url> begins with C<ws://> or C<wss://>. If the host has several addresses, they are
tried in turn. An unknown option is an exception.

  my $ws = AnyEvent::WebSocket::Blocking->connect(
    'wss://example.com/feed', headers => [Authorization => 'Bearer 42'], subprotocols => ['v2'],
  );

Exceptions begin with C<connect:>, and end with what was being done:

=for code output

  connect: timed out after 10 seconds, in the TLS handshake with example.com port 443
  connect: the server refused: 401 Unauthorized, in the WebSocket handshake

=head1 OPTIONS

These are given to L</connect>. For each, undef means the default. Options whose names begin with C<SSL_> are passed on to
L<IO::Socket::SSL>. By default the server's certificate is verified with the system's authorities, and must be for the host in
the URL.

  my $ws = AnyEvent::WebSocket::Blocking->connect('wss://localhost/', SSL_ca_file => 'ca.pem');

=head2 close_timeout

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, close_timeout => 2);

How many seconds L</close> waits for the peer. 0 waits for ever. Default 10.

=head2 deflate

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, deflate => 1);

If true, compression is offered to the server. It may be a reference to a hash of L<AnyEvent::WebSocket::Deflate/OPTIONS>, of
which C<idle_timeout> has no effect here. This loads AnyEvent, but uses no loop. Default off.

=head2 fh

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, fh => $tunnel);

A socket that is connected already, such as one to a Unix socket or through a proxy. The URL then only says what is asked for,
and whether to use TLS on top. The socket becomes non-blocking, and is closed with the connection.

=head2 headers

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, headers => [Cookie => 'session=42']);

A reference to an array of names and values for the request. A header replaces the one of ours with the same name. Ours include
C<Host> and C<Origin>, which are taken from the URL. L<AnyEvent::WebSocket::Client> calls this option C<http_headers>.

=head2 max_control_rate

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, max_control_rate => 100);

How many pings and pongs the peer may send within a second. A peer that exceeds this or one of the following limits gets a Close
frame, and L</receive> raises an exception. 0 means no limit, as it does for sizes. Default 0.

=head2 max_fragments

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, max_fragments => 1000);

How many frames a message may have. Default 128.

=head2 max_message_size

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, max_message_size => 1024 * 1024);

How many bytes a message may have. Default 16777216, which is 16 MiB.

=head2 max_payload_size

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, max_payload_size => 65536);

How many bytes a frame may have. Default 0.

=head2 strict

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, strict => 1);

If true, enforces the rules that some peers are known to break: see L<AnyEvent::WebSocket::Connection/strict>. Default 0,
or 1 if C<ANYEVENT_WEBSOCKET_STRICT> is set in the environment.

=head2 subprotocols

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, subprotocols => ['v2', 'v1']);

The names of subprotocols, the preferred one first: a reference to an array, or one name. If any are given, the server must
choose one of them. L<AnyEvent::WebSocket::Client> calls this option C<subprotocol>.

=head2 timeout

  my $ws = AnyEvent::WebSocket::Blocking->connect($url, timeout => 10);

How many seconds TCP, TLS and the handshake may take together. Looking up the host's name takes as long as the system's
resolver allows; that time counts too, but is not cut short. 0 means no limit. Default 30.

It is also how long L</send> waits for a peer that takes nothing, and the default of L</ping>: with 0, both wait for ever.

=head1 METHODS

=head2 can_receive

  my $bool = $ws->can_receive;
  $bool = $ws->can_receive($seconds);

Returns 1 if L</receive> would not wait: there is a message, or the connection has ended. Otherwise waits that many seconds
for it, by default 0, and returns 0 if they pass.

  print "nothing yet\n" until $ws->can_receive(1);

=head2 close

  my $is_answered = $ws->close;
  $is_answered = $ws->close($code, $reason);

Sends a Close frame, waits for the peer's for up to L</close_timeout>, and closes the socket. Returns 1 if the peer has closed
in order, and 0 otherwise; there is no exception if it has not. Messages that were not received are dropped. The code is from
1000 to 4999, by default 1000; with 1005 and no reason, the frame is empty.

  $ws->close(1001, 'done for today');

=head2 close_code

  my $code = $ws->close_code;

Returns the code in the peer's Close frame, 1005 if that is empty, and undef if there was none.

  print "try again later\n" if ($ws->close_code || 0) == 1013;

=head2 close_reason

  my $characters = $ws->close_reason;

Returns the reason in the peer's Close frame, and undef if there was none.

  print $ws->close_reason, "\n" if defined $ws->close_reason;

=head2 fileno

  my $number = $ws->fileno;

Returns the file descriptor of the socket, or undef once that is closed. A program with a loop may wait until it is readable,
and then call L</can_receive>. More than one message may have come: call it until it returns 0.

  my $watcher = AE::io $ws->fileno, 0, sub {
    while($ws->can_receive) {
      my $message = $ws->receive or last;
      print $message->body, "\n";
    }
  };

=head2 handle

  my $fh = $ws->handle;

Returns the socket, an L<IO::Socket::IP> or L<IO::Socket::SSL>, or undef once that is closed. Do not read from it or write to
it.

  print $ws->handle->peerhost, "\n";

=head2 is_open

  my $bool = $ws->is_open;

Returns 1 if messages can be sent, as far as is known: the peer's Close, or its end, is noticed by methods that wait.

  $ws->send('more') if $ws->is_open;

=head2 ping

  my $seconds = $ws->ping;
  $seconds = $ws->ping($limit);

Sends a ping and waits for its pong, at most that many seconds, by default L</timeout>. Returns the seconds that it took.
Messages that arrive meanwhile are kept for L</receive>.

  printf "%.3f s\n", $ws->ping(5);

=head2 receive

  my $message = $ws->receive;
  $message = $ws->receive($seconds);

Returns the next message, an L<AnyEvent::WebSocket::Message>. Waits that many seconds for it; without an argument, for ever. 0
does not wait.

Returns nothing if the peer has closed with code 1000, 1001 or none, or L</close> was called. Another code, a connection that
ends without a Close frame, a peer that breaks rules or limits, and a time that has run out, are exceptions.

  while(my $message = $ws->receive) {
    print $message->decoded_body, "\n";
  }

=head2 send

  $ws->send($string);
  $ws->send($message);

Sends a string as text, or an L<AnyEvent::WebSocket::Message>, as L<AnyEvent::WebSocket::Connection/send> does. Returns the
connection when the operating system has taken all of it. Meanwhile it also reads, so that two peers that both send do not wait
for each other. It keeps up to 16 MiB of messages for L</receive>, and counts 512 bytes for each in addition to its body. A peer
that takes nothing for L</timeout> is given up.

  my $reply = $ws->send("Gr\x{fc}\x{df}e")->receive(5);

=head2 send_binary

  $ws->send_binary($octets);

Sends octets as a binary message. Returns the connection.

  $ws->send_binary(pack 'N', 42);

=head2 send_json

  $ws->send_json($data);

Sends data as JSON in a text message. Returns the connection.

  $ws->send_json({ op => 'subscribe', channels => ['news'] });

=head2 send_text

  $ws->send_text($characters);

Sends characters as a text message, encoded to UTF-8 whether they have Perl's UTF8 flag or not. Returns the connection.

  $ws->send_text("\x{e9}t\x{e9}");

=head2 subprotocol

  my $name = $ws->subprotocol;

Returns the subprotocol that the server has chosen, or undef.

  die "an old server\n" if ($ws->subprotocol || 'v1') ne 'v1';

=head1 LIMITATIONS

There is no support for proxies, except with L</fh>, and redirects are not followed. Of a refusal, only the status line is known;
L<AnyEvent::WebSocket::Client/on_refused> has its headers and its body. A user name in the URL is an exception:
give a header called Authorization.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Client>, L<AnyEvent::WebSocket::Connection>, L<AnyEvent::WebSocket::Message>,
L<AnyEvent::WebSocket::Native::Manual>

=cut
