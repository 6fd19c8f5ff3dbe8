package AnyEvent::WebSocket::Native;

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Loader ();
use Carp ();

our $VERSION = '1.000';

my @CLASSES = qw( Message Connection );

# `use AnyEvent::WebSocket::Native` loads the classes from beside this file, also where the original comes first in @INC.
sub import
{
  my $directory = AnyEvent::WebSocket::Native::Loader::directory();
  local @INC = ($directory, @INC);
  for my $name (@CLASSES)
  {
    my $file = "AnyEvent/WebSocket/$name.pm";
    Carp::carp("the original's $file was loaded before AnyEvent::WebSocket::Native, and stays in use")
      if $INC{$file} && !$ENV{ANYEVENT_WEBSOCKET_PP} && !AnyEvent::WebSocket::Native::Loader::is_ours($INC{$file}, "$directory/$file");
    require $file;
  }
}

# Also where the original's classes are loaded, which do not have this method.
sub backend
{
  require "AnyEvent/WebSocket/Connection.pm";
  my $class = 'AnyEvent::WebSocket::Connection';
  my $backend = $class->can('backend');
  return $backend ? $class->$backend : 'pp';
}

# What a program runs on, and why, for people to read.
sub report
{
  my($class) = @_;
  my $backend = $class->backend;
  my $file = $INC{'AnyEvent/WebSocket/Connection.pm'};
  my $directory = AnyEvent::WebSocket::Native::Loader::directory();
  my($gone) = grep { !-e } map { "$directory/AnyEvent/WebSocket/$_.pm" } @CLASSES;
  my $why = $backend eq 'rust' ? 'the native engine'
    : $ENV{ANYEVENT_WEBSOCKET_PP} ? 'the original, since ANYEVENT_WEBSOCKET_PP is set'
    : $gone ? "the original, since $gone is gone; installing the original with UNINST=1 deletes it: "
      . 'install AnyEvent::WebSocket::Native again'
    : "the original, since $file comes first in \@INC: put 'use AnyEvent::WebSocket::Native;' before all else "
      . 'that uses WebSockets, or take the directory out of PERL5LIB or -I';
  my @lines = ("runs on $why", "AnyEvent::WebSocket::Connection is $file", 'AnyEvent::WebSocket::Native ' . $VERSION
    . " is $INC{'AnyEvent/WebSocket/Native.pm'}", "perl $^V is $^X");
  return join '', map { "$_\n" } @lines;
}

1;

__END__

=encoding utf-8

=head1 NAME

AnyEvent::WebSocket::Native - AnyEvent::WebSocket::Connection on a native engine, without changing a line

=head1 SYNOPSIS

  # Install this distribution. That is all: programs that use
  use AnyEvent::WebSocket::Client;
  # or AnyEvent::WebSocket::Server now run on the engine in Rust.

  # To see which one a program runs on:
  print AnyEvent::WebSocket::Connection->backend, "\n";   # rust

  # To go back to the original, for one run:
  ANYEVENT_WEBSOCKET_PP=1 perl program.pl

=head1 DESCRIPTION

This distribution brings classes named L<AnyEvent::WebSocket::Connection> and L<AnyEvent::WebSocket::Message>, whose
frame engine and connection state are compiled from Rust. They stand in for the classes of the same names in the
distribution AnyEvent-WebSocket-Client, called the original here, and do what those do, from version 0.44 to 0.55:
L<AnyEvent::WebSocket::Client>, L<AnyEvent::WebSocket::Server> and programs work on top, unchanged.

They install into perl's directory for compiled modules, which comes before the others in C<@INC>. No file of the
original is touched, and uninstalling brings it back.

Where the original comes first in C<@INC> all the same, as it may with C<PERL5LIB> or L<local::lib>, put this before all else
that uses WebSockets:

  use AnyEvent::WebSocket::Native;

=head1 CLASS METHODS

=head2 backend

  my $name = AnyEvent::WebSocket::Native->backend;

C<rust> if programs run on these classes, C<pp> if on the original. Unlike L<AnyEvent::WebSocket::Connection/backend>, it can
also be called where the original is loaded.

=head2 report

  perl -MAnyEvent::WebSocket::Native -e 'print AnyEvent::WebSocket::Native->report'

Returns a few lines of text that tell which classes programs run on, and why.

=head1 WHERE IT DIFFERS FROM THE ORIGINAL

Rules of RFC 6455 that the original did not enforce are enforced: a peer that breaks one gets a Close frame that says
so, C<parse_error> callbacks are called, and the connection goes down. These are

=over

=item *

reserved bits without an extension, reserved opcodes, lengths not in their shortest form: 1002

=item *

control frames that are fragmented or longer than 125 bytes: 1002

=item *

continuation frames out of place, and messages inside a fragmented one: 1002

=item *

Close frames with a 1-byte body or a code that may not be sent (1002), or a reason that is not UTF-8 (1007)

=item *

frames over C<max_payload_size>, and too many fragments: 1009; the original sent no Close frame

=back

A rule that peers in the wild do break is enforced only on request; see
L<AnyEvent::WebSocket::Connection/strict>.

The answer to a Close frame has the same code, where the original sent its default; C<close> without a code sends an
empty Close frame, which is what code 1005 means. Of the pings of a peer that does not read, and has 64 KiB waiting, only
the last is answered (RFC 6455, 5.5.3). A connection that has kept the event loop for ten milliseconds leaves the rest of its
messages to the loop's next turn. A peer that never answers our Close is given up after
L<AnyEvent::WebSocket::Connection/close_timeout>.

=head1 VARIABLES OF THE ENVIRONMENT

=head2 ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE

The initial value of L<AnyEvent::WebSocket::Connection/$DEFAULT_CLOSE_CODE>.

=head2 ANYEVENT_WEBSOCKET_PP

If true, both classes step aside and load the original that they shadow. It is an exception if there is none. The original
does not have the methods and events that these classes add, and warns of attributes that it does not know.

=head2 ANYEVENT_WEBSOCKET_STRICT

If true, L<AnyEvent::WebSocket::Connection/strict> is 1 by default.

=head2 ANYEVENT_WEBSOCKET_TRACE

See L<AnyEvent::WebSocket::Connection/ANYEVENT_WEBSOCKET_TRACE>.

=head1 THREADS AND FORKS

A connection belongs to the thread that made it; its copy in another does nothing. A forked child may drop its copy, or
use it, as with any L<AnyEvent::Handle>: bytes that were waiting to be written when it was forked are written by the
parent alone, and masking keys are drawn anew.

=head1 LICENSE

The same terms as Perl itself: the GNU General Public License, version 1 or later, or the Artistic License. The
distribution has both texts in its file F<LICENSE>.

=head1 SEE ALSO

L<AnyEvent::WebSocket::Connection>, L<AnyEvent::WebSocket::Deflate>, L<AnyEvent::WebSocket::Client>,
L<AnyEvent::WebSocket::Server>, RFC 6455, RFC 7692

=cut
