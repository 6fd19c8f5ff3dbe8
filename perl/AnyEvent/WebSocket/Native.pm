package AnyEvent::WebSocket::Native;

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Loader ();
use Carp ();

our $VERSION = '1.000';

# The classes, and those among them that the others need.
my @CLASSES = qw( Message Connection Client Server );
my @BASIC = qw( Message Connection );

# `use AnyEvent::WebSocket::Native` loads the classes next to this file, even if the original comes first in @INC.
sub import {
    my $directory = AnyEvent::WebSocket::Native::Loader::directory();
    local @INC = ($directory, @INC);
    # Only one of the originals may be installed.
    for my $name ($ENV{ANYEVENT_WEBSOCKET_PP} ? @BASIC : @CLASSES) {
        my $file = "AnyEvent/WebSocket/$name.pm";
        Carp::carp("the original's $file was loaded before AnyEvent::WebSocket::Native, and stays in use")
            if $INC{$file}
            && !$ENV{ANYEVENT_WEBSOCKET_PP}
            && !AnyEvent::WebSocket::Native::Loader::is_ours($INC{$file}, "$directory/$file");
        require $file;
    }
}

# Works with the original's classes too, which do not have this method.
sub backend {
    require "AnyEvent/WebSocket/Connection.pm";
    my $class = 'AnyEvent::WebSocket::Connection';
    my $backend = $class->can('backend');
    return $backend ? $class->$backend : 'pp';
}

# Describes, for people, which backend a program uses and why.
sub report {
    my ($class) = @_;
    my $backend = $class->backend;
    my $file = $INC{'AnyEvent/WebSocket/Connection.pm'};
    my $directory = AnyEvent::WebSocket::Native::Loader::directory();
    my ($gone) = grep { !-e } map { "$directory/AnyEvent/WebSocket/$_.pm" } @CLASSES;
    my $why =
          $backend eq 'rust' ? 'the native engine'
        : $ENV{ANYEVENT_WEBSOCKET_PP} ? 'the original, since ANYEVENT_WEBSOCKET_PP is set'
        : $gone ? "the original, since $gone is gone; installing the original with UNINST=1 deletes it: "
        . 'install AnyEvent::WebSocket::Native again'
        : "the original, since $file comes first in \@INC: put 'use AnyEvent::WebSocket::Native;' before all else "
        . 'that uses WebSockets, or take the directory out of PERL5LIB or -I';
    my @lines = (
              "runs on $why", "AnyEvent::WebSocket::Connection is $file", 'AnyEvent::WebSocket::Native '
            . $VERSION
            . " is $INC{'AnyEvent/WebSocket/Native.pm'}", "perl $^V is $^X");
    return join '', map { "$_\n" } @lines;
}

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Native - AnyEvent::WebSocket on a native engine, without changing a line

=head1 SYNOPSIS

Install this distribution. That is all: programs that use L<AnyEvent::WebSocket::Client> or L<AnyEvent::WebSocket::Server>
now run on the engine in Rust.

  use AnyEvent::WebSocket::Client;

  my $connection = AnyEvent::WebSocket::Client->new->connect('ws://localhost:5000/')->recv;
  print $connection->backend, "\n";   # rust

To run a program on the original once more:

=for code shell

  ANYEVENT_WEBSOCKET_PP=1 perl program.pl

=head1 DESCRIPTION

This distribution has classes named L<AnyEvent::WebSocket::Connection>, L<AnyEvent::WebSocket::Message>,
L<AnyEvent::WebSocket::Client> and L<AnyEvent::WebSocket::Server>, whose frame engine, connection state and opening handshake
are compiled from Rust. They stand in for the classes of the same names in the distributions AnyEvent-WebSocket-Client, from
version 0.44 to 0.55, and AnyEvent-WebSocket-Server 0.10, which are called the original here, and do what those do.

The classes are installed into perl's directory for compiled modules, which comes before the others in C<@INC>. No file of
the original is replaced, and uninstalling brings it back.

Where the original comes first in C<@INC> all the same, as it may with C<PERL5LIB> or L<local::lib>, load this module before
everything else that uses WebSockets:

  use AnyEvent::WebSocket::Native;

=head1 DOCUMENTATION

=over

=item L<AnyEvent::WebSocket::Client>

The reference of clients: connecting, and what can go wrong.

=item L<AnyEvent::WebSocket::Server>

The reference of servers: handshakes on accepted sockets, and behind PSGI.

=item L<AnyEvent::WebSocket::Connection>

The reference of connections, in both roles.

=item L<AnyEvent::WebSocket::Message>

The reference of messages.

=item L<AnyEvent::WebSocket::Native::Manual>

The guide, with a complete program for each task.

=item L<AnyEvent::WebSocket::Blocking>

A client that waits for answers, without an event loop.

=item L<AnyEvent::WebSocket::Deflate>, L<AnyEvent::WebSocket::Deflate::Client>

Compression.

=item L<AnyEvent::WebSocket::Reconnecting>

A connection that comes back.

=item F<examples>

Larger programs, in the distribution.

=back

C<perldoc AnyEvent::WebSocket::Connection> shows our page, because perldoc searches C<@INC> as perl does.
C<man AnyEvent::WebSocket::Connection> shows the original's page, if that is installed: no file of it is replaced, and its
man page has this name. For man, our pages are installed under names of our own:

=for code shell

  man AnyEvent::WebSocket::Native::Client
  man AnyEvent::WebSocket::Native::Connection
  man AnyEvent::WebSocket::Native::Message
  man AnyEvent::WebSocket::Native::Server

On Debian, perldoc is in the package C<perl-doc>.

=head1 CLASS METHODS

=head2 backend

  my $name = AnyEvent::WebSocket::Native->backend;

Returns C<rust> if programs run on these classes, C<pp> if on the original. Unlike
L<AnyEvent::WebSocket::Connection/backend>, it can also be called where the original is loaded.

  warn "no native engine\n" if AnyEvent::WebSocket::Native->backend ne 'rust';

=head2 report

  print AnyEvent::WebSocket::Native->report;

Returns a few lines of text that tell which classes programs run on, and why. A program that wants to know that of itself says
C<require AnyEvent::WebSocket::Native>, because C<use> would load these classes. From a shell, with a small C<-m> for the same
reason:

=for code shell

  perl -mAnyEvent::WebSocket::Native -e 'print AnyEvent::WebSocket::Native->report'

=head1 WHERE IT DIFFERS FROM THE ORIGINAL

Rules of RFC 6455 that the original does not enforce are enforced. A peer that breaks one gets a Close frame with a code,
C<parse_error> callbacks are called, and the connection ends. These rules are

=over

=item *

reserved bits without an extension, reserved opcodes, lengths that are not in their shortest form: 1002

=item *

control frames that are fragmented or longer than 125 bytes: 1002

=item *

continuation frames out of place, and messages inside a fragmented one: 1002

=item *

Close frames with a 1-byte body or a code that must not be sent (1002), or with a reason that is not UTF-8 (1007). Such a
code is 1005, which clients on some versions of the original, such as 0.54, send with each C<close> without a code

=item *

frames over C<max_payload_size>, and too many fragments: 1009; the original sends no Close frame

=back

Rules that peers in the wild do break are enforced only on request: see L<AnyEvent::WebSocket::Connection/strict>.

Other differences are

=over

=item *

The answer to a Close frame has the same code. The original sends its default.

=item *

C<close> without a code sends an empty Close frame, which is what code 1005 means. The original sends 1005 or 1000.

=item *

If a peer never answers our Close frame, the connection ends after L<AnyEvent::WebSocket::Connection/close_timeout>, 30 seconds
by default.

=item *

A peer that sends pings but does not read gets one answer, to the last of them, once 64 KiB wait for it (RFC 6455, 5.5.3).

=item *

A connection whose callbacks have kept the event loop for ten milliseconds leaves its other messages to the loop's next turn.

=item *

C<parse_error> is called once. The original may call it again for what arrives later.

=item *

A message callback that dies, while nothing listens to C<parse_error>, is logged as an error. The original is silent.

=item *

A C<finish> callback that is registered after the end is called.

=back

In the opening handshake,

=over

=item *

Client and Server give up after 60 seconds; the original waits forever. See L<AnyEvent::WebSocket::Client/handshake_timeout>.

=item *

Client checks that the server has read its key, switches to WebSocket, and accepts no extension that was not offered (RFC 6455,
4.1). With L<AnyEvent::WebSocket::Client/lenient>, it does not.

=item *

Client skips interim responses (100, 103) before the final one, accepts a 101 without a text, sends an IPv6 address in brackets
and a URL's query without a path properly, and takes a URL's scheme in capitals.

=item *

Client closes the connection after an error about subprotocols. The original keeps it open.

=item *

Server accepts lists in C<Upgrade>, several lines of C<Upgrade> and C<Connection>, an empty line before the request, and frames
right behind it, whatever packets they come in.

=item *

Server refuses requests with a body, and both refuse heads that HTTP does not allow: a NUL or a bare CR in a value; and in
requests, spaces before a colon, continued lines, and more than three words in the first line. With
L<AnyEvent::WebSocket::Server/lenient>, Server does not.

=item *

A head may have 64 KiB. In the original, that depends on the packets in which it arrives.

=item *

If the callback of C<establish> dies, Server prints a warning. The original is silent.

=back

=head1 PROCESSES AND THREADS

Connections are plain objects of one process and one thread. L<AnyEvent::WebSocket::Native::Manual/Several processes> has a
server with workers.

=over

=item fork

A child may drop its copies of the parent's connections: it writes nothing, and the parent goes on. Or the parent drops them
and the child uses them. Both must not use one connection, as with any socket. Frames that were waiting when the process
forked are written by the parent alone, and the child draws new masking keys.

EV and AnyEvent's own loop work in a child; for others, see their documentation. To hand a peer over to a child, hand over
the socket, and make the connection there: on EV, a connection that the parent has used may miss an event in the child.

=item prefork

Fork first, then load the event loop and make connections in each worker. A listening socket may be opened before.

=item threads

A connection belongs to the thread that made it. Its copy in another thread does nothing.

=back

=head1 ENVIRONMENT

To switch one of these off, unset it or set it to 0 or the empty string.

=head2 ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE

The initial value of L<AnyEvent::WebSocket::Connection/$DEFAULT_CLOSE_CODE>. Read when the class is loaded.

=head2 ANYEVENT_WEBSOCKET_PP

If true when the classes are loaded, each steps aside and loads the original that it shadows. If there is none, loading it
raises an exception. The original does not have the methods and events that these classes add, and a warning names each
attribute that it ignores.

=head2 ANYEVENT_WEBSOCKET_STRICT

If true, C<strict> is 1 by default, for handshakes and for connections. The default is read when a handshake begins, and when a
connection is made.

=head2 ANYEVENT_WEBSOCKET_TRACE

If true when the class is loaded, frames are logged: see L<AnyEvent::WebSocket::Connection/ANYEVENT_WEBSOCKET_TRACE>.

=head1 VERSIONS AND COMPATIBILITY

It runs on perl 5.22 or newer, with or without threads, on Unix systems, with AnyEvent 7.0, Moo 2.0 and Protocol::WebSocket
0.20 or newer, and on each of AnyEvent's event loops. Building it needs Rust 1.85 or newer. F<INSTALL.md> lists the systems
on which it is tested.

The original's test suites of 0.44, 0.54 and 0.55, and Server's of 0.10, pass unchanged.

Within version 1, a program that uses what is documented keeps working: names, arguments, defaults, close codes, and the
beginnings of error texts stay as they are. New methods, attributes and events may be added; a subclass that already uses
such a name keeps its own. A change that breaks this comes only with a new major version, and F<Changes> says so.
Undocumented methods, which begin with an underscore, may change at any time.

=head1 SUPPORT

The distribution is not on CPAN yet. Please report bugs to the maintainers through the repository from which you got it, with
the output of L</report>, a program that shows the bug, and its
L<trace|AnyEvent::WebSocket::Connection/ANYEVENT_WEBSOCKET_TRACE>. Please do not report them to the author of the original.

Please report a vulnerability in private, through the repository's security advisories; F<SECURITY.md> says more.

=head1 LICENSE

The same terms as Perl itself: the GNU General Public License, version 1 or later, or the Artistic License. The distribution
has both texts in its file F<LICENSE>.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Client>, L<AnyEvent::WebSocket::Server>, RFC 6455, RFC 7692

=cut
